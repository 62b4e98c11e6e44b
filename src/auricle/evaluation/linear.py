"""A linear probe: logistic regression on standardised embeddings, by scikit-learn.

Multinomial where every clip has one label, otherwise one regression for each class.

Shapes: N clips, D width of the embedding, C classes.
"""

import random
import warnings
from collections.abc import Callable
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
    """

    embeddings: Tensor
    targets: Tensor
    groups: Tensor
    single_label: bool

    def of(self, rows: Tensor) -> "Task":
        """The task of some of the clips."""
        return Task(self.embeddings[rows], self.targets[rows], self.groups[rows], self.single_label)


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
    values = [_held_back_value(task, parts, strength) for strength in STRENGTHS]
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


def _held_back_value(task: Task, parts: list[Tensor], strength: float) -> float:
    """Mean log-likelihood of the targets of clips that each were held back once.

    Accuracy would leave strengths equal, or a clip or two different, where clips are few.
    """
    values = []
    for held_back in parts:
        rest = torch.ones(len(task.targets), dtype=torch.bool)
        rest[held_back] = False
        scores = fit(task.of(rest), strength)(task.embeddings[held_back])
        scores = scores.clamp(LEAST_SCORE, 1 - LEAST_SCORE)
        has, lacks = task.targets[held_back], 1 - task.targets[held_back]
        values.append(has * scores.log() + (0 if task.single_label else lacks) * (-scores).log1p())
    return torch.cat(values).mean().item()


def fit(task: Task, strength: float) -> Callable[[Tensor], Tensor]:
    """A classifier of embeddings `(M, D)`: scores `(M, C)` from 0 to 1.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    model = require("sklearn.linear_model", "train", PURPOSE).LogisticRegression(
        C=strength, max_iter=MAX_STEPS
    )
    learn = _multinomial if task.single_label else _one_for_each
    with warnings.catch_warnings():
        # The steps may end before the last digits stand still; of a class that no clip or every
        # clip has, nothing can be learned.
        warnings.simplefilter("ignore")
        return learn(model, task)


def _multinomial(model: Any, task: Task) -> Callable[[Tensor], Tensor]:
    classes = task.targets.argmax(dim=1)
    if len(classes.unique()) == 1:  # a part of a task may hold one class only
        only = task.targets[:1].double()
        return lambda embeddings: only.expand(len(embeddings), -1)
    model.fit(task.embeddings.numpy(), classes.numpy())

    def score(embeddings: Tensor) -> Tensor:
        scores = torch.zeros(len(embeddings), task.targets.shape[1], dtype=torch.float64)
        probabilities = torch.from_numpy(model.predict_proba(embeddings.numpy()))
        scores[:, model.classes_] = probabilities  # a class without a clip to learn from keeps 0
        return scores

    return score


def _one_for_each(model: Any, task: Task) -> Callable[[Tensor], Tensor]:
    multiclass = require("sklearn.multiclass", "train", PURPOSE)
    models = multiclass.OneVsRestClassifier(model)
    models.fit(task.embeddings.numpy(), task.targets.numpy())
    return lambda embeddings: torch.from_numpy(models.predict_proba(embeddings.numpy()))
