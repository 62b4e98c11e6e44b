"""Calibration of scores, and the thresholds from which on a class is predicted.

Shapes: N clips, C classes.
"""

from typing import Any

import torch
from torch import Tensor

from auricle.evaluation.metrics import DECISION_THRESHOLD, double_precision, require_torchmetrics

LEAST_ODDS = 1e-7  # a threshold nearer to 0 or 1 has the log-odds of this
NUM_BINS = 15  # of equal width from 0 to 1
FEWEST_POSITIVES = 5  # clips that a class needs for a threshold of its own
HALF_WAY = 20  # clips of a class whose stored threshold is half its own, half that of all classes


def calibration_error(scores: Tensor, targets: Tensor, single_label: bool) -> float:
    """Expected calibration error: how far, on average, a score is from the share that is right.

    The scores are sorted into 15 bins of equal width; the error is the mean over bins of |mean
    score - share that is right|, weighted with the number of scores in a bin. For single-label
    clips the score is that of the best class, and it is right where that is the clip's class. For
    others each score of each clip counts for itself, and is right where the clip has the class.

    Source: Guo et al. 2017; torchmetrics' multiclass_calibration_error and
    binary_calibration_error with n_bins=15, norm="l1".

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    classification = require_torchmetrics()
    with double_precision():
        if single_label and scores.shape[1] > 1:  # of one class, each score counts in any case
            error = classification.multiclass_calibration_error(
                scores.double(), targets.argmax(dim=1), num_classes=scores.shape[1], n_bins=NUM_BINS
            )
        else:
            error = classification.binary_calibration_error(
                scores.double().flatten(), targets.flatten(), n_bins=NUM_BINS
            )
    return float(error)


def reliability(scores: Tensor, targets: Tensor, single_label: bool) -> list[dict[str, Any]]:
    """The bins behind `calibration_error` that hold a score: a row each for table and picture.

    As in torchmetrics a bin holds its lower edge: scores of exactly 1 have a bin of their own.
    """
    if single_label:
        confidence, best = scores.double().max(dim=1)
        right = targets.gather(1, best[:, None])[:, 0].double()
    else:
        confidence, right = scores.double().flatten(), targets.flatten().double()
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)
    bin_index = torch.bucketize(confidence, edges[1:], right=True)
    rows = []
    for index in range(NUM_BINS + 1):
        inside = bin_index == index
        if inside.any():
            row = {"from": edges[index].item(), "to": edges[min(index + 1, NUM_BINS)].item()}
            row |= {"count": int(inside.sum()), "mean_score": confidence[inside].mean().item()}
            rows.append(row | {"right": right[inside].mean().item()})
    return rows


def best_thresholds(scores: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """For each class the threshold with the best F1 on these clips, and that F1.

    A class is predicted from its threshold on. The threshold lies half-way between the lowest score
    that should reach it and the next one below, since other clips will not score exactly the same;
    of thresholds that are equally good the highest is taken. The F1 was sought on the very clips it
    is measured on, so other clips give a lower one.

    A class of fewer than FEWEST_POSITIVES clips, or without a negative clip, would get a threshold
    of chance. It shares the one that is best for all classes together (micro F1). With a few clips
    more, much of it is chance still: `calibrated`, which is for other clips, lies between the
    class's own and the common one, in log-odds, the nearer to its own the more clips it has.

    Returns:
        rows of `threshold`, `shared_threshold` (whether it is the common one), `best_f1` (None
        where it is) and `calibrated`. Thresholds are None where the clips cannot decide the common
        one either.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    shared, _ = _best_threshold(scores.flatten(), targets.flatten())
    rows = []
    for class_scores, class_targets in zip(scores.T, targets.T, strict=True):
        positives = int(class_targets.sum())
        own = positives >= FEWEST_POSITIVES and not bool(class_targets.all())
        best, best_f1 = _best_threshold(class_scores, class_targets) if own else (shared, None)
        calibrated = best
        if own and best is not None and shared is not None:
            share = positives / (positives + HALF_WAY)
            calibrated = _between(shared, best, share)
        rows.append(
            {
                "threshold": best,
                "shared_threshold": not own,
                "best_f1": best_f1,
                "calibrated": calibrated,
            }
        )
    return rows


def _between(one: float, other: float, share: float) -> float:
    """What lies the share `share` of the way from `one` to `other`, in log-odds."""
    ends = torch.tensor([one, other], dtype=torch.float64).logit(eps=LEAST_ODDS)
    return float(torch.lerp(ends[0], ends[1], share).sigmoid())


def _best_threshold(scores: Tensor, targets: Tensor) -> tuple[float | None, float | None]:
    """The threshold with the best F1, and that F1; None where all targets are alike."""
    if targets.min() == targets.max():
        return None, None
    curve = require_torchmetrics().binary_precision_recall_curve
    with double_precision():
        precision, recall, levels = curve(scores.double(), targets.long())
    f1 = 2 * precision * recall / (precision + recall)
    f1 = f1[: len(levels)].nan_to_num()  # the last point stands for finding nothing
    best = len(f1) - 1 - int(f1.flip(0).argmax())
    lower = levels[best - 1].item() if best else 0.0
    return (levels[best].item() + lower) / 2, f1[best].item()


def thresholds_for(classes: list[dict[str, Any]]) -> list[float]:
    """What is stored of each class's row, 0.5 for those that have none."""
    chosen = (row["calibrated"] for row in classes)
    return [DECISION_THRESHOLD if value is None else value for value in chosen]
