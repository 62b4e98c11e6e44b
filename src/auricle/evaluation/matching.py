"""A student's answers brought to the spread of its teacher's.

A student that cannot reproduce all of its teacher's outputs is too cautious: the log-odds of its
labels vary less from clip to clip, those of rare labels least, and so frequent labels stand before
rare ones that are there. A label's place among the others is what a scale and a shift change.

Shapes: N clips, C labels.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, DataError
from auricle.evaluation.agreement import Both, check_all_known, log_odds


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
