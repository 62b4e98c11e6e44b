"""Weighted metrics against the plain ones, of clips that are repeated as often as they weigh."""

import math

import numpy as np
import pytest
import torch

from auricle.evaluation import classification_metrics
from auricle.evaluation.bootstrap import WeightedRanking, weighted_macro_f1, weighted_share
from auricle.evaluation.evaluate import judge, worst_clips
from auricle.evaluation.metrics import correct_clips, found_classes

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
    values = {
        "mAP": ranking.mean_ap(weights),
        "mAUC": ranking.mean_auc(weights),
        "macro_f1": weighted_macro_f1(found, targets)(weights),
    }
    if single_label:
        values["accuracy"] = weighted_share(correct_clips(scores, targets))(weights)
        values["top5_accuracy"] = weighted_share(correct_clips(scores, targets, 5))(weights)
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
    wilson = metrics["accuracy_interval"]
    assert metrics["intervals"]["accuracy"] == pytest.approx(wilson, abs=0.012)
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
    assert metrics["intervals"] == {"accuracy": [1.0, 1.0], "macro_f1": [1.0, 1.0]}
    assert metrics["worst"] == []


def test_a_perfect_mauc_has_an_infinite_d_prime():
    scores, targets = drawn(40, single_label=True)
    metrics = judge(targets.double(), targets, NAMES, torch.arange(40))
    assert metrics["intervals"]["d_prime"] == [math.inf, math.inf]
