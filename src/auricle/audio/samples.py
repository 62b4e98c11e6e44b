"""Samples: refused where they are no sound, mixed to mono, cut and padded.

Shapes: B clips, S samples.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from auricle.audio.source import Channel
from auricle.errors import AudioError, AudioWarning

Samples = NDArray[np.float32]

LARGEST = 1e6  # times full scale: 120 dB above it, and far below where squares overflow
INTEGER_PEAK = 100.0  # times full scale: no mix of floats reaches it, 16-bit integers nearly always

CANCELLING = 0.01  # power of the mean of channels, as a share of what unrelated ones would give
TO_CHOOSE = (
    "Choose one, or the mean, with --channel (in Python: auricle.audio.Selected(file, channel))."
)
QUIET = 1e-7  # mean square of a silent channel: -70 dB


def check_samples(samples: NDArray[Any], subject: str, start: float = 0, rate: int = 0) -> bool:
    """Refuse samples that are no sound; whether they seem to be integers taken for floats.

    Args:
        samples: of any shape `(S, ...)`, where full scale is -1 to 1.
        subject: what holds them, for the message: "a.wav:" or "the waveform".
        start: of the first sample, in seconds; named where the `rate` in Hz is given.

    Raises:
        AudioError: a sample is NaN, infinite, or beyond `LARGEST`.
    """
    # Speed: two passes without a copy; NaN is not at most anything.
    peak = max(float(samples.max()), -float(samples.min())) if samples.size else 0.0
    if peak <= LARGEST:
        return peak > INTEGER_PEAK
    is_finite = np.isfinite(samples)
    is_good = is_finite if not is_finite.all() else np.abs(samples) <= LARGEST
    frame = int(is_good.reshape(len(samples), -1).all(axis=1).argmin())
    place = f", the first at {start + frame / rate:.3f} s" if rate else ""
    if not is_finite.all():
        raise AudioError(
            f"{subject} holds NaN or infinite samples{place}. Export it again without them."
        )
    raise AudioError(
        f"{subject} holds samples of up to {peak:.1e} times full scale{place}; beyond "
        f"{LARGEST:.0e} there is no recording. If they were integers, divide them by their full "
        "scale (32768 for 16 bits, 8388608 for 24 bits)."
    )


def warn_integers(subject: str) -> None:
    """Warn that the samples of `subject` are at the scale of integers, not of floats."""
    warnings.warn(
        f"{subject} holds samples beyond {INTEGER_PEAK:.0f} times full scale, as 16-bit integers "
        "taken for floats are. Divide them by 32768, or export it with integers.",
        AudioWarning,
        stacklevel=2,
    )


def louder_channel(samples: NDArray[Any], mean: NDArray[Any]) -> int | None:
    """Index of the loudest channel of `samples` `(S, channels)` where they cancel in their `mean`.

    They do where it has less than a hundredth (-20 dB) of the power that unrelated channels would
    leave, as with one polarity inverted. None where they do not, or are silent.
    """
    flat = samples.ravel(order="K")
    total = float(np.dot(flat, flat))
    unrelated = total / samples.shape[1] ** 2
    if float(np.dot(mean, mean)) >= CANCELLING * unrelated:
        return None
    powers = np.square(samples).mean(axis=0)
    loudest = int((powers >= 0.999 * powers.max()).argmax())  # of about equal ones the first
    return loudest if powers[loudest] > QUIET else None


def warn_cancelling(subject: str, channel: int, remedy: str) -> None:
    """Warn that channels cancel and `channel` (an index) stands for them; a `remedy` at the end."""
    warnings.warn(
        f"{subject} has channels that cancel in their mean. Where they do, channel {channel + 1} "
        f"is used alone. {remedy}",
        AudioWarning,
        stacklevel=2,
    )


class Downmix:
    """Mono samples of a sound that comes in pieces, checked.

    Args:
        name: of the sound, for messages.
        rate: of its samples, in Hz.
        channel: as in `Selected`.
    """

    def __init__(self, name: str, rate: int, channel: Channel):
        self.subject = f"{name}:"
        self.rate = rate
        self.channel = channel
        self.is_scaled = False
        self.louder: int | None = None  # the last one that stood for channels that cancel

    def __call__(self, piece: Samples, start: float) -> Samples:
        """The mono samples `(S,)` of a piece `(S, channels)` that begins at `start` seconds.

        Raises:
            AudioError: there is no such channel, or as `check_samples`.
        """
        if check_samples(piece, self.subject, start, self.rate) and not self.is_scaled:
            self.is_scaled = True
            warn_integers(self.subject)
        num_channels = piece.shape[1]
        if isinstance(self.channel, int):
            if not 1 <= self.channel <= num_channels:
                held = "1 channel" if num_channels == 1 else f"{num_channels} channels"
                raise AudioError(
                    f"{self.subject} has {held}, no channel {self.channel}. Give a number from 1 "
                    f"to {num_channels}, or mix."
                )
            return np.ascontiguousarray(piece[:, self.channel - 1])
        if num_channels == 1:
            return piece[:, 0]
        # Speed: 30 s of stereo take 0.2 ms this way and 6 ms with `piece.mean(axis=1)`.
        mean: Samples = piece @ np.full(num_channels, 1 / num_channels, dtype=np.float32)
        louder = None if self.channel == "mix" else louder_channel(piece, mean)
        if louder is None:
            return mean
        if self.louder is None:
            warn_cancelling(self.subject, louder, TO_CHOOSE)
            self.louder = louder
        # Of channels about as loud the same one goes on: they differ in sign.
        if np.square(piece[:, self.louder]).mean() < np.square(piece[:, louder]).mean() / 2:
            self.louder = louder
        return np.ascontiguousarray(piece[:, self.louder])


def crop(waveform: Tensor, start: int, length: int) -> Tensor:
    """The samples `start` to `start + length` of `waveform` `(..., S)`, fewer at its end."""
    assert start >= 0, f"a crop cannot start at {start}"
    return waveform[..., start : start + length]


def pad(waveform: Tensor, length: int) -> Tensor:
    """`waveform` `(..., S)` with zeros after it up to `length`; unchanged where it is as long."""
    return F.pad(waveform, (0, max(0, length - waveform.shape[-1])))


def pad_batch(waveforms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Waveforms of any lengths as one batch `(B, S)` with zeros after each, and lengths `(B,)`."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    longest = int(lengths.max())
    return torch.stack([pad(waveform, longest) for waveform in waveforms]), lengths
