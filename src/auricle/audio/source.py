"""What a sound can be read from: a path, bytes or a file object, opened and looked at."""

import difflib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from auricle.errors import AudioError

Source = str | os.PathLike[str] | bytes | BinaryIO

STANDARD_INPUT = "-"  # as a path
HEAD_BYTES = 200  # enough to tell the containers apart: packets of MPEG-TS have 188


@dataclass(frozen=True)
class OpenSource:
    """A source that exists, can be read and is not empty.

    Attributes:
        name: for messages: the path, or what stands for it.
        stream: the content, seekable, at its start.
        path: of a regular file; None where there is only the stream.
        start: bytes of the ID3 tags that stand before the content.
        head: the first bytes of the content.
    """

    name: str
    stream: BinaryIO
    path: str | None
    start: int
    head: bytes


@contextmanager
def opened(source: Source) -> Iterator[OpenSource]:
    """Open `source`; what was opened here is closed at the end, a caller's file object is not.

    A file object is read from its start. One that cannot seek (a pipe, a download) is read into
    memory first, because sound containers have to be read back and forth. The path "-" is
    standard input, which is read once and kept.

    Raises:
        AudioError: there is no such file, it is a directory or device, may not be read, or is
            empty.
    """
    if isinstance(source, bytes):
        with io.BytesIO(source) as stream:
            yield _look_at("<bytes>", stream, path=None)
    elif isinstance(source, str | os.PathLike) and os.fspath(source) == STANDARD_INPUT:
        with io.BytesIO(_standard_input()) as stream:
            yield _look_at("standard input", stream, path=None)
    elif isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        with _open(path) as stream:
            yield _look_at(path, stream, path)
    else:
        yield _look_at(_name_of(source), source, path=None)


def _look_at(name: str, stream: BinaryIO, path: str | None) -> OpenSource:
    if not stream.seekable():
        stream, path = io.BytesIO(stream.read()), None
    start, head = 0, _read_at(stream, 0)
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes). Copy or record it again.")
    while head[:3] == b"ID3" and len(head) > 10:
        one, two, three, four = head[6:10]  # 7 bits of the tag's size in each
        start += 10 + (one << 21 | two << 14 | three << 7 | four)
        head = _read_at(stream, start)
    stream.seek(0)
    return OpenSource(name, stream, path, start, head)


def _read_at(stream: BinaryIO, position: int) -> bytes:
    stream.seek(position)
    return stream.read(HEAD_BYTES)


def _name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    # An unnamed temporary file has a number, its descriptor, for a name.
    return name if isinstance(name, str) else "<file object>"


@cache  # a plot reads the sound again
def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("standard input is no file: pipe a sound into it, or name a file.")
    return sys.stdin.buffer.read()


def _open(path: str) -> BinaryIO:
    try:
        file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise AudioError(missing_path(Path(path))) from error
    except IsADirectoryError as error:
        raise AudioError(f"{path}: is a directory, not a file. Name a sound file in it.") from error
    except PermissionError as error:
        raise AudioError(permission_denied(path)) from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror}). Check the path.") from error
    kind = os.fstat(file.fileno()).st_mode
    if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):  # it may never end
        file.close()
        raise AudioError(f"{path}: is a device, not a file. Name a sound file.")
    return file


def permission_denied(path: str | Path) -> str:
    """Message for a file or folder that this user may not read."""
    return f"{path}: permission denied. Make it readable for the user who runs this."


def missing_path(path: Path) -> str:
    """Message for a path that does not exist, with the nearest name beside it."""
    if os.path.islink(path):
        target = os.readlink(path)
        return f"{path}: is a link to {target}, which does not exist. Mend the link, or remove it."
    folder = path.parent
    if not folder.is_dir():
        return f"{path}: does not exist, nor does the folder {folder}. Check the path."
    try:
        names = os.listdir(folder)
    except PermissionError:  # a folder may let its files be opened, yet not be listed
        names = []
    nearest = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {str(folder / nearest[0])!r}?" if nearest else "Check the path."
    return f"{path}: does not exist. {hint}"
