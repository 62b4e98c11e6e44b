"""Other people's checkpoints to ours and back: names translated, tensors checked, nothing run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from auricle import checkpoint as checkpoints
from auricle.atomic import file_beside
from auricle.checkpoint import Checkpoint
from auricle.convert import authors, ced, eat, efficientat, huggingface, passt, vision
from auricle.convert.source import TENSOR_FILES, Options, Source, open_source, read_json
from auricle.errors import CheckpointError

To = Literal["auricle", "huggingface", "ast"]

READERS = (
    huggingface,
    authors,
    efficientat,
    eat,
    ced,
    passt,
    vision,
)  # the first to which the names are known reads a source


def can_read(source: Path) -> bool:
    """Whether `source` looks like another project's weights; nothing large is opened for it."""
    if os.path.isdir(source):  # not Path.is_dir, which raises in a folder that may not be searched
        try:
            return "model_type" in (read_json(source / "config.json") or {})
        except CheckpointError:
            return False  # whatever it is, the reader of our own folders reports what is wrong
    return os.path.isfile(source) and source.suffix.lower() in TENSOR_FILES


def read(source: Path, stride: int | None = None, frames: int | None = None) -> Checkpoint:
    """The weights of another project in `source` as a checkpoint, in eval mode.

    What was dropped or assumed stands in its `config.provenance`.

    Args:
        stride: step between patches, where the tensors do not show it.
        frames: length of the longest clip, where the tensors do not show it.

    Raises:
        CheckpointError: the source is unreadable, unknown, or not exactly one of the known models.
    """
    opened = open_source(source)
    for reader in READERS:
        result = reader.read(opened, Options(stride, frames))
        if result is not None:
            return result
    raise _unknown(opened)


def write(checkpoint: Checkpoint, out: Path, layout: To = "auricle") -> list[str]:
    """Save `checkpoint` at `out` and return what the layout cannot hold.

    `ast` is one file, the others are folders.

    Raises:
        CheckpointError: the layout cannot hold this model, `out` is taken, or writing failed.
    """
    try:
        return WRITERS[layout](checkpoint, out)
    except OSError as error:
        raise CheckpointError(f"{out}: cannot be written ({error}).") from error


def _write_auricle(checkpoint: Checkpoint, out: Path) -> list[str]:
    checkpoints.save(checkpoint, out)
    return []


def _write_huggingface(checkpoint: Checkpoint, out: Path) -> list[str]:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out}: already there. Give a new or empty folder.")
    return huggingface.write(checkpoint, out)


def _write_ast(checkpoint: Checkpoint, out: Path) -> list[str]:
    if out.is_dir():
        raise CheckpointError(
            f"{out}: a folder. The layout 'ast' is one file: give {out / 'ast.pth'}."
        )
    with file_beside(out) as part:
        return authors.write(checkpoint, part)


WRITERS: dict[str, Callable[[Checkpoint, Path], list[str]]] = {
    "auricle": _write_auricle,
    "huggingface": _write_huggingface,
    "ast": _write_ast,
}


def _unknown(source: Source) -> CheckpointError:
    known = (
        "an AST of its authors or of Hugging Face, EfficientAT, EAT, ASDA, CED, PaSST, DeiT, ViT "
        "or DINOv2"
    )
    if source.config is not None:
        content = f"a model of type {source.config.get('model_type')!r}"
    else:
        content = f"tensors named {', '.join(list(source.tensors)[:3])}"
    return CheckpointError(f"{source.path}: holds {content}; convert reads {known}.")
