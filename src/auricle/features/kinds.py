"""The kinds of log-mel filterbanks: Kaldi's and EfficientAT's.

Kaldi's is the front end of AST and of everything built on it; EfficientAT's is that of its
MobileNets.

Shapes: B clips, S samples, T frames.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from auricle.features.filterbank import PREEMPHASIS, Filterbank, FilterbankConfig

SMALLEST_POWER = float(np.finfo(np.float32).eps)  # Parity: Kaldi's floor under the logarithm
FLOOR = 1e-5  # added to every power
TOP_MARGIN_HZ = 1000.0  # above the highest mel; drawn at random in training, this is the middle
WINDOWS = {"hanning": np.hanning, "hamming": np.hamming}  # as Kaldi defines them, symmetric


class FbankConfig(FilterbankConfig):
    """Settings of the filterbank. The defaults are AST's for AudioSet.

    Source: Gong et al. 2021, section 2.1; the paper says Hamming, the released code, with which the
    weights were trained, has Hann.
    """

    name: Literal["fbank"] = "fbank"
    window: Literal["hanning", "hamming"] = "hanning"
    mean: float = -4.2677393
    std: float = Field(default=4.5689974, gt=0)


class Fbank(Filterbank):
    """Kaldi's filterbank: a frame that would run past a clip's end is dropped.

    Raises:
        AudioError: a clip is shorter than one frame.
    """

    config: FbankConfig
    silence = math.log(SMALLEST_POWER)

    @property
    def shortest_size(self) -> int:
        """One frame."""
        return self.window_size

    def num_samples(self, num_frames: int) -> int:
        """The smallest number of samples that holds `num_frames` (at least 1) frames."""
        return self.window_size + (num_frames - 1) * self.hop_size

    def _count(self, num_samples: Any) -> Any:
        return (num_samples - self.window_size) // self.hop_size + 1

    def _windowed_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        # AST subtracts the waveform's mean before. Each frame loses its own mean here, and any
        # constant with it, so that would change nothing but the rounding.
        means = waveforms.unfold(1, self.window_size, self.hop_size).mean(dim=2, keepdim=True)
        # Speed: emphasised before it is cut into frames, which overlap; of a frame's mean this
        # leaves 1 - PREEMPHASIS. The window is followed by the zeros that the FFT needs.
        emphasised = torch.sub(waveforms[:, 1:], waveforms[:, :-1], alpha=PREEMPHASIS)
        emphasised = F.pad(emphasised, (1, self.fft_size - self.window_size))
        frames = emphasised.unfold(1, self.fft_size, self.hop_size) - (1 - PREEMPHASIS) * means
        if self.config.window != "hanning":  # which is 0 at the first sample
            # To Kaldi the sample before a frame's first is that first one.
            first = waveforms.unfold(1, 1, self.hop_size)[:, : frames.shape[1]]
            frames = torch.cat([(1 - PREEMPHASIS) * (first - means), frames[..., 1:]], dim=2)
        return frames.mul_(self.window)

    def _window(self) -> np.ndarray:
        return WINDOWS[self.config.window](self.window_size)

    def _logarithm(self, powers: Tensor) -> Tensor:
        return powers.clamp_(min=SMALLEST_POWER).log_()


class EfficientATConfig(FilterbankConfig):
    """Settings of EfficientAT's filterbank; the defaults are those of its AudioSet models.

    It differs from Kaldi's: a frame is centred on each hop, and a clip is reflected at both ends,
    so that no sample is dropped; the whole clip is emphasised before it is cut, frames keep their
    means; the mels end 1 kHz below half the sample rate, and the logarithm has a higher floor.

    Source: Schmid, Koutini, Widmer 2023 (arXiv 2211.04772), as released.
    """

    name: Literal["efficientat"] = "efficientat"
    sample_rate: int = Field(default=32_000, ge=1)  # Hz
    lowest_hz: float = Field(default=0.0, ge=0)
    mean: float = -4.5  # with this std the released (x + 4.5) / 5
    std: float = Field(default=2.5, gt=0)

    @property
    def highest_hz(self) -> float:
        """Upper edge of the highest mel."""
        return self.sample_rate / 2 - TOP_MARGIN_HZ


class EfficientATFilterbank(Filterbank):
    """A frame around sample 0 and around every hop after it, as far as the clip goes.

    A clip is reflected at its own ends, not at those of the batch.

    Raises:
        AudioError: a clip is too short to be reflected (half a window and two samples).
    """

    silence = math.log(FLOOR)

    @property
    def shortest_size(self) -> int:
        """Half a window and two samples: the emphasised clip, one shorter, is reflected."""
        return self._reach + 2

    @property
    def _reach(self) -> int:
        """Samples of a window before its middle."""
        return self.window_size // 2

    def num_samples(self, num_frames: int) -> int:
        """The smallest number of samples that gives `num_frames` (at least 1) frames or more."""
        return max(self.shortest_size, (num_frames - 1) * self.hop_size + 1)

    def _count(self, num_samples: Any) -> Any:
        return (num_samples - 1) // self.hop_size + 1

    def _windowed_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        emphasised = torch.sub(waveforms[:, 1:], waveforms[:, :-1], alpha=PREEMPHASIS)
        # The window is followed by the zeros that the FFT needs: nothing behind it counts.
        end = (self._count(waveforms.shape[1]) - 1) * self.hop_size - self._reach + self.fft_size
        samples = torch.arange(-self._reach, end, device=waveforms.device).abs()
        last = lengths[:, None] - 2  # of the emphasised clip
        samples = torch.where(samples > last, 2 * last - samples, samples).clamp(min=0)
        frames = emphasised.gather(1, samples).unfold(1, self.fft_size, self.hop_size)
        return frames * self.window

    def _logarithm(self, powers: Tensor) -> Tensor:
        return powers.add_(FLOOR).log_()
