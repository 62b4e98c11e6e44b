"""The base of all filterbanks: batches, padding, normalisation, precision, mel filters.

A batched, differentiable filterbank, so that training, evaluation, inference and export share one
path and it runs on the model's device. How samples become a power spectrum is defined by each kind,
in `kinds.py`.

Shapes: B clips, S samples, T frames, M mels, N bins of the spectrum.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.errors import AudioError
from auricle.padding import inside

PREEMPHASIS = 0.97
SILENCE_DBFS = -70.0  # a quiet room, as recorded, is near -60
NUM_BANDS = 8
SAMPLES_AT_ONCE = 1 << 18  # of frames, which overlap: 2 MB, about what a core's cache holds


class PaddingConfig(Settings):
    """Filling of the frames that a clip does not have.

    fixed: every clip is cut or padded to exactly `frames`; padded log-mel values are 0 before the
    normalisation, and the padding counts as frames. Published AST weights were trained so.
    mask: clips keep their true lengths; one shorter than `frames` is filled up to that with digital
    silence (which counts as frames), and features beyond a clip's frames are 0.
    repeat: as mask, but a clip shorter than `frames` is repeated up to that, so that its model sees
    no silence; inference leaves out pauses first.
    """

    mode: Literal["fixed", "mask", "repeat"] = "mask"
    frames: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "fixed" and self.frames == 0:
            raise ValueError("mode fixed needs frames, the length of every clip (AST: 1024)")
        if self.mode == "repeat" and self.frames == 0:
            raise ValueError("mode repeat needs frames, the length up to which clips are repeated")
        return self


class FilterbankConfig(Settings):
    """Settings that every kind of filterbank has; `name` is the kind."""

    renamed: ClassVar = {"softest_dbfs": "min_level_dbfs"}

    name: str
    sample_rate: int = Field(default=16_000, ge=1)  # Hz
    num_mels: int = Field(default=128, ge=1)
    window_ms: float = Field(default=25.0, gt=0)
    hop_ms: float = Field(default=10.0, gt=0)
    lowest_hz: float = Field(default=20.0, ge=0)
    mean: float  # of the log-mel values over the training set
    std: float = Field(gt=0)
    padding: PaddingConfig = PaddingConfig()
    # A softer clip is raised to this level (RMS without an offset, a full sine has -3), unless it
    # is silent (SILENCE_DBFS); None: no clip is.
    min_level_dbfs: float | None = Field(default=None, gt=SILENCE_DBFS, le=0)

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest mel."""
        return self.sample_rate / 2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lowest_hz >= self.highest_hz:
            raise ValueError(
                f"lowest_hz ({self.lowest_hz:g}) must be below the highest frequency of the mels "
                f"({self.highest_hz:g} Hz at a sample rate of {self.sample_rate} Hz)"
            )
        for name, smallest in (("window_ms", 3), ("hop_ms", 1)):
            milliseconds = getattr(self, name)
            if samples_in(milliseconds, self.sample_rate) < smallest:
                raise ValueError(
                    f"{name} ({milliseconds:g}) must last at least {smallest} samples at "
                    f"{self.sample_rate} Hz"
                )
        return self


class Filterbank(nn.Module, ABC):
    """Waveforms `(B, S)` to normalised log-mel features `(B, T, M)` and frame counts `(B,)`.

    `lengths` `(B,)` are the true numbers of samples (default: S); what lies beyond is ignored, and
    `PaddingConfig` defines what replaces the frames that a clip does not have. Features have the
    precision of the module (float32, or float64 after `.double()`), whatever the waveforms, the
    default of torch and autocast have.

    Attributes:
        silence: the log-mel value of zeros.

    Raises:
        AudioError: a clip is shorter than one frame.
    """

    config: FilterbankConfig
    window: Tensor
    filters: Tensor
    silence: float

    def __init__(self, config: FilterbankConfig):
        super().__init__()
        self.config = config
        self.window_size = samples_in(config.window_ms, config.sample_rate)
        self.hop_size = samples_in(config.hop_ms, config.sample_rate)
        self.fft_size = 1 << (self.window_size - 1).bit_length()  # next power of two
        self._build_tables(None, torch.float32)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised and padded features, and how many frames of each clip count."""
        return self._in_parts(self._features, waveforms, lengths)

    def log_mel(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Natural logarithm of the mel powers, `(B, T, M)`, and the true frame counts `(B,)`.

        Neither normalised nor padded, nor raised to `min_level_dbfs`: T is what S allows, and
        frames beyond a clip's count hold digital silence.
        """
        return self._in_parts(self._true_log_mel, waveforms, lengths)

    def apply_min_level(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Waveforms, zero beyond `lengths`; those softer than `min_level_dbfs` are raised to it."""
        if self.config.min_level_dbfs is None:
            return waveforms
        waveforms = waveforms.to(self.window.dtype)
        power = clip_power(waveforms, lengths)
        target, silence = (10 ** (dbfs / 10) for dbfs in (self.config.min_level_dbfs, SILENCE_DBFS))
        is_soft = (power >= silence) & (power < target)
        gain = (target / power.clamp(min=silence)).sqrt()
        return torch.where(is_soft, gain * waveforms, waveforms)

    def normalize(self, log_mel: Tensor) -> Tensor:
        """Log-mel values to features, in any shape."""
        # Parity: AST divides by twice the standard deviation, and its weights expect that.
        return (log_mel - self.config.mean).div_(2 * self.config.std)

    @property
    def padding_value(self) -> float:
        """The value of padded features, with which SpecAugment fills too where AST's does."""
        if self.config.padding.mode == "fixed":
            return -self.config.mean / (2 * self.config.std)
        return 0.0

    def num_frames(self, num_samples: int) -> int:
        """Frames of `num_samples` samples; 0 if they are too few for a clip."""
        return self._count(num_samples) if num_samples >= self.shortest_size else 0

    @property
    @abstractmethod
    def shortest_size(self) -> int:
        """Samples of the shortest clip."""

    @abstractmethod
    def num_samples(self, num_frames: int) -> int:
        """The smallest number of samples that gives `num_frames` (at least 1) frames or more."""

    @abstractmethod
    def _count(self, num_samples: Any) -> Any:
        """Frames of clips that are long enough; `num_samples` is a number or a tensor of them."""

    def _window(self) -> np.ndarray:
        return np.hanning(self.window_size)

    def _filters(self) -> np.ndarray:
        """Weights of every mel in the power spectrum, `(N, M)`."""
        config = self.config
        num_bins = self.fft_size // 2 + 1
        lowest, highest, last = config.lowest_hz, config.highest_hz, config.sample_rate / 2
        return mel_filters(config.num_mels, num_bins, lowest, highest, last)

    @abstractmethod
    def _windowed_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """The frames whose spectrum is taken, `(B, T, fft_size)`."""

    @abstractmethod
    def _logarithm(self, powers: Tensor) -> Tensor:
        """The natural logarithm of mel powers, kept finite; `powers` may be overwritten."""

    def _in_parts(
        self,
        compute: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        waveforms: Tensor,
        lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        self._refuse_short_clips(waveforms, lengths)
        batch, num_samples = waveforms.shape
        if lengths is None:
            lengths = waveforms.new_full((batch,), num_samples, dtype=torch.int64)
        else:
            lengths = lengths.to(waveforms.device)
            # Zeros, so that not even an infinite sample beyond the end reaches frame or gradient.
            waveforms = torch.where(inside(lengths, num_samples), waveforms, 0.0)
        with without_autocast(waveforms.device.type):
            if waveforms.device.type != "cpu" or torch.compiler.is_compiling():
                return compute(waveforms, lengths)
            # Speed: what the caches hold: 16 clips of 5 s take half the time of all at once.
            cached = SAMPLES_AT_ONCE * torch.get_num_threads()
            clips = max(1, cached // (self.num_frames(num_samples) * self.fft_size))
            pairs = zip(waveforms.split(clips), lengths.split(clips), strict=True)
            values, frame_counts = zip(*(compute(*pair) for pair in pairs), strict=True)
            return torch.cat(values), torch.cat(frame_counts)

    def _features(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if self.config.padding.mode == "repeat":
            shortest = self.num_samples(self.config.padding.frames)
            waveforms, lengths = repeated(waveforms, lengths, shortest)
        log_mel, frame_counts = self._raw_log_mel(self.apply_min_level(waveforms, lengths), lengths)
        frames = self.config.padding.frames
        if self.config.padding.mode == "fixed":
            log_mel = F.pad(log_mel, (0, 0, 0, frames - log_mel.shape[1]))  # negative: cut
            # Parity: AST pads before it normalises, so that padding is louder than silence.
            features = self.normalize(fill_beyond(log_mel, frame_counts, 0.0))
            return features, torch.full_like(frame_counts, frames)
        log_mel = F.pad(log_mel, (0, 0, 0, max(0, frames - log_mel.shape[1])))
        fill = log_mel.new_full((log_mel.shape[1], 1), self.config.mean)  # normalised: 0
        is_filled_up = torch.arange(log_mel.shape[1], device=log_mel.device) < frames
        fill = fill.masked_fill(is_filled_up[:, None], self.silence)
        features = self.normalize(fill_beyond(log_mel, frame_counts, fill))
        return features, frame_counts.clamp(min=frames)

    def _true_log_mel(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        log_mel, frame_counts = self._raw_log_mel(waveforms, lengths)
        return fill_beyond(log_mel, frame_counts, self.silence), frame_counts

    def _raw_log_mel(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel values; frames beyond a clip's count are not defined."""
        power = self._power(waveforms.to(self.window.dtype), lengths).to(self.filters.dtype)
        # Speed: a filter reaches few bins, so small products take 0.10 ms a clip, one 0.34 ms.
        mels = [power[..., bins] @ filters for bins, filters in self.bands]
        return self._logarithm(torch.cat(mels, dim=2)), self._count(lengths)

    def _power(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """The power spectrum of every frame, `(B, T, fft_size // 2 + 1)`."""
        spectrum = torch.fft.rfft(self._windowed_frames(waveforms, lengths))
        # Speed: a quarter of the time of spectrum.abs().square().
        squares = torch.view_as_real(spectrum).square_()
        return squares[..., 0] + squares[..., 1]

    def _refuse_short_clips(self, waveforms: Tensor, lengths: Tensor | None) -> None:
        if torch.compiler.is_compiling():  # a graph cannot depend on values
            return
        counts = [waveforms.shape[1]] if lengths is None else lengths.tolist()
        for index, num_samples in enumerate(counts):
            if num_samples < self.shortest_size:
                rate = self.config.sample_rate
                raise AudioError(
                    f"clip {index} has {num_samples} samples, but one frame needs "
                    f"{self.shortest_size} ({1000 * self.shortest_size / rate:g} ms at {rate} Hz). "
                    "Leave it out or give a longer clip."
                )

    def _build_tables(self, device: torch.device | None, dtype: torch.dtype) -> None:
        filters = self._filters()
        self.register_buffer(
            "filters", torch.tensor(filters, device=device, dtype=dtype), persistent=False
        )
        self.bands = [(bins, self.filters[bins, band]) for bins, band in bands(filters)]
        # The spectrum is always taken in float64: rounded to float32 its loudest bins would drown
        # those 90 dB below (6e-3 off in real clips). Only Apple's GPUs have nothing better.
        has_float64 = device is None or device.type != "mps"
        precision = torch.float64 if has_float64 else torch.float32
        window = np.pad(self._window(), (0, self.fft_size - self.window_size))
        self.window = torch.tensor(window, device=device, dtype=precision)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moved or cast: build the tables anew, exact in float64 and never less than float32."""
        super()._apply(fn, recurse)
        is_double = self.filters.dtype == torch.float64
        self._build_tables(self.filters.device, torch.float64 if is_double else torch.float32)
        return self


def without_autocast(device_type: str) -> AbstractContextManager[None]:
    """A context in which matrix products keep their precision."""
    # Only where it is on: a needless context would end up in exported graphs.
    if torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def samples_in(milliseconds: float, sample_rate: int) -> int:
    """Whole samples in a duration; Kaldi cuts the rest off."""
    return int(sample_rate * milliseconds / 1000)


def clip_power(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Mean square of each clip without a constant offset, `(B, 1)`.

    Waveforms are zero beyond `lengths`.
    """
    count = lengths[:, None]
    offset = waveforms.sum(dim=1, keepdim=True) / count
    squares = (waveforms - offset).square() * inside(lengths, waveforms.shape[1])
    return squares.sum(dim=1, keepdim=True) / count


def repeated(waveforms: Tensor, lengths: Tensor, shortest: int) -> tuple[Tensor, Tensor]:
    """Clips with those of fewer than `shortest` samples repeated up to that, and their lengths.

    Waveforms are zero beyond `lengths`; a batch narrower than `shortest` becomes as wide.
    """
    waveforms = F.pad(waveforms, (0, max(0, shortest - waveforms.shape[1])))
    position = torch.arange(waveforms.shape[1], device=waveforms.device)
    count = lengths[:, None]
    is_filled = (count < shortest) & (position < shortest)
    waveforms = waveforms.gather(1, torch.where(is_filled, position % count, position))
    return waveforms, lengths.clamp(min=shortest)


def fill_beyond(log_mel: Tensor, frame_counts: Tensor, fill: Tensor | float) -> Tensor:
    """`log_mel` `(B, T, M)` with `fill` in the frames that a clip does not have."""
    # Speed: whole clips, the usual case, are left alone: 5 % of the filterbank's time.
    can_ask = log_mel.device.type == "cpu" and not torch.compiler.is_compiling()
    if can_ask and bool((frame_counts >= log_mel.shape[1]).all()):
        return log_mel
    return torch.where(inside(frame_counts, log_mel.shape[1])[:, :, None], log_mel, fill)


def mel_filters(
    num_mels: int,
    num_bins: int,
    lowest_hz: float,
    highest_hz: float,
    last_bin_hz: float | None = None,
) -> np.ndarray:
    """Triangular filters `(N, M)`, float64, for bins evenly spaced from 0 to `last_bin_hz`.

    Their edges are evenly spaced in mel from `lowest_hz` to `highest_hz` (where the last bin lies,
    too, unless it is given), and they are linear in mel (Kaldi), not in Hz. Narrow ones may lie
    between two bins and hold nothing.
    """
    edges = np.linspace(hz_to_mel(lowest_hz), hz_to_mel(highest_hz), num_mels + 2)
    last_bin_hz = highest_hz if last_bin_hz is None else last_bin_hz
    return triangles(edges, hz_to_mel(np.linspace(0, last_bin_hz, num_bins)))


def triangles(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Triangles `(N, M)` over `bins` `(N,)`: from one of `edges` `(M + 2,)` to the next but one."""
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling))


def hz_to_mel(frequencies: Any) -> Any:
    """The HTK mel scale, which Kaldi uses."""
    return 1127 * np.log1p(np.asarray(frequencies) / 700)


def mel_to_hz(mels: Any) -> Any:
    """The inverse of `hz_to_mel`."""
    return 700 * np.expm1(np.asarray(mels) / 1127)


def bands(filters: np.ndarray) -> list[tuple[slice, slice]]:
    """Groups of neighbouring filters, each as the bins that they reach and the filters."""
    width = math.ceil(filters.shape[1] / NUM_BANDS)
    groups = []
    for first in range(0, filters.shape[1], width):
        band = slice(first, first + width)
        reached = np.flatnonzero(filters[:, band].any(axis=1)).tolist() or [0]
        groups.append((slice(reached[0], reached[-1] + 1), band))
    return groups
