"""Sound files that libsndfile reads: WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and many more."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import soundfile

from auricle.audio.decoding import (
    PIECE_VALUES,
    TOLERANCE_SECONDS,
    AudioInfo,
    Decoder,
    Samples,
    warn_incomplete,
    without_first,
)
from auricle.audio.source import OpenSource
from auricle.errors import AudioError

UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
BAD_FILE = 7  # libsndfile's SFE_BAD_FILE, whose text speaks of pipes where no MP3 frame is found
MOST_FRAMES = 2**38  # 66 days at 48 kHz; a larger number stands for a header without a length

# The log of libsndfile is the only place that tells what a header promised beyond the file's end.
BYTES_PROMISED = re.compile(
    r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE
)
END_IS_MISSING = re.compile(r"lacks an end-of-stream bit|Seems to be a truncated file")


class _SequentialFile(soundfile.SoundFile):
    """A sound file read from front to back only.

    soundfile seeks after every read of a file that can seek. It gains nothing here, decodes parts
    of compressed files twice, and fails on FLAC streams whose header tells no length.
    """

    def seekable(self) -> bool:
        """False, so that soundfile leaves the read position alone."""
        return False


class _EndlessStream:
    """A stream whose end is said to be far away, for MP3 without a length in its header.

    libsndfile then estimates the length from the first frame and the file's size, and stops there
    without a word. With a variable bit rate that lost 70 % of a recording; an estimate that is
    too long does no harm.
    """

    END = 2**40  # bytes
    TAG = 128  # bytes at the end where the decoder looks for an ID3v1 tag, and insists on some

    def __init__(self, stream: BinaryIO):
        self.stream = stream
        self.tell = stream.tell

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As the stream's, except that the end is at `END`."""
        if whence == io.SEEK_END:
            return self.stream.seek(self.END + offset)
        return self.stream.seek(offset, whence)

    def read(self, size: int) -> bytes:
        """As the stream's, and zeros at `END`."""
        is_tag = self.tell() >= self.END - self.TAG
        return bytes(size) if is_tag else self.stream.read(size)


@contextmanager
def decode(source: OpenSource, start: float = 0.0) -> Iterator[Decoder]:
    """Open `source` with libsndfile; its pieces begin `start` seconds into the sound.

    Raises:
        AudioError: it is no sound file that libsndfile knows, or its header is damaged.
    """
    with _open(source) as file:
        kind = f"{file.format} {file.subtype}"
        seconds = _header_seconds(file)
        info = AudioInfo(file.samplerate, file.channels, seconds, kind, seconds is not None)
        yield Decoder(info, _pieces_from(round(start * file.samplerate), file, source.name))


def _open(source: OpenSource) -> soundfile.SoundFile:
    # Speed: libsndfile opens a path itself; through a stream every read is a callback.
    # soundfile refuses a path with bytes that are no text, unless it is encoded already.
    path = os.fsencode(source.path) if source.path and os.name == "posix" else source.path
    file = _open_with_libsndfile(source.name, path or source.stream)
    position = source.stream.tell()  # libsndfile may be reading from it
    if file.format == "MP3" and not _has_mp3_length(source.stream):
        file.close()
        source.stream.seek(0)
        return _open_with_libsndfile(source.name, _EndlessStream(source.stream))
    source.stream.seek(position)
    return file


def _open_with_libsndfile(name: str, file: Any) -> soundfile.SoundFile:
    try:
        return _SequentialFile(file)
    except soundfile.LibsndfileError as error:
        if error.code == UNKNOWN_FORMAT:
            raise AudioError(
                f"{name}: is not a sound file that can be read, whatever its name says. "
                "Give WAV, FLAC, Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM."
            ) from error
        text = error.error_string.rstrip(".")
        reason = "no sound frame found" if error.code == BAD_FILE else text
        raise AudioError(
            f"{name}: its header is damaged or of an unknown kind (libsndfile: {reason}). "
            "Copy it again, or export it as WAV or FLAC."
        ) from error
    except TypeError as error:  # soundfile's answer to a name that ends in .raw
        raise AudioError(
            f"{name}: raw samples do not tell their sample rate. Give a WAV or FLAC file."
        ) from error


def _pieces_from(first: int, file: soundfile.SoundFile, name: str) -> Iterator[Samples]:
    if not first:
        return _pieces(file, name)
    if _header_seconds(file) is None:
        return without_first(_pieces(file, name), first)
    try:
        file.seek(min(first, file.frames))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: is cut short or damaged, and cannot be read from "
            f"{first / file.samplerate:.3f} s on. Copy it again."
        ) from error
    return _pieces(file, name, first)


def _pieces(file: soundfile.SoundFile, name: str, first: int = 0) -> Iterator[Samples]:
    size = min(max(1, PIECE_VALUES // file.channels), file.frames)
    read, is_whole = first, True
    while read < file.frames:
        piece, is_sound = _read(file, size)
        is_whole = is_whole and is_sound
        if not len(piece):
            break
        read += len(piece)
        yield piece
    log = file.extra_info
    ends = not END_IS_MISSING.search(log)
    seconds, promised = read / file.samplerate, _promised_seconds(file, log) if ends else None
    if promised is not None and seconds < promised - TOLERANCE_SECONDS:
        is_whole = False
    if read > first and not (is_whole and ends):
        warn_incomplete(name, seconds, promised)


def _read(file: soundfile.SoundFile, size: int) -> tuple[Samples, bool]:
    """The next frames, at most `size`, and whether they were read without an error."""
    # On an error soundfile does not tell how much it had read; what is still NaN was not.
    piece: Samples = np.full((size, file.channels), np.nan, dtype=np.float32)
    try:
        return file.read(out=piece), True
    except soundfile.LibsndfileError:
        return piece[: _leading_numbers(piece)], False


def _leading_numbers(piece: Samples) -> int:
    is_missing = np.isnan(piece[:, -1])
    return int(is_missing.argmax()) if is_missing.any() else len(piece)


def _header_seconds(file: soundfile.SoundFile) -> float | None:
    return None if file.frames > MOST_FRAMES else float(file.frames / file.samplerate)


def _promised_seconds(file: soundfile.SoundFile, log: str) -> float | None:
    """How long the sound should be by its header; None where that does not say."""
    seconds = _header_seconds(file)
    match = BYTES_PROMISED.search(log)
    if seconds is None or match is None:
        return seconds
    promised, actual = int(match[1]), int(match[2])
    if not actual or _is_placeholder(promised):
        return seconds
    return seconds * promised / actual  # libsndfile had corrected it to the bytes there are


def _is_placeholder(size: int) -> bool:
    """Whether a size of about 2 or 4 GiB stands for "not known yet", as in a recording to a pipe.

    Programs write 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000 and the like.
    """
    return (size + 2**16) % 2**31 <= 2**16


def _has_mp3_length(stream: BinaryIO) -> bool:
    """Whether an MP3 starts with a frame that tells its length (Xing, Info or VBRI)."""
    stream.seek(0)
    tag = stream.read(10)
    if tag[:3] == b"ID3":  # the size of the tag has 7 bits in each of 4 bytes
        first, second, third, fourth = tag[6:10]
        stream.seek(10 + (first << 21 | second << 14 | third << 7 | fourth))
    else:
        stream.seek(0)
    frame = stream.read(200)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))
