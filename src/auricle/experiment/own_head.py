"""A head on frozen embeddings: logistic regression, judged by clips that were held out, calibrated.

Beside one's own clips it may learn from a background: ordinary sound that is none of the classes.
There it counts as much as a class, and at least as an eighth of one's own clips, whatever the
number of its clips.

Shapes: N own clips, B of the background, H width of what the head reads, C classes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from auricle import checkpoint, models
from auricle.checkpoint import Checkpoint
from auricle.evaluation import linear
from auricle.evaluation.calibration import best_thresholds, thresholds_for
from auricle.evaluation.linear import Task, scores_of

NONE_OF_THESE = "None of these"
TEMPERATURES = [10 ** (step / 100) for step in range(-100, 101)]
LEAST_BACKGROUND = 1 / 8  # of the number of own clips, which the background counts as at least
COPY = 1e-5  # of the median distance of embeddings: nearer clips are copies of one recording
ROUNDING = 1e-6  # of their norm, likewise, where all clips are
MOST_ROWS = 1024  # of a matrix of distances, which bounds the memory


@dataclass(frozen=True)
class Head:
    """The last layer of a model, and what is known of it.

    Attributes:
        weight, bias: `(C, H)` and `(C,)`, for what the layer reads, as it is; calibrated.
        single_label: whether scores are a softmax.
        strength: of the regularisation, as chosen.
        held_out: calibrated logits `(N, C)` of the own clips, by heads that never met their group.
        judged: which of these `(N,)` mean anything: those whose classes have another group.
        background: the same of the background's clips that were learned from.
        thresholds: from which score on a class is recognised; None where scores are a softmax.
    """

    weight: Tensor
    bias: Tensor
    single_label: bool
    strength: float
    held_out: Tensor
    judged: Tensor
    background: Tensor
    thresholds: list[float] | None

    def logits(self, features: Tensor) -> Tensor:
        """Logits `(M, C)` of what the layer reads, `(M, H)`."""
        return features.double() @ self.weight.T + self.bias

    @property
    def held_out_scores(self) -> Tensor:
        """Scores `(N, C)` from 0 to 1 of the own clips, held out."""
        return scores_of(self.held_out, self.single_label)

    @property
    def false_alarms(self) -> float | None:
        """Share of the background's clips that are taken for a class, held out; None of none."""
        if not len(self.background):
            return None
        if self.thresholds is None:
            taken = self.background.argmax(dim=1) < self.background.shape[1] - 1
        else:
            least = torch.tensor(self.thresholds, dtype=self.background.dtype)
            taken = (self.background.sigmoid() >= least).any(dim=1)
        return taken.double().mean().item()

    def lowered(self, columns: Tensor, by: float) -> "Head":
        """The head with the logits of the classes `columns` made smaller."""
        drop = torch.zeros_like(self.bias)
        drop[columns] = by
        held_out, background = self.held_out - drop, self.background - drop
        return replace(self, bias=self.bias - drop, held_out=held_out, background=background)


def with_head(initial: Checkpoint, labels: list[str], single_label: bool) -> Checkpoint:
    """The encoder of `initial` with a head for `labels` that has learned nothing, on the CPU."""
    config = initial.config
    settings = {key: value for key, value in config.model_settings.items() if key != "num_classes"}
    activation: Literal["softmax", "sigmoid"] = "softmax" if single_label else "sigmoid"
    with torch.random.fork_rng(devices=[]):  # the head is overwritten
        built = checkpoint.create(config.model, settings, config.front_end, labels, activation)
    models.transfer(initial.model, built.model)
    return built.eval()


def with_layer(built: Checkpoint, head: Head) -> Checkpoint:
    """The checkpoint `built` with the last layer and the thresholds of `head`."""
    built.model.set_classifier(head.weight, head.bias.nan_to_num(posinf=20.0, neginf=-20.0))
    thresholds = None if head.thresholds is None else tuple(head.thresholds)
    built.config = built.config.model_copy(update={"thresholds": thresholds})
    return built


def learn(own: Task, background: Tensor, seed: int = 0) -> Head:
    """Fit a head to own clips and a background `(B, H)`, which may be empty.

    The strength of the regularisation and the temperature are those of the highest likelihood of
    clips that are held out, whole groups at a time. With single labels the last class is that of
    the background, if there is any; otherwise its clips have no class.

    Raises:
        MissingExtraError: scikit-learn or torchmetrics is not installed.
    """
    task = _joined(own, background)
    train = linear.standardised(task)
    strength = linear.choose_strength(train.task, seed)
    parts = linear.inner_parts(train.task, seed)
    logits = linear.held_out_logits(train.task, parts, strength)
    judged = judged_rows(task)
    temperature = temperature_of(logits[judged], task.of(judged))
    logits = logits / temperature
    final = linear.fit(train.task, strength)
    weight = final.weight / train.std / temperature
    bias = final.bias / temperature - weight @ train.mean
    num_own = len(own.targets)
    scores = scores_of(logits, task.single_label)
    thresholds = None if task.single_label else thresholds_of(scores, task.targets)
    return Head(
        weight,
        bias,
        task.single_label,
        strength,
        logits[:num_own],
        judged[:num_own],
        logits[num_own:],
        thresholds,
    )


def judged_rows(task: Task) -> Tensor:
    """Clips `(N,)` of bool whose classes all have clips of another group, too."""
    lone = [len(task.groups[has.bool()].unique()) < 2 for has in task.targets.T]
    return (task.targets[:, torch.tensor(lone)] == 0).all(dim=1)


def merge_copies(embeddings: Tensor, groups: Tensor) -> Tensor:
    """Groups `(N,)` in which copies of a recording, by their embeddings `(N, D)`, are one."""
    known, merged = embeddings.double(), groups.clone()
    some = known[:MOST_ROWS]
    least = COPY * torch.cdist(some, some).median() + ROUNDING * known.norm(dim=1).mean()
    for start in range(0, len(known), MOST_ROWS):
        rows = slice(start, start + MOST_ROWS)
        is_copy = torch.cdist(known[rows], known) <= least
        merged[rows] = groups[is_copy.int().argmax(dim=1)]  # the first that it is a copy of
    return merged


def smallest_drop(held_out: Tensor, targets: Tensor, new: Tensor, right: int) -> float:
    """How much the logits of the classes `new` must fall so that `right` clips are right.

    As near to that as it can be reached so. The clips have none of these classes.

    Args:
        held_out: logits `(M, C)`.
        targets: `(M, C)` of 0 and 1.
    """
    best_new = held_out[:, new].amax(dim=1)
    old = held_out.clone()
    old[:, new] = -torch.inf
    is_right = targets.gather(1, old.argmax(dim=1, keepdim=True))[:, 0] == 1
    leads = (best_new - old.amax(dim=1))[is_right].sort().values
    if not len(leads):
        return 0.0
    drop = leads[min(right, len(leads)) - 1].item()
    return max(0.0, drop + 1e-6)


def _joined(own: Task, background: Tensor) -> Task:
    """Own clips and those of the background that are not as like a class as its own clips are."""
    if not len(background):
        return own
    num_own, num_classes = own.targets.shape
    background = background[~_like_a_class(own, background)]
    targets = torch.zeros(len(background), num_classes, dtype=own.targets.dtype)
    if own.single_label:
        targets[:, -1] = 1
    first = int(own.groups.max()) + 1
    groups = torch.arange(first, first + len(background))
    clips_of = own.targets.sum(dim=0)
    total = max(clips_of[clips_of > 0].median().item(), LEAST_BACKGROUND * num_own)
    weight = total / max(1, len(background))
    weights = [torch.ones(num_own, dtype=torch.float64)]
    weights.append(torch.full((len(background),), weight, dtype=torch.float64))
    return Task(
        torch.cat([own.embeddings, background]),
        torch.cat([own.targets, targets]),
        torch.cat([own.groups, groups]),
        own.single_label,
        torch.cat(weights),
    )


def _like_a_class(own: Task, background: Tensor) -> Tensor:
    """Which clips of the background `(B,)` are as like a class as its clips are to each other.

    They may well be of that class: ordinary sound holds dogs, too. A clip is so if its largest
    cosine similarity to the class is the median of what the clips of the class have to those of
    other groups, or more. Embeddings are compared on the scale of the background.
    """
    std, mean = torch.std_mean(background, dim=0, correction=0)
    std = std.where(std > 0, 1.0)
    own_unit = F.normalize((own.embeddings - mean) / std)
    similar = F.normalize((background - mean) / std) @ own_unit.T  # (B, N)
    like = torch.zeros(len(background), dtype=torch.bool)
    for has in own.targets.T.bool():
        groups = own.groups[has]
        if len(groups.unique()) < 2:
            continue
        among = own_unit[has] @ own_unit[has].T
        among[groups[:, None] == groups] = -1
        like |= similar[:, has].amax(dim=1) >= among.amax(dim=1).median()
    return like


def temperature_of(logits: Tensor, task: Task) -> float:
    """What logits are divided by for the highest likelihood; 1 without any clip."""
    if not len(logits):
        return 1.0
    return max(TEMPERATURES, key=lambda value: linear.log_likelihood(logits / value, task))


def num_right(logits: Tensor, targets: Tensor) -> int:
    """How many clips, of logits `(M, C)`, have the best-scored class."""
    return int(targets.gather(1, logits.argmax(dim=1, keepdim=True)).sum())


def thresholds_of(scores: Tensor, targets: Tensor) -> list[float]:
    """From which score on each class is recognised, for clips `(M, C)`."""
    return thresholds_for(best_thresholds(scores, targets))
