"""A sound in one piece, or a part of it, and what its header says."""

import soxr
import torch
from torch import Tensor

from auricle.audio.decoding import AudioInfo
from auricle.audio.source import Source, opened
from auricle.audio.stream import decoder, pieces


def load(source: Source, sample_rate: int) -> Tensor:
    """Decode, mix down to mono and resample; full scale is -1 to 1.

    Any number of channels is mixed to their mean. Samples beyond full scale, which float files
    may hold, are kept. A file that is cut short or damaged gives what can be read of it, with an
    `AudioWarning`.

    Args:
        sample_rate: wanted, in Hz; the file's own may be from 1 kHz to 1 MHz.

    Returns:
        float32 `(S,)`, at least one sample; S is `round(frames * sample_rate / its own rate)`
        within 1.

    Raises:
        AudioError: missing, unreadable, empty, not a sound, rate out of range, NaN or infinite.
        MissingExtraError: MP4, M4A, AAC or WebM, and PyAV is not installed.
    """
    waveforms = [torch.from_numpy(piece) for piece in pieces(source, sample_rate)]
    return waveforms[0] if len(waveforms) == 1 else torch.cat(waveforms)


def load_part(source: Source, sample_rate: int, start: float, seconds: float) -> Tensor:
    """What `load` gives of `seconds` from `start` (in seconds) on, without decoding the rest.

    It costs the same wherever it lies, except in MP4, WebM, AAC and MP3 without a length in its
    header, which are decoded up to there. A part is not to the last bit what `load` gives: at its
    edges where it is resampled, and by up to 2e-3 where the codec remembers what came before.

    Returns:
        float32 `(S,)`, S at most `round(seconds * sample_rate)`: less where the sound ends sooner.

    Raises:
        AudioError: as `load`, and where the sound ends before `start`.
    """
    wanted = max(1, round(seconds * sample_rate))
    waveforms: list[Tensor] = []
    for piece in pieces(source, sample_rate, start):
        waveforms.append(torch.from_numpy(piece[:wanted]))
        wanted -= len(waveforms[-1])
        if not wanted:
            break
    return torch.cat(waveforms)


def duration(source: Source, *, trust_header: bool = True) -> float:
    """How long `source` is, in seconds: by its header where that is exact, else by decoding it.

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
    """What the header of `source` says, without decoding its samples.

    Raises:
        AudioError, MissingExtraError: as `load`, except for what only the samples show.
    """
    with opened(source) as file, decoder(file) as sound:
        return sound.info


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Bring `waveform` `(S,)` from one rate in Hz to another, with soxr's high quality (HQ)."""
    if from_rate == to_rate:
        return waveform
    samples = waveform.detach().to("cpu", torch.float32).numpy()
    return torch.from_numpy(soxr.resample(samples, from_rate, to_rate, quality="HQ"))
