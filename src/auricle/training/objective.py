"""What pretraining without labels is told to learn: the interface of its objectives.

Shapes: B clips, N places, D width.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auricle.models import PatchTransformer

EPSILON = 1e-6


class Terms(NamedTuple):
    """The loss of each clip and of what it consists, `(B,)`; and what shows a collapse, scalars."""

    loss: Tensor
    parts: dict[str, Tensor]  # by name, unweighted
    target_deviation: Tensor  # `deviation` of the targets and of what was said
    prediction_deviation: Tensor
    embedding_deviation: Tensor  # `relative_deviation` of what the student made of visible patches


class Objective(nn.Module, ABC):
    """What is to be learned: a student, and whatever else learns beside it.

    Attributes:
        part_names: the keys of `Terms.parts`, in their order.
        can_collapse: whether what is to be said follows from what was learned, and may become the
            same everywhere.
    """

    student: PatchTransformer
    part_names: tuple[str, ...]
    can_collapse: bool = True

    @abstractmethod
    def forward(self, features: Tensor, frame_counts: Tensor | None) -> Terms:
        """The terms of features `(B, T, M)`, with masks from the global generator.

        Raises:
            ConfigError: a clip is too short to hide the share of its patches.
        """

    def named(self, *parts: Tensor) -> dict[str, Tensor]:
        """The parts of a loss by their names."""
        return dict(zip(self.part_names, parts, strict=True))

    def updated(self, count: int) -> None:
        """Do what follows the step of the optimizer with this number, from 1."""


def widened(values: Tensor) -> Tensor:
    """`values` in float32 at least: 16 bits are too coarse for a loss."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def deviation(vectors: Tensor) -> Tensor:
    """How much vectors `(N, D)` differ: the root of their variance over N, mean over D, a scalar.

    Where all are the same it is nearly 0. Source: data2vec 2.0, as released.
    """
    variance = vectors.detach().float().var(dim=0, correction=0)
    return (variance + EPSILON).sqrt().mean()


def relative_deviation(vectors: Tensor) -> Tensor:
    """How much vectors `(N, D)` differ as a share of their size: 0 where all are the same, to 1."""
    vectors = vectors.detach().float()
    apart = vectors - vectors.mean(dim=0)
    return (apart.square().mean() / (vectors.square().mean() + EPSILON)).sqrt()
