"""Intervals: how far a number could have come out otherwise with other clips of the same kind.

Shares of clips have a bootstrap interval. Means over classes (mAP, mAUC, macro F1) have a jackknife
interval: the bootstrap repeats clips, which raises precision, and loses classes of few clips.
benchmarks/coverage.py measures how often both hold what they should.

Whole groups are drawn with replacement, or left out, because clips of one recording or speaker are
not independent. Scores are sorted once; a round only changes the weights of the clips. A test
compares every number with the plain metric of the clips, repeated. Seeded: the same call gives the
same interval.

Source: Efron and Tibshirani 1993, chapters 11 (jackknife) and 13 (percentile interval); Field and
Welsh 2007 (cluster bootstrap).

Shapes: N clips, C classes, G groups, R rounds, r rounds at a time, K segments of the ranking.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

CONFIDENCE = 0.95
ROUNDS = 1000
MOST_BLOCKS = 1000  # that the jackknife leaves out in turn; of more groups, random blocks of them
CHUNK_VALUES = 1 << 22  # weights that are held at a time: bounds the memory, changes no result
LEAST_WIDTH = 1e-9  # a narrower interval comes of rounding alone
ONE_UNIT = "there is one {unit}, and an interval takes two or more"
NO_SPREAD = "other draws of these {unit}s give the same value"

Metrics = Callable[[Tensor], dict[str, Tensor]]  # weights of the clips (r, N) -> values (r,)
Interval = list[float] | None  # from and to; None where it is not defined


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


def interval(values: Tensor) -> tuple[float, float]:
    """Return the middle 95 % of resampled values `(R,)`, without those not defined (NaN)."""
    tail = (1 - CONFIDENCE) / 2
    low, high = values.nanquantile(torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
    return low, high


def bootstrap_intervals(
    metrics: Metrics, groups: Tensor, seed: int, rounds: int = ROUNDS
) -> dict[str, Interval]:
    """95 % percentile interval of each metric, all from the same draws of `groups` `(N,)`."""
    values = _joined(metrics(weights) for weights in resampled(groups, seed, rounds))
    intervals = {name: interval(each) for name, each in values.items()}
    return {name: bounds(ends) for name, ends in intervals.items()}


def jackknife_intervals(metrics: Metrics, groups: Tensor, seed: int) -> dict[str, Interval]:
    """95 % interval of each metric between 0 and 1, from leaving out each group in turn.

    It is symmetrical in log-odds, so that its ends lie between 0 and 1. It covers the value that
    test sets of this size give on average. A mAP of few clips a class is itself higher than that of
    many; no interval here corrects that.
    """
    every_clip = torch.ones(1, len(groups), dtype=torch.float64)
    whole = metrics(every_clip)
    left_out = _joined(metrics(weights) for weights in _without_each(groups, seed))
    return {
        name: _log_odds_interval(value.item(), left_out[name]) if left_out else None
        for name, value in whole.items()
    }


def described(intervals: dict[str, Interval], groups: Tensor) -> dict[str, dict[str, Any]]:
    """What else is reported of intervals over `groups` `(N,)`.

    undefined: why one is None, by `intervals.METRIC`.
    resampled: what they draw, how many there are, and how often the bootstrap draws them.
    """
    unit, number = unit_of(groups), int(groups.max()) + 1
    why = (NO_SPREAD if number > 1 else ONE_UNIT).format(unit=unit)
    return {
        "undefined": {f"intervals.{name}": why for name, ends in intervals.items() if ends is None},
        "resampled": {"unit": f"{unit}s", "number": number, "rounds": ROUNDS},
    }


def unit_of(groups: Tensor) -> str:
    """Return what is drawn: "clip", or "group" where some clips share one."""
    return "clip" if int(groups.max()) + 1 == len(groups) else "group"


def _joined(parts: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    collected: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, values in part.items():
            collected.setdefault(name, []).append(values)
    return {name: torch.cat(values) for name, values in collected.items()}


def _without_each(groups: Tensor, seed: int) -> Iterator[Tensor]:
    """Weights `(r, N)` that are 0 for one group, or one of 1000 random blocks of groups."""
    num_groups = int(groups.max()) + 1
    num_blocks = min(num_groups, MOST_BLOCKS)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_groups, generator=generator)
    blocks = (order % num_blocks)[groups]
    if num_blocks < 2:
        return
    at_once = max(1, CHUNK_VALUES // len(groups))
    for numbers in torch.arange(num_blocks).split(at_once):
        yield (blocks != numbers[:, None]).double()


def _log_odds_interval(value: float, left_out: Tensor) -> Interval:
    """Source: the delta method for the log-odds, whose derivative is 1 / (value (1 - value))."""
    left_out = left_out.where(~left_out.isnan(), value)  # one class, which only that group has
    spread = left_out - left_out.mean()
    error = ((len(left_out) - 1) / len(left_out) * spread.square().sum()).sqrt()
    if error < LEAST_WIDTH or not 0 < value < 1:
        return None
    half_width = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error / (value * (1 - value))
    centre = torch.tensor(value, dtype=torch.float64).logit()
    return [(centre - half_width).sigmoid().item(), (centre + half_width).sigmoid().item()]


def bounds(ends: tuple[float, float]) -> Interval:
    """Return the ends of an interval, None for one without width."""
    return list(ends) if ends[1] - ends[0] > LEAST_WIDTH else None


def weighted_means(values: dict[str, Tensor]) -> Metrics:
    """Return the metrics that are means over the clips of `values` `(N,)`, such as the accuracy."""
    return lambda weights: {
        name: weights @ each.double() / weights.sum(dim=1) for name, each in values.items()
    }


def weighted_macro_f1(predicted: Tensor, targets: Tensor) -> Metrics:
    """Return the mean F1 over the classes that have a clip; `(N, C)` of 0 and 1."""
    both = (predicted.bool() & targets.bool()).double()
    either = predicted.double() + targets.double()

    def metric(weights: Tensor) -> dict[str, Tensor]:
        f1 = 2 * (weights @ both) / (weights @ either)
        has_clip = (weights @ targets.double()) > 0
        return {"macro_f1": f1.where(has_clip, torch.nan).nanmean(dim=1)}

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

    def __bool__(self) -> bool:
        """Whether there is such a class."""
        return bool(self._classes)

    def mean_ap(self, weights: Tensor) -> Tensor:
        """Return the mean average precision `(r,)` for weights `(r, N)`."""
        return self.means(weights)["mAP"]

    def means(self, weights: Tensor) -> dict[str, Tensor]:
        """Return mAP and mAUC `(r,)` for weights `(r, N)`."""
        columns = weights.T.contiguous()  # Speed: index_add of whole rows, 10 times faster
        rows = [_areas(columns, segments, positive) for segments, positive in self._classes]
        precisions, areas = (torch.stack(values) for values in zip(*rows, strict=True))
        return {"mAP": precisions.nanmean(dim=0), "mAUC": areas.nanmean(dim=0)}


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
