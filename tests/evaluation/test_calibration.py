"""Calibration: values by hand, then agreement with torchmetrics and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
import torch

from auricle.evaluation.calibration import (
    best_thresholds,
    calibration_error,
    reliability,
    thresholds_for,
)


def drawn(num_clips, num_classes, single_label, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(num_clips, num_classes, generator=generator) < 0.3).long()
    if single_label:
        targets = torch.eye(num_classes, dtype=torch.long)[torch.arange(num_clips) % num_classes]
    logits = 2 * targets + 2 * torch.randn(targets.shape, generator=generator)
    return logits.softmax(dim=1) if single_label else logits.sigmoid(), targets


def test_the_calibration_error_by_hand():
    """Two scores of .95 of which one is right, and two of .62 that are right."""
    scores = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.38, 0.62], [0.38, 0.62]])
    targets = torch.tensor([[1, 0], [0, 1], [0, 1], [0, 1]])
    error = calibration_error(scores, targets, single_label=True)
    assert error == pytest.approx(0.5 * 0.45 + 0.5 * 0.38, abs=1e-7)
    rows = reliability(scores, targets, single_label=True)
    assert [row["count"] for row in rows] == [2, 2]
    assert [row["mean_score"] for row in rows] == pytest.approx([0.62, 0.95])
    assert [row["right"] for row in rows] == [1.0, 0.5]


def test_scores_that_are_as_often_right_as_they_say_have_no_error():
    scores = torch.tensor([0.25, 0.75]).repeat_interleave(4)[:, None]
    targets = torch.tensor([1, 0, 0, 0, 1, 1, 1, 0])[:, None]
    assert calibration_error(scores, targets, single_label=False) == 0.0


@pytest.mark.parametrize("single_label", [True, False])
def test_the_bins_are_those_of_the_error(single_label):
    scores, targets = drawn(400, 5, single_label)
    scores[:3] = targets[:3].float()  # exactly 1, which torchmetrics counts apart, and 0
    rows = reliability(scores, targets, single_label)
    total = sum(row["count"] for row in rows)
    assert total == (400 if single_label else 2000)
    gaps = [row["count"] * abs(row["mean_score"] - row["right"]) for row in rows]
    error = calibration_error(scores, targets, single_label)
    assert error == pytest.approx(sum(gaps) / total, abs=1e-6)  # torchmetrics adds in float32
    assert all(row["from"] <= row["mean_score"] <= row["to"] for row in rows)


@pytest.mark.parametrize("levels", [None, 6])
def test_no_threshold_has_a_better_f1(levels):
    scores, targets = drawn(200, 4, single_label=False)
    if levels:
        scores = (scores * levels).floor() / levels
    for column, row in enumerate(best_thresholds(scores, targets)):
        values, wanted = scores[:, column].double(), targets[:, column]
        found = sklearn.metrics.f1_score(wanted, values >= row["threshold"])
        assert row["best_f1"] == pytest.approx(found, abs=1e-12)
        tried = [sklearn.metrics.f1_score(wanted, values >= level) for level in values.unique()]
        assert row["best_f1"] == pytest.approx(max(tried), abs=1e-12)


def five_times(scores, targets):
    """Clips as often as a threshold of its own takes; the best one stays where it is."""
    return torch.tensor(scores).repeat(5, 1), torch.tensor(targets).repeat(5, 1)


def test_the_threshold_lies_between_two_scores_and_as_high_as_is_good():
    scores = [[0.9], [0.8], [0.4], [0.1]]
    [row] = best_thresholds(*five_times(scores, [[1], [1], [0], [0]]))
    best = pytest.approx(0.6)
    assert row == {
        "threshold": best,
        "shared_threshold": False,
        "best_f1": 1.0,
        "calibrated": best,
    }
    # From 0.9 on or from 0.4 on: 2/3 either way; the higher finds fewer clips.
    [row] = best_thresholds(*five_times(scores, [[1], [0], [0], [1]]))
    assert (row["threshold"], row["best_f1"]) == (pytest.approx(0.85), pytest.approx(2 / 3))
    [row] = best_thresholds(*five_times(scores, [[0], [0], [0], [1]]))
    assert row["threshold"] == pytest.approx(0.05)


def test_a_class_of_few_clips_or_of_all_takes_the_threshold_of_all_classes_together():
    scores, targets = drawn(200, 5, single_label=False)
    targets[:, 1], targets[:, 2], targets[:, 3] = 0, 0, 1
    targets[:4, 1] = 1  # one too few
    targets[:5, 2] = 1
    rows = best_thresholds(scores, targets)
    assert [row["shared_threshold"] for row in rows] == [False, True, False, True, False]
    assert rows[1]["threshold"] == rows[3]["threshold"] == thresholds_for(rows)[1]
    assert rows[1]["best_f1"] is None
    assert len({row["threshold"] for row in rows}) == 4
    wanted = targets.numpy()

    def micro_f1(level):
        return sklearn.metrics.f1_score(wanted, (scores >= level).numpy(), average="micro")

    best = max(micro_f1(level) for level in scores.flatten().tolist())
    assert micro_f1(rows[1]["threshold"]) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("positives", [5, 20, 180])
def test_the_fewer_clips_a_class_has_the_nearer_its_threshold_is_kept_to_the_common_one(positives):
    torch.manual_seed(0)
    size = 20_000
    targets = torch.zeros(size, 2).long()
    targets[: size // 2, 0] = 1  # decides the threshold of all
    targets[:positives, 1] = 1
    scores = torch.where(targets == 1, torch.tensor([0.6, 1.0]), torch.tensor([0.4, 0.8]))
    scores[:, 1] *= 0.3  # its own threshold lies at 0.27
    common, own = best_thresholds(scores, targets)
    assert own["threshold"] == pytest.approx(0.27)
    odds = {value: torch.tensor(value).logit().item() for value in (0.27, 0.5)}
    shared = odds[0.5]
    share = positives / (positives + 20)
    expected = torch.tensor(share * odds[0.27] + (1 - share) * shared).sigmoid().item()
    assert own["calibrated"] == pytest.approx(expected, abs=1e-3)
    assert thresholds_for([common, own])[1] == own["calibrated"]


def test_clips_that_decide_nothing_leave_one_half():
    rows = best_thresholds(torch.tensor([[0.9, 0.3], [0.2, 0.4]]), torch.zeros(2, 2).long())
    assert [row["best_f1"] for row in rows] == [None, None]
    assert thresholds_for(rows) == [0.5, 0.5]


def test_scores_that_a_32_bit_number_barely_tells_apart_are_told_apart():
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    scores, targets = five_times(np.array([[high], [low]]), [[1], [0]])
    [row] = best_thresholds(scores, targets)
    assert (scores[:2].double() >= row["threshold"])[:, 0].tolist() == [True, False]
