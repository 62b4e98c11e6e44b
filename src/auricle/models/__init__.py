"""Models: features to scores. One file per paper; tensors only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from auricle.config import from_dict
from auricle.errors import ConfigError, unknown_name
from auricle.models.asda import ASDA, ASDA_SIZES, ASDAConfig
from auricle.models.ast import AST, ASTConfig
from auricle.models.ced import CED, CED_SIZES, CEDConfig
from auricle.models.ham_ast import HAMASTConfig, build_ham_ast
from auricle.models.mobilenet import WIDTHS, MobileNet, MobileNetConfig
from auricle.models.model import (
    SIZES,
    ColumnEmbeddings,
    ColumnGrid,
    Model,
    ModelConfig,
    PatchTransformer,
)
from auricle.models.multiscale_ast import MULTISCALE_SIZES, MultiscaleAST, MultiscaleASTConfig
from auricle.models.transfer import (
    InitialPositions,
    TransferReport,
    adapt_positions,
    transfer,
)


@dataclass(frozen=True)
class ModelEntry:
    """The settings of a model and what builds it from them.

    Attributes:
        sizes: settings of the published sizes, by name.
        front_end: the kind of filterbank with which the published sizes were trained.
    """

    config: type[ModelConfig]
    build: Callable[[Any], Model]
    sizes: dict[str, dict[str, Any]]
    front_end: str = "fbank"


MODELS = {
    "asda": ModelEntry(ASDAConfig, ASDA, ASDA_SIZES),
    "ast": ModelEntry(ASTConfig, AST, SIZES),
    "ced": ModelEntry(CEDConfig, CED, CED_SIZES, "ced"),
    "ham_ast": ModelEntry(HAMASTConfig, build_ham_ast, SIZES),
    "multiscale_ast": ModelEntry(MultiscaleASTConfig, MultiscaleAST, MULTISCALE_SIZES),
    "mobilenet": ModelEntry(MobileNetConfig, MobileNet, WIDTHS, "efficientat"),
}


def configure(name: str, settings: dict[str, Any], where: str = "model") -> ModelConfig:
    """The validated settings of model `name`; the key `size` stands for a published size.

    Raises:
        ConfigError: unknown model, size or key, or an impossible value.
    """
    sized = with_size(name, settings, where)
    return from_dict(MODELS[name].config, sized, where)


def with_size(name: str, settings: dict[str, Any], where: str) -> dict[str, Any]:
    """The `settings` of model `name` with those of the published size that `size` names, if any."""
    if name not in MODELS:
        raise ConfigError(f"{where}: {unknown_name('model', name, MODELS)}")
    sizes, settings = MODELS[name].sizes, dict(settings)
    size = settings.pop("size", None)
    if size is not None and str(size) not in sizes:
        raise ConfigError(f"{where}: {unknown_name('size', str(size), sizes)}")
    return {**sizes.get(size, {}), **settings}


def build(name: str, settings: dict[str, Any]) -> Model:
    """A model with fresh weights, in float32 whatever torch's default is.

    Raises:
        ConfigError: as `configure` does.
    """
    config, default = configure(name, settings), torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return MODELS[name].build(config)
    finally:
        torch.set_default_dtype(default)
