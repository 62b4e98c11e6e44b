"""How alike a student's scores are to its teacher's, on clips that need no labels.

Each model scores a clip at its own sample rate and in its own windows. Compared are the labels that
both know.

Logits are the log-odds of scores, whatever activation gave them. A student that cannot reproduce
all of its teacher's outputs is too cautious: its logits vary less from clip to clip, those of rare
labels least, and so frequent labels stand before rare ones that are there. `matched` scales and
shifts them.

Shapes: N clips, C labels that both know.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.data import Clip, Manifest
from auricle.data.clips import group_of
from auricle.errors import NAMES_SHOWN, CheckpointError, DataError
from auricle.evaluation.bootstrap import (
    WeightedRanking,
    bootstrap_intervals,
    described,
    jackknife_intervals,
    number_groups,
    weighted_means,
)
from auricle.evaluation.calibration import best_thresholds
from auricle.evaluation.evaluate import (
    Failure,
    Progress,
    ScoredClips,
    Scorer,
    no_progress,
    score_clips,
)
from auricle.evaluation.metrics import (
    DECISION_THRESHOLD,
    classification_metrics,
    require_torchmetrics,
)

TOP = 3  # of the teacher's labels, among which the student's best should be
SEED = 0  # of the intervals
NUM_WORST = 20  # clips listed
NO_LABELS = "at this threshold the teacher gives no label to some clips and not to others"
LEAST_ODDS = 1e-7  # a score nearer to 0 or 1 has the logit of this


@dataclass(frozen=True)
class Both:
    """The scores of student and teacher for the same clips.

    Attributes:
        clips: N clips that both could score, in the order of the manifest.
        labels: C names that both know, in the student's order.
        student, teacher: scores `(N, C)`.
        failures: the clips that one of them could not score.
    """

    manifest: Manifest
    clips: list[Clip]
    labels: list[str]
    student: Tensor
    teacher: Tensor
    failures: list[Failure]


@dataclass(frozen=True)
class Agreement(Both):
    """And how alike it is.

    Attributes:
        numbers: of `measure_likeness`.
    """

    numbers: dict[str, Any]


def agree(
    student: Scorer,
    teacher: Scorer,
    manifest: Manifest,
    threshold: float = DECISION_THRESHOLD,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> Agreement:
    """Score every clip of `manifest` with both models (`score_both`) and compare the scores.

    Args:
        threshold: from which score of the teacher on a clip has a label.

    Raises:
        MissingExtraError: torchmetrics is not installed; others as `score_both`.
    """
    require_torchmetrics()
    both = score_both(student, teacher, manifest, batch_size, progress)
    groups = number_groups([group_of(clip) for clip in both.clips])
    numbers = measure_likeness(both.student, both.teacher, both.labels, groups, threshold)
    return Agreement(**vars(both), numbers=numbers)


def score_both(
    student: Scorer,
    teacher: Scorer,
    manifest: Manifest,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> Both:
    """Score every clip of `manifest` with both models.

    Args:
        progress: called with the number of clips of each batch, once by each model.

    Raises:
        CheckpointError: the models share fewer than two labels, or scores are not numbers.
        DataError: no clip can be scored by both.
    """
    labels = shared_labels(student.labels, teacher.labels)
    sides = []
    for scorer in (student, teacher):
        columns = [scorer.labels.index(label) for label in labels]
        scored = score_clips(scorer.score_files, manifest, batch_size, progress)
        sides.append(ScoredClips(scored.clips, scored.scores[:, columns], scored.failures))
    clips, (ours, theirs) = _by_both(sides, manifest)
    # A clip that neither can score is named once.
    failures = {failure.clip: failure for side in sides for failure in side.failures}
    return Both(manifest, clips, labels, ours, theirs, list(failures.values()))


def check_all_known(student: Sequence[str], teacher: Sequence[str]) -> None:
    """Refuse a teacher that lacks some of the student's labels (CheckpointError)."""
    known = set(teacher)
    missing = [label for label in student if label not in known]
    if missing:
        raise CheckpointError(
            f"the teacher does not know {len(missing)} of the student's labels: "
            f"{', '.join(missing[:NAMES_SHOWN])}. Name another teacher."
        )


def shared_labels(student: Sequence[str], teacher: Sequence[str]) -> list[str]:
    """The labels that both know, in the student's order.

    Raises:
        CheckpointError: there are fewer than two.
    """
    known = set(teacher)
    shared = [label for label in student if label in known]
    if len(shared) < 2:
        names = [", ".join(labels[:NAMES_SHOWN]) for labels in (student, teacher)]
        raise CheckpointError(
            f"student and teacher share {len(shared)} labels; to be compared they need two or "
            f"more. The student begins with {names[0]}; the teacher with {names[1]}."
        )
    return shared


def _by_both(sides: Sequence[ScoredClips], manifest: Manifest) -> tuple[list[Clip], list[Tensor]]:
    """The clips that both could score, and the scores `(N, C)` of each."""
    rows = [{clip: row for row, clip in enumerate(side.clips)} for side in sides]
    clips = [clip for clip in sides[0].clips if clip in rows[1]]
    if not clips:
        raise DataError(
            f"{manifest.source}: no clip can be scored by both. The student's first: "
            f"{sides[0].failures[0]} The teacher's first: {sides[1].failures[0]}"
        )
    pairs = zip(sides, rows, strict=True)
    return clips, [side.scores[[row[clip] for clip in clips]] for side, row in pairs]


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
    intervals: 95 %, by `groups` `(N,)`; resampled names what is drawn, undefined why one is None.
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
    rank = ranks(student, teacher)
    differences = (log_odds(student) - log_odds(teacher)).abs()
    shares = {
        "top1_in_top3": (rank <= TOP).double(),
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
        "worst": _worst(student, teacher, rank, labels),
    }


def _intervals(
    shares: dict[str, Tensor], ranking: WeightedRanking, groups: Tensor
) -> dict[str, Any]:
    intervals = bootstrap_intervals(weighted_means(shares), groups, SEED)
    if ranking:
        intervals["mAP"] = jackknife_intervals(ranking.means, groups, SEED)["mAP"]
    result = {"intervals": intervals} | described(intervals, groups)
    result["undefined"] = ({} if ranking else {"mAP": NO_LABELS}) | result["undefined"]
    return result


def ranks(student: Tensor, teacher: Tensor) -> Tensor:
    """Rank of the student's best label in the teacher's order, `(N,)`, from 1."""
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
    student: Tensor, teacher: Tensor, rank: Tensor, labels: list[str]
) -> list[dict[str, Any]]:
    """At most 20 clips whose best label by the student is none of the teacher's three best.

    First those where the teacher prefers its own label by most.
    """
    own, best = teacher.max(dim=1)
    top, chosen = student.max(dim=1)
    lead = own - teacher.gather(1, chosen[:, None])[:, 0]
    missed = (rank > TOP).nonzero()[:, 0]
    order = missed[lead[missed].argsort(descending=True, stable=True)]
    return [
        {
            "clip": index,
            "teacher": labels[int(best[index])],
            "teacher_score": own[index].item(),
            "student": labels[int(chosen[index])],
            "student_score": top[index].item(),
            "place": int(rank[index]),
        }
        for index in order[:NUM_WORST].tolist()
    ]


def match_moments(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift `(C,)` that give the student's log-odds the teacher's mean and deviation.

    A label whose score never changes for the student only gets the mean.

    Args:
        student, teacher: scores `(N, C)` of the same clips.
    """
    logits, target = log_odds(student.double()), log_odds(teacher.double())
    spread = logits.std(dim=0, correction=0)
    scale = torch.where(spread > 0, target.std(dim=0, correction=0) / spread, 1.0)
    return scale, target.mean(dim=0) - scale * logits.mean(dim=0)


def check_can_match(student: Checkpoint, teacher: Checkpoint) -> None:
    """Refuse a pair before a sound is opened.

    Raises:
        CheckpointError: labels of one exclude each other (softmax), or the teacher lacks some.
    """
    for role, each in (("student", student), ("teacher", teacher)):
        if each.config.activation != "sigmoid":
            raise CheckpointError(
                f"the {role} answers with a {each.config.activation}, so that its scores depend on "
                "each other, and cannot be matched. Use models whose labels stand for themselves "
                "(training.loss=bce)."
            )
    check_all_known(student.labels, teacher.labels)


def matched(student: Checkpoint, both: Both, origin: dict[str, Any]) -> Checkpoint:
    """A copy of `student` whose last layer is scaled and shifted by `match_moments`.

    Thresholds, metrics and the card's facts of the student do not stay: they were those of other
    scores.

    Args:
        both: of a pair that passes `check_can_match`.
        origin: of teacher and clips, for the provenance.

    Raises:
        DataError: there are fewer than two clips, which have no deviation.
    """
    if len(both.clips) < 2:
        raise DataError(
            f"{origin['data']}: both scored {len(both.clips)} clip(s); how much answers vary takes "
            "two or more."
        )
    result = copy.deepcopy(student)
    result.model.scale_logits(*match_moments(both.student, both.teacher))
    provenance = {**result.config.provenance, "matched": origin | {"clips": len(both.clips)}}
    provenance.pop("thresholds", None)
    update = {"thresholds": None, "provenance": provenance, "metrics": {}, "about": {}}
    result.config = result.config.model_copy(update=update)
    return result
