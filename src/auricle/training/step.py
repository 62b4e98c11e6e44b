"""What can be trained: the interface between the loop in `fit` and a way of learning.

Shapes: B clips.
"""

from typing import Any, Protocol

from torch import Tensor, nn


class Step(Protocol):
    """What is trained and how: an nn.Module, of which `model` holds all weights."""

    new_parameters: frozenset[str]  # names in `model` that are not from initial weights

    @property
    def model(self) -> nn.Module:
        """What learns."""

    @property
    def best_by(self) -> str:
        """The name in `metrics` that chooses the best epoch; larger is better."""

    def to_save(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the weights of `model` those that a checkpoint keeps, by the names it has for them."""

    def loss(self, batch: Any) -> Tensor:
        """The loss of a training batch, a scalar."""

    def idle(self) -> Tensor:
        """Zero, through the whole model: for a process that has no clip while others have some."""

    def validate(self, batch: Any) -> tuple[Tensor, ...]:
        """What `metrics` needs of a validation batch; the first dimension of each is B."""

    def metrics(self, outputs: list[Any]) -> dict[str, Any]:
        """Numbers of a validation from all its outputs; `validation_loss` is among them."""
