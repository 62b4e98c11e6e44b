"""Tensors out of ONNX files that torch exported, under the names of the modules they came from.

The exporter keeps most names, but stores the matrix of a linear layer transposed and anonymous
(`onnx::MatMul_1966`), and splits a position table into anonymous constants. The nodes that use
them still carry the path of their module, which gives the names back.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.errors import CheckpointError, missing_extra

ANONYMOUS = "onnx::"


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
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
