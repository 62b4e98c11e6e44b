"""From checked tensors to a checkpoint: the rules and the label lists that all readers share.

Sources of the lists: AudioSet's class_labels_indices.csv; the targets of ESC-50's esc50.csv; the
order of Speech Commands v2 in the class list of the AST authors' recipe.
"""

import csv
import math
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from auricle import checkpoint, models
from auricle.checkpoint import Checkpoint
from auricle.convert import layout
from auricle.convert.source import Source
from auricle.errors import CheckpointError, ConfigError
from auricle.features import AnyFilterbankConfig, PaddingConfig

Activation = Literal["sigmoid", "softmax"]

HEAD_WIDTH = 64  # of every published AST, DeiT and ViT; tensors do not show the number of heads


@dataclass(frozen=True)
class Description:
    """The checkpoint to make of a source, but for its tensors; `notes` name what was assumed."""

    settings: dict[str, Any]
    front_end: AnyFilterbankConfig
    labels: list[str]
    activation: Activation
    notes: list[str] = field(default_factory=list)
    model: str = "ast"


def writable_ast(checkpoint: Checkpoint, layout: str) -> models.ASTConfig:
    """The settings of an AST that can be written in another project's layout.

    Raises:
        CheckpointError: it is another model, has no labels, or another readout than AST's.
    """
    if checkpoint.config.model != "ast":
        raise no_place(layout, f"the model {checkpoint.config.model!r}; only 'ast' can be written")
    if not checkpoint.config.id2label:
        raise no_place(layout, "a model without labels: train it first")
    settings = checkpoint.model.config
    assert isinstance(settings, models.ASTConfig)
    if settings.num_prefix_tokens != 2 or settings.readout != "prefix_mean":
        raise no_place(layout, "this readout: it is always the mean of two prefix tokens")
    return settings


def no_place(layout: str, what: str) -> CheckpointError:
    """The error of a writer whose layout cannot hold `what`."""
    return CheckpointError(f"{layout} has no place for {what}. Use --to auricle.")


def number_of_heads(width: int, path: Path) -> int:
    """Heads of a transformer of `width`, by the rule that published weights follow."""
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{path}: the number of heads is unknown: the width {width} is no multiple of "
            f"{HEAD_WIDTH}. A Hugging Face folder has it in its config.json; use that layout."
        )
    return width // HEAD_WIDTH


def mlp_ratio(width: int, hidden: int) -> float:
    """The setting that gives an MLP of `hidden` units, whatever division rounds to."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def fixed_padding(frames: int) -> PaddingConfig:
    """Padding as all published AST weights know it: zeros up to one length."""
    return PaddingConfig(mode="fixed", frames=frames)


def empty_model(settings: dict[str, Any], path: Path, model: str = "ast") -> dict[str, Tensor]:
    """Names and shapes of the model with `settings`, without memory behind them."""
    try:
        with torch.device("meta"):
            return models.build(model, settings).state_dict()
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def translate(
    tensors: dict[str, Tensor], names: layout.Layout, settings: dict[str, Any], path: Path
) -> dict[str, Tensor]:
    """Our state from tensors of another layout, refused unless they are exactly the model's."""
    empty = empty_model(settings, path)
    expected = layout.to_theirs(empty, names)
    layout.check(tensors, {name: value.shape for name, value in expected.items()}, path)
    rows, columns = empty["positions.grid"].shape[:2]
    return layout.to_ours(tensors, names, rows, columns)


def assemble(
    source: Source, kind: str, description: Description, state: dict[str, Tensor]
) -> Checkpoint:
    """The checkpoint of `description` with the weights of `state`, in eval mode.

    Raises:
        CheckpointError: a tensor holds no floats, or numbers that are NaN or infinite.
    """
    provenance: dict[str, Any] = {"source": source.path.name, "layout": kind}
    if source.dropped:
        provenance["dropped"] = source.dropped
    if description.notes:
        provenance["notes"] = description.notes
    result = checkpoint.create(
        description.model,
        description.settings,
        description.front_end,
        description.labels,
        description.activation,
        provenance,
    )
    checkpoint.check_tensors(result.model, state, str(source.path))
    result.model.load_state_dict(state)
    return result.eval()


def read_labels(name: str) -> list[str]:
    """Labels of the data set `name` ("audioset", "esc50", "speech_commands"), in order."""
    return [row["display_name"] for row in _label_rows(name)]


def audioset_names() -> dict[str, str]:
    """The labels of AudioSet by the identifiers that its files use ("/m/09x0r": "Speech")."""
    return {row["mid"]: row["display_name"] for row in _label_rows("audioset")}


def numbered_labels(num_classes: int) -> list[str]:
    """Names for classes that nothing is known of: "class 0", "class 1", ..."""
    return [f"class {index}" for index in range(num_classes)]


def _label_rows(name: str) -> list[dict[str, str]]:
    path = resources.files("auricle.convert") / "label_lists" / f"{name}.csv"
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
