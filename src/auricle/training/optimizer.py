"""Optimizers: which parameters learn how fast, and which are pulled towards zero."""

from collections.abc import Collection
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.models import Model

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class OptimizerConfig(Settings):
    """Settings of the optimizer.

    adamw decays weights apart from the gradient, and only those of two dimensions and more, so
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
