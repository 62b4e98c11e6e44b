"""Tensors out of `.safetensors` files."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from auricle.errors import CheckpointError


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in the file at `path`; nothing else can stand in such a file.

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
