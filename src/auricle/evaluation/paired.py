"""Two models on the same clips: is one better, or are both as good?

Shapes: S runs (seeds) of one model, N clips.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from auricle.evaluation import bootstrap

ROUNDS = 10_000
SIGNIFICANCE = 0.05  # a difference with a smaller p-value is called one
POWER = 0.8  # probability with which a true difference is to be found


@dataclass(frozen=True)
class Difference:
    """A minus B, as fractions.

    Attributes:
        mean: the difference itself.
        low, high: bootstrap interval that holds it with 95 % confidence; None where all draws of
            clips and runs give the same.
        p_value: of the two-sided test that A and B are equally good.
        standard_error: of `mean`, over other clips of the same kind and, if `holds_runs`, other
            runs.
        holds_runs: whether interval and p-value hold what other runs (seeds) could have given;
            otherwise, with one run on a side, they hold what other clips could have given.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float
    standard_error: float
    holds_runs: bool

    @property
    def smallest(self) -> float:
        """The smallest true difference that this comparison finds at 5 % with probability 80 %.

        `(z_0.975 + z_0.8) * standard_error`: what the clips, their groups and the runs allow.
        """
        return (_quantile(1 - SIGNIFICANCE / 2) + _quantile(POWER)) * self.standard_error


def paired_difference(
    correct_a: Tensor, correct_b: Tensor, seed: int, groups: Tensor | None = None
) -> Difference:
    """How much more often A is right than B, on the mean over the runs of each.

    With two or more runs on each side the bootstrap has two levels: each round draws clips, the
    same for A and B, and runs, of each side for itself. Of S runs S - 1 are drawn, so that their
    mean varies as the mean of S runs does. The p-value is twice the share of rounds on the rarer
    side of no difference. benchmarks/coverage.py measures how often such intervals hold the truth.

    With one run on a side only clips are drawn there. The p-value is McNemar's exact one for one
    run a side without groups; otherwise that of the test of which McNemar's is a case: A and B are
    exchanged in each group at random, 10,000 times, and it is counted how often the difference
    becomes as large as it is.

    Source: McNemar 1947, exact by the binomial distribution; Fisher's randomisation test for pairs;
    Owen 2007 (clips and runs, drawn both, are on the careful side); Rao and Wu 1988 (S - 1).

    Args:
        correct_a: `(S_a, N)`, 1 where that run is right about the clip.
        correct_b: `(S_b, N)`, the same clips in the same order.
        groups: `(N,)`, numbered from 0, of clips that are not independent; None: all clips are.

    Raises:
        ValueError: shapes that do not fit, or no clip.
    """
    if correct_a.ndim != 2 or correct_b.ndim != 2 or correct_a.shape[1] != correct_b.shape[1]:
        raise ValueError(
            f"correct_a {tuple(correct_a.shape)} and correct_b {tuple(correct_b.shape)} must have "
            "the shapes (runs of A, clips) and (runs of B, clips)."
        )
    if not correct_a.numel() or not correct_b.numel():
        raise ValueError("there is no run or no clip to compare.")
    per_clip = correct_a.double().mean(dim=0) - correct_b.double().mean(dim=0)
    if groups is None:
        groups = torch.arange(len(per_clip))
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for weights in bootstrap.resampled(groups, seed, ROUNDS):
        shares = weights / weights.sum(dim=1, keepdim=True)
        a, b = (shares @ correct.double().T for correct in (correct_a, correct_b))
        parts.append(drawn_runs(a, generator) - drawn_runs(b, generator))
    draws = torch.cat(parts)
    alone = int(groups.max()) + 1 == len(groups)
    if min(len(correct_a), len(correct_b)) > 1:
        p_value = bootstrap_p(draws)
    elif alone and len(correct_a) == len(correct_b) == 1:
        p_value = mcnemar(int((per_clip > 0).sum()), int((per_clip < 0).sum()))
    else:
        p_value = _exchanged(per_clip, groups, seed)
    holds_runs = min(len(correct_a), len(correct_b)) > 1
    return difference_of(per_clip.mean().item(), draws, p_value, holds_runs)


def difference_of(mean: float, draws: Tensor, p_value: float, holds_runs: bool) -> Difference:
    """Return the difference `mean` with the interval of what was drawn in its place, `(R,)`."""
    low, high = bootstrap.bounds(bootstrap.interval(draws)) or (None, None)
    return Difference(mean, low, high, p_value, draws.std().item(), holds_runs)


def drawn_runs(values: Tensor, generator: torch.Generator) -> Tensor:
    """Mean `(R,)` over S - 1 runs drawn in each round, of values `(R, S)`; of one run, its own."""
    rounds, runs = values.shape
    if runs == 1:
        return values[:, 0]
    drawn = torch.randint(runs, (rounds, runs - 1), generator=generator)
    return values.gather(1, drawn).mean(dim=1)


def bootstrap_p(draws: Tensor) -> float:
    """Twice the share of rounds on the rarer side of no difference. Source: Efron 1993, ch. 15."""
    above, below = int((draws >= 0).sum()), int((draws <= 0).sum())
    return min(1.0, 2 * (1 + min(above, below)) / (len(draws) + 1))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value for clips about which only A, or only B, is right."""
    disagreed = only_a + only_b
    term = total = 1  # binomial coefficients, as whole numbers: no rounding however many clips
    for index in range(min(only_a, only_b)):
        term = term * (disagreed - index) // (index + 1)
        total += term
    return min(1.0, 2 * total / 2**disagreed)


def _exchanged(per_clip: Tensor, groups: Tensor, seed: int) -> float:
    """Share of random exchanges of A and B that give as large a difference, the actual one too."""
    sums = torch.zeros(int(groups.max()) + 1, dtype=torch.float64).index_add(0, groups, per_clip)
    generator = torch.Generator().manual_seed(seed)
    reached = 1
    at_once = max(1, bootstrap.CHUNK_VALUES // len(sums))
    # Equal sums may differ in their last digits; a difference is at least 1 / (S_a * S_b).
    least = sums.sum().abs() - 1e-9
    for start in range(0, ROUNDS, at_once):
        shape = (min(at_once, ROUNDS - start), len(sums))
        signs = 2.0 * torch.randint(2, shape, generator=generator).double() - 1.0
        reached += int(((signs @ sums).abs() >= least).sum())
    return reached / (ROUNDS + 1)


def smallest_difference(
    num_clips: int, accuracy: float, power: float = POWER, disagreement: float | None = None
) -> float:
    """The smallest true difference in accuracy that `num_clips` clips are likely to show.

    "Show": McNemar's two-sided test finds it at 5 %, with the probability `power`. It depends on
    the share of clips about which exactly one of the models is right. Where that is not known,
    their errors are taken as independent: `2 * accuracy * (1 - accuracy)`. Models that fail on the
    same clips disagree less, and less of a difference shows.

    For 681 clips and an accuracy of 93 %: 3.9 points; 2.7 where the models disagree about half as
    many clips.

    Source: Connor 1987, equation for the number of pairs, solved for the difference:
    `N d^2 = (z_alpha sqrt(q) + z_power sqrt(q - d^2))^2`, q the disagreement. A normal
    approximation, meant for sets of a hundred clips or more.

    Args:
        accuracy: about what both models reach, from 0 to 1.
        power: from 0.5 to below 1.
        disagreement: share of clips about which exactly one model is right, if known.

    Raises:
        ValueError: fewer than 10 clips, or another value out of its range.
    """
    if num_clips < 10:
        raise ValueError(f"num_clips must be at least 10, got {num_clips}.")
    if not 0 < accuracy < 1 or not 0.5 <= power < 1:
        raise ValueError(
            f"accuracy must lie between 0 and 1 and power from 0.5 to below 1, got {accuracy:g} "
            f"and {power:g}."
        )
    share = 2 * accuracy * (1 - accuracy) if disagreement is None else disagreement
    z_alpha = _quantile(1 - SIGNIFICANCE / 2)
    z_power = _quantile(power)
    root = z_alpha * math.sqrt(num_clips)
    root += z_power * math.sqrt(num_clips + z_power**2 - z_alpha**2)
    return min(1.0, math.sqrt(share) * root / (num_clips + z_power**2))


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)
