"""Waveforms as people hold them (numpy or torch, any rate, any channels) to the model's form."""

from os import PathLike
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from auricle import audio
from auricle.errors import AudioError

Waveform: TypeAlias = np.ndarray | Tensor

INT16_FULL_SCALE = 32_768
MOST_CHANNELS = 64
SUBJECT = "the waveform"  # of messages


def to_mono(waveform: Waveform, sample_rate: int, wanted_rate: int) -> Tensor:
    """A copy of `waveform` as float32 samples `(S,)`, mono, at `wanted_rate` Hz.

    Args:
        waveform: `(S,)`, `(channels, S)` or `(S, channels)`, where the shorter of the two is the
            channels, up to 64; floating point with full scale at +-1, or int16.

    Raises:
        AudioError: another shape or type, no samples, samples that `audio.check_samples`
            refuses, or a sample rate out of range.
    """
    if not isinstance(sample_rate, int | float | np.number) or isinstance(sample_rate, bool):
        raise AudioError(
            f"the sample rate has to be a number of Hz, got {sample_rate!r}. It is that of the "
            "waveform, not of the model."
        )
    if not audio.LOWEST_RATE <= sample_rate <= audio.HIGHEST_RATE:
        raise AudioError(
            f"a sample rate of {sample_rate} Hz is outside the range of {audio.LOWEST_RATE} to "
            f"{audio.HIGHEST_RATE} Hz."
        )
    samples = _to_float(_to_array(waveform))
    _check_shape(samples)
    samples = _channels_first(samples)
    if audio.check_samples(samples.T, SUBJECT):
        audio.warn_integers(SUBJECT)
    mono = _mean(samples) if samples.ndim == 2 else samples
    resampled = audio.resample(torch.from_numpy(mono.astype(np.float32)), sample_rate, wanted_rate)
    if not len(resampled):
        raise AudioError(f"the waveform is too short to give one sample at {wanted_rate} Hz.")
    return resampled


def _mean(samples: np.ndarray) -> np.ndarray:
    """The mean `(S,)` of `(channels, S)`, or the loudest channel where they cancel, as in files."""
    mean: np.ndarray = samples.mean(axis=0)
    louder = audio.louder_channel(samples.T, mean)
    if louder is None:
        return mean
    audio.warn_cancelling(SUBJECT, louder, "Pass one channel, or the mean, to choose.")
    return samples[louder]


def _to_array(waveform: Waveform) -> np.ndarray:
    if isinstance(waveform, Tensor):
        tensor = waveform.detach().cpu()
        # numpy has no bfloat16
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if isinstance(waveform, np.ndarray):
        return waveform
    hint = ""
    if isinstance(waveform, str | bytes | bytearray | memoryview | PathLike):
        hint = " A file is given to classify_file."
    elif isinstance(waveform, int | float | list | tuple):
        hint = " Samples are passed as numpy.array(samples), several waveforms as a list of these."
    raise AudioError(
        "expected a waveform as a numpy array or a torch tensor, got "
        f"{type(waveform).__name__}.{hint}"
    )


def _to_float(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        # The squares of a long waveform do not fit into 16 bits.
        return samples.astype(np.float32) if samples.dtype.itemsize == 2 else samples
    if samples.dtype.kind == "i" and samples.dtype.itemsize == 2:
        return samples.astype(np.float32) / INT16_FULL_SCALE
    raise AudioError(
        f"the waveform holds {samples.dtype} values, whose full scale is not known. Pass floating "
        "point with full scale at +-1, or int16."
    )


def _check_shape(samples: np.ndarray) -> None:
    if samples.ndim not in (1, 2):
        raise AudioError(
            "expected a waveform of shape (samples,), (channels, samples) or (samples, channels), "
            f"got {samples.shape}."
        )
    if samples.size == 0:
        raise AudioError(f"the waveform is empty: its shape is {samples.shape}.")


def _channels_first(samples: np.ndarray) -> np.ndarray:
    """`(channels, S)` of what may be `(S, channels)`, which soundfile gives.

    Raises:
        AudioError: it could be either, or has more channels than a recording.
    """
    if samples.ndim == 1:
        return samples
    first, second = samples.shape
    if first <= second and first <= MOST_CHANNELS:
        return samples
    if second < first and second <= MOST_CHANNELS:
        return samples.T
    raise AudioError(
        f"the waveform has the shape {samples.shape}, of which neither is a number of channels "
        f"(up to {MOST_CHANNELS}). Pass (channels, samples) or (samples, channels); several "
        "waveforms as a list."
    )
