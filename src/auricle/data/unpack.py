"""Unpacking what was downloaded: tar.gz, zip, and a zip in several parts.

Python's zipfile reads no zip in parts: its directory counts from the start of the part in which a
file begins. So the directory is read with zipfile, and the files as the format says (PKWARE's
APPNOTE, 4.3.7 and 4.4.16).

An archive may claim or hold anything: it writes nothing outside its folder, and no more than
archives of sounds do.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from gzip import BadGzipFile, GzipFile
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from auricle.errors import DataError

LOCAL_HEADER_BYTES = 30  # before the name
LOCAL_LENGTHS = struct.Struct("<26xHH")  # of the name and of the extra field
LOCAL_MARK = b"PK\x03\x04"
END_MARK = b"PK\x05\x06"
END_DISK = struct.Struct("<6xH")  # number of the part in which the directory begins
END_BYTES = 2**16 + 22  # from the end of the file, the end record lies within
CHUNK_BYTES = 2**20
ENCRYPTED = 1  # bit of a zip's flags
MOST_TIMES = 50  # its size, that an archive may unpack to; sounds and tables make up to 10
ALWAYS_BYTES = 2**26  # that any archive may unpack to
DAMAGES = (tarfile.TarError, BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, struct.error)


def unpack(parts: Sequence[Path], folder: Path) -> None:
    """Unpack an archive, which may be a zip in several `parts`, the one in `.zip` last.

    Raises:
        DataError: the archive is damaged, encrypted or of an unknown kind, names files outside
            `folder`, unpacks to far more than its size, or does not fit the disk.
    """
    archive = parts[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        limit = max(ALWAYS_BYTES, MOST_TIMES * sum(path.stat().st_size for path in parts))
        if archive.suffix != ".zip":
            _unpack_tar(archive, folder, limit)
        elif len(parts) == 1:
            with zipfile.ZipFile(archive) as whole:
                _check_entries(whole.infolist(), limit)
                whole.extractall(folder)
        else:
            _unpack_parts(parts, folder, limit)
    except (tarfile.FilterError, _RefusedError) as error:
        what = str(error)
        if isinstance(error, tarfile.FilterError):
            what = f"would write outside the folder it is unpacked to ({error})"
        raise DataError(
            f"{archive}: {what}. It is not the archive that was published; delete it."
        ) from error
    # What zipfile and tarfile raise of odd archives is not theirs alone: NotImplementedError of a
    # method of compression, ValueError of a name, for instance.
    except (*DAMAGES, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        raise DataError(
            f"{archive}: is damaged ({error}). Delete it and download it again."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{folder}: {archive.name} cannot be unpacked there ({reason}). Free some space, or "
            "choose another folder."
        ) from error


class _RefusedError(Exception):
    """The archive would do what none may; the message says what."""


def _too_large(limit: int) -> _RefusedError:
    return _RefusedError(f"unpacks to more than {limit / 2**20:.0f} MB, many times its size")


def _check_entries(entries: Sequence[zipfile.ZipInfo], limit: int) -> None:
    if sum(entry.file_size for entry in entries) > limit:
        raise _too_large(limit)
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
            raise _RefusedError(
                f"would write outside the folder it is unpacked to ({entry.filename})"
            )
        if entry.flag_bits & ENCRYPTED:
            raise _RefusedError(f"is encrypted ({entry.filename})")


class _Limited(GzipFile):
    """The content of a gzip file, up to `limit` bytes."""

    limit = 0

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; refused beyond the limit."""
        content = super().read(size)
        if self.tell() > self.limit:
            raise _too_large(self.limit)
        return content


def _unpack_tar(archive: Path, folder: Path, limit: int) -> None:
    def check(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        if member.size > limit:  # of a sparse file, few bytes say so
            raise _too_large(limit)
        return tarfile.data_filter(member, destination)

    with _Limited(archive) as content:
        content.limit = limit
        with tarfile.open(fileobj=content) as tar:
            tar.extractall(folder, filter=check)
        while content.read(CHUNK_BYTES):  # tarfile stops before the checksum, which stands last
            pass


def _unpack_parts(parts: Sequence[Path], folder: Path, limit: int) -> None:
    starts = [0, *accumulate(path.stat().st_size for path in parts)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in parts]
        joined = _Joined(files, starts)
        directory = zipfile.ZipFile(joined)
        _check_entries(directory.infolist(), limit)
        base = starts[_directory_part(files[-1])]  # what zipfile added to every place
        for info in directory.infolist():
            target = folder / info.filename
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            joined.seek(info.header_offset - base + starts[info.volume])
            with target.open("wb") as file:
                _extract(joined, info, file)


def _directory_part(last: BinaryIO) -> int:
    last.seek(0, io.SEEK_END)
    last.seek(-min(END_BYTES, last.tell()), io.SEEK_END)
    tail = last.read()
    return int(END_DISK.unpack_from(tail, tail.rindex(END_MARK))[0])


def _extract(archive: BinaryIO, info: zipfile.ZipInfo, target: BinaryIO) -> None:
    """Copy the file whose header `archive` stands at, checked against its CRC-32."""
    header = archive.read(LOCAL_HEADER_BYTES)
    if not header.startswith(LOCAL_MARK):
        raise zipfile.BadZipFile(f"no file where {info.filename!r} should begin")
    archive.seek(sum(LOCAL_LENGTHS.unpack(header)), io.SEEK_CUR)
    checksum = written = 0
    for piece in _decompressed(archive, info):
        checksum = zlib.crc32(piece, checksum)
        written += len(piece)
        if written > info.file_size:
            raise zipfile.BadZipFile(f"{info.filename!r} is longer than it says")
        target.write(piece)
    if checksum != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")


def _decompressed(archive: BinaryIO, info: zipfile.ZipInfo) -> Iterator[bytes]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{info.filename!r} is packed with method {info.compress_type}")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    remaining = info.compress_size
    while remaining:
        piece = archive.read(min(CHUNK_BYTES, remaining))
        if not piece:
            raise EOFError(f"it ends within {info.filename!r}")
        remaining -= len(piece)
        if info.compress_type == zipfile.ZIP_STORED:
            yield piece
        while info.compress_type == zipfile.ZIP_DEFLATED and piece:
            yield inflater.decompress(piece, CHUNK_BYTES)  # a megabyte may hold a thousand
            piece = inflater.unconsumed_tail
    yield inflater.flush()


class _Joined(io.RawIOBase, BinaryIO):
    """Files as one, one after the other; read only."""

    def __init__(self, files: Sequence[BinaryIO], starts: Sequence[int]):
        self.files = files
        self.starts = starts  # of each file, and the end of all
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """The position, from the start of the first file."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as in one file."""
        self.position = offset + {0: 0, 1: self.position, 2: self.starts[-1]}[whence]
        return self.position

    def read(self, size: int = -1) -> bytes:
        """As many bytes as there are, up to `size`."""
        end = self.starts[-1] if size < 0 else min(self.starts[-1], self.position + size)
        pieces = []
        while self.position < end:
            number = bisect_right(self.starts, self.position) - 1
            file, start = self.files[number], self.starts[number]
            file.seek(self.position - start)
            piece = file.read(min(end, self.starts[number + 1]) - self.position)
            if not piece:
                break
            pieces.append(piece)
            self.position += len(piece)
        return b"".join(pieces)
