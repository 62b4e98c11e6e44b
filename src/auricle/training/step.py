"""What can be trained: the interface between the loop in `fit` and a way of learning.

Shapes: B clips.
"""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Step(nn.Module, ABC):
    """What is trained and how; `model` holds all weights.

    Attributes:
        model: what learns.
        new_parameters: names in `model` that are not from initial weights.
        best_by: the name in `metrics` that chooses the best epoch; larger is better.
    """

    model: nn.Module
    new_parameters: frozenset[str] = frozenset()
    best_by: str

    def to_save(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the weights of `model` those that a checkpoint keeps, by the names it has for them."""
        return weights

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a training batch, a scalar."""

    def terms(self) -> dict[str, Tensor]:
        """Of what the last loss consisted: for the step logs, and as means of the epoch."""
        return {}

    def updated(self, count: int) -> None:
        """Do what follows the step of the optimizer with this number, from 1."""

    @abstractmethod
    def idle(self) -> Tensor:
        """Zero, through the whole model: for a process that has no clip while others have some."""

    @abstractmethod
    def validate(self, batch: Any) -> tuple[Tensor, ...]:
        """What `metrics` needs of a validation batch; the first dimension of each is B."""

    @abstractmethod
    def metrics(self, outputs: list[Any]) -> dict[str, Any]:
        """Numbers of a validation from all its outputs; `validation_loss` is among them."""
