"""How often 95 % intervals hold what they should: simulated test sets and simulated seeds.

    python benchmarks/coverage.py [--sets 400]

Two tables in Markdown, the ones in docs/evaluation.md. The first: test sets are drawn again and
again from the same kind of clips; an interval should hold the value that such sets give on average
in 95 of 100 cases. Scores of a class's clips and of the others are two normal distributions. The
second: two models that are equally good, trained with several seeds that scatter, judged on the
same clips; the interval of their difference should hold 0.

Shapes: N clips, C classes, S seeds.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor

from auricle.evaluation.bootstrap import (
    Interval,
    Metrics,
    WeightedRanking,
    bootstrap_intervals,
    jackknife_intervals,
    weighted_macro_f1,
)
from auricle.evaluation.metrics import found_classes
from auricle.evaluation.paired import paired_difference


@dataclass(frozen=True)
class Kind:
    """Test sets of one kind.

    Attributes:
        shares: of the clips that have each of the C classes.
        separation: between a class's clips and the others, in standard deviations.
        single_label: whether each clip has exactly one class.
        group_size: clips of one group, which are easy or hard together.
    """

    name: str
    num_clips: int
    shares: list[float]
    separation: float
    single_label: bool = True
    group_size: int = 1

    def draw(self, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and targets `(N, C)` and groups `(N,)` of one test set."""
        generator = torch.Generator().manual_seed(seed)
        shape = (self.num_clips, len(self.shares))
        shares = torch.tensor(self.shares)
        if self.single_label:
            classes = torch.multinomial(shares, self.num_clips, True, generator=generator)
            targets = torch.nn.functional.one_hot(classes, len(shares))
        else:
            targets = (torch.rand(shape, generator=generator) < shares).long()
        groups = torch.arange(self.num_clips) // self.group_size
        shared = torch.randn(self.num_clips, 1, generator=generator)[groups]
        own = torch.randn(shape, generator=generator)
        scores = math.sqrt(0.7) * own + (self.separation + math.sqrt(0.3) * shared) * targets
        return scores.double(), targets, groups


def tail(most: float, least: float, count: int) -> list[float]:
    """Shares from `most` to `least` in equal ratios."""
    return torch.logspace(math.log10(most), math.log10(least), count).tolist()


KINDS = [
    Kind("10 classes, 40 clips each", 400, [0.1] * 10, 2.0),
    Kind("the same, nearly faultless", 400, [0.1] * 10, 3.5),
    Kind("the same in 40 groups of 10", 400, [0.1] * 10, 2.0, group_size=10),
    Kind("50 classes, 8 clips each", 400, [0.02] * 50, 2.0),
    Kind("4 classes, 15 clips each", 60, [0.25] * 4, 2.0),
    Kind("20 labels, of 120 to 3 clips", 400, tail(0.3, 0.0075, 20), 2.0, False),
    Kind("20 labels, of 3 clips each", 400, [0.0075] * 20, 2.0, False),
    Kind("20 labels, of 1 clip each", 400, [0.0025] * 20, 2.0, False),
]


METHODS: dict[str, Callable[[Metrics, Tensor, int], dict[str, Interval]]] = {
    "bootstrap": bootstrap_intervals,
    "jackknife": jackknife_intervals,
}
POINTS_OF_SKILL = 16.1  # of accuracy for one unit of log-odds on every clip, at 72 %
MANY_CLIPS = 200_000


def of_many_clips(kind: Kind) -> float:
    """The mAP that a test set of 200,000 such clips has."""
    scores, targets, _ = replace(kind, num_clips=MANY_CLIPS).draw(0)
    weights = torch.ones(1, MANY_CLIPS, dtype=torch.float64)
    return WeightedRanking(scores, targets).mean_ap(weights).item()


def metrics_of(scores: Tensor, targets: Tensor, single_label: bool) -> Metrics:
    """mAP, mAUC and macro F1 by the weights of the clips."""
    ranking = WeightedRanking(scores, targets)
    thresholds = None if single_label else [1.0] * scores.shape[1]
    f1 = weighted_macro_f1(found_classes(scores, single_label, thresholds), targets)
    return lambda weights: ranking.means(weights) | f1(weights)


def intervals_hold_the_average(kind: Kind, sets: int) -> dict[str, dict[str, float]]:
    """Of each metric the average value, and the share of intervals of each method that hold it."""
    values: dict[str, list[float]] = {}
    ends: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in range(sets):
        scores, targets, groups = kind.draw(seed)
        metrics = metrics_of(scores, targets, kind.single_label)
        for name, value in metrics(torch.ones(1, len(groups)).double()).items():
            values.setdefault(name, []).append(value.item())
        for method, intervals in METHODS.items():
            for name, found in intervals(metrics, groups, seed).items():
                low, high = found or (math.nan, math.nan)
                ends.setdefault((name, method), []).append((low, high))
    rows = {}
    for name, each in values.items():
        mean = fmean(each)
        held = {
            method: fmean(low <= mean <= high for low, high in ends[name, method])
            for method in METHODS
        }
        rows[name] = {"average": mean} | held
    return rows


def differences_hold_nothing(seeds: int, points: float, sets: int) -> tuple[float, float]:
    """The share of intervals that hold 0: drawing clips alone, and clips and seeds."""
    held = [0, 0]
    for number in range(sets):
        generator = torch.Generator().manual_seed(number)
        ease = 1.2 + 1.2 * torch.randn(400, generator=generator)
        skill = points / POINTS_OF_SKILL * torch.randn(2, seeds, 1, generator=generator)
        rates = (ease + skill).sigmoid()
        a, b = (torch.rand(rates.shape, generator=generator) < rates).double()
        one_run = a.mean(dim=0, keepdim=True), b.mean(dim=0, keepdim=True)
        for place, pair in enumerate((one_run, (a, b))):
            found = paired_difference(*pair, seed=number)
            assert found.low is not None and found.high is not None
            held[place] += found.low <= 0 <= found.high
    return held[0] / sets, held[1] / sets


def main() -> None:
    """Simulate and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=400, help="test sets of each kind")
    sets = parser.parse_args().sets
    print(
        "| | mAP: of many clips | on average | bootstrap | jackknife | mAUC: bootstrap | jackknife "
        "| F1: bootstrap | jackknife |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        rows = intervals_hold_the_average(kind, sets)
        cells = [f"{of_many_clips(kind):.3f}", f"{rows['mAP']['average']:.3f}"]
        for row in rows.values():
            cells += [f"{100 * row[method]:.0f} %" for method in METHODS]
        print(f"| {kind.name} | {' | '.join(cells)} |", flush=True)
    print("\n| seeds a side | they scatter by | clips alone | clips and seeds |\n|---|---|---|---|")
    for seeds in (2, 3, 5):
        for points in (0, 1, 3):
            shares = differences_hold_nothing(seeds, points, sets)
            cells = [f"{100 * share:.0f} %" for share in shares]
            print(
                f"| {seeds} | {points} point{'s' * (points != 1)} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
