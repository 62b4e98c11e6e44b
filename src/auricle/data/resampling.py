"""Another sample rate for a batch that is on its device already; files are read by `audio`.

Shapes: B clips, S samples.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.padding import inside

BLOCK = 128  # new samples at least that one step of the convolution makes
ZERO_CROSSINGS = 16  # of the sinc, either side
PASSED = 0.94  # of half the lower rate; the rest is the filter's slope


class Resampler(nn.Module):
    """Convolution with a windowed sinc, at the places where the new samples stand.

    A clip is zero before its start and behind its end, whatever the batch holds there. `n` samples
    become `ceil(n * to_rate / from_rate)`; samples beyond them are zero.

    Input: waveforms `(B, S)`, lengths `(B,)`; output: the same at the new rate.

    Source: Smith, "Digital Audio Resampling", the Hann-windowed form.
    """

    kernel: Tensor  # (phases, 1, taps)

    def __init__(self, from_rate: int, to_rate: int):
        super().__init__()
        divisor = math.gcd(from_rate, to_rate)
        # Speed: in large blocks the convolution is a product of large matrices, 30 times as fast.
        block = math.ceil(BLOCK * divisor / to_rate)
        self.stride, self.phases = block * from_rate // divisor, block * to_rate // divisor
        # Reach of the filter in old samples: it widens where the new rate is the lower one.
        cutoff = PASSED * min(1.0, to_rate / from_rate)
        self.reach = math.ceil(ZERO_CROSSINGS / cutoff)
        self.register_buffer("kernel", self._kernel(cutoff), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if self.stride == self.phases:
            return waveforms, lengths
        own = waveforms * inside(lengths, waveforms.shape[1])
        padded = F.pad(own, (self.reach, self.reach + self.stride))
        new = F.conv1d(padded[:, None], self.kernel, stride=self.stride)  # (B, phases, ...)
        new = new.transpose(1, 2).flatten(1)[:, : self._count(waveforms.shape[1])]
        counts = self._count(lengths)
        return new * inside(counts, new.shape[1]), counts

    def _count(self, samples: Any) -> Any:
        return -(-samples * self.phases // self.stride)

    def _kernel(self, cutoff: float) -> Tensor:
        taps = torch.arange(-self.reach, self.reach + self.stride + 1, dtype=torch.float64)
        # Where the new sample of each phase stands, in old samples.
        positions = torch.arange(self.phases, dtype=torch.float64) * self.stride / self.phases
        distance = taps - positions[:, None]
        window = torch.cos(math.pi / 2 * (distance / self.reach).clamp(-1, 1)).square()
        return (cutoff * torch.sinc(cutoff * distance) * window).float()[:, None]
