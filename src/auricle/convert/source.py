"""A file or folder of another project: opened, and not yet understood.

`.safetensors` files hold tensors and nothing else; PyTorch's are in `pickles.py`. ONNX files that
torch exported keep most names, but store the matrix of a linear layer transposed and anonymous
(`onnx::MatMul_1966`), and split a position table into anonymous constants. The nodes that use them
still have the path of their module, which gives the names back.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from auricle.config import parse_json
from auricle.convert import pickles
from auricle.errors import CheckpointError, missing_extra

ANONYMOUS = "onnx::"
FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read


@dataclass(frozen=True)
class Options:
    """Settings that the tensors of a source may leave open."""

    stride: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Source:
    """Tensors by name, and what is beside them: JSON files in a folder, entries in a file."""

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
        values = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}.")
    return values


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in the file at `path`; such a file has nothing else.

    Raises:
        CheckpointError: the file is empty, cut off, or something else under this name.
    """
    with path.open("rb"):
        pass  # safetensors says of a file that may not be read that there is none
    try:
        return load_file(path), {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: not a whole .safetensors file ({error}). Download or copy it again."
        ) from error


def read_onnx(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in the ONNX file at `path`; nothing is read that stands beside them.

    Raises:
        CheckpointError: the file is no ONNX model, or holds no weights.
        MissingExtraError: the package onnx is not installed.
    """
    graph = _graph(path)
    from onnx import numpy_helper

    constants = {
        value.name: torch.from_numpy(numpy_helper.to_array(value).copy())
        for value in graph.initializer
    }
    if not constants:
        raise CheckpointError(f"{path}: not an ONNX model with weights. Download or copy it again.")
    tensors = {name: value for name, value in constants.items() if ANONYMOUS not in name}
    tables: dict[str, list[str]] = {}  # parts of position tables by the module they belong to
    for node in graph.node:
        for name in node.input:
            if name not in constants or name in tensors:
                continue
            module = node.name.strip("/").rpartition("/")[0].replace("/", ".")
            if node.op_type == "MatMul":
                tensors[f"{module}.weight"] = constants[name].T.contiguous()
            elif constants[name].ndim == 3:
                tables.setdefault(module, []).append(name)
    for module, names in tables.items():
        tensors[f"{module}.position_embeddings"] = _join([constants[name] for name in names])
    return tensors, {}


def _join(parts: list[Tensor]) -> Tensor:
    """A position table `(1, P + N, D)` from its parts; the prefix tokens' is the shorter one."""
    return torch.cat(sorted(parts, key=lambda part: part.shape[1]), dim=1)


def _graph(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing_extra("onnx", "export", "Reading weights from an ONNX file") from error
    try:
        return onnx.load(path).graph
    except DecodeError as error:
        raise CheckpointError(
            f"{path}: not an ONNX model with weights. Download or copy it again."
        ) from error


TENSOR_FILES = {
    ".pth": pickles.read,
    ".pt": pickles.read,
    ".bin": pickles.read,
    ".safetensors": read_safetensors,
    ".onnx": read_onnx,
}
