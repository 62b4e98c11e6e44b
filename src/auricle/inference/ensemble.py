"""Ensemble: the mean of the scores that several checkpoints give the same sounds.

Source: Gong et al. 2021, section 3.1 (Ensemble-S: one setting, several seeds; Ensemble-M: several
strides); as in the authors' code, scores are averaged after the activation.

Shapes: S samples, B waveforms, K members, C classes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from auricle.averaging import label_difference
from auricle.errors import CheckpointError, ConfigError, UserError
from auricle.inference import names
from auricle.inference.classifier import Classifier
from auricle.inference.windows import DEFAULT_LIMITS, Limits, Sound


class Ensemble:
    """Classifiers with the same labels as one; evaluation takes it like a `Classifier`.

    Members may differ in model, stride, front end, sample rate and window length: each scores a
    recording in its own windows. A label counts by its name, wherever it stands in a member's list;
    scores are in the order of the first member's labels.

    Args:
        members: at least two.
        member_names: what messages and reports call them by.
        weights: one above 0 for each member, of any sum; None: all count the same.

    Raises:
        CheckpointError: fewer than two members, or their labels or activations differ.
        ConfigError: weights that are not one positive number for each member.
    """

    def __init__(
        self,
        members: Sequence[Classifier],
        member_names: Sequence[str],
        weights: Sequence[float] | None = None,
    ):
        if len(members) < 2:
            raise CheckpointError(f"an ensemble needs at least two members, got {len(members)}.")
        self.members = list(members)
        self.names = list(member_names)
        self.labels = list(self.members[0].labels)
        self._columns = [self._columns_of(place) for place in range(len(members))]
        self.weights = _shares(weights, len(members))

    @classmethod
    def load(
        cls,
        names_or_paths: Sequence[str | Path],
        device: str = "auto",
        weights: Sequence[float] | None = None,
    ) -> Self:
        """An ensemble of what `Classifier.load` calls so.

        Raises:
            CheckpointError: a member is named twice or cannot be used, or they do not fit together.
        """
        names.check_distinct(names_or_paths)
        members = []
        for name in names_or_paths:
            found = names.resolve(name)
            names.check_labels(found, name)
            members.append(Classifier(found, device))
        return cls(members, [str(name) for name in names_or_paths], weights)

    def score_members(
        self, sounds: Sequence[Sound], limits: Limits = DEFAULT_LIMITS
    ) -> Iterator[Tensor | UserError]:
        """Each member's scores `(K, C)` of each sound file, or the error of one, in order.

        Every member reads the files itself, at its own sample rate.
        """
        sides = [member.score_files(sounds, limits) for member in self.members]
        for found in zip(*sides, strict=True):
            pairs = zip(found, self._columns, strict=True)
            rows = [each[columns] for each, columns in pairs if isinstance(each, Tensor)]
            errors = [each for each in found if isinstance(each, UserError)]
            yield errors[0] if errors else torch.stack(rows)

    def score_files(
        self, sounds: Sequence[Sound], limits: Limits = DEFAULT_LIMITS
    ) -> Iterator[Tensor | UserError]:
        """Scores `(C,)` of each sound file, or the error of one member, in order."""
        for found in self.score_members(sounds, limits):
            yield found if isinstance(found, UserError) else self.join(found)

    def join(self, scores: Tensor) -> Tensor:
        """The members' scores `(..., K, C)` as the ensemble's `(..., C)`: their weighted mean."""
        weights = torch.tensor(self.weights, dtype=torch.float64)
        # A mean of scores up to 1 stays there, whatever the last digit of the weights.
        return (scores.double() * weights[:, None]).sum(dim=-2).clamp(max=1.0).float()

    def _columns_of(self, place: int) -> list[int]:
        """Where the labels of the ensemble stand among those of a member."""
        first, member = self.members[0], self.members[place]
        if set(member.labels) != set(self.labels):
            raise CheckpointError(
                f"{self.names[place]}: its labels are not those of {self.names[0]}: "
                f"{label_difference(self.labels, list(member.labels))}. Members of an ensemble "
                "know the same labels."
            )
        activation, expected = (
            classifier.checkpoint.config.activation for classifier in (member, first)
        )
        if activation != expected:
            raise CheckpointError(
                f"{self.names[place]}: gives scores by {activation}, {self.names[0]} by "
                f"{expected}. Scores of both kinds have no common scale, so that their mean would "
                "mean nothing."
            )
        return [member.labels.index(label) for label in self.labels]


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """The weights, so that they sum to 1."""
    if weights is None:
        return [1 / count] * count
    if len(weights) != count or not all(0 < weight < float("inf") for weight in weights):
        raise ConfigError(
            f"weights: expected {count} numbers above 0, one for each member, got "
            f"[{', '.join(f'{weight:g}' for weight in weights)}]."
        )
    return [weight / sum(weights) for weight in weights]
