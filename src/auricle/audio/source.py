"""Sources of sound: a path, bytes or a file object, opened; and the sounds in a folder."""

import difflib
import io
import os
import stat
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

from auricle.errors import AudioError, AudioWarning, ConfigError, unknown_name

Channel = int | Literal["mix"] | None

LOWEST_RATE = 1_000  # Hz
HIGHEST_RATE = 1_000_000  # Hz; bat detectors record at 500 kHz, beyond 1 MHz headers are damaged
MOST_CHANNELS = 1024  # that libsndfile reads

WIDE = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT", "f64": "DOUBLE"}
BYTES = {"s8": "PCM_S8", "u8": "PCM_U8", "ulaw": "ULAW", "mulaw": "ULAW", "alaw": "ALAW"}
OF_ONE_CHANNEL = {"gsm": "GSM610", "vox": "VOX_ADPCM"} | {
    name.lower(): name
    for name in ("GSM610", "VOX_ADPCM", "DWVW_12", "DWVW_16", "DWVW_24")
    + ("NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32")
}
# libsndfile's subtype of an encoding by the name that FFmpeg or sox has for it, and by its own
ENCODINGS = {f"{name}{order}": subtype for name, subtype in WIDE.items() for order in ("le", "be")}
ENCODINGS |= {subtype.lower(): subtype for subtype in (*WIDE.values(), *BYTES.values())}
ENCODINGS |= BYTES | OF_ONE_CHANNEL


@dataclass(frozen=True)
class Raw:
    """What a header would say of a sound that has none.

    Attributes:
        sample_rate: in Hz.
        encoding: a name in `ENCODINGS`, such as s16le, f32be, ulaw, alaw, gsm or vox.

    Raises:
        ConfigError: an unknown encoding, or a number out of its range.
    """

    sample_rate: int
    encoding: str
    num_channels: int = 1

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ConfigError(unknown_name("encoding", self.encoding, ENCODINGS))
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            raise ConfigError(
                f"a sample rate of {self.sample_rate} Hz is outside the range of {LOWEST_RATE} to "
                f"{HIGHEST_RATE} Hz."
            )
        most = 1 if self.encoding in OF_ONE_CHANNEL else MOST_CHANNELS
        if not 1 <= self.num_channels <= most:
            raise ConfigError(
                f"{self.num_channels} channels of {self.encoding} cannot be read. Give a number "
                f"from 1 to {most}."
            )


@dataclass(frozen=True)
class Selected:
    """A source with how to read it.

    Attributes:
        channel: counted from 1; "mix" for the mean of all; None for the mean too, except where
            the channels cancel in it (20 dB below what unrelated ones would give): there the
            loudest one stands alone, with an `AudioWarning`. So is a source without a selection.
        raw: for a file without a header; one that has a header is read by that.
    """

    source: "Source"
    channel: Channel = None
    raw: Raw | None = None


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Selected

Select = Callable[[Path], Source]  # how a file is read

STANDARD_INPUT = "-"  # as a path
SOUND_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".w64", ".rf64", ".bwf", ".bw64", ".caf", ".sph", ".voc"}
    # through PyAV
    | {".m4a", ".m4b", ".aac", ".mp4", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".3g2"}
    | {".wma", ".wmv", ".asf", ".amr", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".mpc"}
    | {".avi", ".flv", ".mpg", ".mpeg", ".m2ts", ".mts", ".ra", ".rm", ".dsf", ".tak", ".spx"}
)
HEADERLESS_SUFFIXES = frozenset(
    {".raw", ".pcm", ".sln", ".vox", ".gsm", ".au", ".snd", ".ul", ".al", ".ulaw", ".alaw"}
    | {".sb", ".ub", ".sw", ".uw", ".s8", ".u8", ".s16", ".s24", ".s32", ".f32", ".lpc", ".g722"}
)
SUFFIXES_SHOWN = 5
HEAD_BYTES = 200  # enough to recognise any container: packets of MPEG-TS have 188


@dataclass(frozen=True)
class OpenedAudio:
    """A source that exists, can be read and is not empty.

    Attributes:
        name: for messages: the path, or what stands for it.
        stream: the content, seekable, at its start.
        path: of a regular file; None where there is only the stream.
        channel, raw: as in `Selected`.
        start: bytes of the ID3 tags that stand before the content.
        head: the first bytes of the content.
    """

    name: str
    stream: BinaryIO
    path: str | None
    start: int
    head: bytes
    channel: Channel = None
    raw: Raw | None = None


@contextmanager
def opened(source: Source) -> Iterator[OpenedAudio]:
    """Open `source`; what was opened here is closed at the end, a caller's file object is not.

    A file object is read from its start. One that cannot seek (a pipe, a download) is read into
    memory first, because sound containers have to be read back and forth. The path "-" is
    standard input, which is read once and held in memory.

    Raises:
        AudioError: there is no such file, it is a directory or device, may not be read, or is
            empty.
    """
    if isinstance(source, Selected):
        with opened(source.source) as file:
            yield replace(file, channel=source.channel, raw=source.raw)
    elif isinstance(source, bytes | bytearray | memoryview):
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


def _look_at(name: str, stream: BinaryIO, path: str | None) -> OpenedAudio:
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
    return OpenedAudio(name, stream, path, start, head)


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


def find_sounds(
    paths: Iterable[Path], warn_skipped: bool = False, with_raw: bool = False
) -> list[Path]:
    """The files among `paths` as given, and in place of each directory the sounds in it.

    A directory is walked to its depths, in the order of the names, and files with the suffix of a
    sound are taken. Hidden files and folders are skipped, links to folders are not followed. `-`
    is standard input.

    Args:
        warn_skipped: warn also how many files of a directory are no sounds by their suffix, not
            only of pipes and devices with the suffix of a sound.
        with_raw: take files with the suffix of a sound without a header, too.

    Raises:
        AudioError: a path does not exist, a directory may not be read or has no sound in it.
    """
    files: list[Path] = []
    suffixes = SOUND_SUFFIXES | (HEADERLESS_SUFFIXES if with_raw else frozenset())
    for path in paths:
        files += _walk(path, suffixes, warn_skipped) if _is_directory(path) else [path]
    return files


def _is_directory(path: Path) -> bool:
    try:
        return str(path) != STANDARD_INPUT and stat.S_ISDIR(path.stat().st_mode)
    except PermissionError as error:
        raise AudioError(permission_denied(path)) from error
    except OSError as error:
        raise AudioError(missing_path(path)) from error


def _walk(directory: Path, suffixes: frozenset[str], warn_skipped: bool) -> list[Path]:
    sounds: list[Path] = []
    others: Counter[str] = Counter()
    irregular: list[str] = []
    folders = [str(directory)]
    while folders:
        for entry in _visible_entries(folders.pop()):
            suffix = Path(entry.name).suffix.lower()
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif suffix not in suffixes:
                others[suffix] += not os.path.isdir(entry.path)
            elif os.path.isfile(entry.path) or _is_dangling(entry):
                sounds.append(Path(entry.path))
            elif not os.path.isdir(entry.path):
                irregular.append(entry.name)
    if not sounds:
        raise AudioError(
            f"{directory}: no sound file in this directory or below it. "
            f"Looked for the suffixes {', '.join(sorted(suffixes))}."
        )
    _warn_skipped(directory, others if warn_skipped else Counter(), irregular)
    return sorted(sounds)


def _visible_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise AudioError(permission_denied(folder)) from error
    except OSError as error:
        raise AudioError(f"{folder}: cannot be read ({error.strerror}).") from error


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a link to nothing: a file, since opening it names the fault."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _warn_skipped(directory: Path, others: Counter[str], irregular: list[str]) -> None:
    reasons = []
    if others.total():
        ordered = sorted(+others, key=lambda suffix: (-others[suffix], suffix))
        shown = [suffix or "none" for suffix in ordered[:SUFFIXES_SHOWN]]
        more = ", ..." if len(ordered) > SUFFIXES_SHOWN else ""
        reasons.append(f"{others.total()} without the suffix of a sound ({', '.join(shown)}{more})")
    if irregular:
        kinds = "pipe, socket or device" if len(irregular) == 1 else "pipes, sockets or devices"
        reasons.append(f"{len(irregular)} {kinds} ({irregular[0]})")
    if reasons:
        count = others.total() + len(irregular)
        files = "1 file was" if count == 1 else f"{count} files were"
        warnings.warn(
            f"{directory}: {files} skipped: {', '.join(reasons)}.", AudioWarning, stacklevel=3
        )
