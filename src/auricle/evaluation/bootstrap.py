"""Bootstrap: how far a number could have come out otherwise with other clips of the same kind.

Whole groups are drawn with replacement, because clips of one recording or speaker are not
independent; where no clip shares a group, that is drawing clips. Seeded: the same call gives the
same interval. Source: Efron and Tibshirani 1993, chapter 13 (percentile interval); Field and Welsh
2007 (cluster bootstrap).

Shapes: N clips, G groups, R rounds.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

import torch
from torch import Tensor

CONFIDENCE = 0.95
ROUNDS = 1000
CHUNK_VALUES = 1 << 22  # weights that are held at a time: bounds the memory, changes no result

Metric = Callable[[Tensor], Tensor]  # weights of the clips (r, N) -> values (r,)


def number_groups(names: Sequence[Hashable]) -> Tensor:
    """Groups `(N,)` numbered from 0 in the order in which their names first appear."""
    number_of: dict[Hashable, int] = {}
    return torch.tensor([number_of.setdefault(name, len(number_of)) for name in names])


def resampled(groups: Tensor, seed: int, rounds: int = ROUNDS) -> Iterator[Tensor]:
    """How often each clip is drawn, as parts `(r, N)` of float64 of `rounds` rounds.

    Args:
        groups: the clips' groups `(N,)`, numbered from 0 without a gap.
    """
    generator = torch.Generator().manual_seed(seed)
    num_groups = int(groups.max()) + 1
    at_once = max(1, CHUNK_VALUES // len(groups))
    for start in range(0, rounds, at_once):
        shape = (min(at_once, rounds - start), num_groups)
        drawn = torch.randint(num_groups, shape, generator=generator)
        counts = torch.zeros(shape, dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones(shape, dtype=torch.float64))
        yield counts[:, groups]


def resampled_means(values: Tensor, groups: Tensor, seed: int, rounds: int = ROUNDS) -> Tensor:
    """The mean over clips of `values` `(N,)` in each round, `(R,)`."""
    draws = resampled(groups, seed, rounds)
    return torch.cat([drawn @ values.double() / drawn.sum(dim=1) for drawn in draws])


def interval(values: Tensor) -> tuple[float, float]:
    """The middle 95 % of resampled values `(R,)`, without those that are not defined (NaN)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = values.nanquantile(torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
    return low, high


def metric_intervals(
    values: dict[str, Metric], groups: Tensor, seed: int, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """The 95 % interval of each metric of `values`, all from the same draws of `groups` `(N,)`."""
    parts: dict[str, list[Tensor]] = {name: [] for name in values}
    for weights in resampled(groups, seed, rounds):
        for name, metric in values.items():
            parts[name].append(metric(weights))
    return {name: list(interval(torch.cat(found))) for name, found in parts.items()}


def weighted_share(correct: Tensor) -> Metric:
    """The share of clips `(N,)` that are correct, such as the accuracy."""
    return lambda weights: weights @ correct.double() / weights.sum(dim=1)


def weighted_macro_f1(found: Tensor, targets: Tensor) -> Metric:
    """Mean F1 over the classes that have a clip; `(N, C)` of 0 and 1."""
    both = (found.bool() & targets.bool()).double()
    either = found.double() + targets.double()

    def metric(weights: Tensor) -> Tensor:
        f1 = 2 * (weights @ both) / (weights @ either)
        has_clip = (weights @ targets.double()) > 0
        return f1.where(has_clip, torch.nan).nanmean(dim=1)

    return metric


class WeightedRanking:
    """mAP and mAUC over classes with positive and negative clips, both from one look at the clips.

    A round in which a class has no positive or no negative clip leaves it out, as the plain metrics
    do.

    Args:
        scores: `(N, C)`.
        targets: `(N, C)` of 0 and 1.
    """

    def __init__(self, scores: Tensor, targets: Tensor):
        columns = zip(scores.T, targets.T.bool(), strict=True)
        self._classes = [
            (_segments(values, positive), positive.nonzero()[:, 0])
            for values, positive in columns
            if positive.any() and not positive.all()
        ]

    def mean_ap(self, weights: Tensor) -> Tensor:
        """Mean average precision `(r,)` for weights `(r, N)`."""
        return self._means(weights)[0]

    def mean_auc(self, weights: Tensor) -> Tensor:
        """Mean area under the ROC curve `(r,)` for weights `(r, N)`."""
        return self._means(weights)[1]

    def __bool__(self) -> bool:
        return bool(self._classes)

    def _means(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        columns = weights.T.contiguous()  # Speed: index_add of whole rows, 10 times faster
        rows = [_areas(columns, segments, positive) for segments, positive in self._classes]
        precisions, areas = (torch.stack(values) for values in zip(*rows, strict=True))
        return precisions.nanmean(dim=0), areas.nanmean(dim=0)


def _segments(scores: Tensor, positive: Tensor) -> Tensor:
    """For each clip its place `(N,)` in the ranking, best first, in as few steps as matter.

    Clips of equal score share a step. Neighbouring steps without a positive clip are one: precision
    and recall are read off only where a positive clip stands.
    """
    order = scores.argsort(descending=True)
    ranked = scores[order]
    steps = torch.zeros(len(order), dtype=torch.long)
    steps[1:] = (ranked[1:] != ranked[:-1]).cumsum(dim=0)
    holds = torch.zeros(int(steps[-1]) + 1).index_add(0, steps, positive[order].float()) > 0
    begins = holds.clone()
    begins[1:] |= holds[:-1]
    begins[0] = False  # the first step is segment 0
    segments = torch.empty_like(steps)
    segments[order] = begins.cumsum(dim=0)[steps]
    return segments


def _areas(columns: Tensor, segments: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Average precision and area under the ROC curve `(r,)` for weights `(N, r)`."""
    empty = torch.zeros(int(segments.max()) + 1, columns.shape[1], dtype=columns.dtype)  # (K, r)
    clips = empty.index_add(0, segments, columns)
    hits = empty.index_add(0, segments[positive], columns[positive])
    hits_so_far, clips_so_far = hits.cumsum(dim=0), clips.cumsum(dim=0)
    all_hits = hits_so_far[-1]
    misses = clips - hits
    precision = hits_so_far / clips_so_far.clamp(min=1)
    average_precision = (hits * precision).sum(dim=0) / all_hits
    better = misses * (hits_so_far - hits / 2)  # pairs whose positive clip stands above
    auc = better.sum(dim=0) / (all_hits * misses.sum(dim=0))
    return average_precision.where(misses.sum(dim=0) > 0, torch.nan), auc
