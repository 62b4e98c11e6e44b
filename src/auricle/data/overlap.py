"""Scenes: several clips at once or one after another, as sounds come in the world; and synthesis.

There are no targets: a teacher that receives the scene gives them.

Shapes: B clips, S samples.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Bounds, Settings
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
