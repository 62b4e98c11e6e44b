"""Results of every decoder: facts about a sound, and its samples piece by piece."""

import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
import soxr

from auricle.audio.samples import Samples
from auricle.errors import AudioWarning

PIECE_VALUES = 2**18  # samples of all channels decoded at a time: 1 MB

SEARCHED = 2**20  # bytes at a time
LONGEST_MARK = 16  # bytes

TOLERANCE_SECONDS = 0.05  # encoders pad the ends of a sound by up to this much


@dataclass(frozen=True)
class AudioInfo:
    """Facts from the header of a sound.

    Attributes:
        sample_rate: in Hz, as stored, not as `load` returns it.
        duration: in seconds; None where the header does not hold it.
        is_exact: whether `duration` is known of this very sound; raw AAC has an estimate, WebM
            often that of the longest track.
        format: container and encoding, such as "WAV PCM_16" or "MP4 aac".
    """

    sample_rate: int
    num_channels: int
    duration: float | None
    format: str
    is_exact: bool = True


@dataclass(frozen=True)
class Decoder:
    """An open sound: its `info`, and its samples as pieces `(frames, channels)`, read once."""

    info: AudioInfo
    pieces: Iterator[Samples]


class Rescue(Protocol):
    """Opens a sound with another decoder, from `start` on, in seconds."""

    def __call__(self, *, start: float) -> AbstractContextManager[Decoder]: ...


def without_first(pieces: Iterator[Samples], frames: int) -> Iterator[Samples]:
    """`pieces` without their first `frames` frames, for what cannot be sought in."""
    for piece in pieces:
        left = piece[frames:]
        frames -= min(frames, len(piece))
        if len(left):
            yield left


def with_channels(piece: Samples, num_channels: int) -> Samples:
    """A piece `(S, channels)` with another number of channels, each the mean of those it has."""
    if piece.shape[1] == num_channels:
        return piece
    return np.repeat(piece.mean(axis=1, keepdims=True), num_channels, axis=1)


def positions(stream: BinaryIO, mark: bytes, start: int) -> Iterator[int]:
    """Every position from `start` on where the regular expression `mark` matches."""
    while True:
        stream.seek(start)
        chunk = stream.read(SEARCHED + LONGEST_MARK)
        for match in re.finditer(mark, chunk, re.DOTALL):
            if match.start() < SEARCHED:
                yield start + match.start()
        if len(chunk) <= SEARCHED:
            return
        start += SEARCHED


def resampled(
    pieces: Iterator[Samples], from_rate: int, to_rate: int, num_channels: int = 1
) -> Iterator[Samples]:
    """`pieces` `(S,)`, or `(S, channels)` of several channels, at another rate."""
    if from_rate == to_rate:
        yield from pieces
        return
    stream = soxr.ResampleStream(from_rate, to_rate, num_channels=num_channels, quality="HQ")
    shape = (0,)
    for piece in pieces:
        shape = piece.shape
        yield stream.resample_chunk(piece)
    yield stream.resample_chunk(np.empty((0, *shape[1:]), dtype=np.float32), last=True)


def warn_incomplete(name: str, seconds: float, promised: float | None) -> None:
    """Warn that only `seconds` of a sound can be read, of `promised` ones where that is known."""
    header = "" if promised is None else f" of the {promised:.3f} s that its header promises"
    warnings.warn(
        f"{name}: is cut short or damaged. {seconds:.3f} s{header} can be read and are used. "
        "Copy it again to have all of it.",
        AudioWarning,
        stacklevel=2,
    )


def unused(size: str) -> str:
    """The end of a warning that a part of a file, as in "12 bytes", lies behind its sound."""
    return f"{size} follow the end given in its header, and are not used."
