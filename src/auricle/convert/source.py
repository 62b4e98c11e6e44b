"""A file or folder of another project: opened, and not yet understood."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from auricle.convert import onnx_weights, pickles, safetensors_file
from auricle.errors import CheckpointError

TENSOR_FILES = {
    ".pth": pickles.read,
    ".pt": pickles.read,
    ".bin": pickles.read,
    ".safetensors": safetensors_file.read,
    ".onnx": onnx_weights.read,
}
FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read


@dataclass(frozen=True)
class Options:
    """What the tensors of a source may leave open and a person can say."""

    stride: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Source:
    """Tensors by name, and what stands beside them: JSON files in a folder, entries in a file."""

    path: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any] | None = None
    preprocessor: dict[str, Any] | None = None
    beside: dict[str, Any] = field(default_factory=dict)  # of the file, anything but its weights
    dropped: list[str] = field(default_factory=list)  # names of what goes into no model


def open_source(path: Path) -> Source:
    """The tensors in the file or folder at `path`.

    Raises:
        CheckpointError: there is nothing, it cannot be read, or is no kind of file known here.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder.")
    try:
        return _open_folder(path) if path.is_dir() else _open_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).") from error


def _open_file(path: Path) -> Source:
    read = TENSOR_FILES.get(path.suffix.lower())
    if read is None:
        known = ", ".join(TENSOR_FILES)
        raise CheckpointError(f"{path}: not a file of weights. Known endings: {known}.")
    tensors, beside = read(path)
    return Source(path, tensors, beside=beside, dropped=list(beside))


def _open_folder(path: Path) -> Source:
    config = read_json(path / "config.json")
    weights = next((path / name for name in FOLDER_WEIGHTS if (path / name).exists()), None)
    if config is None or weights is None:
        missing = "config.json" if config is None else " or ".join(FOLDER_WEIGHTS)
        raise CheckpointError(f"{path}: holds no {missing}, so it is no folder of Hugging Face.")
    opened = _open_file(weights)
    preprocessor = read_json(path / "preprocessor_config.json")
    return Source(path, opened.tensors, config, preprocessor, opened.beside, opened.dropped)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in the file at `path`, or None where there is no such file."""
    try:
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}.")
    return values
