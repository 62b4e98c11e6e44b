"""A sound in one piece, in blocks or in part, as mono samples at a given rate.

Shapes: S samples.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import soxr
import torch
from torch import Tensor

from auricle.audio import libsndfile, media, mpeg
from auricle.audio.decoding import AudioInfo, Decoder, resampled
from auricle.audio.samples import Downmix, Samples
from auricle.audio.source import HIGHEST_RATE, LOWEST_RATE, OpenedAudio, Source, opened
from auricle.errors import AudioError, MissingExtraError

# libsndfile's words for a codec that it lacks; the last ones are those for some of WAV, too
OTHER_CODEC = re.compile("unsupported encoding|unimplemented")
PERHAPS_OTHER_CODEC = re.compile("unsupported encoding|unimplemented|Malformed 'fmt '")


def load(source: Source, sample_rate: int) -> Tensor:
    """Decode, mix down to mono and resample; full scale is -1 to 1.

    Channels are mixed to their mean, but see `Selected`. Samples beyond full scale, which float
    files may hold, are kept. A file that is cut short or damaged gives what can be read of it, with
    an `AudioWarning`.

    Args:
        sample_rate: of the result, in Hz; the file's own may be from 1 kHz to 1 MHz.

    Returns:
        float32 `(S,)`, at least one sample; S is `round(frames * sample_rate / its own rate)`
        within 1.

    Raises:
        AudioError: missing, unreadable, empty, not a sound, rate out of range, no such channel,
            samples that are NaN, infinite or beyond a million times full scale.
        MissingExtraError: a kind of file that PyAV reads, and PyAV is not installed.
    """
    waveforms = [torch.from_numpy(piece) for piece in pieces(source, sample_rate)]
    return waveforms[0] if len(waveforms) == 1 else torch.cat(waveforms)


def blocks(source: Source, sample_rate: int, block_seconds: float = 30.0) -> Iterator[Tensor]:
    """Yield what `load` returns, in blocks `(S,)` of `block_seconds`, the last one shorter.

    Memory does not grow with the length of the sound, so this reads recordings of hours. Nothing
    is opened, and no error raised, before the first block is asked for.

    Raises:
        AudioError: as `load`; for a bad sample, once its block is reached.
    """
    size = max(1, round(block_seconds * sample_rate))
    block, filled = np.empty(size, dtype=np.float32), 0
    for piece in pieces(source, sample_rate):
        while len(piece):
            taken = min(size - filled, len(piece))
            block[filled : filled + taken] = piece[:taken]
            filled, piece = filled + taken, piece[taken:]
            if filled == size:
                yield torch.from_numpy(block)
                block, filled = np.empty(size, dtype=np.float32), 0
    if filled:
        yield torch.from_numpy(block[:filled])


def load_part(source: Source, sample_rate: int, start: float, seconds: float) -> Tensor:
    """Load `seconds` of a sound from `start` (in seconds) on, without decoding the rest.

    It costs the same wherever it lies, except in what PyAV reads, in joined files and in MP3
    without a length in its header, which are decoded up to there. A part is not to the last bit
    what `load` gives: at its edges where it is resampled, and by up to 2e-3 where the codec
    remembers what came before.

    Returns:
        float32 `(S,)`, S at most `round(seconds * sample_rate)`: less where the sound ends sooner.

    Raises:
        AudioError: as `load`, and where the sound ends before `start`.
    """
    remaining = max(1, round(seconds * sample_rate))
    waveforms: list[Tensor] = []
    for piece in pieces(source, sample_rate, start):
        waveforms.append(torch.from_numpy(piece[:remaining]))
        remaining -= len(waveforms[-1])
        if not remaining:
            break
    return torch.cat(waveforms)


def duration(source: Source, *, trust_header: bool = True) -> float:
    """Length of `source` in seconds: by its header where that is exact, else by decoding it.

    Args:
        trust_header: False decodes it in any case: what is cut short promises more than it holds.

    Raises:
        AudioError, MissingExtraError: as `load`.
    """
    info = probe(source)
    if trust_header and info.is_exact and info.duration is not None:
        return info.duration
    rate = info.sample_rate
    return sum(len(piece) for piece in pieces(source, rate)) / rate


def probe(source: Source) -> AudioInfo:
    """Read the header of `source`, without decoding its samples.

    Raises:
        AudioError, MissingExtraError: as `load`, except for what only the samples show.
    """
    with opened(source) as file, _decoder(file) as sound:
        return sound.info


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Bring `waveform` `(S,)` from one rate in Hz to another, with soxr's high quality (HQ)."""
    if from_rate == to_rate:
        return waveform
    samples = waveform.detach().to("cpu", torch.float32).numpy()
    return torch.from_numpy(soxr.resample(samples, from_rate, to_rate, quality="HQ"))


def pieces(source: Source, sample_rate: int, start: float = 0.0) -> Iterator[Samples]:
    """The mono samples of `source` at `sample_rate`, in pieces as they come from the decoder.

    They begin `start` seconds into the sound.
    """
    with opened(source) as file, _decoder(file, start) as sound:
        num_samples = 0
        mono = _mono(file, sound, start)
        for piece in resampled(mono, sound.info.sample_rate, sample_rate):
            num_samples += len(piece)
            yield piece
        if not num_samples:
            raise AudioError(
                f"{file.name}: is too short to give one sample at {sample_rate} Hz. "
                "Give a longer recording."
            )


@contextmanager
def _decoder(file: OpenedAudio, start: float = 0.0) -> Iterator[Decoder]:
    """Open `file` with the decoder for its first bytes, whatever its name.

    Raises:
        AudioError: no decoder can read it, or its sample rate is out of range.
        MissingExtraError: it needs PyAV, which is not installed.
    """
    with ExitStack() as stack:
        sound = _chosen(file, start, stack)
        rate = sound.info.sample_rate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise AudioError(
                f"{file.name}: its sample rate is {rate} Hz, outside the range of {LOWEST_RATE} to "
                f"{HIGHEST_RATE} Hz. Convert it, for example to 16000 Hz."
            )
        yield sound


def _chosen(file: OpenedAudio, start: float, stack: ExitStack) -> Decoder:
    """A decoder from libsndfile where that reads the file, else from PyAV."""
    if file.raw and not _has_header(file):
        return stack.enter_context(libsndfile.decode(file, start))
    file = replace(file, raw=None)
    container = media.container_of(file.head)
    if container:
        return stack.enter_context(media.decode(file, container, start))
    other = media.container_of(file.head, media.OTHERS)
    rescue = None
    if other == "flac" and media.is_installed():
        rescue = partial(media.decode, file, other, is_damaged=True)
    try:
        return stack.enter_context(libsndfile.decode(file, start, rescue))
    except AudioError as error:
        refusal, reason = error, str(error)
        is_known = other is not None
        other = other or media.container_inside(file.stream)
        is_readable = media.is_installed() or not is_known or OTHER_CODEC.search(reason)
        if other is None or not is_readable:
            raise
    try:
        is_damaged = is_known and not PERHAPS_OTHER_CODEC.search(reason)
        return stack.enter_context(media.decode(file, other, start, is_damaged))
    except AudioError:
        raise refusal from None
    except MissingExtraError as error:  # nobody knows whether it would help: one file's error
        raise AudioError(str(error)) from error


def _has_header(file: OpenedAudio) -> bool:
    """Return whether it begins as a container does that has one, or with frames of MPEG."""
    container = media.container_of(file.head, media.CONTAINERS | media.OTHERS)
    return bool(container or file.start or mpeg.streams(file.stream, 0))


def _mono(file: OpenedAudio, sound: Decoder, start: float) -> Iterator[Samples]:
    """The mono samples of every piece; `start` is that of the first, in seconds."""
    name, rate = file.name, sound.info.sample_rate
    downmix = Downmix(name, rate, file.channel)
    position = 0
    for piece in sound.pieces:
        yield downmix(piece, start + position / rate)
        position += len(piece)
    if not position and start:
        raise AudioError(f"{name}: has ended before {start:.3f} s; nothing is left from there on.")
    if not position:
        raise AudioError(f"{name}: holds no samples that can be read. Record or export it again.")
