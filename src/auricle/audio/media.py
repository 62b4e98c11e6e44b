"""Sound files that libsndfile does not read, through PyAV (extra `media`)."""

import importlib.util
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, BinaryIO

from auricle.audio.decoding import (
    PIECE_VALUES,
    TOLERANCE_SECONDS,
    AudioInfo,
    Decoder,
    positions,
    unused,
    warn_incomplete,
    with_channels,
    without_first,
)
from auricle.audio.samples import Samples
from auricle.audio.source import OpenedAudio
from auricle.errors import AudioError, AudioWarning, missing_extra

MOST_SEARCHED = 2**16  # bytes before the first frame of a stream that begins inside one
CONFIRMED = 4  # frames in a row that make a stream

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
}
STREAMS = {  # frames or packets that begin so, without a header in front of all
    "mpeg": rb"\x00\x00\x01\xba",
    "mpegts": rb"(?:....)?\x47.{187}\x47",
    "dts": rb"\x7f\xfe\x80\x01",
    "ac3": rb"\x0b\x77",
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


def container_of(head: bytes, containers: dict[str, bytes] = CONTAINERS | STREAMS) -> str | None:
    """FFmpeg's name of the container that starts with `head`; None where it is none of these."""
    for name, beginning in containers.items():
        if re.match(beginning, head, re.DOTALL):
            return name
    return None


def container_inside(stream: BinaryIO) -> str | None:
    """FFmpeg's name of a stream that begins inside a frame: cut out of a longer one."""
    stream.seek(0)
    text = stream.read(MOST_SEARCHED)
    if re.match(rb".{0,191}?(?:\x47.{187}){4}\x47", text, re.DOTALL):
        return "mpegts"
    for match in re.finditer(STREAMS["aac"], text):
        index = match.start()
        for _ in range(CONFIRMED):
            header = text[index : index + 6]
            if len(header) < 6 or not re.match(STREAMS["aac"], header):
                break
            index += (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        else:
            return "aac"
    return None


def is_installed() -> bool:
    """Return whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


@contextmanager
def decode(
    source: OpenedAudio, container: str, start: float = 0.0, is_damaged: bool = False
) -> Iterator[Decoder]:
    """Open the first sound of `source`, whose container has FFmpeg's name `container`.

    Its pieces begin `start` seconds into the sound; what lies before is decoded all the same. Of
    what `is_damaged` all that can be read is given, with a warning.

    Raises:
        AudioError: the container is damaged, has no sound in it, or one that FFmpeg cannot decode.
        MissingExtraError: PyAV is not installed.
    """
    av = _import_av(source.name)
    source.stream.seek(0)
    try:
        # Security: FFmpeg is given the container, since some that it would guess (playlists)
        # make it open other files and addresses.
        file = av.open(source.stream, format=container, metadata_errors="replace")
    except av.FFmpegError as error:
        raise AudioError(_damaged(source.name, _reason(error))) from error
    with file:
        sound = _sound_of(file, source.name)
        promised = _duration(file, sound)
        form = f"{container.upper()} {sound.codec.name}"
        info = AudioInfo(sound.rate, sound.channels, promised, form, _is_exact(sound))
        pieces = _pieces(av, source, container, sound, info, is_damaged)
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
    if not sound.rate or not sound.channels:  # FFmpeg found no frame
        raise AudioError(_damaged(name, "no sound frame found"))
    return sound


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _damaged(name: str, reason: str) -> str:
    return f"{name}: is damaged (FFmpeg: {reason}). Copy it again, or export it as WAV or FLAC."


def _duration(file: Any, sound: Any) -> float | None:
    """In seconds, of the sound itself where the container holds that, else of the container."""
    if sound.duration:
        return float(sound.duration * sound.time_base)
    return file.duration / 1e6 if file.duration else None  # FFmpeg counts microseconds


def _is_exact(sound: Any) -> bool:
    """Return whether `_duration` is that of this sound: no estimate, nor that of another stream."""
    file = sound.container
    is_known = sound.duration or (file.duration and len(file.streams) == 1)
    return file.format.name != "aac" and bool(is_known)


def _pieces(
    av: ModuleType,
    source: OpenedAudio,
    container: str,
    sound: Any,
    info: AudioInfo,
    is_damaged: bool,
) -> Iterator[Samples]:
    """Samples as float32, at the rate and channels of `info` whatever the codec gives."""
    # Speed: gathering frames of 1024 samples saves a fifth of the time for M4A.
    size = max(1, PIECE_VALUES // info.num_channels)
    resampler = partial(av.AudioResampler, "fltp", rate=info.sample_rate, frame_size=size)
    convert, failures = resampler(layout=sound.layout), list[Exception]()
    read = end = 0
    for frame, position in _frames(av, sound, failures):
        end = position
        try:
            converted = convert.resample(frame)
        except ValueError:  # the rate or the channels have changed
            converted, convert = convert.resample(None), resampler(layout=frame.layout)
            converted += convert.resample(frame)
        for part in converted:
            read += part.samples
            yield with_channels(part.to_ndarray().T, info.num_channels)
    if failures and not read:
        raise AudioError(_damaged(source.name, _reason(failures[0]))) from failures[0]
    seconds = read / info.sample_rate
    # Containers count what codecs drop at the ends, up to two frames of 1024 samples.
    least = seconds + TOLERANCE_SECONDS + 2 * 1024 / info.sample_rate
    promised = info.duration if info.is_exact and (info.duration or 0) > least else None
    if failures or is_damaged or promised is not None:
        warn_incomplete(source.name, seconds, promised)
    # Frames without a container are read to the end of the file, whoever wrote them.
    mark = rb"....ftyp" if container == "mp4" else (CONTAINERS | OTHERS).get(container)
    follower = next(positions(source.stream, mark, end), None) if mark else None
    if follower is not None:
        rest = unused(f"{source.stream.seek(0, 2) - follower} bytes")
        warnings.warn(f"{source.name}: {rest}", AudioWarning, stacklevel=2)


def _frames(av: ModuleType, sound: Any, failures: list[Exception]) -> Iterator[tuple[Any, int]]:
    """The frames of all packets that can be decoded, and None, which ends a resampler.

    With each comes the position behind the packets so far.
    """
    packets, end = sound.container.demux(sound), 0
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            failures.append(error)
            packet = None
        if packet is None:
            break
        end = max(end, (packet.pos or 0) + packet.size)
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failures.append(error)
            continue
        yield from ((frame, end) for frame in frames)
    yield None, end
