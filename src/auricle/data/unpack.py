"""Unpacking what was downloaded: tar.gz, zip, and a zip in several parts.

Python's zipfile reads no zip in parts, whose directory counts from the start of the part in which a
file begins (PKWARE's APPNOTE, 4.4.16): the parts are read as one, and these places put right.

An archive may claim or hold anything: it writes nothing outside its folder, and no more than
archives of sounds do.
"""

import mmap
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from gzip import BadGzipFile, GzipFile
from itertools import accumulate
from pathlib import Path, PurePosixPath

from auricle.audio.splicing import Spliced
from auricle.errors import DataError

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
        contents = [
            stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            for file in files
        ]
        archive = zipfile.ZipFile(Spliced(files[-1], contents))
        _check_entries(archive.infolist(), limit)
        tail = contents[-1][-END_BYTES:]
        [directory_part] = END_DISK.unpack_from(tail, tail.rindex(END_MARK))
        for info in archive.infolist():
            # To every place zipfile added where the part of the directory begins.
            offset = info.header_offset - starts[directory_part] + starts[info.volume]
            archive.extract(_moved(info, offset), folder)


def _moved(info: zipfile.ZipInfo, offset: int) -> zipfile.ZipInfo:
    """The same file of a zip, at another place."""
    moved = zipfile.ZipInfo(info.orig_filename)
    for name in ("compress_type", "flag_bits", "CRC", "compress_size", "file_size"):
        setattr(moved, name, getattr(info, name))
    moved.header_offset = offset
    return moved
