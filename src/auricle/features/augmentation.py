"""Augmentation of features: SpecAugment, and the noise and roll of AST's Speech Commands recipe.

Shapes: B clips, T frames, M mels.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.padding import inside


class SpecAugmentConfig(Settings):
    """Masks are narrower than these; 0 is no mask."""

    frequency_mask: int = Field(default=0, ge=0)  # mels
    time_mask: int = Field(default=0, ge=0)  # frames
    # What masked features become: the value of padded ones (AST: a log-mel value of 0, before the
    # normalisation), or the mean, which is 0 after it (EAT, ASDA).
    fill: Literal["padding", "mean"] = "padding"


class SpecAugment(nn.Module):
    """Features `(B, T, M)` with one frequency and one time mask a clip, each clip its own.

    Widths are uniform in `[0, mask)`, starts uniform where they fit. A time mask lies among the
    clip's `frame_counts` `(B,)` true frames and is shorter than half of them; a mask that is wider
    than there are mels is as wide as the mels. In eval mode nothing is masked.

    Source: Park et al. 2019; widths are drawn as in torchaudio's FrequencyMasking and TimeMasking.

    Args:
        padding_value: what padded features are (`Filterbank.padding_value`).
    """

    def __init__(self, config: SpecAugmentConfig, padding_value: float):
        super().__init__()
        self.config = config
        self.fill_value = padding_value if config.fill == "padding" else 0.0

    def forward(self, features: Tensor, frame_counts: Tensor) -> Tensor:
        """Features of which some are masked, in train mode."""
        if not self.training:
            return features
        num_frames, num_mels = features.shape[1:]
        frequency_limits = torch.full_like(frame_counts, min(self.config.frequency_mask, num_mels))
        # Half a clip at most, so that a short one never disappears behind its mask.
        time_limits = (frame_counts // 2).clamp(max=self.config.time_mask)
        mels = draw_masks(frequency_limits, torch.full_like(frame_counts, num_mels), num_mels)
        frames = draw_masks(time_limits, frame_counts, num_frames)
        return features.masked_fill(frames[:, :, None] | mels[:, None, :], self.fill_value)


class FeatureNoiseConfig(Settings):
    """Amount of noise and length of the roll; 0 leaves either out."""

    amount: float = Field(default=0.0, ge=0)  # the authors: 0.1
    shift_frames: int = Field(default=0, ge=0)  # the authors: 10


class FeatureNoise(nn.Module):
    """Normalised features `(B, T, M)` with noise, then rolled; each clip its own.

    The noise is uniform in `[0, level)` with a level uniform in `[0, amount)`, the roll uniform in
    `[-shift_frames, shift_frames)`. Both stay within the clip's `frame_counts` `(B,)` frames; the
    frames beyond stay as they are. In eval mode nothing changes.

    Source: Gong et al. 2021, as released (YuanGongND/ast, src/dataloader.py, `noise`): after
    masking and normalisation. There the roll is drawn from `[-10, 10)`.
    """

    def __init__(self, config: FeatureNoiseConfig):
        super().__init__()
        self.config = config

    def forward(self, features: Tensor, frame_counts: Tensor) -> Tensor:
        """Features that differ each time, in train mode."""
        if not self.training:
            return features
        if self.config.amount:
            features = self._add_noise(features, frame_counts)
        if self.config.shift_frames:
            features = self._roll(features, frame_counts)
        return features

    def _add_noise(self, features: Tensor, frame_counts: Tensor) -> Tensor:
        levels = self.config.amount * _uniform((len(features), 1, 1), features.device)
        noise = _uniform(features.shape, features.device) * levels
        own = inside(frame_counts, features.shape[1])
        return features + noise.to(features.dtype) * own[:, :, None]

    def _roll(self, features: Tensor, frame_counts: Tensor) -> Tensor:
        limits = torch.full_like(frame_counts, 2 * self.config.shift_frames)
        shifts = (draw_below(limits) - self.config.shift_frames)[:, None]
        frames = torch.arange(features.shape[1], device=features.device)[None]
        counts = frame_counts[:, None]
        source = torch.where(frames < counts, (frames - shifts) % counts, frames)
        return features.gather(1, source[:, :, None].expand_as(features))


def draw_masks(limits: Tensor, counts: Tensor, size: int) -> Tensor:
    """A random run of True for each clip, `(B, size)`: shorter than its limit, within its count."""
    widths = draw_below(limits)
    starts = draw_below(counts - widths + 1)
    positions = torch.arange(size, device=counts.device)
    return (positions >= starts[:, None]) & (positions < (starts + widths)[:, None])


def draw_below(limits: Tensor) -> Tensor:
    """Random integers from 0 up to, without, each limit; 0 where the limit is 0."""
    return (_uniform(limits.shape, limits.device) * limits).long()


def _uniform(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Draws from `[0, 1)`, in float32 whatever torch's default is."""
    return torch.rand(shape, device=device, dtype=torch.float32)
