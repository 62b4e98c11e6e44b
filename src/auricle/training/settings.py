"""The section `training` of a recipe, for each of its kinds, and its losses.

Shapes: B clips, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.training.optimizer import (
    LayerwiseOptimizerConfig,
    OptimizerConfig,
    ScheduleConfig,
    WarmupCosineConfig,
)


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


class TrainingConfig(Settings):
    """Settings of a training run, whatever is trained."""

    epochs: int = Field(ge=1)
    validate_every: int = Field(default=1, ge=1)  # epochs; the last one is always validated
    batch_size: int = Field(ge=1)  # clips of one step of the optimizer, over all processes
    # Parts that a process takes its share of a batch in, to need less memory; sums of rounding
    # and what the clips of a part do to each other (mixup) aside, results do not depend on it.
    accumulate: int = Field(default=1, ge=1)
    optimizer: OptimizerConfig
    schedule: ScheduleConfig = WarmupCosineConfig()
    # auto: bf16-mixed where the device has instructions for it, else 32-true.
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    gradient_clip: float = Field(default=0.0, ge=0)  # largest norm of the gradient; 0: no limit
    # balanced: every label is drawn as often; square_root: half way (on a logarithmic scale) to it;
    # length: a recording as often as crops fit into it.
    sampling: Literal["shuffle", "balanced", "square_root", "length"] = "shuffle"
    # Clips of a batch are about as long as each other, so that less is computed on padding.
    similar_lengths: bool = False
    early_stop: int | None = Field(default=None, ge=1)  # epochs without a better one
    loggers: tuple[Literal["wandb", "mlflow"], ...] = ()  # beside CSV and TensorBoard

    @property
    def step_average(self) -> float:
        """Decay of the moving average of the weights over the steps; 0: none."""
        return 0.0

    @property
    def epoch_average(self) -> tuple[int, int] | None:
        """First and last epoch whose weights are averaged, from 1."""
        return None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}"
            )
        return self


class ClassifierTrainingConfig(TrainingConfig):
    """Settings of a run that trains a model with classes: from labels, or from a teacher."""

    loss: Literal["bce", "ce"] = "bce"  # bce: any number of labels a clip; ce: exactly one
    # Decay of an exponential moving average of the weights, which is then what is validated and
    # saved; 0: none.
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    # First and last epoch, from 1, whose weights are averaged into `average/` (AST: the last ones).
    average_epochs: tuple[int, int] | None = None

    @property
    def step_average(self) -> float:
        """Decay of the moving average of the weights over the steps; 0: none."""
        return self.average_decay

    @property
    def epoch_average(self) -> tuple[int, int] | None:
        """First and last epoch whose weights are averaged, from 1."""
        return self.average_epochs

    @model_validator(mode="after")
    def _check_average(self) -> Self:
        if self.average_epochs is not None:
            first, last = self.average_epochs
            if not 1 <= first <= last <= self.epochs:
                raise ValueError(
                    f"average_epochs [{first}, {last}] must lie in 1 to {self.epochs}, the first "
                    "not after the last"
                )
        return self


class SupervisedConfig(ClassifierTrainingConfig):
    """Settings of a run that learns from labels."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    # What chooses the best epoch; None: mAP with bce, accuracy with ce. Accuracy needs clips of
    # one label each.
    best_by: Literal["mAP", "accuracy"] | None = None
    optimizer: LayerwiseOptimizerConfig
    # Not by length: a recording with labels is looked through whole for each crop.
    sampling: Literal["shuffle", "balanced", "square_root"] = "shuffle"
    freeze: Literal["none", "backbone"] = "none"  # backbone: only what is new to the weights learns

    @property
    def score(self) -> Literal["mAP", "accuracy"]:
        """The metric that chooses the best epoch."""
        return self.best_by or LOSSES[self.loss].best_by
