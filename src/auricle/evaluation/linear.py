"""A linear probe: logistic regression on standardised embeddings, by scikit-learn.

Multinomial where every clip has one label, otherwise one regression for each class.

Shapes: N clips, D width of the embedding, C classes.
"""

import math
import random
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from auricle.errors import require

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C: large is little regularisation
INNER_PARTS = 5  # of the training clips, each in turn held back to choose one of these
LEAST_SCORE = 1e-6  # a class without a clip to learn from is not held against a strength
MAX_STEPS = 1000
PURPOSE = "the linear probe"


@dataclass(frozen=True)
class Task:
    """What there is to learn.

    Attributes:
        embeddings: `(N, D)`, float64.
        targets: `(N, C)` of 0 and 1.
        groups: `(N,)`: clips of one group are never learned from and judged on at once.
        single_label: whether every clip of the data has exactly one label.
        weights: how much each clip counts, `(N,)`; None: all alike.
    """

    embeddings: Tensor
    targets: Tensor
    groups: Tensor
    single_label: bool
    weights: Tensor | None = None

    def of(self, rows: Tensor) -> "Task":
        """The task of some of the clips."""
        return replace(
            self,
            embeddings=self.embeddings[rows],
            targets=self.targets[rows],
            groups=self.groups[rows],
            weights=None if self.weights is None else self.weights[rows],
        )


@dataclass(frozen=True)
class LinearClassifier:
    """Logits as a linear function of embeddings.

    Attributes:
        weight: `(C, D)`, float64.
        bias: `(C,)`; infinite for a class that no clip or every clip of the task has.
        single_label: whether the classes exclude each other.
    """

    weight: Tensor
    bias: Tensor
    single_label: bool

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits `(M, C)` of embeddings `(M, D)`."""
        return embeddings @ self.weight.T + self.bias

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Scores `(M, C)` from 0 to 1 of embeddings `(M, D)`."""
        return scores_of(self.logits(embeddings), self.single_label)


def scores_of(logits: Tensor, single_label: bool) -> Tensor:
    """Scores of logits `(M, C)`: their softmax, or the sigmoid where classes may come together."""
    return logits.softmax(dim=1) if single_label else logits.sigmoid()


@dataclass(frozen=True)
class Standardised:
    """A task whose embeddings have the mean 0 and the standard deviation 1 in every dimension."""

    task: Task
    mean: Tensor
    std: Tensor

    def apply(self, embeddings: Tensor) -> Tensor:
        """Other embeddings, brought to the scale of the task's."""
        return (embeddings - self.mean) / self.std


def check_installed() -> None:
    """Refuse to start what ends in a linear probe (MissingExtraError)."""
    require("sklearn.linear_model", "train", PURPOSE)


def standardised(task: Task) -> Standardised:
    """The task with standardised embeddings; a constant dimension becomes 0."""
    std, mean = torch.std_mean(task.embeddings, dim=0, correction=0)
    std = std.where(std > 0, 1.0)
    return Standardised(replace(task, embeddings=(task.embeddings - mean) / std), mean, std)


def choose_strength(task: Task, seed: int) -> float:
    """The strength of the regularisation that does best on held-back parts of the task itself.

    Groups stay whole. Of equally good strengths the strongest regularisation is taken, as it is
    where there are too few groups to hold any back.
    """
    parts = inner_parts(task, seed)
    if len(parts) < 2:
        return STRENGTHS[0]
    values = [
        log_likelihood(held_out_logits(task, parts, strength), task) for strength in STRENGTHS
    ]
    return STRENGTHS[max(range(len(STRENGTHS)), key=lambda index: (values[index], -index))]


def inner_parts(task: Task, seed: int) -> list[Tensor]:
    """The clips in up to INNER_PARTS parts, as indices; each has some of every class.

    Groups are dealt out like cards, sorted by their labels.
    """
    rows_of: dict[int, list[int]] = {}
    for row, group in enumerate(task.groups.tolist()):
        rows_of.setdefault(group, []).append(row)
    groups = list(rows_of.values())
    random.Random(seed).shuffle(groups)
    groups.sort(key=lambda rows: task.targets[rows[0]].tolist())  # stable: shuffled within
    hands = [groups[start::INNER_PARTS] for start in range(INNER_PARTS)]
    return [torch.tensor([row for rows in hand for row in rows]) for hand in hands if hand]


def held_out_logits(task: Task, parts: list[Tensor], strength: float) -> Tensor:
    """Logits `(N, C)`, those of each of `parts` by a classifier of the others."""
    logits = torch.empty(task.targets.shape, dtype=torch.float64)
    for held_out in parts:
        others = torch.ones(len(logits), dtype=torch.bool)
        others[held_out] = False
        logits[held_out] = fit(task.of(others), strength).logits(task.embeddings[held_out])
    return logits


def log_likelihood(logits: Tensor, task: Task) -> float:
    """Mean log-likelihood of the targets of clips, for logits `(N, C)`.

    Accuracy would leave strengths equal, or a clip or two different, where clips are few.
    """
    scores = scores_of(logits, task.single_label).clamp(LEAST_SCORE, 1 - LEAST_SCORE)
    has, lacks = task.targets, 1 - task.targets
    values = has * scores.log() + (0 if task.single_label else lacks) * (-scores).log1p()
    if task.weights is None:
        return values.mean().item()
    return (task.weights @ values.mean(dim=1) / task.weights.sum()).item()


def fit(task: Task, strength: float) -> LinearClassifier:
    """A classifier of embeddings `(M, D)`.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    model = require("sklearn.linear_model", "train", PURPOSE).LogisticRegression(
        C=strength, max_iter=MAX_STEPS
    )
    with warnings.catch_warnings():
        # The steps may end before the last digits stand still.
        warnings.simplefilter("ignore")
        return _multinomial(model, task) if task.single_label else _one_for_each(model, task)


def _multinomial(model: Any, task: Task) -> LinearClassifier:
    classes = task.targets.argmax(dim=1)
    present = classes.unique()
    weight, bias = _nothing_learned(task)
    if len(present) == 1:  # a part of a task may hold one class only
        bias[present] = 0
    else:
        weight[present], bias[present] = _fitted(model, task, classes)
    return LinearClassifier(weight, bias, True)


def _one_for_each(model: Any, task: Task) -> LinearClassifier:
    weight, bias = _nothing_learned(task)
    for column, has in enumerate(task.targets.T):
        if has.all():
            bias[column] = math.inf
        elif has.any():
            both = _fitted(model, task, has)
            weight[column], bias[column] = (values[1] - values[0] for values in both)
    return LinearClassifier(weight, bias, False)


def _nothing_learned(task: Task) -> tuple[Tensor, Tensor]:
    """Weights and biases of classes that no clip has: they score 0."""
    num_classes, width = task.targets.shape[1], task.embeddings.shape[1]
    weight = torch.zeros(num_classes, width, dtype=torch.float64)
    return weight, torch.full((num_classes,), -math.inf, dtype=torch.float64)


def _fitted(model: Any, task: Task, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Weights `(K, D)` and biases `(K,)` for the K different values in `classes` `(N,)`."""
    weights = None if task.weights is None else task.weights.numpy()
    # Speed: on small matrices the threads of OpenBLAS wait for each other, up to 50 times as long.
    with require("threadpoolctl", "train", PURPOSE).threadpool_limits(1, "blas"):
        model.fit(task.embeddings.numpy(), classes.numpy(), sample_weight=weights)
    weight, bias = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    if len(bias) == 1:  # of two classes scikit-learn gives the second one's lead
        return torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    return weight, bias
