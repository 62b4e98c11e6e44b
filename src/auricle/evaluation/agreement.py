"""How far a student hears what its teacher hears, on clips that need no labels.

Each model hears a clip at its own sample rate and in its own windows. Compared are the labels that
both know.

Shapes: N clips, C labels that both know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from auricle.data import Clip, Manifest
from auricle.data.manifest import group_of
from auricle.errors import NAMES_SHOWN, CheckpointError, DataError
from auricle.evaluation.bootstrap import number_groups
from auricle.evaluation.hearing import Failure, Heard, Progress, Scorer, hear, silent
from auricle.evaluation.likeness import measure_likeness
from auricle.evaluation.metrics import DECISION_THRESHOLD, require_torchmetrics


@dataclass(frozen=True)
class Both:
    """What student and teacher heard in the same clips.

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
        numbers: of `likeness.measure_likeness`.
    """

    numbers: dict[str, Any]


def agree(
    student: Scorer,
    teacher: Scorer,
    manifest: Manifest,
    threshold: float = DECISION_THRESHOLD,
    batch_size: int = 32,
    progress: Progress = silent,
) -> Agreement:
    """Let both models hear every clip of `manifest` and compare what they say.

    Args:
        threshold: from which score of the teacher on a clip has a label.
        progress: called with the number of clips of each batch, once by each model.

    Raises:
        CheckpointError: the models share fewer than two labels, or scores are not numbers.
        DataError: no clip can be scored by both.
        MissingExtraError: torchmetrics is not installed.
    """
    require_torchmetrics()
    both = hear_both(student, teacher, manifest, batch_size, progress)
    groups = number_groups([group_of(clip) for clip in both.clips])
    numbers = measure_likeness(both.student, both.teacher, both.labels, groups, threshold)
    return Agreement(**vars(both), numbers=numbers)


def hear_both(
    student: Scorer,
    teacher: Scorer,
    manifest: Manifest,
    batch_size: int = 32,
    progress: Progress = silent,
) -> Both:
    """Let both models hear every clip of `manifest`.

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
        heard = hear(scorer, manifest, batch_size, progress)
        sides.append(Heard(heard.clips, heard.scores[:, columns], heard.failures))
    clips, (heard_by_student, heard_by_teacher) = _by_both(sides, manifest)
    # A clip that neither can score is named once.
    failures = {failure.clip: failure for side in sides for failure in side.failures}
    named_once = list(failures.values())
    return Both(manifest, clips, labels, heard_by_student, heard_by_teacher, named_once)


def check_all_known(student: Sequence[str], teacher: Sequence[str]) -> None:
    """Refuse a teacher that lacks some of the student's labels.

    Raises:
        CheckpointError: naming them.
    """
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


def _by_both(sides: Sequence[Heard], manifest: Manifest) -> tuple[list[Clip], list[Tensor]]:
    """The clips that both could score, and the scores `(N, C)` of each."""
    places = [{clip: place for place, clip in enumerate(side.clips)} for side in sides]
    clips = [clip for clip in sides[0].clips if clip in places[1]]
    if not clips:
        raise DataError(
            f"{manifest.source}: no clip can be scored by both. The student's first: "
            f"{sides[0].failures[0]} The teacher's first: {sides[1].failures[0]}"
        )
    pairs = zip(sides, places, strict=True)
    return clips, [side.scores[[place[clip] for clip in clips]] for side, place in pairs]
