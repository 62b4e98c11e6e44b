"""Two models on the same clips: tests and intervals against theory and against scipy."""

import math

import pytest
import scipy.stats
import torch

from auricle.evaluation import paired_difference, smallest_difference
from auricle.evaluation.paired import drawn_runs, mcnemar


def drawn(num_clips, rate_a, rate_b, seed, runs=(1, 1)):
    generator = torch.Generator().manual_seed(seed)
    draws = [
        torch.rand(count, num_clips, generator=generator) < rate
        for count, rate in zip(runs, (rate_a, rate_b), strict=True)
    ]
    return draws[0].long(), draws[1].long()


@pytest.mark.parametrize("only_a, only_b", [(0, 0), (0, 1), (5, 0), (3, 9), (12, 12), (480, 560)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    trials = only_a + only_b
    expected = scipy.stats.binomtest(only_a, trials).pvalue if trials else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_a_model_does_not_differ_from_itself():
    correct, _ = drawn(100, 0.8, 0.8, seed=0)
    difference = paired_difference(correct, correct, seed=0)
    assert (difference.mean, difference.low, difference.high) == (0.0, None, None)
    assert (difference.p_value, difference.smallest) == (1.0, 0.0)


def test_a_clear_difference_is_found_with_its_sign_and_size():
    a, b = drawn(1000, 0.9, 0.8, seed=0)
    difference = paired_difference(a, b, seed=0)
    assert difference.mean == pytest.approx((a.sum() - b.sum()).item() / 1000)
    assert 0.04 < difference.low < difference.mean < difference.high < 0.16
    assert difference.p_value < 1e-6
    turned = paired_difference(b, a, seed=0)
    assert turned.mean == -difference.mean
    assert (turned.low, turned.high) == pytest.approx((-difference.high, -difference.low))
    assert turned.p_value == difference.p_value


def test_the_standard_error_is_that_of_paired_theory():
    a, b = drawn(800, 0.9, 0.85, seed=1)
    each = (a - b)[0].double()
    expected = each.std(correction=0).item() / math.sqrt(800)
    difference = paired_difference(a, b, seed=0)
    assert difference.standard_error == pytest.approx(expected, rel=0.03)
    assert difference.smallest == pytest.approx(2.8016 * difference.standard_error, rel=1e-4)


def test_several_runs_are_averaged_clip_by_clip():
    a, b = drawn(400, 0.9, 0.88, seed=2, runs=(3, 2))
    difference = paired_difference(a, b, seed=0)
    assert difference.mean == pytest.approx(a.double().mean().item() - b.double().mean().item())
    assert difference.low < difference.mean < difference.high


def test_seeds_that_scatter_widen_the_interval_and_seeds_that_do_not_leave_it():
    """Seeds that differ by 10 points say little of the mean of three; the clips are many."""
    rates = torch.tensor([0.7, 0.8, 0.9])[:, None]
    generator = torch.Generator().manual_seed(0)
    a = (torch.rand(3, 1000, generator=generator) < rates).long()
    b = (torch.rand(3, 1000, generator=generator) < 0.78).long()
    scattered = paired_difference(a, b, seed=0)
    alone = paired_difference(a[1:2], b[1:2], seed=0)
    assert scattered.holds_runs and not alone.holds_runs
    assert alone.standard_error == pytest.approx(0.018, abs=0.002)
    assert scattered.standard_error == pytest.approx(0.1 / math.sqrt(3), rel=0.2)
    assert scattered.low < 0 < scattered.high and scattered.p_value > 0.05
    # The same run three times over: nothing but the clips varies.
    same = paired_difference(a[1:2].repeat(3, 1), b[1:2].repeat(3, 1), seed=0)
    assert same.standard_error == pytest.approx(alone.standard_error)
    assert (same.low, same.high) == pytest.approx((alone.low, alone.high))


def test_the_scatter_of_seeds_is_that_of_their_mean():
    """Of S runs S - 1 are drawn: S draws would give (S - 1) / S of the variance."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor([0.1, 0.4, 0.9]).double()
    drawn_values = drawn_runs(values.expand(40_000, 3), generator)
    assert drawn_values.var().item() == pytest.approx(values.var().item() / 3, rel=0.03)


@pytest.mark.parametrize("runs", [(1, 3), (3, 1)])
def test_one_run_on_a_side_says_nothing_of_other_seeds(runs):
    a, b = drawn(100, 0.9, 0.7, seed=0, runs=runs)
    assert not paired_difference(a, b, seed=0).holds_runs


def test_no_p_value_is_smaller_than_what_was_tried():
    a, b = torch.ones(2, 100), torch.zeros(2, 100)
    b[:, 0] = 1
    assert paired_difference(a, b, seed=0).p_value == 2 / 10_001
    groups = torch.arange(100) // 2
    assert paired_difference(a[:1], b[:1], 0, groups).p_value == 1 / 10_001


def test_exchanging_at_random_agrees_with_the_exact_test():
    """The same run twice says no more than once, so that the p-value must stay."""
    a, b = drawn(300, 0.9, 0.85, seed=3)
    exact = paired_difference(a, b, seed=0)
    drawn_at_random = paired_difference(a.repeat(2, 1), b, seed=0)
    assert drawn_at_random.p_value == pytest.approx(exact.p_value, abs=0.01)
    assert drawn_at_random.mean == exact.mean


def test_clips_of_one_group_count_as_one_draw():
    a, b = drawn(60, 0.9, 0.7, seed=4)
    groups = torch.arange(60).repeat_interleave(5)
    repeated = [values.repeat_interleave(5, dim=1) for values in (a, b)]
    alone = paired_difference(a, b, seed=0)
    grouped = paired_difference(*repeated, seed=0, groups=groups)
    assert grouped.mean == pytest.approx(alone.mean)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert grouped.p_value == pytest.approx(alone.p_value, abs=0.015)
    careless = paired_difference(*repeated, seed=0)
    assert careless.standard_error < 0.5 * grouped.standard_error


def test_equal_models_are_called_different_as_rarely_as_promised():
    pairs = [drawn(150, 0.8, 0.8, seed) for seed in range(400)]
    found = [mcnemar(int((a > b).sum()), int((b > a).sum())) < 0.05 for a, b in pairs]
    assert 4 <= sum(found) <= 24  # 5 % of 400 are 20, and the exact test is on the careful side


def test_the_smallest_difference_is_found_as_often_as_promised():
    """Simulated: A is right more often by that much, the errors are independent."""
    smallest = smallest_difference(681, 0.93)
    generator = torch.Generator().manual_seed(0)
    rates = torch.tensor([0.93 + smallest / 2, 0.93 - smallest / 2])
    correct = torch.rand(2000, 2, 681, generator=generator) < rates[:, None]
    only_a = (correct[:, 0] & ~correct[:, 1]).sum(dim=1).tolist()
    only_b = (~correct[:, 0] & correct[:, 1]).sum(dim=1).tolist()
    shown = sum(mcnemar(*pair) < 0.05 for pair in zip(only_a, only_b, strict=True)) / 2000
    assert shown == pytest.approx(0.8, abs=0.05)


def test_the_smallest_difference_in_the_documents():
    assert smallest_difference(681, 0.93) == pytest.approx(0.0387, abs=5e-5)
    assert smallest_difference(681, 0.93, disagreement=0.0651) == pytest.approx(0.0273, abs=5e-5)
    # Connor's equation holds for it.
    share, found = 2 * 0.93 * 0.07, smallest_difference(681, 0.93)
    normal = scipy.stats.norm
    right = normal.ppf(0.975) * math.sqrt(share)
    right += normal.ppf(0.8) * math.sqrt(share - found**2)
    assert 681 * found**2 == pytest.approx(right**2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((9, 0.9), "num_clips must be at least 10, got 9."),
        (
            (100, 1.0),
            "accuracy must lie between 0 and 1 and power from 0.5 to below 1, got 1 and 0.8.",
        ),
        (
            (100, 0.9, 1.0),
            "accuracy must lie between 0 and 1 and power from 0.5 to below 1, got 0.9 and 1.",
        ),
    ],
)
def test_an_impossible_question_is_refused(arguments, message):
    with pytest.raises(ValueError) as caught:
        smallest_difference(*arguments)
    assert str(caught.value) == message


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError) as caught:
        paired_difference(torch.ones(1, 5), torch.ones(2, 4), seed=0)
    assert str(caught.value) == (
        "correct_a (1, 5) and correct_b (2, 4) must have the shapes (runs of A, clips) and "
        "(runs of B, clips)."
    )
    with pytest.raises(ValueError) as caught:
        paired_difference(torch.ones(0, 5), torch.ones(2, 5), seed=0)
    assert str(caught.value) == "there is no run or no clip to compare."
