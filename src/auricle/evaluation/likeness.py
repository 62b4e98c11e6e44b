"""How alike the scores of a student and of its teacher are: arrays in, numbers out.

Logits are the log-odds of scores, whatever activation gave them.

Shapes: N clips, C labels.
"""

from typing import Any

from torch import Tensor

from auricle.evaluation import bootstrap
from auricle.evaluation.calibration import best_thresholds
from auricle.evaluation.intervals import (
    Metric,
    WeightedRanking,
    metric_intervals,
    weighted_share,
)
from auricle.evaluation.metrics import classification_metrics

TOP = 3  # of the teacher's labels, among which the student's best should be
SEED = 0  # of the intervals
NUM_WORST = 20  # clips listed
LEAST_ODDS = 1e-7  # a score nearer to 0 or 1 has the logit of this


def measure_likeness(
    student: Tensor, teacher: Tensor, labels: list[str], groups: Tensor, threshold: float
) -> dict[str, Any]:
    """How alike two models' scores `(N, C)` of the same clips are, as plain JSON values.

    num_clips, num_labels, threshold; clips_without_labels: those the teacher gives no label.
    top1_in_top3: share of clips whose best label by the student is one of the teacher's three best.
    top1_same: share of clips that have the same best label.
    mAP: of the student against the teacher's labels, over labels_counted labels.
    logit_difference, logit_correlation: mean over labels of the mean absolute difference, and of
        Pearson's correlation over clips.
    intervals: 95 %, by `groups` `(N,)`; resampled says of what.
    classes: a row for each label, with the student's thresholds of
        `calibration.best_thresholds` for the teacher's labels.
    worst: the clips that most surely disagree.

    Args:
        threshold: from which score of the teacher on a clip has a label.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """
    student, teacher = student.double(), teacher.double()
    targets = (teacher >= threshold).long()
    place = places(student, teacher)
    differences = (log_odds(student) - log_odds(teacher)).abs()
    shares = {
        "top1_in_top3": (place <= TOP).double(),
        "top1_same": (student.argmax(dim=1) == teacher.argmax(dim=1)).double(),
        "logit_difference": differences.mean(dim=1),
    }
    correlations = _correlations(log_odds(student), log_odds(teacher))
    metrics = classification_metrics(student, targets, labels)
    rows = [
        {
            "label": row["label"],
            "clips": row["clips"],
            "average_precision": row["average_precision"],
            "logit_difference": difference.item(),
            "logit_correlation": _number(correlation),
        }
        | threshold_row
        for row, difference, correlation, threshold_row in zip(
            metrics["classes"],
            differences.mean(dim=0),
            correlations,
            best_thresholds(student, targets),
            strict=True,
        )
    ]
    return {
        "num_clips": len(student),
        "num_labels": len(labels),
        "threshold": threshold,
        "clips_without_labels": int((targets.sum(dim=1) == 0).sum()),
        **{name: values.mean().item() for name, values in shares.items()},
        "logit_correlation": _number(correlations.nanmean()),
        "mAP": metrics["mAP"],
        "labels_counted": sum(row["average_precision"] is not None for row in rows),
        **_intervals(shares, WeightedRanking(student, targets), groups),
        "classes": rows,
        "worst": _worst(student, teacher, place, labels),
    }


def _intervals(
    shares: dict[str, Tensor], ranking: WeightedRanking, groups: Tensor
) -> dict[str, Any]:
    values: dict[str, Metric] = {name: weighted_share(each) for name, each in shares.items()}
    if ranking:
        values["mAP"] = ranking.mean_ap
    number = int(groups.max()) + 1
    unit = "clips" if number == len(groups) else "groups"
    return {
        "intervals": metric_intervals(values, groups, SEED),
        "resampled": {"unit": unit, "number": number, "rounds": bootstrap.ROUNDS},
    }


def places(student: Tensor, teacher: Tensor) -> Tensor:
    """Where the student's best label stands in the teacher's order, `(N,)`, from 1."""
    chosen = teacher.gather(1, student.argmax(dim=1, keepdim=True))
    return 1 + (teacher > chosen).sum(dim=1)


def log_odds(scores: Tensor) -> Tensor:
    """The logits of `scores`, whatever activation gave them; finite for 0 and 1, too."""
    return scores.logit(eps=LEAST_ODDS)


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation `(C,)` of each column; NaN where one does not change."""
    one, other = (values - values.mean(dim=0) for values in (one, other))
    return (one * other).sum(dim=0) / (one.norm(dim=0) * other.norm(dim=0))


def _number(value: Tensor) -> float | None:
    return value.item() if value.isfinite() else None


def _worst(
    student: Tensor, teacher: Tensor, place: Tensor, labels: list[str]
) -> list[dict[str, Any]]:
    """At most 20 clips whose best label by the student is none of the teacher's three best.

    First those where the teacher prefers its own label by most.
    """
    own, best = teacher.max(dim=1)
    heard, chosen = student.max(dim=1)
    lead = own - teacher.gather(1, chosen[:, None])[:, 0]
    missed = (place > TOP).nonzero()[:, 0]
    order = missed[lead[missed].argsort(descending=True, stable=True)]
    return [
        {
            "clip": index,
            "teacher": labels[int(best[index])],
            "teacher_score": own[index].item(),
            "student": labels[int(chosen[index])],
            "student_score": heard[index].item(),
            "place": int(place[index]),
        }
        for index in order[:NUM_WORST].tolist()
    ]
