"""The kinds of log-mel filterbanks: Kaldi's, EfficientAT's and CED's.

Kaldi's is the front end of AST and of everything built on it; EfficientAT's is that of its
MobileNets. CED's is what torchaudio calls a mel spectrogram, in decibels.

Shapes: B clips, S samples, T frames.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from auricle.features.filterbank import (
    PREEMPHASIS,
    Filterbank,
    FilterbankConfig,
    hz_to_mel,
    mel_to_hz,
    triangles,
)
from auricle.padding import inside

SMALLEST_POWER = float(np.finfo(np.float32).eps)  # Parity: Kaldi's floor under the logarithm
FLOOR = 1e-5  # added to every power
CED_FLOOR = 1e-10
CED_RANGE_DB = 120.0
LOG_PER_DECIBEL = math.log(10) / 10  # natural logarithm of a power for each of its decibels
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


class CentredFilterbank(Filterbank):
    """A frame around sample 0 and around every hop after it, as far as the clip goes.

    A clip is reflected at its own ends, not at those of the batch.

    Raises:
        AudioError: a clip is too short to be reflected.
    """

    cut_samples = 0  # by which `_filtered` makes a clip shorter

    @property
    def shortest_size(self) -> int:
        """Half a window and one sample, which is reflected around the first."""
        return self._reach + 1 + self.cut_samples

    @property
    def _reach(self) -> int:
        """Samples of a window before its middle."""
        return self.window_size // 2

    def num_samples(self, num_frames: int) -> int:
        """The smallest number of samples that gives `num_frames` (at least 1) frames or more."""
        return max(self.shortest_size, (num_frames - 1) * self.hop_size + self.cut_samples)

    def _count(self, num_samples: Any) -> Any:
        return (num_samples - self.cut_samples) // self.hop_size + 1

    def _filtered(self, waveforms: Tensor) -> Tensor:
        """What of the waveforms is cut into frames."""
        return waveforms

    def _windowed_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        # The window is followed by the zeros that the FFT needs: nothing behind it counts.
        end = (self._count(waveforms.shape[1]) - 1) * self.hop_size - self._reach + self.fft_size
        samples = torch.arange(-self._reach, end, device=waveforms.device).abs()
        last = lengths[:, None] - 1 - self.cut_samples
        samples = torch.where(samples > last, 2 * last - samples, samples).clamp(min=0)
        frames = self._filtered(waveforms).gather(1, samples)
        return frames.unfold(1, self.fft_size, self.hop_size) * self.window


class EfficientATFilterbank(CentredFilterbank):
    """Centred frames of the emphasised clip, which is one sample shorter.

    Raises:
        AudioError: a clip is too short to be reflected (half a window and two samples).
    """

    cut_samples = 1
    silence = math.log(FLOOR)

    def _filtered(self, waveforms: Tensor) -> Tensor:
        return torch.sub(waveforms[:, 1:], waveforms[:, :-1], alpha=PREEMPHASIS)

    def _logarithm(self, powers: Tensor) -> Tensor:
        return powers.add_(FLOOR).log_()


class CEDFilterbankConfig(FilterbankConfig):
    """Settings of CED's filterbank; the defaults are those of its AudioSet models.

    It has centred frames as EfficientAT's, without emphasis, and filters that are triangles over
    frequency, not over mel. With this mean and std the features are decibels, which the model
    normalises by itself; what is more than 120 dB below a clip's loudest value is raised to that.

    Source: the feature extractor of CED on the Hugging Face hub, with torchaudio's MelSpectrogram
    and AmplitudeToDB, whose range in a batch goes by the loudest clip of the batch.
    """

    name: Literal["ced"] = "ced"
    num_mels: int = Field(default=64, ge=1)
    window_ms: float = Field(default=32.0, gt=0)
    lowest_hz: float = Field(default=0.0, ge=0)
    mean: float = 0.0
    std: float = Field(default=LOG_PER_DECIBEL / 2, gt=0)


class CEDFilterbank(CentredFilterbank):
    """Centred frames under a periodic Hann window.

    Raises:
        AudioError: a clip is too short to be reflected (half a window and one sample).
    """

    silence = math.log(CED_FLOOR)

    def _window(self) -> np.ndarray:
        return np.hanning(self.window_size + 1)[:-1]

    def _filters(self) -> np.ndarray:
        config = self.config
        lowest, highest = hz_to_mel([config.lowest_hz, config.highest_hz])
        edges = mel_to_hz(np.linspace(lowest, highest, config.num_mels + 2))
        return triangles(edges, np.linspace(0, config.sample_rate / 2, self.fft_size // 2 + 1))

    def _raw_log_mel(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        log_mel, counts = super()._raw_log_mel(waveforms, lengths)
        own = inside(counts, log_mel.shape[1])[:, :, None]
        loudest = log_mel.masked_fill(~own, self.silence).amax(dim=(1, 2), keepdim=True)
        return log_mel.maximum(loudest - CED_RANGE_DB * LOG_PER_DECIBEL), counts

    def _logarithm(self, powers: Tensor) -> Tensor:
        return powers.clamp_(min=CED_FLOOR).log_()
