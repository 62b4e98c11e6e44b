"""PyTorch files that hold objects of other packages, with something inert in each one's place.

What a pickle can do is what the names in it stand for. Here three names stand for what builds
tensors and dictionaries, and every other for `Inert`, which takes all it is given and does nothing.
"""

import pickle
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2


class Inert:
    """In the place of a foreign class, function or object."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def ignore(self, *_: Any, **__: Any) -> None:
        """What it does with all it is given."""

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


def read(path: Path) -> Any:
    """What the zip archive at `path` holds, or None if that cannot be read in this way either."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # weights_only is False so that torch takes the unpickler of this module, not its own.
            return torch.load(
                path,
                map_location="cpu",
                pickle_module=sys.modules[__name__],
                weights_only=False,
                mmap=True,
            )
    except Exception:  # whatever it is: the caller says why the file was refused at first
        return None
