"""Files and folders that are there whole or not at all, whatever stops who writes them.

They are written beside their place, and take it with a rename once they are on the disk.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """A place for a new file beside `path`, whose place it takes once the block has ended well."""
    part = path.with_name(f".{path.name}.partial")
    try:
        yield part
        _flush(part)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as a whole."""
    with file_beside(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, whose place it takes once the block has ended well.

    What else was in `folder`, such as notes or `.git`, moves over.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield stage
        stage.chmod(0o755)
        for path in stage.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner alone
            _flush(path)
        if folder.exists():
            _replace(folder, stage)
        else:
            stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def previous_of(folder: Path) -> Path:
    """Path of the former content of `folder` while a new one takes its place."""
    return folder.parent / f".{folder.name}.previous"


def _replace(folder: Path, stage: Path) -> None:
    previous = previous_of(folder)
    shutil.rmtree(previous, ignore_errors=True)
    folder.rename(previous)
    try:
        stage.rename(folder)
    except BaseException:
        previous.rename(folder)
        raise
    for path in previous.iterdir():
        if not (folder / path.name).exists():
            path.rename(folder / path.name)
    shutil.rmtree(previous, ignore_errors=True)


def _flush(path: Path) -> None:
    """Flush the file to the disk: some report only then that they are full."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
