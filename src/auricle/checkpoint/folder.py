"""Checkpoints in folders: read strictly, and written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from auricle.atomic import folder_beside, previous_of, write_text
from auricle.checkpoint.parts import (
    Checkpoint,
    CheckpointConfig,
    assemble,
    check_size,
    check_tensors,
)
from auricle.config import from_dict, parse_json, to_json
from auricle.errors import CheckpointError, ConfigError, printable, quoted, refused

FORMAT: Literal[1] = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FOREIGN_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
CARD_FILE = "README.md"
CHECKPOINTS_SHOWN = 3  # of a folder that holds several
MOST_BYTES = 2**26  # of a configuration


def load(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, in eval mode, on the CPU, in float32.

    The weights are looked at before the model is built, so that no setting can ask for more room
    than they take.

    Raises:
        CheckpointError: a file is missing or damaged, or weights, labels and settings disagree.
    """
    folder = Path(folder)
    previous = previous_of(folder)
    if not folder.exists() and previous.exists():  # a write was cut off between its two renames
        folder = previous
    config = _read_config(folder / CONFIG_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE)
    try:
        check_size(config, weights)
        checkpoint = assemble(config)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from error
    check_tensors(checkpoint.model, weights, str(folder / WEIGHTS_FILE))
    checkpoint.model.load_state_dict(weights)  # copies into float32 parameters
    return checkpoint.eval()


def save(
    checkpoint: Checkpoint,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    card: str | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write `checkpoint` to `folder`; a checkpoint that is there stays until the new one is whole.

    Other files beside a checkpoint, such as notes or `.git`, are kept.

    Args:
        dtype: how floating-point weights are stored; they are loaded as float32 either way.
        card: text of the model card; made from the configuration when None.
        weights: by the names of the model's own, which are written when None.

    Raises:
        CheckpointError: the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file, not a folder; choose another place.")
    if folder.exists() and not (folder / CONFIG_FILE).exists() and any(folder.iterdir()):
        raise CheckpointError(
            f"{folder}: holds other files and no checkpoint; choose an empty or new folder."
        )
    try:
        with folder_beside(folder) as stage:
            chosen = checkpoint.model.state_dict() if weights is None else weights
            stored = {
                name: value.detach().to("cpu", dtype if value.is_floating_point() else None)
                for name, value in chosen.items()
            }
            contiguous = {name: value.contiguous() for name, value in stored.items()}
            save_file(contiguous, stage / WEIGHTS_FILE, metadata={"format": "pt"})
            text = to_json(checkpoint.config.to_dict(), indent=2)
            (stage / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
            (stage / CARD_FILE).write_text(card or _card(checkpoint), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint could not be written ({error}). "
            "What was there before is unchanged."
        ) from error


def check_new(folder: Path) -> None:
    """Refuse a place for a checkpoint where something lies already.

    Raises:
        CheckpointError: it is a file, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder}: exists already. Choose a new folder for --out.")


def store_thresholds(folder: Path, thresholds: list[float], chosen_on: dict[str, Any]) -> None:
    """Write the thresholds of the classes into the checkpoint in `folder`; weights stay untouched.

    Args:
        chosen_on: what clips they were chosen on, for the provenance.

    Raises:
        CheckpointError: there is no checkpoint, or it cannot be written.
        ConfigError: not one threshold for each label.
    """
    path = Path(folder) / CONFIG_FILE
    values = _read_config(path).to_dict()
    values["thresholds"] = thresholds
    values["provenance"] = values["provenance"] | {"thresholds": chosen_on}
    _write_config(from_dict(CheckpointConfig, values, str(path)), path)


def store_description(folder: Path, config: CheckpointConfig, card: str) -> None:
    """Replace the description of the checkpoint in `folder`: `about`, metrics, provenance, card.

    Raises:
        CheckpointError: there is no checkpoint, it cannot be written, or `config` is of another.
    """
    path = Path(folder) / CONFIG_FILE
    described = {"about": config.about, "metrics": config.metrics, "provenance": config.provenance}
    if _read_config(path).model_copy(update=described) != config:
        raise CheckpointError(f"{path}: is not the checkpoint that is described; nothing was done.")
    _write_config(config, path)
    write_text(Path(folder) / CARD_FILE, card)


def _write_config(config: CheckpointConfig, path: Path) -> None:
    with refused(CheckpointError, f"{path}: cannot be written"):
        write_text(path, to_json(config.to_dict(), indent=2) + "\n")


def _run_hint(folder: Path) -> str:
    """The checkpoints in the folder of a run, or of several."""
    inside = [*folder.glob(f"*/{CONFIG_FILE}"), *folder.glob(f"*/*/{CONFIG_FILE}")]
    checkpoints = sorted(
        str(path.parent)
        for path in inside
        if path.with_name(WEIGHTS_FILE).exists() and not path.parent.name.startswith(".")
    )
    if not checkpoints:
        return ""
    more = ", ..." if len(checkpoints) > CHECKPOINTS_SHOWN else ""
    return f" Checkpoints in it: {', '.join(checkpoints[:CHECKPOINTS_SHOWN])}{more}"


def _weights_hint(folder: Path) -> str:
    """The command that makes a checkpoint of the one file of weights in a folder."""
    files = [path for path in folder.iterdir() if path.suffix in FOREIGN_WEIGHTS]
    if len(files) != 1 or files[0].name == WEIGHTS_FILE:
        return ""
    return f" Its weights become one with: auricle convert {files[0]} FOLDER"


def _read_config(path: Path) -> CheckpointConfig:
    if not path.parent.is_dir():
        raise CheckpointError(f"{path.parent}: no such checkpoint folder.")
    if not path.exists():
        raise CheckpointError(
            f"{path.parent}: holds no {CONFIG_FILE}, so it is not a checkpoint of auricle."
            + (_run_hint(path.parent) or _weights_hint(path.parent))
        )
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES // 2**20} MB")
        values = _printable(parse_json(content))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(values, dict) or "format" not in values:
        raise CheckpointError(
            f"{path}: has no 'format', so it is not a checkpoint of auricle. A checkpoint of "
            "another project becomes one with: auricle convert SOURCE FOLDER"
        )
    if values["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: has format {quoted(values['format'])}, this version of auricle reads "
            f"{FORMAT}."
        )
    try:
        return from_dict(CheckpointConfig, values, str(path), hint=False)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def _printable(value: Any) -> Any:
    """A copy of values from JSON without text that a terminal would obey."""
    if isinstance(value, dict):
        return {printable(key): _printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_printable(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        path.open("rb").close()  # safetensors calls an unreadable file missing
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent}: holds no {WEIGHTS_FILE}.") from error
    except PermissionError as error:
        raise CheckpointError(
            f"{path}: permission denied. Make it readable for the user who runs this."
        ) from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}).") from error


def _card(checkpoint: Checkpoint) -> str:
    """A model card from what the configuration knows."""
    config = checkpoint.config
    task, what = "audio-classification", f"{len(config.id2label)} classes"
    if not config.id2label:
        task, what = "feature-extraction", "a start for training"
    lines = ["---", "library_name: auricle", f"pipeline_tag: {task}", "---", ""]
    lines += [f"# {config.model}, {what}", ""]
    provenance = {key: value for key, value in config.provenance.items() if key != "trained_on"}
    for title, values in (("Scores", config.metrics), ("Provenance", provenance)):
        if values:
            lines += [f"## {title}", "", "| | |", "|---|---|"]
            lines += [f"| {key} | {value} |" for key, value in values.items()] + [""]
    lines += ["## Labels", "", ", ".join(config.labels) or "none", ""]
    return "\n".join(lines)
