"""The metrics: properties, values by hand, then agreement with scikit-learn and scipy."""

import math
import sys

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
import torchmetrics.functional.classification as torchmetrics

from auricle.errors import MissingExtraError
from auricle.evaluation import classification_metrics, d_prime, wilson_interval

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def drawn(num_clips: int, single_label: bool, levels: int | None = None, seed: int = 0):
    """Random scores `(N, 7)`, rounded to `levels` steps for ties, and targets that they fit."""
    generator = np.random.default_rng(seed)
    targets = np.zeros((num_clips, len(NAMES)), dtype=np.int64)
    if single_label:
        targets[np.arange(num_clips), generator.integers(0, len(NAMES), num_clips)] = 1
    else:
        targets[generator.random(targets.shape) < 0.3] = 1
    scores = (0.3 * targets + generator.random(targets.shape)) / 1.3
    if levels:
        scores = np.floor(scores * levels) / levels
    return scores, targets


def measured(scores, targets, labels=NAMES):
    return classification_metrics(torch.as_tensor(scores), torch.as_tensor(targets), labels)


def column(metrics, key):
    return [row[key] for row in metrics["classes"]]


# --- properties


@pytest.mark.parametrize("single_label", [True, False])
def test_perfect_scores_get_one(single_label):
    _, targets = drawn(60, single_label)
    metrics = measured(targets.astype(float), targets)
    assert metrics["mAP"] == metrics["mAUC"] == 1.0
    assert metrics["accuracy"] == metrics["top5_accuracy"] == 1.0
    assert metrics["d_prime"] is None
    assert metrics["undefined"] == {"d_prime": "infinite, as mAUC is exactly 1"}
    for key in ("average_precision", "auc", "precision", "recall", "f1"):
        assert column(metrics, key) == [1.0] * 7


def test_many_perfect_float32_scores_get_exactly_one():
    targets = torch.zeros(5001, 2)
    targets[::3, 0] = 1
    targets[:, 1] = 1 - targets[:, 0]
    scores = (0.5 * targets + 0.5 * torch.rand(5001, 2)).float() * 0.999
    assert classification_metrics(scores, targets, ["ant", "bee"])["mAUC"] == 1.0


def test_reversed_scores_get_zero():
    _, targets = drawn(60, single_label=True)
    metrics = measured(1.0 - targets, targets)
    assert metrics["mAUC"] == metrics["accuracy"] == metrics["macro_f1"] == 0.0
    assert metrics["d_prime"] is None
    assert metrics["undefined"] == {"d_prime": "infinite, as mAUC is exactly 0"}


def test_constant_scores_are_chance_and_the_first_class_is_chosen():
    _, targets = drawn(60, single_label=True)
    metrics = measured(np.full(targets.shape, 0.25), targets)
    assert metrics["mAUC"] == 0.5
    assert metrics["d_prime"] == 0.0
    assert metrics["accuracy"] == targets[:, 0].mean()
    assert metrics["top5_accuracy"] == targets[:, :5].sum() / 60
    assert column(metrics, "average_precision") == pytest.approx(targets.mean(axis=0))


def test_the_order_of_the_clips_does_not_matter():
    scores, targets = drawn(80, single_label=True, levels=5)
    order = np.random.default_rng(1).permutation(80)
    assert measured(scores[order], targets[order]) == measured(scores, targets)


def test_a_score_in_half_precision_counts_as_its_own_value():
    scores, targets = drawn(80, single_label=False)
    halves = torch.as_tensor(scores).half()
    assert measured(halves, targets) == measured(halves.double(), targets)


def test_the_default_type_of_torch_is_left_alone():
    scores, targets = drawn(10, single_label=True)
    measured(scores, targets)
    assert torch.get_default_dtype() == torch.float32


# --- by hand


def test_values_by_hand():
    """Classes a, b, c; five clips; the third is an a that is heard as b."""
    scores = [
        [0.8, 0.1, 0.1],  # a
        [0.7, 0.2, 0.1],  # a
        [0.3, 0.6, 0.1],  # a, taken for b
        [0.2, 0.5, 0.3],  # b
        [0.4, 0.3, 0.3],  # b, taken for a
    ]
    targets = [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]
    metrics = measured(scores, targets, ["a", "b", "c"])
    # a in order: .8 a, .7 a, .4 b, .3 a, .2 b -> precision at its positives 1, 1, 3/4; 5 of 6 pairs
    # b in order: .6 a, .5 b, .3 b, .2 a, .1 a -> precision at its positives 1/2, 2/3; 4 of 6 pairs
    assert column(metrics, "average_precision") == [
        pytest.approx(11 / 12),
        pytest.approx(7 / 12),
        None,
    ]
    assert column(metrics, "auc") == [pytest.approx(5 / 6), pytest.approx(4 / 6), None]
    assert metrics["mAP"] == pytest.approx(9 / 12)
    assert metrics["mAUC"] == pytest.approx(3 / 4)
    assert metrics["d_prime"] == pytest.approx(0.9538725524, abs=1e-9)
    assert metrics["accuracy"] == 3 / 5
    assert metrics["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert column(metrics, "precision") == [2 / 3, 1 / 2, None]
    assert column(metrics, "recall") == [2 / 3, 1 / 2, None]
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert column(metrics, "clips") == [3, 2, 0]
    assert metrics["classes_without_positives"] == ["c"]
    assert "top5_accuracy" not in metrics


def test_a_multi_label_clip_is_right_when_its_best_class_is_one_of_its_labels():
    scores = [[0.9, 0.6, 0.1], [0.2, 0.7, 0.4], [0.4, 0.2, 0.3]]
    targets = [[1, 1, 0], [1, 0, 1], [0, 0, 0]]  # the third clip has no label: no accuracy
    metrics = measured(scores, targets, ["a", "b", "c"])
    assert metrics["single_label"] is False
    assert metrics["accuracy"] == 1 / 2
    assert column(metrics, "recall") == [1 / 2, 1.0, 0.0]  # from a score of 0.5 on
    assert column(metrics, "precision") == [1.0, 1 / 2, None]
    assert "confusion_matrix" not in metrics
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 3)


def test_a_class_that_every_clip_has_is_left_out_of_the_means():
    metrics = measured([[0.9, 0.8], [0.3, 0.1]], [[1, 1], [1, 0]], ["a", "b"])
    assert metrics["classes_without_negatives"] == ["a"]
    assert column(metrics, "auc") == [None, 1.0]
    assert metrics["mAP"] == metrics["mAUC"] == 1.0


def test_a_class_without_clips_is_no_part_of_macro_f1_even_if_it_is_heard():
    scores = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]  # the last is taken for c
    metrics = measured(scores, [[1, 0, 0], [0, 1, 0], [0, 1, 0]], ["a", "b", "c"])
    assert column(metrics, "f1") == [1.0, 2 / 3, 0.0]
    assert metrics["macro_f1"] == pytest.approx(5 / 6)


def test_a_single_clip_has_an_accuracy_and_no_ranking():
    metrics = measured([[0.9, 0.1]], [[1, 0]], ["a", "b"])
    assert metrics["num_clips"] == 1
    assert metrics["accuracy"] == 1.0
    assert metrics["mAP"] is metrics["mAUC"] is metrics["d_prime"] is None
    assert metrics["classes_without_positives"] == ["b"]
    assert metrics["classes_without_negatives"] == ["a"]


def test_clips_without_labels_have_no_accuracy():
    metrics = measured([[0.9, 0.1]], [[0, 0]], ["a", "b"])
    assert metrics["accuracy"] is metrics["accuracy_interval"] is None


def test_the_interval_is_wilsons():
    # Published example (Newcombe 1998, table I, method 3): 81 of 263, and the extremes.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(29, 29)[1] == 1.0
    expected = scipy.stats.binomtest(95, 100).proportion_ci(0.95, "wilson")
    assert wilson_interval(95, 100) == pytest.approx((expected.low, expected.high), abs=1e-12)


# --- a second implementation


@pytest.mark.parametrize("single_label", [True, False])
@pytest.mark.parametrize("num_clips, levels", [(50, None), (50, 4), (3000, None), (3000, 50)])
def test_agrees_with_scikit_learn(single_label, num_clips, levels):
    scores, targets = drawn(num_clips, single_label, levels)
    metrics = measured(scores, targets)
    precisions = sklearn.metrics.average_precision_score(targets, scores, average=None)
    areas = sklearn.metrics.roc_auc_score(targets, scores, average=None)
    assert column(metrics, "average_precision") == pytest.approx(precisions, abs=1e-12)
    assert column(metrics, "auc") == pytest.approx(areas, abs=1e-12)
    assert metrics["mAP"] == pytest.approx(precisions.mean(), abs=1e-12)
    assert metrics["mAUC"] == pytest.approx(areas.mean(), abs=1e-12)
    assert metrics["d_prime"] == pytest.approx(
        math.sqrt(2) * scipy.stats.norm.ppf(areas.mean()), abs=1e-12
    )


@pytest.mark.parametrize("levels", [None, 4])
def test_decisions_of_single_label_clips_agree_with_scikit_learn(levels):
    scores, targets = drawn(300, single_label=True, levels=levels)
    metrics = measured(scores, targets)
    true, chosen = targets.argmax(axis=1), scores.argmax(axis=1)
    precision, recall, f1, clips = sklearn.metrics.precision_recall_fscore_support(true, chosen)
    assert metrics["accuracy"] == sklearn.metrics.accuracy_score(true, chosen)
    expected = sklearn.metrics.confusion_matrix(true, chosen)
    assert metrics["confusion_matrix"] == expected.tolist()
    assert column(metrics, "precision") == pytest.approx(precision, abs=1e-12)
    assert column(metrics, "recall") == pytest.approx(recall, abs=1e-12)
    assert column(metrics, "clips") == clips.tolist()
    assert metrics["macro_f1"] == pytest.approx(f1.mean(), abs=1e-12)
    if levels is None:  # scikit-learn breaks ties the other way round
        top5 = sklearn.metrics.top_k_accuracy_score(true, scores, k=5)
        assert metrics["top5_accuracy"] == pytest.approx(top5, abs=1e-12)


def test_decisions_of_multi_label_clips_agree_with_scikit_learn():
    scores, targets = drawn(300, single_label=False)
    metrics = measured(scores, targets)
    report = sklearn.metrics.precision_recall_fscore_support(targets, scores >= 0.5)
    for key, expected in zip(("precision", "recall", "f1", "clips"), report, strict=True):
        assert column(metrics, key) == pytest.approx(expected, abs=1e-12)
    assert metrics["macro_f1"] == pytest.approx(report[2].mean(), abs=1e-12)


def test_thresholds_decide_what_is_found_in_multi_label_clips_only():
    scores, targets = drawn(300, single_label=False)
    thresholds = [0.1, 0.3, 0.3, 0.5, 0.7, 0.9, 1.0]
    given = [torch.as_tensor(values) for values in (scores, targets)]
    metrics = classification_metrics(*given, NAMES, thresholds)
    expected = sklearn.metrics.recall_score(targets, scores >= thresholds, average=None)
    assert column(metrics, "recall") == pytest.approx(expected, abs=1e-12)
    single = [torch.as_tensor(values) for values in drawn(300, single_label=True)]
    assert classification_metrics(*single, NAMES, thresholds) == measured(*single)


@pytest.mark.parametrize("single_label", [True, False])
def test_the_names_are_those_of_torchmetrics(single_label):
    """docs/evaluation.md says which of its functions gives each number."""
    scores, targets = (torch.as_tensor(values) for values in drawn(300, single_label))
    metrics = measured(scores, targets)
    torch.set_default_dtype(torch.float64)
    try:
        many = {"num_labels": 7, "average": "macro"}
        expected = {
            "mAP": torchmetrics.multilabel_average_precision(scores, targets, **many),
            "mAUC": torchmetrics.multilabel_auroc(scores, targets, **many),
        }
        if single_label:
            classes = {"num_classes": 7}
            true = targets.argmax(dim=1)
            accuracy = torchmetrics.multiclass_accuracy
            expected["accuracy"] = accuracy(scores, true, **classes, average="micro")
            expected["top5_accuracy"] = accuracy(scores, true, **classes, average="micro", top_k=5)
            expected["macro_f1"] = torchmetrics.multiclass_f1_score(scores, true, **classes)
        else:
            expected["macro_f1"] = torchmetrics.multilabel_f1_score(scores, targets, **many)
    finally:
        torch.set_default_dtype(torch.float32)
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value.item(), abs=1e-7), key


@pytest.mark.parametrize("auc", [0.001, 0.5, 0.7, 0.97944, 0.99999999])
def test_d_prime_agrees_with_scipy(auc):
    assert d_prime(auc) == pytest.approx(math.sqrt(2) * scipy.stats.norm.ppf(auc), abs=1e-12)


def test_d_prime_of_the_published_ensemble():
    assert d_prime(0.97944) == pytest.approx(2.888, abs=5e-4)  # AST's Ensemble-S


# --- bad input


@pytest.mark.parametrize(
    "scores, targets, message",
    [
        (
            [[0.5, 0.5]],
            [[1, 0, 0]],
            "scores (1, 2) and targets (1, 3) must both have the shape (clips, 2), "
            "one column for each label.",
        ),
        (
            [[0.5]],
            [[1]],
            "scores (1, 1) and targets (1, 1) must both have the shape (clips, 2), "
            "one column for each label.",
        ),
        (
            [0.5, 0.5],
            [1, 0],
            "scores (2,) and targets (2,) must both have the shape (clips, 2), "
            "one column for each label.",
        ),
        (np.zeros((0, 2)), np.zeros((0, 2)), "there is no clip to score."),
        ([[0.5, math.nan]], [[1, 0]], "scores must be numbers from 0 to 1."),
        ([[0.5, math.inf]], [[1, 0]], "scores must be numbers from 0 to 1."),
        ([[0.5, -3.0]], [[1, 0]], "scores must be numbers from 0 to 1."),
        ([[0.5, 0.5]], [[1, 0.5]], "targets must be 0 or 1."),
        ([[0.5, 0.5]], [[1, math.nan]], "targets must be 0 or 1."),
    ],
)
def test_bad_input_is_refused(scores, targets, message):
    with pytest.raises(ValueError) as caught:
        measured(scores, targets, ["a", "b"])
    assert str(caught.value) == message


def test_missing_torchmetrics_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional", None)
    with pytest.raises(MissingExtraError) as caught:
        measured([[0.9, 0.1]], [[1, 0]], ["a", "b"])
    assert str(caught.value) == (
        "evaluation needs the package 'torchmetrics', which is not installed. "
        "Install it with: pip install 'auricle[train]'"
    )
