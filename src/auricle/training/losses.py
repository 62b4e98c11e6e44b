"""Losses on logits, each with the activation it trains for and the score that tells the best.

Shapes: B clips, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from auricle.errors import ConfigError


class Diverged(ConfigError):
    """What a model has learned is no longer numbers."""

    def __init__(self, found: str):
        super().__init__(
            f"{found} Lower training.optimizer.learning_rate, set training.gradient_clip, or use "
            "training.precision=32-true."
        )


@dataclass(frozen=True)
class Loss:
    """A loss `(logits (B, C), targets (B, C)) -> mean` and what goes with it."""

    function: Callable[[Tensor, Tensor], Tensor]
    activation: Literal["sigmoid", "softmax"]  # logits to scores
    # The validation metric that chooses the best epoch where a recipe names none; larger is better.
    best_by: Literal["mAP", "accuracy"]


# Both take logits (no activation comes before) and probabilities as targets, as mixup needs.
LOSSES = {
    "bce": Loss(F.binary_cross_entropy_with_logits, "sigmoid", "mAP"),
    "ce": Loss(F.cross_entropy, "softmax", "accuracy"),
}


def smooth(targets: Tensor, amount: float) -> Tensor:
    """Targets `(B, C)` with the share `amount` of each spread evenly over all classes.

    Source: Szegedy et al. 2016, section 7.
    """
    return targets * (1 - amount) + amount / targets.shape[1]
