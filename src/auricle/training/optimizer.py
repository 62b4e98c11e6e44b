"""Which parameters learn how fast: optimizers, and the learning rate as a function of the step.

Steps and epochs are counted from 0. A recipe names a schedule and gives its settings:

    schedule: {name: multistep, warmup_steps: 1000, start: 2, factor: 0.5}
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, Tag
from torch import nn

from auricle.config import Settings, discriminated_by_name
from auricle.errors import ConfigError
from auricle.models import Model

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class OptimizerConfig(Settings):
    """Settings of the optimizer.

    adamw decays weights separately from the gradient, and only those of two dimensions and more, so
    that norms, biases and scales are free. adam adds the decay of every parameter to its gradient,
    as AST's authors do.
    """

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    # Factor for modules that the initial weights do not have (spec C: "learning rate of new
    # modules", 1 in the HAM paper).
    new_modules_factor: float = Field(default=1.0, gt=0)


class LayerwiseOptimizerConfig(OptimizerConfig):
    """The same with a rate of its own for each layer of a `Model`."""

    # The rate of a layer of `Model.layers` is multiplied by this to the power of the layers that
    # follow it; 1: all learn alike. Source: Bao et al. 2022 (BEiT), as released.
    layer_decay: float = Field(default=1.0, gt=0, le=1)


def build(
    model: nn.Module,
    config: OptimizerConfig,
    new: Collection[str] = (),
) -> torch.optim.Optimizer:
    """The optimizer for what learns in `model`, in groups of one rate and decay each.

    Args:
        new: names of the parameters that `new_modules_factor` applies to.

    Raises:
        ConfigError: layer decay for what is no `Model`, or does not name all its layers.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    rates = _rates(model, config, new)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_free = config.name == "adamw" and parameter.dim() < 2
        rate = rates[name]
        groups.setdefault((rate, 0.0 if is_free else config.weight_decay), []).append(parameter)
    described = [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
    return OPTIMIZERS[config.name](described, betas=config.betas)  # type: ignore[call-arg]


def _rates(model: nn.Module, config: OptimizerConfig, new: Collection[str]) -> dict[str, float]:
    """The learning rate of every parameter, by name."""
    layers = {name: 0 for name, _ in model.named_parameters()}
    decay = config.layer_decay if isinstance(config, LayerwiseOptimizerConfig) else 1.0
    if decay < 1:
        if not isinstance(model, Model):
            raise ConfigError(
                f"training.optimizer.layer_decay: {type(model).__name__} has no layers to decay by."
            )
        layers = model.parameter_layers()
    last = max(layers.values(), default=0)
    factors = {name: config.new_modules_factor if name in new else 1.0 for name in layers}
    return {
        name: config.learning_rate * factors[name] * decay ** (last - layer)
        for name, layer in layers.items()
    }


class MultiStepConfig(Settings):
    """Settings of AST's authors' schedule: a warm-up in stairs, then a factor every few epochs.

    Their warm-up sets the rate every 50 steps, so that the first 50 steps do not learn.
    Source: their code, YuanGongND/ast, src/traintest.py and the scripts in egs/. It forgets decays
    that fall into the warm-up; here both factors are multiplied.
    """

    name: Literal["multistep"] = "multistep"
    warmup_steps: int = Field(default=0, ge=0)  # AudioSet: 1000
    warmup_update_every: int = Field(default=50, ge=1)  # steps
    start: int = Field(ge=1)  # epochs at the full rate
    every: int = Field(default=1, ge=1)  # epochs between two decays
    factor: float = Field(gt=0, le=1)


class WarmupCosineConfig(Settings):
    """Settings of a linear warm-up, then half a cosine down to a fraction of the rate.

    Source: Loshchilov and Hutter 2017, without restarts.
    """

    name: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_fraction: float = Field(default=0.1, ge=0, lt=1)  # of all steps
    final_fraction: float = Field(default=0.0, ge=0, le=1)  # of the learning rate


ScheduleConfig = Annotated[
    Annotated[MultiStepConfig, Tag("multistep")]
    | Annotated[WarmupCosineConfig, Tag("warmup_cosine")],
    discriminated_by_name("warmup_cosine"),
]


@dataclass(frozen=True)
class Length:
    """How long a run is."""

    steps_per_epoch: int
    epochs: int


def multistep(config: MultiStepConfig, step: int, length: Length) -> float:
    """Factor at `step` by the schedule of AST's authors."""
    epoch = step // length.steps_per_epoch
    decays = 0 if epoch < config.start else (epoch - config.start) // config.every + 1
    warmup = 1.0
    if step < config.warmup_steps:
        warmup = step // config.warmup_update_every * config.warmup_update_every
        warmup /= config.warmup_steps
    return warmup * config.factor**decays


def warmup_cosine(config: WarmupCosineConfig, step: int, length: Length) -> float:
    """Factor at `step`: up in a line, down in half a cosine; `final_fraction` after the end."""
    total = length.steps_per_epoch * length.epochs
    warmup_steps = round(config.warmup_fraction * total)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min((step - warmup_steps) / max(1, total - warmup_steps), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.final_fraction + (1 - config.final_fraction) * cosine


SCHEDULES: dict[str, Callable[[Any, int, Length], float]] = {
    "multistep": multistep,
    "warmup_cosine": warmup_cosine,
}


def curve(config: ScheduleConfig, length: Length) -> Callable[[int], float]:
    """The schedule as a function of the step."""
    return lambda step: SCHEDULES[config.name](config, step, length)
