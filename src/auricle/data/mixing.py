"""Clips mixed with others of their batch: scenes for a teacher, and mixup with both labels.

A scene has no targets: a teacher that receives it gives them. Scenes may hold synthetic sound, too.

Shapes: B clips, P partners, S samples, C classes.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Bounds, Settings
from auricle.data.batching import Partners
from auricle.data.effects import power
from auricle.data.synthesis import synthesise
from auricle.padding import inside

FADE_SECONDS = 0.005


class OverlapConfig(Settings):
    """Settings of overlaps; by default there are none."""

    rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips that others are added to
    most: int = Field(default=2, ge=1)  # clips that are added to one
    level_db: Bounds = (-15.0, 5.0)  # lowest, highest power, to that of the first clip
    splice_rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips made of pieces
    piece_seconds: Bounds = (0.3, 3.0)  # shortest, longest piece
    synthesis_rate: float = Field(
        default=0.0, ge=0, le=1
    )  # share replaced by a synthesiser's sound

    @property
    def is_used(self) -> bool:
        """Whether anything is changed."""
        return self.rate + self.splice_rate + self.synthesis_rate > 0


class Overlap(nn.Module):
    """Turns some clips into scenes with others of the batch, in training mode only.

    First a share of the clips is replaced by `synthesise`, as long as they were; then a share by
    pieces of clips of the batch in a row, faded over 5 ms at either end, as loud as they were;
    then to a share 1 to `most` others are added.

    Each of them, and the first clip, begins anywhere in the batch's S samples where it fits, so
    that a scene may be longer than its first clip. What is added is as loud as a ratio of powers,
    uniform in dB, says; into a silent clip others come with the power that they have.

    Input and output: waveforms `(B, S)`, lengths `(B,)`; zero beyond the lengths.
    """

    def __init__(self, config: OverlapConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training or not self.config.is_used:
            return waveforms, lengths
        sources = waveforms * inside(lengths, waveforms.shape[1])
        if self.config.synthesis_rate:
            sources = self._synthesised(sources, lengths)
        if self.config.splice_rate:
            sources = self._spliced(sources, lengths)
        return self._overlapped(sources, lengths) if self.config.rate else (sources, lengths)

    def _synthesised(self, sources: Tensor, lengths: Tensor) -> Tensor:
        result = sources.clone()
        for index, count in enumerate(lengths.tolist()):
            if count and torch.rand(()).item() < self.config.synthesis_rate:
                result[index, :count] = synthesise(count, self.sample_rate).to(sources)
        return result

    def _spliced(self, sources: Tensor, lengths: Tensor) -> Tensor:
        result, counts = sources.clone(), lengths.tolist()
        for index, count in enumerate(counts):
            if torch.rand(()).item() >= self.config.splice_rate:
                continue
            start = 0
            while start < count:
                piece = self._piece(sources, counts)[: count - start]
                if not len(piece):
                    break
                result[index, start : start + len(piece)] = piece
                start += len(piece)
        return result

    def _piece(self, sources: Tensor, counts: list[int]) -> Tensor:
        """A piece of any clip of the batch."""
        index = int(torch.randint(len(sources), ()))
        shortest, longest = (round(s * self.sample_rate) for s in self.config.piece_seconds)
        size = min(int(torch.randint(shortest, longest + 1, ())), counts[index])
        start = int(torch.randint(counts[index] - size + 1, ()))
        piece = sources[index, start : start + size].clone()
        fade = min(round(FADE_SECONDS * self.sample_rate), size // 2)
        ramp = torch.linspace(0, 1, fade, device=piece.device)
        piece[:fade] *= ramp
        piece[size - fade :] *= ramp.flip(0)
        return piece

    def _overlapped(self, sources: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        waveforms = sources
        powers = power(waveforms, lengths)[:, 0].tolist()
        counts = lengths.tolist()
        scenes, ends = sources.clone(), lengths.clone()
        for index in range(len(sources)):
            if torch.rand(()).item() >= self.config.rate:
                continue
            # Speed: slices one by one take a quarter of the time of one gather over the batch.
            scene = torch.zeros_like(scenes[index])
            ends[index] = self._place(sources[index], counts[index], 1.0, scene)
            for partner in self._partners(len(sources)):
                ratio = self._ratio(powers[index], powers[partner])
                end = self._place(sources[partner], counts[partner], math.sqrt(ratio), scene)
                ends[index] = ends[index].clamp(min=end)
            scenes[index] = scene
        return scenes, ends

    def _partners(self, size: int) -> list[int]:
        count = int(torch.randint(1, self.config.most + 1, ()))
        return torch.randint(size, (count,)).tolist()

    def _ratio(self, own: float, other: float) -> float:
        """The factor of the other clip's power."""
        lowest, highest = self.config.level_db
        level_db = lowest + (highest - lowest) * torch.rand(()).item()
        return 10 ** (level_db / 10) * own / other if own and other else 1.0

    def _place(self, source: Tensor, count: int, gain: float, scene: Tensor) -> int:
        """Add the first `count` samples of `source` somewhere in `scene`; where they end."""
        start = int(torch.randint(len(scene) - count + 1, ()))
        scene[start : start + count] += gain * source[:count]
        return start + count


class MixupConfig(Settings):
    """Settings of mixup. AST trains with alpha 10 and the rate 0.5 on AudioSet."""

    rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips that are mixed
    alpha: float = Field(default=10.0, gt=0)  # of the Beta distribution of the first clip's share


class LabelledMixupConfig(MixupConfig):
    """The same for clips with labels."""

    # Where the second clips come from: the batch, or uniformly the whole training set, as in AST's
    # code. It matters where clips are drawn by their labels, and so the batch is.
    partners: Literal["batch", "set"] = "batch"


class Mixup(nn.Module):
    """Adds to some clips another one, in training mode only.

    A clip's share is drawn from Beta(alpha, alpha), its partner uniformly from the batch (it may be
    itself), unless partners come with it; the partner is cut or zero-padded to the clip's length.
    Both enter without their means, and the mean of the sum is removed again. Targets are mixed in
    the same shares; lengths stay.

    Input and output: waveforms `(B, S)`, lengths `(B,)`, targets `(B, C)`.

    Source: Tokozume et al. 2018, as in the code of Gong et al. 2021 (AST).
    """

    def __init__(self, config: MixupConfig):
        super().__init__()
        self.config = config

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        targets: Tensor,
        partners: Partners | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self.training or self.config.rate == 0:
            return waveforms, lengths, targets
        if partners is not None:
            return self._with(partners, waveforms, lengths, targets)
        size, device = len(waveforms), waveforms.device
        alpha = torch.full((size, 1), self.config.alpha, device=device)
        share = torch.distributions.Beta(alpha, alpha).sample()  # (B, 1)
        partner = torch.randint(size, (size,), device=device)
        chosen = torch.rand(size, 1, device=device) < self.config.rate

        centred = _without_mean(waveforms, lengths)
        mixed = _without_mean(share * centred + (1 - share) * centred[partner], lengths)
        waveforms = torch.where(chosen, mixed, waveforms)
        mixed_targets = share * targets + (1 - share) * targets[partner]
        return waveforms, lengths, torch.where(chosen, mixed_targets, targets)

    def _with(
        self, partners: Partners, waveforms: Tensor, lengths: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every one of the `partners` added to its row of the batch."""
        rows = partners.rows
        if not len(rows):
            return waveforms, lengths, targets
        alpha = torch.full((len(rows), 1), self.config.alpha, device=waveforms.device)
        share = torch.distributions.Beta(alpha, alpha).sample()  # (P, 1)
        second = _without_mean(partners.waveforms, partners.lengths)
        second = F.pad(second, (0, waveforms.shape[1] - second.shape[1]))  # or cut: below 0
        mixed = share * _without_mean(waveforms[rows], lengths[rows]) + (1 - share) * second
        mixed_targets = share * targets[rows] + (1 - share) * partners.targets
        waveforms = waveforms.index_copy(0, rows, _without_mean(mixed, lengths[rows]))
        return waveforms, lengths, targets.index_copy(0, rows, mixed_targets)


def _without_mean(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Each clip minus the mean of its true samples, and zero beyond them."""
    own = inside(lengths, waveforms.shape[1])
    mean = (waveforms * own).sum(dim=1, keepdim=True) / lengths[:, None].clamp(min=1)
    return (waveforms - mean) * own
