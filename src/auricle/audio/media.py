"""Containers that libsndfile does not read (MP4, M4A, WebM, AAC), through PyAV (extra `media`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

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
from auricle.errors import AudioError, missing_extra


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that starts with `head`; None where it is none of ours."""
    if head[4:8] == b"ftyp":
        return "mp4"  # M4A, MP4 and QuickTime
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"  # WebM and Matroska
    if int.from_bytes(head[:2], "big") & 0xFFF6 == 0xFFF0:
        return "aac"  # ADTS: 12 bits of sync, layer 0 (MP3 has layer 1 here)
    return None


@contextmanager
def decode(source: OpenSource, container: str, start: float = 0.0) -> Iterator[Decoder]:
    """Open the first sound of `source`, whose container has FFmpeg's name `container`.

    Its pieces begin `start` seconds into the sound; what lies before is decoded all the same.

    Raises:
        AudioError: the container is damaged or has no sound in it.
        MissingExtraError: PyAV is not installed.
    """
    av = _import_av(source.name)
    try:
        # Security: FFmpeg is told the container, since some that it would guess (playlists)
        # make it open other files and addresses.
        file = av.open(source.stream, format=container)
    except av.FFmpegError as error:
        raise AudioError(_damaged(source.name, _reason(error))) from error
    with file:
        if not file.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in file.streams})) or "nothing"
            raise AudioError(f"{source.name}: has no sound in it, only {kinds}. Give another file.")
        sound = file.streams.audio[0]
        if not sound.rate or not sound.channels:  # FFmpeg found no frame that says
            raise AudioError(_damaged(source.name, "no sound frame found"))
        promised = _duration(file, sound)
        form = f"{container.upper()} {sound.codec.name}"
        info = AudioInfo(sound.rate, sound.channels, promised, form, _is_exact(sound))
        pieces = _pieces(av, source.name, sound, info)
        yield Decoder(info, without_first(pieces, round(start * sound.rate)))


def _import_av(name: str) -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise missing_extra("av", "media", f"{name}: decoding it") from error
    return av


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _damaged(name: str, reason: str) -> str:
    return f"{name}: is damaged (FFmpeg: {reason}). Copy it again, or export it as WAV or FLAC."


def _duration(file: Any, sound: Any) -> float | None:
    """In seconds, of the sound itself where the container tells that, else of the container."""
    if sound.duration:
        return float(sound.duration * sound.time_base)
    return file.duration / 1e6 if file.duration else None  # FFmpeg counts microseconds


def _is_exact(sound: Any) -> bool:
    """Whether `_duration` is that of this sound: no estimate, nor that of another stream."""
    file = sound.container
    is_known = sound.duration or (file.duration and len(file.streams) == 1)
    return file.format.name != "aac" and bool(is_known)


def _pieces(av: ModuleType, name: str, sound: Any, info: AudioInfo) -> Iterator[Samples]:
    """Samples as float32, at the rate and channels of `info` whatever the codec gives."""
    # Speed: gathering frames of 1024 samples saves a fifth of the time for M4A.
    size = max(1, PIECE_VALUES // info.num_channels)
    convert = av.AudioResampler("fltp", sound.layout, info.sample_rate, frame_size=size)
    decoded = sound.container.decode(sound)
    read, failure, is_over = 0, None, False
    while not is_over:
        try:
            frame = next(decoded, None)
            converted = convert.resample(frame)
        except (av.FFmpegError, ValueError) as error:  # ValueError: the channels have changed
            frame, failure = None, error
            converted = convert.resample(None)
        for part in converted:
            read += part.samples
            yield part.to_ndarray().T  # (frames, channels)
        is_over = frame is None
    if failure and not read:
        raise AudioError(_damaged(name, _reason(failure))) from failure
    seconds = read / info.sample_rate
    promised = info.duration if info.is_exact else None
    if failure or (promised is not None and seconds < promised - TOLERANCE_SECONDS):
        warn_incomplete(name, seconds, promised)
