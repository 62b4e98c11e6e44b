"""Sound files that libsndfile does not read, through PyAV (extra `media`)."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from auricle.audio.decoding import (
    PIECE_VALUES,
    TOLERANCE_SECONDS,
    AudioInfo,
    Decoder,
    warn_incomplete,
    without_first,
)
from auricle.audio.samples import Samples
from auricle.audio.source import OpenSource
from auricle.errors import AudioError, missing_extra

CONTAINERS = {  # FFmpeg's name: how it begins; libsndfile does not read these
    "mp4": rb"....(?:ftyp|moov|mdat|wide|pnot)",  # M4A, MP4, 3GP and QuickTime
    "matroska": rb"\x1a\x45\xdf\xa3",  # WebM and Matroska
    "asf": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # WMA and WMV
    "avi": rb"RIFF....AVI ",
    "xwma": rb"RIFF....XWMA",
    "qcp": rb"RIFF....QLCM",
    "flv": rb"FLV\x01",
    "rm": rb"\.RMF",
    "amr": rb"#!AMR",
    "ape": rb"MAC ",
    "wv": rb"wvpk",
    "tta": rb"TTA1",
    "tak": rb"tBaK",
    "shn": rb"ajkg",
    "mpc": rb"MP\+",
    "mpc8": rb"MPCK",
    "dsf": rb"DSD ",
    "iff": rb"FRM8",
    "ac3": rb"\x0b\x77",
    "dts": rb"\x7f\xfe\x80\x01",
    "mpeg": rb"\x00\x00\x01\xba",
    "mpegts": rb"(?:....)?\x47.{187}\x47",
    "aac": rb"\xff[\xf0\xf1\xf8\xf9]",  # ADTS: 12 bits of sync, layer 0 (MP3 has layer 1 here)
}
OTHERS = {  # what libsndfile reads as a rule, but not with every codec
    "wav": rb"RIF[FX]....WAVE|(?:RF|BW)64....WAVE",
    "w64": rb"riff\x2e\x91\xcf\x11",
    "aiff": rb"FORM....AIF[FC]",
    "iff": rb"FORM....(?:8SVX|16SV)",
    "caf": rb"caff",
    "au": rb"\.snd",
    "flac": rb"fLaC",
    "ogg": rb"OggS",
    "voc": rb"Creative Voice",
    "nistsphere": rb"NIST_1A",
}


def container_of(head: bytes, containers: dict[str, bytes] = CONTAINERS) -> str | None:
    """FFmpeg's name of the container that starts with `head`; None where it is none of these."""
    for name, beginning in containers.items():
        if re.match(beginning, head, re.DOTALL):
            return name
    return None


def is_installed() -> bool:
    """Whether there is PyAV."""
    return importlib.util.find_spec("av") is not None


@contextmanager
def decode(source: OpenSource, container: str, start: float = 0.0) -> Iterator[Decoder]:
    """Open the first sound of `source`, whose container has FFmpeg's name `container`.

    Its pieces begin `start` seconds into the sound; what lies before is decoded all the same.

    Raises:
        AudioError: the container is damaged, has no sound in it, or one that FFmpeg cannot decode.
        MissingExtraError: PyAV is not installed.
    """
    av = _import_av(source.name)
    try:
        # Security: FFmpeg is told the container, since some that it would guess (playlists)
        # make it open other files and addresses.
        file = av.open(source.stream, format=container, metadata_errors="replace")
    except av.FFmpegError as error:
        raise AudioError(_damaged(source.name, _reason(error))) from error
    with file:
        sound = _sound_of(file, source.name)
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


def _sound_of(file: Any, name: str) -> Any:
    """The first stream of sound, if it can be decoded."""
    if not file.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in file.streams})) or "nothing"
        raise AudioError(f"{name}: has no sound in it, only {kinds}. Give another file.")
    sound = file.streams.audio[0]
    if sound.codec_context is None:
        raise AudioError(
            f"{name}: its sound has an encoding that FFmpeg cannot decode here. "
            "Export it as WAV or FLAC."
        )
    if not sound.rate or not sound.channels:  # FFmpeg found no frame that says
        raise AudioError(_damaged(name, "no sound frame found"))
    return sound


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
    # Containers count what codecs drop at the ends, up to two frames of 1024 samples.
    tolerance = TOLERANCE_SECONDS + 2 * 1024 / info.sample_rate
    if failure or (promised is not None and seconds < promised - tolerance):
        warn_incomplete(name, seconds, promised)
