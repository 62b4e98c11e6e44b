"""Which clips an epoch has, in which order, and which of them each process gets.

A clip that is drawn again in an epoch is cut elsewhere: its k-th further draw is the index
`i + k * N` (see `ClipDataset`).

Shapes: N clips.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Sized

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import RandomSampler, Sampler

from auricle.data.clips import Clips


class Shuffle(RandomSampler):
    """A new order each epoch that follows from (seed, epoch) alone.

    Lightning calls `set_epoch`. Where several processes share the clips, each has the whole order
    and takes its part of it (`DistributedBatchSampler`).
    """

    def __init__(self, dataset: Sized, seed: int):
        super().__init__(dataset)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (from 0) of the next order; call it before iterating."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Indices of all clips, each once."""
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        yield from torch.randperm(len(self), generator=generator).tolist()


def mix_seeds(*numbers: int) -> int:
    """One seed from several numbers that are 0 or more; near ones give unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


SORTED_BATCHES = 50  # together: more pad less, but the same clips meet more often

JITTER = 0.3  # of a length, before sorting


class Weighted(Shuffle):
    """Clips drawn with replacement by `weights` `(N,)`, as many an epoch as there are.

    The draws follow from (seed, epoch) alone.

    Args:
        num_draws: of an epoch; None: N.
    """

    def __init__(self, dataset: Sized, seed: int, weights: Tensor, num_draws: int | None = None):
        super().__init__(dataset, seed)
        self.weights = weights
        self.num_draws = num_draws or len(weights)

    def __len__(self) -> int:
        return self.num_draws

    def __iter__(self) -> Iterator[int]:
        """Indices of clips, some more than once."""
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        draws = torch.multinomial(
            self.weights, self.num_draws, replacement=True, generator=generator
        )
        seen: Counter[int] = Counter()
        for draw in draws.tolist():
            yield draw + seen[draw] * len(self.weights)
            seen[draw] += 1


class Repeated(Shuffle):
    """Each clip `counts` `(N,)` times, in a new order each epoch."""

    def __init__(self, dataset: Sized, seed: int, counts: Tensor):
        super().__init__(dataset, seed)
        self.counts = counts

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __iter__(self) -> Iterator[int]:
        """Indices of clips, some more than once."""
        clips = torch.arange(len(self.counts)).repeat_interleave(self.counts)
        first = (self.counts.cumsum(0) - self.counts).repeat_interleave(self.counts)
        indices = clips + (torch.arange(len(self)) - first) * len(self.counts)
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        yield from indices[torch.randperm(len(self), generator=generator)].tolist()


class SimilarLengths(Shuffle):
    """The clips of another order, in batches of about the same length.

    In every stretch of 50 batches clips are sorted by length, give or take a sixth, and cut into
    batches; then batches are shuffled. A batch that is not full stays the last.

    Args:
        order: which clips an epoch has.
        seconds: of each clip `(N,)`, as long as it will be read.
        batch_size: clips of a whole batch.
    """

    def __init__(self, order: Shuffle, seconds: Tensor, batch_size: int):
        super().__init__(seconds, order.seed)
        self.order = order
        self.seconds = seconds
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (from 0) of the next order; call it before iterating."""
        super().set_epoch(epoch)
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        """The indices of `order`."""
        indices = torch.tensor(list(self.order))
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch, 1))
        # Of exactly the same length are the draws of one clip, which should not meet in a batch.
        jitter = 1 + JITTER * torch.rand(len(indices), dtype=torch.float64, generator=generator)
        seconds = self.seconds[indices % len(self.seconds)] * jitter
        size = SORTED_BATCHES * self.batch_size
        sorted_stretches = [
            stretch[lengths.argsort()]
            for stretch, lengths in zip(indices.split(size), seconds.split(size), strict=True)
        ]
        # The rest of a batch must be the last of all: of random clips, not of the longest.
        full = len(indices) // self.batch_size * self.batch_size
        rest, places = indices[full:], torch.cat(sorted_stretches)
        batches = places[~torch.isin(places, rest)].view(-1, self.batch_size)
        yield from batches[torch.randperm(len(batches), generator=generator)].flatten().tolist()
        yield from rest.tolist()


def crops_in(seconds: Tensor, crop_seconds: float) -> Tensor:
    """How many crops `(N,)` recordings of `seconds` `(N,)` are as long as, at least one each."""
    return (seconds / crop_seconds).round().long().clamp(min=1)


def shared_weights(counts: Tensor, sizes: Sequence[int], shares: Sequence[float]) -> Tensor:
    """Weights `(N,)` by which each of several sets gets its share of the draws.

    Args:
        counts: how often each clip would be drawn among those of its set, `(N,)`.
        sizes: clips of each set, in the order of `counts`; their sum is N.
        shares: of all draws, which each set gets.
    """
    sets = zip(counts.double().split(list(sizes)), shares, strict=True)
    return torch.cat([share * each / each.sum() for each, share in sets])


def balanced_weights(clips: Clips) -> Tensor:
    """How likely each clip is drawn, relative to the others, `(N,)`.

    The sum over a clip's labels of 1000 / (clips with the label + 0.01): Gong et al. 2021, as
    released (YuanGongND/ast, egs/audioset/gen_weight_file.py).
    """
    return _weights(clips, lambda count: 1000 / (count + 0.01))


def square_root_weights(clips: Clips) -> Tensor:
    """The same with 1 / sqrt(clips with the label), so labels are drawn in proportion to the root.

    Source: Mahajan et al. 2018, section 2.2; for labels so rare that drawing them as often as
    frequent ones would repeat a few clips without end.
    """
    return _weights(clips, lambda count: max(count, 1) ** -0.5)  # 0: of another split


WEIGHTS = {"balanced": balanced_weights, "square_root": square_root_weights}


def _weights(clips: Clips, weight_of: Callable[[int], float]) -> Tensor:
    column = clips.columns.labels
    codes = clips.codes(column)
    counts: Counter[str] = Counter()
    numbers = np.bincount(codes, minlength=len(column.values)).tolist()
    for names, number in zip(column.values, numbers, strict=True):
        for name in names:
            counts[name] += number
    # Speed: a sum for each combination of labels, of which there are few, not for each clip.
    weights = [sum(weight_of(counts[name]) for name in names) for names in column.values]
    return torch.tensor(weights, dtype=torch.float64)[torch.from_numpy(codes)]


class DistributedBatchSampler(Sampler[list[int]]):
    """One process's part of every batch, as lists of indices.

    A batch, the clips between two steps of the optimizer, is cut into `accumulate` pieces, and of
    each piece a process takes every n-th clip. So all processes together get, step by step, the
    clips that one process alone would get. Of the last piece of an epoch a process may get less
    than others, or nothing; no clip is read twice.

    Args:
        order: all clips of an epoch; lightning sets its epoch.
        batch_size: clips of a whole batch, a multiple of `accumulate` times `num_processes`.
        rank: of this process, from 0.
    """

    def __init__(
        self, order: Sampler[int], batch_size: int, accumulate: int, rank: int, num_processes: int
    ):
        self.sampler = order  # the name by which lightning finds it
        self.batch_size = batch_size
        self.piece_size = batch_size // accumulate
        self.rank = rank
        self.num_processes = num_processes
        self.start = 0  # the piece that the next epoch begins with, when it was stopped before it

    def __len__(self) -> int:
        return -(-self.num_clips // self.piece_size)

    @property
    def num_clips(self) -> int:
        """Of an epoch, over all processes."""
        return len(self.sampler)  # type: ignore[arg-type]  # ours all have one

    def __iter__(self) -> Iterator[list[int]]:
        first, self.start = self.start, 0
        indices = list(self.sampler)
        for piece in range(first, len(self)):
            begin = piece * self.piece_size
            clips = indices[begin : begin + self.piece_size]
            yield clips[self.rank :: self.num_processes]

    def clips_of_batch(self, piece: int) -> int:
        """Clips of the whole batch that a piece belongs to; the last of an epoch may have less."""
        begin = piece * self.piece_size // self.batch_size * self.batch_size
        return min(self.batch_size, self.num_clips - begin)
