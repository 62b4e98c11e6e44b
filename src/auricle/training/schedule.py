"""Learning rate as a function of the step, as a factor of the optimizer's own.

Steps and epochs are counted from 0. A recipe names a schedule and gives its settings:

    schedule: {name: multistep, warmup_steps: 1000, start: 2, factor: 0.5}
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from auricle.config import Settings, told_apart_by_name


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
    told_apart_by_name("warmup_cosine"),
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
