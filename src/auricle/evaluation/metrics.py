"""How good scores are: arrays in, one dictionary of numbers out; knows no sound and no model.

Conventions: N clips, C classes. A score lies between 0 and 1 (after the model's activation) and
larger means surer. Targets are 0 or 1. Every number is a fraction, not a percentage, and None
where the clips do not define it.

Metrics:
    accuracy: share of clips whose best-scored class is among their labels. Of equal scores the
        first class counts. Clips without any label have no accuracy and are not counted in it.
    top5_accuracy: the same for the five best scores, when there are more than five classes.
    mAP: mean over classes of the average precision (area under precision and recall, by steps).
    mAUC: mean over classes of the area under the ROC curve; equal scores count half.
    d_prime: `sqrt(2) * inverse normal distribution(mAUC)`; None for an mAUC of exactly 0 or 1,
        which makes it infinite.
        Source: Gong et al. 2021 (AST), whose evaluation takes it from the mean, not per class.
    macro_f1: mean over classes of F1.

A class without a positive or without a negative clip has no ROC curve: it is left out of mAP and
mAUC, one without a positive also out of macro_f1, and both are listed by name.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import NormalDist
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from auricle.errors import require

TOP_CLASSES = 5
DECISION_THRESHOLD = 0.5  # a class of a multi-label clip counts as predicted from this score on
CONFIDENCE = 0.95  # of the interval around the accuracy
NO_RANKING = "no class has both clips with it and clips without it"
UNDEFINED = {  # metric: why it is None
    "accuracy": "no clip has a label",
    "mAP": NO_RANKING,
    "mAUC": NO_RANKING,
    "d_prime": NO_RANKING,
    "macro_f1": "no class has a clip",
}


def classification_metrics(
    scores: Tensor, targets: Tensor, labels: list[str], thresholds: list[float] | None = None
) -> dict[str, Any]:
    """All metrics of the module's docstring, as plain JSON values.

    Besides the metrics: `undefined` (why a metric is None), `num_clips`, `single_label`,
    `accuracy_interval` (95 %, Wilson), `classes` (one row a class, in the order of `labels`) and,
    where every clip has exactly one label, `confusion_matrix` (rows: the clip's class, columns: the
    best-scored class). A class is predicted where it has the best score (single-label) or a score
    of at least its threshold (otherwise); precision, recall and F1 count that.

    Args:
        scores: `(N, C)`.
        targets: `(N, C)`, 1 where the clip has the label.
        labels: C names.
        thresholds: of the C classes of clips that are not single-label; None: 0.5 for all.

    Raises:
        ValueError: shapes that do not fit, no clip, scores that are not numbers from 0 to 1, or
            targets other than 0 and 1.
        MissingExtraError: torchmetrics is not installed.
    """
    scores, targets = _checked(scores, targets, labels)
    single_label = is_single_label(targets)
    predicted = found_classes(scores, single_label, thresholds)
    classes = _class_rows(scores, targets, predicted, labels)
    result: dict[str, Any] = {"num_clips": len(scores), "single_label": single_label}
    result |= _accuracies(scores, targets)
    result |= _means(classes)
    result["undefined"] = _why_undefined(result)
    positives = targets.sum(dim=0).tolist()
    result["classes_without_positives"] = _names(labels, positives, 0)
    result["classes_without_negatives"] = _names(labels, positives, len(scores))
    result["classes"] = classes
    if (
        single_label
    ):  # matrix product of one-hot rows: entry (i, j) counts clips of i predicted as j
        result["confusion_matrix"] = (targets.T @ predicted.long()).tolist()
    return result


def d_prime(auc: float) -> float:
    """Distance of two unit normal distributions that an ROC curve of the area `auc` separates.

    It is infinite for an area of 0 or 1.
    """
    if auc in (0.0, 1.0):
        return math.copysign(math.inf, auc - 0.5)
    return math.sqrt(2) * NormalDist().inv_cdf(auc)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Interval that holds the true rate with 95 % confidence, for independent trials.

    Clips cut from one recording are not independent; for them it is too narrow.
    Source: Wilson 1927, without continuity correction.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    rate = successes / trials
    centre = rate + z**2 / (2 * trials)
    half_width = z * math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - half_width) / scale), min(1.0, (centre + half_width) / scale)


def _checked(scores: Tensor, targets: Tensor, labels: list[str]) -> tuple[Tensor, Tensor]:
    """Scores as float64 and targets as int64, on the CPU."""
    if scores.ndim != 2 or scores.shape != targets.shape or scores.shape[1] != len(labels):
        raise ValueError(
            f"scores {tuple(scores.shape)} and targets {tuple(targets.shape)} must both have the "
            f"shape (clips, {len(labels)}), one column for each label."
        )
    if not len(scores):
        raise ValueError("there is no clip to score.")
    if not ((scores >= 0) & (scores <= 1)).all():  # False for NaN too
        raise ValueError("scores must be numbers from 0 to 1.")
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1.")
    return scores.detach().cpu().double(), targets.detach().cpu().long()


def is_single_label(targets: Tensor) -> bool:
    """Whether every clip of `targets` `(N, C)` has exactly one label."""
    return bool((targets.sum(dim=1) == 1).all())


def found_classes(
    scores: Tensor, single_label: bool, thresholds: list[float] | None = None
) -> Tensor:
    """Which classes the scores decide for, `(N, C)` of bool; see `classification_metrics`."""
    if not single_label:
        levels = [DECISION_THRESHOLD] if thresholds is None else thresholds
        return scores.double() >= torch.tensor(levels, dtype=torch.float64)
    best = scores.argmax(dim=1, keepdim=True)
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)


def _accuracies(scores: Tensor, targets: Tensor) -> dict[str, Any]:
    labelled = targets.any(dim=1)
    scores, targets = scores[labelled], targets[labelled]
    if not len(scores):
        return {"accuracy": None, "accuracy_interval": None}
    correct = int(correct_clips(scores, targets).sum())
    result: dict[str, Any] = {
        "accuracy": correct / len(scores),
        "accuracy_interval": list(wilson_interval(correct, len(scores))),
    }
    if scores.shape[1] > TOP_CLASSES:
        top5 = correct_clips(scores, targets, TOP_CLASSES)
        result["top5_accuracy"] = top5.double().mean().item()
    return result


def correct_clips(scores: Tensor, targets: Tensor, top: int = 1) -> Tensor:
    """Clips `(N,)` of bool that have a label among their `top` best-scored classes."""
    # A stable sort, so that of equal scores the first class counts, as with argmax.
    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :top]
    return targets.gather(1, best).any(dim=1)


def _class_rows(
    scores: Tensor, targets: Tensor, predicted: Tensor, labels: list[str]
) -> list[dict[str, Any]]:
    average_precisions, aucs = _ranking(scores, targets)
    clips = targets.sum(dim=0).tolist()
    times_predicted = predicted.sum(dim=0).tolist()
    hits = (predicted & targets.bool()).sum(dim=0).tolist()
    return [
        {
            "label": label,
            "clips": clips[index],
            "average_precision": average_precisions[index],
            "auc": aucs[index],
            "precision": _share(hits[index], times_predicted[index]),
            "recall": _share(hits[index], clips[index]),
            "f1": _share(2 * hits[index], times_predicted[index] + clips[index]),
        }
        for index, label in enumerate(labels)
    ]


def _ranking(scores: Tensor, targets: Tensor) -> tuple[list[float | None], list[float | None]]:
    """Average precision and area under the ROC curve of each class; None where undefined."""
    classification = require_torchmetrics()
    average_precisions: list[float | None] = []
    aucs: list[float | None] = []
    for class_scores, class_targets in zip(scores.T, targets.T, strict=True):
        if class_targets.min() == class_targets.max():
            average_precisions.append(None)
            aucs.append(None)
            continue
        with double_precision():
            precision = classification.binary_average_precision(class_scores, class_targets)
            area = classification.binary_auroc(class_scores, class_targets)
        average_precisions.append(precision.item())
        aucs.append(area.item())
    return average_precisions, aucs


def require_torchmetrics() -> ModuleType:
    """The classification metrics of torchmetrics (MissingExtraError: it is not installed)."""
    return require("torchmetrics.functional", "train", "evaluation").classification


@contextmanager
def double_precision() -> Iterator[None]:
    """torchmetrics divides counts, which gives torch's default type whatever the scores are.

    In float32 its areas are wrong by 1e-7, enough to turn a perfect mAUC's d' from infinite to 5.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _means(classes: list[dict[str, Any]]) -> dict[str, Any]:
    mean_auc = _mean(row["auc"] for row in classes)
    return {
        "mAP": _mean(row["average_precision"] for row in classes),
        "mAUC": mean_auc,
        "d_prime": None if mean_auc in (None, 0.0, 1.0) else d_prime(mean_auc),
        "macro_f1": _mean(row["f1"] for row in classes if row["clips"]),
    }


def _why_undefined(result: dict[str, Any]) -> dict[str, str]:
    reasons = {key: why for key, why in UNDEFINED.items() if result.get(key, 0.0) is None}
    if result["mAUC"] is not None and "d_prime" in reasons:
        reasons["d_prime"] = f"infinite, as mAUC is exactly {result['mAUC']:.0f}"
    return reasons


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _names(labels: list[str], positives: list[int], count: int) -> list[str]:
    return [label for label, number in zip(labels, positives, strict=True) if number == count]
