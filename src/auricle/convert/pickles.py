"""Tensors out of PyTorch files (`.pth`, `.pt`, `.bin`), without running anything that is in them.

A PyTorch file is a pickle, and a pickle is a program. `torch.load(weights_only=True)` interprets
only the few instructions that build tensors and containers; whatever else is in the file makes it
stop before anything runs, and the file is refused here with the name of what it asked for.

Files of fairseq hold the settings of their training as objects of its packages. They are read with
something inert in the place of each: what a pickle can do is what the names in it stand for, and
here three names stand for what builds tensors and dictionaries, every other for `Inert`, which
takes all it is given and does nothing.
"""

import pickle
import re
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from auricle.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"  # the first byte of every pickle since protocol 2
NOT_RUN = (
    "Nothing in it was run. If you trust its origin, load it where it was made, save only the "
    "state_dict() (as .safetensors or with torch.save) and convert that."
)
WRAPPERS = ("model", "state_dict")  # entries under which training scripts store the weights
FAIRSEQ = {"model", "cfg"}  # entries of every file that its trainer wrote
TEACHER = "_ema"  # among the weights of data2vec and what is built on it: those of its teacher


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in the PyTorch file at `path`, and the entries that stand beside them.

    Raises:
        CheckpointError: the file is empty, cut off, no PyTorch file, a TorchScript program, or
            holds anything but tensors and plain values.
    """
    is_archive = _check_kind(path)
    content = _load(path, is_archive)
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"{path}: expected tensors by name, the file holds a {kind}.")
    return _unwrap(content, path)


def _check_kind(path: Path) -> bool:
    """Whether the file is a zip archive (PyTorch >= 1.6) and not the older bare pickle."""
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        raise CheckpointError(f"{path}: the file is empty. Download or copy it again.")
    if start == ZIP_MAGIC:
        if not zipfile.is_zipfile(path):
            raise _cut_off(path)
        _refuse_program(path)
        return True
    if not start.startswith(PICKLE_MAGIC):
        raise CheckpointError(
            f"{path}: not a PyTorch file (it is neither a zip archive nor a pickle). "
            "Check what was downloaded; a web page saved under this name looks like this."
        )
    return False


def _refuse_program(path: Path) -> None:
    """Security: a TorchScript archive carries code of its own beside the tensors."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"{path}: a TorchScript archive, that is a program with weights in it, and programs "
            "are not run here. Save the model's state_dict() with torch.save and convert that."
        )


def _load(path: Path, is_archive: bool) -> Any:
    try:
        with warnings.catch_warnings():
            # What torch cannot read of a newer pickle it refuses, and so do we.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            # Security: weights_only is what keeps the pickle from running. Speed: mmap reads only
            # the tensors that are used; the older format cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise CheckpointError(
                f"{path}: uses instructions of pickle that torch.save does not write by itself. "
                f"{NOT_RUN}"
            ) from error
        match = re.search(r"GLOBAL (\w[\w.]*)", str(error))
        content = _read_inert(path) if is_archive and match else None
        if isinstance(content, dict) and content.keys() >= FAIRSEQ:
            return content
        if match is None:
            raise _cut_off(path) from error
        raise CheckpointError(
            f"{path}: holds more than tensors: it asks for {match[1]!r}. {NOT_RUN}"
        ) from error
    except (EOFError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise _cut_off(path) from error


def _cut_off(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: incomplete or damaged: it starts like a PyTorch file and cannot be read to its "
        "end. Download or copy it again."
    )


def _unwrap(content: dict[Any, Any], path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    beside = {}
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            beside = {str(name): value for name, value in content.items() if name != wrapper}
            content = content[wrapper]
            break
    if isinstance(content.get(TEACHER), dict):
        beside[TEACHER] = content[TEACHER]
        content = {name: value for name, value in content.items() if name != TEACHER}
    return _tensors(content, path), beside


def _tensors(content: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: expected tensors by name, {name!r} holds a {type(value).__name__}. "
                "Save only the model's state_dict() and convert that."
            )
    return {str(name): tensor for name, tensor in content.items()}


class Inert:
    """In the place of a foreign class, function or object."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def ignore(self, *_: Any, **__: Any) -> None:
        """Nothing, with any arguments."""

    __setstate__ = __setitem__ = append = extend = add = ignore


class Builder(Inert):
    """A function that may be called; inert so that a pickle cannot change it, as it could a def."""

    def __init__(self, function: Callable[..., Tensor]):
        self.function = function

    def __call__(self, *arguments: Any) -> Tensor:
        return self.function(*arguments)


# Security: this table is all that the file can reach (torch adds the types of its storages).
KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): Builder(_rebuild_tensor_v2),
    ("torch._utils", "_rebuild_parameter"): Builder(_rebuild_parameter),
}


class Unpickler(pickle.Unpickler):
    """Builds tensors and plain containers, and nothing of any other name."""

    def find_class(self, module: str, name: str, /) -> Any:
        return KNOWN.get((module, name), Inert)


# What torch asks for in the place of the module `pickle`.
INERT_PICKLE = types.SimpleNamespace(Unpickler=Unpickler, __name__=__name__)


def _read_inert(path: Path) -> Any:
    """The content of the zip archive at `path`, or None if it cannot be read in this way either."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # weights_only is False so that torch takes the unpickler that is handed in.
            return torch.load(
                path,
                map_location="cpu",
                pickle_module=INERT_PICKLE,
                weights_only=False,
                mmap=True,
            )
    except Exception:  # whatever it is: the caller says why the file was refused at first
        return None
