"""Intervals: what is drawn or left out, weighted metrics against the plain ones, and widths."""

import math

import numpy as np
import pytest
import torch

from auricle.evaluation import bootstrap, classification_metrics
from auricle.evaluation.bootstrap import (
    WeightedRanking,
    jackknife_intervals,
    weighted_macro_f1,
    weighted_means,
)
from auricle.evaluation.evaluate import judge, worst_clips
from auricle.evaluation.metrics import correct_clips, found_classes


def resampled_means(values, groups):
    draws = bootstrap.resampled(groups, seed=0, rounds=4000)
    return torch.cat([weights @ values / weights.sum(dim=1) for weights in draws])


def test_as_many_groups_are_drawn_as_there_are():
    groups = torch.tensor([0, 0, 1, 2, 2, 2])
    weights = torch.cat(list(bootstrap.resampled(groups, seed=0)))
    assert weights.shape == (1000, 6)
    assert torch.equal(weights[:, 0] + weights[:, 2] + weights[:, 3], torch.full((1000,), 3.0))
    assert torch.equal(weights[:, 0], weights[:, 1])  # clips of a group are drawn together
    assert torch.equal(weights[:, 3:].amax(dim=1), weights[:, 3:].amin(dim=1))
    assert weights.mean(dim=0).tolist() == pytest.approx([1.0] * 6, abs=0.1)


def test_the_same_seed_draws_the_same_however_much_is_held_at_a_time(monkeypatch):
    groups = torch.arange(50)
    whole = torch.cat(list(bootstrap.resampled(groups, seed=1, rounds=40)))
    again = torch.cat(list(bootstrap.resampled(groups, seed=1, rounds=40)))
    assert torch.equal(whole, again)
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 350)
    parts = list(bootstrap.resampled(groups, seed=1, rounds=40))
    assert [len(part) for part in parts] == [7, 7, 7, 7, 7, 5]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(torch.cat(list(bootstrap.resampled(groups, 2, 40))), whole)


def test_the_interval_of_a_share_is_that_of_theory():
    values = (torch.arange(400) < 300).double()
    means = resampled_means(values, torch.arange(400))
    half_width = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    low, high = bootstrap.interval(means)
    assert low == pytest.approx(0.75 - half_width, abs=0.004)
    assert high == pytest.approx(0.75 + half_width, abs=0.004)


def test_clips_of_one_group_widen_the_interval_as_theory_says():
    """100 recordings of four clips that are all right or all wrong count as 100, not 400."""
    values = (torch.arange(100) < 75).double().repeat_interleave(4)
    groups = torch.arange(100).repeat_interleave(4)
    low, high = bootstrap.interval(resampled_means(values, groups))
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.75 * 0.25 / 100), abs=0.012)


def test_groups_are_numbered_as_they_come():
    assert bootstrap.number_groups(["farm", "zoo", "farm", "sea"]).tolist() == [0, 1, 0, 2]


def test_a_round_without_a_value_is_left_out_of_the_interval():
    values = torch.cat([torch.linspace(0, 1, 101), torch.tensor([torch.nan])]).double()
    assert bootstrap.interval(values) == pytest.approx((0.025, 0.975))


NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def drawn(num_clips, single_label, levels=None):
    generator = np.random.default_rng(3)
    targets = np.zeros((num_clips, len(NAMES)), dtype=np.int64)
    if single_label:
        targets[np.arange(num_clips), generator.integers(0, len(NAMES), num_clips)] = 1
    else:
        targets[generator.random(targets.shape) < 0.3] = 1
    scores = (0.3 * targets + generator.random(targets.shape)) / 1.3
    if levels:
        scores = np.floor(scores * levels) / levels
    return torch.as_tensor(scores), torch.as_tensor(targets)


@pytest.mark.parametrize("single_label", [True, False])
@pytest.mark.parametrize("num_clips, levels", [(12, 3), (90, None), (90, 4)])
def test_weights_count_a_clip_as_often_as_it_is_there(single_label, num_clips, levels):
    scores, targets = drawn(num_clips, single_label, levels)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(4, (6, num_clips), generator=generator).double()
    ranking = WeightedRanking(scores, targets)
    found = found_classes(scores, single_label)
    values = ranking.means(weights) | weighted_macro_f1(found, targets)(weights)
    if single_label:
        shares = {"accuracy": correct_clips(scores, targets)}
        shares["top5_accuracy"] = correct_clips(scores, targets, 5)
        values |= weighted_means(shares)(weights)
    for place, row in enumerate(weights.long()):
        repeated = [values.repeat_interleave(row, dim=0) for values in (scores, targets)]
        expected = classification_metrics(*repeated, NAMES)
        for key, found_values in values.items():
            assert found_values[place].item() == pytest.approx(expected[key], abs=1e-9), key


def test_a_class_without_positive_or_negative_clips_has_no_ranking():
    scores = torch.tensor([[0.9, 0.1], [0.3, 0.2]])
    assert not WeightedRanking(scores, torch.tensor([[1, 0], [1, 0]]))
    assert WeightedRanking(scores, torch.tensor([[1, 0], [0, 0]]))


def test_judged_intervals_hold_the_metrics():
    scores, targets = drawn(300, single_label=True)
    metrics = judge(scores, targets, NAMES, torch.arange(300))
    assert list(metrics["intervals"]) == [
        "accuracy",
        "top5_accuracy",
        "mAP",
        "mAUC",
        "macro_f1",
        "d_prime",
    ]
    for key, (low, high) in metrics["intervals"].items():
        assert low < metrics[key] < high, key
    assert metrics["intervals"]["accuracy"] == metrics["accuracy_interval"]
    assert metrics["undefined"] == {}
    assert metrics["resampled"] == {"unit": "clips", "number": 300, "rounds": 1000}


def test_the_worst_clips_are_those_most_surely_wrong():
    scores = torch.tensor(
        [
            [0.5, 0.4, 0.1],  # a, right
            [0.6, 0.3, 0.1],  # b: heard as a, 0.3 ahead
            [0.1, 0.0, 0.9],  # b: heard as c, 0.9 ahead
            [0.2, 0.7, 0.6],  # a and c: heard as b, 0.1 ahead of c
        ]
    )
    targets = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 1]])
    rows = worst_clips(scores.double(), targets, ["a", "b", "c"])
    assert [(row["clip"], row["predicted"]) for row in rows] == [(2, "c"), (1, "a"), (3, "b")]
    assert rows[0]["score"] == pytest.approx(0.9)
    assert [row["own_score"] for row in rows] == pytest.approx([0.0, 0.3, 0.6])


def test_only_twenty_of_the_worst_are_listed():
    scores = torch.linspace(0.1, 0.9, 50)[:, None] * torch.tensor([[1.0, 0.0]])
    rows = worst_clips(scores, torch.tensor([[0, 1]]).expand(50, 2), ["a", "b"])
    assert [row["clip"] for row in rows] == list(range(49, 29, -1))


def test_one_clip_can_be_judged():
    metrics = judge(
        torch.tensor([[0.2, 0.8]]), torch.tensor([[0, 1]]), ["a", "b"], torch.tensor([0])
    )
    no_ranking = "no class has both clips with it and clips without it"
    assert metrics["undefined"] == {
        "mAP": no_ranking,
        "mAUC": no_ranking,
        "d_prime": no_ranking,
        "intervals.macro_f1": "there is one clip, and an interval takes two or more",
    }
    low, high = metrics["intervals"]["accuracy"]  # Wilson's knows how little one clip says
    assert (low, high) == (pytest.approx(0.2065, abs=1e-4), 1.0)
    assert metrics["worst"] == []


def test_scores_without_a_fault_have_no_d_prime_and_no_interval_of_ones():
    scores, targets = drawn(40, single_label=True)
    groups = torch.arange(40) // 2
    metrics = judge(targets.double(), targets, NAMES, groups)
    assert (metrics["mAP"], metrics["mAUC"], metrics["d_prime"]) == (1.0, 1.0, None)
    names = ["accuracy", "top5_accuracy", "mAP", "mAUC", "macro_f1", "d_prime"]
    assert metrics["intervals"] == dict.fromkeys(names)
    same = "other draws of these groups give the same value"
    assert metrics["undefined"] == {
        "d_prime": "infinite, as mAUC is exactly 1",
        **{f"intervals.{name}": same for name in names},
    }


def test_one_class_has_no_ranking():
    metrics = judge(torch.rand(9, 1), torch.ones(9, 1).long(), ["a"], torch.arange(9))
    assert (metrics["mAP"], metrics["d_prime"]) == (None, None)
    assert list(metrics["undefined"]) == ["mAP", "mAUC", "d_prime", "intervals.macro_f1"]


def test_the_jackknife_of_an_auc_is_as_wide_as_theory_says():
    """Hanley and McNeil 1982: the standard error of one class's area, scores of two normals."""
    generator = torch.Generator().manual_seed(5)
    targets = (torch.arange(400) < 100).long()[:, None]
    scores = torch.randn(400, 1, generator=generator).double() + 1.5 * targets
    ranking = WeightedRanking(scores, targets)
    area = ranking.means(torch.ones(1, 400).double())["mAUC"].item()
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 99 * (q1 - area**2) + 299 * (q2 - area**2)
    low, high = jackknife_intervals(ranking.means, torch.arange(400), 0)["mAUC"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(variance / (100 * 300)), rel=0.1)
    assert area - low > high - area  # symmetrical in log-odds


def test_more_groups_than_blocks_give_about_the_same_interval(monkeypatch):
    scores, targets = drawn(400, single_label=True)
    ranking = WeightedRanking(scores, targets)
    whole = jackknife_intervals(ranking.means, torch.arange(400), 0)["mAP"]
    monkeypatch.setattr(bootstrap, "MOST_BLOCKS", 100)
    blocks = jackknife_intervals(ranking.means, torch.arange(400), 0)["mAP"]
    assert blocks == pytest.approx(whole, abs=0.01)


def test_leaving_out_groups_widens_the_interval_of_repeated_clips():
    scores, targets = drawn(100, single_label=True)
    groups = torch.arange(100).repeat_interleave(4)
    ranking = WeightedRanking(scores.repeat_interleave(4, 0), targets.repeat_interleave(4, 0))
    low, high = jackknife_intervals(ranking.means, groups, 0)["mAP"]
    alone = jackknife_intervals(WeightedRanking(scores, targets).means, torch.arange(100), 0)
    assert high - low == pytest.approx(alone["mAP"][1] - alone["mAP"][0], rel=0.1)
