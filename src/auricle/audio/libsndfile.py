"""Sound files that libsndfile reads: WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and many more."""

import ctypes
import os
import platform
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import soundfile

from auricle.audio import media, splicing
from auricle.audio.decoding import (
    PIECE_VALUES,
    TOLERANCE_SECONDS,
    AudioInfo,
    Decoder,
    Rescue,
    positions,
    resampled,
    unused,
    warn_incomplete,
    with_channels,
    without_first,
)
from auricle.audio.samples import Samples
from auricle.audio.source import ENCODINGS, HEADERLESS_SUFFIXES, OpenedAudio
from auricle.audio.splicing import Link, Spliced
from auricle.errors import AudioError, AudioWarning

UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
BAD_FILE = 7  # libsndfile's SFE_BAD_FILE, whose text speaks of pipes where no MP3 frame is found
# Bytes of a sample, where they are constant: it is then known where the samples end.
WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
WIDTHS |= {"ULAW": 1, "ALAW": 1, "DPCM_8": 1, "DPCM_16": 2}
# Formats at whose end libsndfile stops; others it reads to the end of the file. Some of these have
# no length: they are only known to be cut short where the last frame is.
BOUNDED = frozenset({"WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "MAT4", "SVX"})
LENGTHLESS = frozenset({"IRCAM", "PVF", "PAF", "RAW"})
CHUNK_SIZES: dict[str, tuple[Literal["little", "big"], int]] = {
    "AIFF": ("big", 4),
    "SVX": ("big", 4),
    "CAF": ("big", 8),
}  # else ("little", 4)
LEAST_REST = 4096  # bytes behind the end that are worth a word
LEAST_CHUNK = 8  # bytes
MOST_CHUNKS = 1000
UNFINISHED = (
    "its header was never completed, as when a recorder loses power: it gives the size 0. All up "
    "to the end of the file is used."
)
MOST_FRAMES = 2**38  # 66 days at 48 kHz; a larger number stands for a header without a length

# The log of libsndfile alone holds what a header promised beyond the file's end.
BYTES_PROMISED = re.compile(
    r"^\s*(?:data|SSND|BODY|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)"
    r"|^Data length (\d+) should be (\d+)",
    re.MULTILINE,
)
FRAMES_PROMISED = re.compile(r"(?:Frames|Cols) *: (\d+)$", re.MULTILINE)
SAMPLE_SIZE = re.compile(r"^  size    : (\d+)$", re.MULTILINE)  # of XI, in bytes
END_IS_MISSING = re.compile(r"lacks an end-of-stream bit|Seems to be a truncated file")

_stderr_lock = threading.Lock()
_num_quiet = 0  # blocks of `_quiet` that are running


class _SequentialFile(soundfile.SoundFile):
    """A sound file read from front to back only.

    soundfile seeks after every read of a file that can seek. It gains nothing here, decodes parts
    of compressed files twice, and fails on FLAC streams whose header holds no length.
    """

    def seekable(self) -> bool:
        """False, so that soundfile leaves the read position alone."""
        return False


@contextmanager
def decode(
    source: OpenedAudio, start: float = 0.0, rescue: Rescue | None = None
) -> Iterator[Decoder]:
    """Open `source` with libsndfile; its pieces begin `start` seconds into the sound.

    Where damage ends them early, `rescue` goes on from there, in seconds.

    Raises:
        AudioError: it is no sound file that libsndfile knows, or its header is damaged.
    """
    links = None if source.raw else splicing.links(source)
    if links is None:
        links = _plain_links(source)
    if not links:  # libmpg123 would search further, and complain on standard error
        raise AudioError(_damaged(source, "no sound frame found"))
    if len(links) > 1:
        yield _joined(source, links, start)
        return
    with _open(source, links[0]) as file:
        link = replace(links[0], rescue=rescue)
        pieces = _pieces_from(round(start * file.samplerate), file, source.name, link)
        yield Decoder(_info(file, link), pieces)


@dataclass(frozen=True)
class _Extent:
    """Positions in a file behind which another one may be joined, and facts from its header.

    Attributes:
        data: of its first sample.
        end: behind its last sample, where that is known; else `data`.
        frame_size: bytes; 0 where they are not constant.
    """

    start: int
    data: int
    end: int
    format: str
    rate: int
    num_frames: int
    frame_size: int


def _plain_links(source: OpenedAudio) -> list[Link]:
    """The links of a file that is neither Ogg, FLAC nor MPEG."""
    size = splicing.size_of(source.stream)
    if source.raw:
        return [_plain_link(source, _measured(source, range(size)), size)]
    container = media.container_of(source.head, media.OTHERS)
    mark = media.OTHERS[container] if container else re.escape(source.head[:8])
    extents = [_extent(source, source.start, mark)]
    for position in positions(source.stream, mark, extents[0].end):
        if position >= extents[-1].end:
            with suppress(AudioError):
                extents.append(_extent(source, position, mark))
    stops = [*(extent.start for extent in extents[1:]), size]
    return [_plain_link(source, *each) for each in zip(extents, stops, strict=True)]


def _extent(source: OpenedAudio, start: int, mark: bytes) -> _Extent:
    size = splicing.size_of(source.stream)
    with suppress(AudioError):
        return _measured(source, range(start, size))
    # libsndfile refuses some joined files: what follows the first is no chunk that it knows.
    return _measured(source, range(start, next(positions(source.stream, mark, start + 1), size)))


def _measured(source: OpenedAudio, part: range) -> _Extent:
    with _open(source, Link(_part(source, part))) as file:
        place: Any = file.name  # a descriptor, or the stream
        at = os.lseek(place, 0, os.SEEK_CUR) if isinstance(place, int) else place.tell()
        data, frame_size = part.start + at, file.channels * WIDTHS.get(file.subtype, 0)
        end = data + file.frames * frame_size if file.format in BOUNDED else data
        return _Extent(
            *(part.start, data, min(end, part.stop)),
            *(file.format, file.samplerate, file.frames, frame_size),
        )


def _part(
    source: OpenedAudio, part: range, patches: dict[int, bytes] | None = None
) -> Spliced | None:
    """A part of a file with other bytes at some positions; None for the whole as it is."""
    source.stream.seek(part.start)
    if source.stream.read(4) == b"BW64":  # RF64 but for its name, which libsndfile does not know
        patches = {part.start: b"RF64"} | (patches or {})
    if not patches and part == range(splicing.size_of(source.stream)):
        return None
    return Spliced(source.stream, splicing.overlaid([part], patches or {}))


def _plain_link(source: OpenedAudio, extent: _Extent, stop: int) -> Link:
    """The link of a file that may go on up to `stop`."""
    part, held = range(extent.start, stop), stop - extent.data
    patches = {} if extent.num_frames else _true_size(source, extent, held)
    if patches and held > LEAST_CHUNK and not _chunk(source, extent, extent.data, stop):
        return Link(_part(source, part, patches), note=UNFINISHED)
    promised, note = None, ""
    if extent.format in BOUNDED and extent.frame_size and (rest := _rest(source, extent, stop)):
        seconds = rest / extent.frame_size / extent.rate
        note = unused(f"{rest} bytes ({seconds:.3f} s at its rate)")
    if extent.format == "NIST":
        source.stream.seek(extent.start)
        match = re.search(rb"sample_count -i (\d+)", source.stream.read(1024))
        promised = int(match[1]) / extent.rate if match else None
    is_cut = extent.format in LENGTHLESS and bool(extent.frame_size and held % extent.frame_size)
    return Link(_part(source, part), promised, note, is_cut=is_cut)


def _true_size(source: OpenedAudio, extent: _Extent, held: int) -> dict[int, bytes]:
    """What a size of 0 in a header has to be for `held` bytes of samples, by its position."""
    if extent.format in ("WAV", "WAVEX"):
        order: Literal["little", "big"] = "big" if source.head[:4] == b"RIFX" else "little"
        return {extent.data - 4: min(held, 2**32 - 1).to_bytes(4, order)}
    if extent.format == "RF64":
        return {extent.start + 28: held.to_bytes(8, "little")}
    return {extent.start + 8: b"\xff\xff\xff\xff"} if extent.format == "AU" else {}


def _rest(source: OpenedAudio, extent: _Extent, stop: int) -> int:
    """Bytes from the end of the samples to `stop`; 0 where only chunks, tags or zeros follow."""
    position = extent.end
    for _ in range(MOST_CHUNKS):
        source.stream.seek(position)
        content = source.stream.read(min(LEAST_REST, stop - position))
        text = content.lstrip(b"\0")
        if len(content) < LEAST_REST or not text:
            return 0
        position += len(content) - len(text)
        size = _chunk(source, extent, position, stop)
        if not size:
            return stop - extent.end
        position += size
    return 0


def _chunk(source: OpenedAudio, extent: _Extent, position: int, stop: int) -> int:
    """Bytes of the chunk or tag at `position`; 0 where there is none that ends before `stop`."""
    order, width = CHUNK_SIZES.get(extent.format, ("little", 4))
    source.stream.seek(position)
    head = source.stream.read(4 + width)
    if head[:3] in (b"ID3", b"TAG"):
        return stop - position
    size = 4 + width + int.from_bytes(head[4:], order)
    return size if re.match(rb"[ -~]{4}", head) and position + size <= stop else 0


def _joined(source: OpenedAudio, links: list[Link], start: float) -> Decoder:
    """A decoder of one link after the other, at the rate and with the channels of the first."""
    infos, readable = [], []
    for link in links:
        with suppress(AudioError), _open(source, link) as file:
            infos.append(_info(file, link))
            readable.append(link)
    if not infos:
        raise AudioError(_damaged(source, "none of its joined streams can be read"))
    seconds = [info.duration for info in infos]
    total = None if None in seconds else sum(filter(None, seconds))
    info = replace(infos[0], duration=total, is_exact=total is not None)
    pieces = _joined_pieces(source, readable, len(links) - len(readable), info)
    return Decoder(info, without_first(pieces, round(start * info.sample_rate)))


def _joined_pieces(
    source: OpenedAudio, links: list[Link], num_lost: int, info: AudioInfo
) -> Iterator[Samples]:
    for link in links:
        with _open(source, link) as file:
            pieces = _pieces(file, source.name, link)
            for piece in resampled(pieces, file.samplerate, info.sample_rate, file.channels):
                yield with_channels(piece, info.num_channels)
    if num_lost:
        warnings.warn(
            f"{source.name}: {num_lost} of {len(links) + num_lost} joined streams cannot be read "
            "and are left out. Copy it again to have all of it.",
            AudioWarning,
            stacklevel=2,
        )


def _info(file: soundfile.SoundFile, link: Link) -> AudioInfo:
    kind = f"{file.format} {file.subtype}"
    seconds = _header_seconds(file)
    if link.frames is not None:
        return AudioInfo(file.samplerate, file.channels, link.frames / file.samplerate, kind)
    return AudioInfo(file.samplerate, file.channels, seconds, kind, seconds is not None)


def _open(source: OpenedAudio, link: Link) -> soundfile.SoundFile:
    """Open a link; never by its name, by whose suffix libsndfile would guess a format."""
    file: Any = link.stream
    if file is None and source.path and os.name == "posix":
        # Speed: libsndfile reads from a descriptor itself; through a stream every read is a call.
        file = os.open(source.path, os.O_RDONLY)
    elif file is None:
        file = splicing.nameless(source.stream)
    if not isinstance(file, int):
        file.seek(0)
    return _open_with_libsndfile(source, file)


def _open_with_libsndfile(source: OpenedAudio, file: Any) -> soundfile.SoundFile:
    try:
        with _quiet(True):  # the first frames of an MP3 are decoded
            return _SequentialFile(file, **_raw_settings(source))
    except soundfile.LibsndfileError as error:
        if error.code == UNKNOWN_FORMAT:
            raise AudioError(_not_a_sound(source)) from error
        text = error.error_string.rstrip(".")
        reason = "no sound frame found" if error.code == BAD_FILE else text
        raise AudioError(_damaged(source, f"libsndfile: {reason}")) from error


def _raw_settings(source: OpenedAudio) -> dict[str, Any]:
    if source.raw is None:
        return {}
    encoding = source.raw.encoding
    return {
        "format": "RAW",
        "subtype": ENCODINGS[encoding],
        "endian": "BIG" if encoding.endswith("be") else "LITTLE",
        "samplerate": source.raw.sample_rate,
        "channels": source.raw.num_channels,
    }


def _damaged(source: OpenedAudio, reason: str) -> str:
    return (
        f"{source.name}: its header is damaged or of an unknown kind ({reason}). "
        "Copy it again, or export it as WAV or FLAC."
    )


def _not_a_sound(source: OpenedAudio) -> str:
    suffix = os.path.splitext(source.name)[1].lower()
    if suffix in HEADERLESS_SUFFIXES:
        return (
            f"{source.name}: has no header with its rate and encoding; both would be a guess. "
            "Give them with --raw, for example --raw 8000,s16le (in Python: "
            "auricle.audio.Selected(file, raw=Raw(8000, 's16le'))), or convert it to WAV."
        )
    return (
        f"{source.name}: is not a sound file that can be read, whatever its name says. "
        "Give WAV, FLAC, Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM."
    )


def _pieces_from(first: int, file: soundfile.SoundFile, name: str, link: Link) -> Iterator[Samples]:
    if not first:
        return _pieces(file, name, link)
    if _header_seconds(file) is None:
        return without_first(_pieces(file, name, link), first)
    try:
        with _quiet(file.format == "MP3"):
            file.seek(min(first, file.frames))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: is cut short or damaged, and cannot be read from "
            f"{first / file.samplerate:.3f} s on. Copy it again."
        ) from error
    return _pieces(file, name, link, first)


def _pieces(file: soundfile.SoundFile, name: str, link: Link, first: int = 0) -> Iterator[Samples]:
    held = file.frames
    if file.format == "SDS":  # where it is cut short libsndfile goes on with silence
        held = min([held, *map(int, FRAMES_PROMISED.findall(file.extra_info))])
    size = min(max(1, PIECE_VALUES // file.channels), held)
    read, is_whole = first, True
    while read < held:
        piece, is_sound = _read(file, size)
        is_whole = is_whole and is_sound
        if not len(piece):
            break
        read += len(piece)
        yield piece
    if not is_whole and link.rescue is not None:
        with suppress(AudioError), link.rescue(start=read / file.samplerate) as sound:
            yield from sound.pieces
            return
    log = file.extra_info
    ends = not (link.is_cut or END_IS_MISSING.search(log))
    promised = link.promised or _promised_seconds(file, log) if ends else None
    seconds = read / file.samplerate
    if promised is not None and seconds < promised - TOLERANCE_SECONDS:
        is_whole = False
    if (read > first or link.is_cut) and not (is_whole and ends):
        warn_incomplete(name, seconds, promised)
    if link.note:
        warnings.warn(f"{name}: {link.note}", AudioWarning, stacklevel=2)


def _read(file: soundfile.SoundFile, size: int) -> tuple[Samples, bool]:
    """The next frames, at most `size`, and whether they were read without an error."""
    # On an error soundfile does not return how much it had read; what is still NaN was not.
    piece: Samples = np.full((size, file.channels), np.nan, dtype=np.float32)
    try:
        with _quiet(file.format == "MP3"):
            return file.read(out=piece), True
    except soundfile.LibsndfileError:
        return piece[: _leading_numbers(piece)], False


def _leading_numbers(piece: Samples) -> int:
    is_missing = np.isnan(piece[:, -1])
    return int(is_missing.argmax()) if is_missing.any() else len(piece)


def _header_seconds(file: soundfile.SoundFile) -> float | None:
    return None if file.frames > MOST_FRAMES else float(file.frames / file.samplerate)


def _promised_seconds(file: soundfile.SoundFile, log: str) -> float | None:
    """Length of the sound by its header, in seconds; None where that holds none."""
    seconds = _header_seconds(file)
    if seconds is None:
        return None
    if match := BYTES_PROMISED.search(log):
        promised, actual = map(int, filter(None, match.groups()))
        if not actual or _is_placeholder(promised):
            return seconds
        return seconds * promised / actual  # libsndfile had corrected it to the bytes there are
    counts = [int(count) for count in FRAMES_PROMISED.findall(log)]
    if file.format == "XI":
        counts = [int(size) // WIDTHS[file.subtype] for size in SAMPLE_SIZE.findall(log)]
    return max(file.frames, *counts, 0) / file.samplerate


def _is_placeholder(size: int) -> bool:
    """Return whether a size of about 2 or 4 GiB stands for "not known yet", as from a pipe.

    Programs write 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000 and the like; sox 0x7F000000 and
    what its header takes.
    """
    return (size + 2**16) % 2**31 <= 2**16 or 0 <= size - 0x7F000000 < 2**10


@cache
def _stderr_files() -> tuple[ctypes.c_void_p, int, int] | None:
    """C's variable `stderr`, its value, and a file to nowhere; None where it cannot be changed."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    variable = ctypes.c_void_p.in_dll(libc, "stderr")
    nowhere = libc.fopen(b"/dev/null", b"w")
    return (variable, variable.value, nowhere) if variable.value and nowhere else None


@contextmanager
def _quiet(may_complain: bool) -> Iterator[None]:
    """A block in which libmpg123 does not complain of damaged frames, where the C library is glibc.

    libsndfile has no setting against it. Of the ways to stop it this one loses least:
    descriptor 2 and Python's `sys.stderr` go on for all threads; only what C code of other threads
    prints through `stderr` is not seen for those milliseconds.
    """
    global _num_quiet
    files = _stderr_files() if may_complain else None
    if files is None:
        yield
        return
    variable, value, nowhere = files
    with _stderr_lock:
        _num_quiet += 1
        variable.value = nowhere
    try:
        yield
    finally:
        with _stderr_lock:
            _num_quiet -= 1
            if not _num_quiet:
                variable.value = value
