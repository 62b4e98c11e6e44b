"""What tests of evaluation share: an engine whose answers are given by a function."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor


class FunctionEngine:
    """Answers each waveform `(S,)` with the row that a function makes of it.

    Attributes:
        batches: how many waveforms were answered together, each time.
        lengths: of all waveforms, in samples.
    """

    thresholds = None
    batches_at_once = 1
    omits_pauses = False

    def __init__(
        self,
        row: Callable[[Tensor], Tensor],
        labels: Sequence[str] = (),
        sample_rate: int = 16_000,
        shortest_samples: int = 1600,
        longest_samples: int = 32_000,
    ):
        self.row = row
        self.labels = list(labels)
        self.sample_rate = sample_rate
        self.shortest_samples = shortest_samples
        self.longest_samples = longest_samples
        self.batches: list[int] = []
        self.lengths: list[int] = []

    def score(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        self.batches.append(len(lengths))
        self.lengths += lengths.tolist()
        pairs = zip(waveforms, lengths.tolist(), strict=True)
        return torch.stack([self.row(waveform[:length]) for waveform, length in pairs])

    embed = score


@pytest.fixture
def function_engine() -> type[FunctionEngine]:
    return FunctionEngine
