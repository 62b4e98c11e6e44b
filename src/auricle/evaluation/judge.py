"""Everything an evaluation reports about scores: metrics, intervals, calibration, the worst clips.

Shapes: N clips, C classes.
"""

import math
from typing import Any

import torch
from torch import Tensor

from auricle.evaluation import bootstrap
from auricle.evaluation.calibration import best_thresholds, calibration_error, reliability
from auricle.evaluation.intervals import (
    Metric,
    WeightedRanking,
    metric_intervals,
    weighted_macro_f1,
    weighted_share,
)
from auricle.evaluation.metrics import (
    TOP_CLASSES,
    classification_metrics,
    correct_clips,
    found_classes,
    is_single_label,
)

SEED = 0  # of the intervals
NUM_WORST = 20  # clips listed


def judge(
    scores: Tensor,
    targets: Tensor,
    labels: list[str],
    groups: Tensor,
    thresholds: list[float] | None = None,
) -> dict[str, Any]:
    """The metrics of `classification_metrics`, and besides, as plain JSON values:

    calibration_error, reliability: of `calibration`.
    intervals: the 95 % bootstrap interval of each metric; `resampled` says of what and how often.
    classes: each row gets the thresholds of `best_thresholds`.
    worst: the clips that are most surely wrong; see `worst_clips`.

    Args:
        scores: `(N, C)`.
        targets: `(N, C)`, 1 where the clip has the label; every clip has one.
        labels: C names.
        groups: `(N,)`, numbered from 0: clips that are not independent.
        thresholds: of the C classes of multi-label clips; None: 0.5 for all.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    metrics = classification_metrics(scores, targets, labels, thresholds)
    scores, single_label = scores.double(), metrics["single_label"]
    num_groups = int(groups.max()) + 1
    unit = "clips" if num_groups == len(groups) else "groups"
    metrics["calibration_error"] = calibration_error(scores, targets, single_label)
    metrics["intervals"] = _intervals(scores, targets, groups, thresholds)
    metrics["resampled"] = {"unit": unit, "number": num_groups, "rounds": bootstrap.ROUNDS}
    metrics["reliability"] = reliability(scores, targets, single_label)
    rows = zip(metrics["classes"], best_thresholds(scores, targets), strict=True)
    metrics["classes"] = [row | chosen for row, chosen in rows]
    metrics["worst"] = worst_clips(scores, targets, labels)
    return metrics


def _intervals(
    scores: Tensor, targets: Tensor, groups: Tensor, thresholds: list[float] | None
) -> dict[str, list[float]]:
    found = found_classes(scores, is_single_label(targets), thresholds)
    values: dict[str, Metric] = {"accuracy": weighted_share(correct_clips(scores, targets))}
    if scores.shape[1] > TOP_CLASSES:
        values["top5_accuracy"] = weighted_share(correct_clips(scores, targets, TOP_CLASSES))
    ranking = WeightedRanking(scores, targets)
    if ranking:
        values |= {"mAP": ranking.mean_ap, "mAUC": ranking.mean_auc}
    values["macro_f1"] = weighted_macro_f1(found, targets)
    intervals = metric_intervals(values, groups, SEED)
    if ranking:  # d' rises with the mAUC, so that its quantiles are those of the mAUC
        ends = torch.tensor(intervals["mAUC"], dtype=torch.float64)
        intervals["d_prime"] = (math.sqrt(2) * torch.special.ndtri(ends)).tolist()
    return intervals


def worst_clips(scores: Tensor, targets: Tensor, labels: list[str]) -> list[dict[str, Any]]:
    """The wrong clips, most surely wrong first: at most 20.

    A clip is wrong where the best-scored class is none of its own; how surely is the lead of that
    class over the best-scored one of its own.

    Returns:
        rows of `clip` (its place, from 0), `predicted`, `score`, and `own_score`, the best score
        of a class that the clip has.
    """
    own = scores.masked_fill(targets == 0, -math.inf).amax(dim=1)
    best, predicted = scores.max(dim=1)
    wrong = (targets.gather(1, predicted[:, None])[:, 0] == 0).nonzero()[:, 0]
    order = (best - own)[wrong].argsort(descending=True, stable=True)
    return [
        {
            "clip": index,
            "predicted": labels[int(predicted[index])],
            "score": best[index].item(),
            "own_score": own[index].item(),
        }
        for index in wrong[order][:NUM_WORST].tolist()
    ]
