"""The parts of a checkpoint: settings, filterbank and model, and the path through these.

Shapes: B clips, S samples, C classes, D width.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from auricle import features, models
from auricle.config import Label, Settings
from auricle.errors import CheckpointError, ConfigError
from auricle.features import AnyFilterbankConfig, Filterbank
from auricle.models import Model

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_OF_A_SETTING = 2**20  # larger than any width, depth, length or rate
MOST_MILLISECONDS = 1000  # of a window, from which tables follow


class CheckpointConfig(Settings):
    """Everything but the weights, as `config.json` holds it."""

    format: Literal[1] = 1
    model: str
    model_settings: dict[str, Any]
    front_end: AnyFilterbankConfig
    id2label: dict[str, Label]  # "0", "1", ...; empty: a start for training, without a head
    activation: Literal["sigmoid", "softmax"]
    thresholds: tuple[float, ...] | None = None
    metrics: dict[str, Any] = {}  # at the time of saving
    provenance: dict[str, Any] = {}
    # To choose a model by: summary, scores, speed, training; `auricle models` prints it.
    about: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        wrong = [key for key in self.id2label if not key.isdecimal()]
        if wrong or sorted(map(int, self.id2label)) != list(range(len(self.id2label))):
            raise ValueError(
                f'id2label must number its {len(self.id2label)} labels "0", "1", ... without a gap'
            )
        names = Counter(self.id2label.values())
        twice = sorted(name for name, count in names.items() if count > 1)
        if twice:
            raise ValueError(f"id2label holds the label {twice[0]!r} more than once")
        if self.thresholds is not None and len(self.thresholds) != len(self.id2label):
            raise ValueError(
                f"thresholds holds {len(self.thresholds)} numbers for {len(self.id2label)} labels"
            )
        return self

    @property
    def labels(self) -> list[str]:
        """Names of the classes in the order of the model's outputs."""
        return [self.id2label[str(index)] for index in range(len(self.id2label))]


class Checkpoint(torch.nn.Module):
    """The one path from waveforms to scores: filterbank, model, activation.

    Build one with `create` or `load`; the constructor only puts the parts together.
    """

    def __init__(self, config: CheckpointConfig, fbank: Filterbank, model: Model):
        super().__init__()
        self.config = config
        self.fbank = fbank
        self.model = model

    @property
    def labels(self) -> list[str]:
        """Names of the classes in the order of the scores."""
        return self.config.labels

    def logits(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Waveforms `(B, S)` of `lengths` samples `(B,)` to logits `(B, C)`."""
        return self.model(*self.fbank(waveforms, lengths))

    def score(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scores `(B, C)` from 0 to 1; with softmax they sum to 1 for each clip."""
        logits = self.logits(waveforms, lengths)
        return logits.softmax(dim=1) if self.config.activation == "softmax" else logits.sigmoid()

    def embed(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings `(B, D)`: what the classifier's last layers read."""
        return self.model.embed(*self.fbank(waveforms, lengths))


def create(
    model: str,
    model_settings: dict[str, Any],
    front_end: AnyFilterbankConfig,
    labels: list[str],
    activation: Literal["sigmoid", "softmax"],
    provenance: dict[str, Any] | None = None,
) -> Checkpoint:
    """A checkpoint with fresh weights and one output for each of `labels`.

    Raises:
        ConfigError: the model's settings are impossible, or do not fit the front end.
    """
    settings = {**model_settings, "num_classes": len(labels), "num_mels": front_end.num_mels}
    config = CheckpointConfig(
        model=model,
        model_settings=models.configure(model, settings).to_dict(),
        front_end=front_end,
        id2label={str(index): label for index, label in enumerate(labels)},
        activation=activation,
        provenance=provenance or {},
    )
    return assemble(config)


def assemble(config: CheckpointConfig) -> Checkpoint:
    """The parts that `config` names, with fresh weights.

    Raises:
        ConfigError: the model's settings are impossible, or do not fit the front end or the labels.
    """
    if config.model_settings.get("num_mels") != config.front_end.num_mels:
        raise ConfigError(
            f"the front end has {config.front_end.num_mels} mel bins, the model "
            f"{config.model_settings.get('num_mels')}."
        )
    if config.model_settings.get("num_classes") != len(config.id2label):
        raise ConfigError(
            f"id2label names {len(config.id2label)} labels, the model has "
            f"{config.model_settings.get('num_classes')} outputs."
        )
    model = models.build(config.model, config.model_settings)
    return Checkpoint(config, features.build(config.front_end), model)


def check_size(config: CheckpointConfig, weights: Mapping[str, Tensor]) -> None:
    """Refuse settings that ask for a larger model than `weights` are of; builds none.

    Raises:
        ConfigError: more parameters, more numbers in one, or a larger setting than there can be.
    """
    most = max(MOST_OF_A_SETTING, *(value.numel() for value in weights.values()), 0)
    number = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal number
        number += 1
        if number > len(weights) or (parameter is not None and parameter.numel() > most):
            raise ConfigError(
                "the settings ask for a larger model than its weights are of; one of the two is "
                "not the model's."
            )

    sections = {"model_settings": config.model_settings, "front_end": config.front_end.to_dict()}
    for name, value in _numbers(sections):
        if abs(value) > (MOST_MILLISECONDS if name.endswith("_ms") else MOST_OF_A_SETTING):
            raise ConfigError(f"{name} is {value:g}, more than any model has.")
    handle = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):  # has shapes, and takes no room
            models.build(config.model, config.model_settings)
    finally:
        handle.remove()


def _numbers(values: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in settings, each with its dotted name."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _numbers(value, f"{name}.{key}".removeprefix("."))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _numbers(value, name)
    elif isinstance(values, int | float):
        yield name, values


def check_tensors(model: Model, weights: dict[str, Tensor], where: str) -> None:
    """Refuse weights that are not exactly the model's, naming what is wrong with which.

    Raises:
        CheckpointError: any tensor is missing, left over, of another shape or kind, or holds a
            number that is none.
    """
    expected = model.state_dict()
    faults = [f"missing {name}" for name in expected if name not in weights]
    faults += [f"left over {name}" for name in weights if name not in expected]
    faults += [
        f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    fitting = [name for name in expected if name in weights] if not faults else []
    for name in fitting:
        value, kind = weights[name], expected[name].dtype
        if value.dtype not in (FLOATS if kind.is_floating_point else (kind,)):
            faults.append(f"{name} holds {value.dtype} instead of {kind}".replace("torch.", ""))
        elif not value.to(kind).isfinite().all():
            faults.append(f"{name} holds numbers that are NaN or infinite")
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise CheckpointError(f"{where}: does not fit the model: {'; '.join(faults[:5])}{more}.")
