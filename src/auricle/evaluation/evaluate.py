"""A classifier listens to the clips of a manifest, as it does for everyone, and is judged.

Shapes: N clips, C classes.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from auricle.data import Clip, Manifest
from auricle.data.manifest import group_of
from auricle.errors import NAMES_SHOWN, DataError, unknown_name
from auricle.evaluation.bootstrap import number_groups
from auricle.evaluation.hearing import Failure, Heard, Progress, Scorer, hear, silent
from auricle.evaluation.judge import judge
from auricle.evaluation.metrics import require_torchmetrics


@dataclass(frozen=True)
class Evaluation:
    """What was heard in the clips, and how good that is.

    Attributes:
        clips: N clips that were scored, in the order of the manifest.
        scores: `(N, C)`.
        targets: `(N, C)`, 1 where the clip has the label.
        labels: C names, in the order of the columns.
        metrics: of `judge`.
        failures: the clips that were left out because they could not be scored.
    """

    manifest: Manifest
    clips: list[Clip]
    scores: Tensor
    targets: Tensor
    labels: list[str]
    metrics: dict[str, Any]
    failures: list[Failure]

    @property
    def chosen(self) -> list[str]:
        """The best-scored label of each clip."""
        return [self.labels[index] for index in self.scores.argmax(dim=1).tolist()]


def evaluate(
    classifier: Scorer,
    manifest: Manifest,
    batch_size: int = 32,
    thresholds: list[float] | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Score every clip of `manifest` whole, long ones window by window, and measure the result.

    Args:
        thresholds: from which score on a class of a multi-label clip counts as found; None: 0.5.
        progress: called with the number of clips of each batch once they are scored.

    Raises:
        DataError: the clips carry a label that the model does not know, or none can be scored.
        CheckpointError: the model's scores are not numbers.
        MissingExtraError: torchmetrics is not installed.
    """
    labels = list(classifier.labels)
    heard = listen(classifier, manifest, batch_size, progress)
    return measure(manifest, heard, labels, thresholds)


def listen(
    classifier: Scorer, manifest: Manifest, batch_size: int, progress: Progress = silent
) -> Heard:
    """Score every clip of `manifest`; arguments and errors are those of `evaluate`."""
    require_torchmetrics()  # hours of listening must not end in its absence
    check_known(manifest, classifier.labels)
    return hear(classifier, manifest.without_soft_targets(), batch_size, progress)


def measure(
    manifest: Manifest, heard: Heard, labels: list[str], thresholds: list[float] | None = None
) -> Evaluation:
    """Judge scores `(N, C)` by the labels of their clips."""
    targets = targets_of(heard.clips, labels)
    groups = number_groups([group_of(clip) for clip in heard.clips])
    metrics = judge(heard.scores, targets, labels, groups, thresholds)
    return Evaluation(manifest, heard.clips, heard.scores, targets, labels, metrics, heard.failures)


def leave_out(manifest: Manifest, labels: Sequence[str]) -> Manifest:
    """The clips of `manifest` that carry none of `labels`.

    Raises:
        DataError: no clip carries one of `labels`, or every clip does.
    """
    for label in labels:
        if label not in manifest.labels:
            raise DataError(f"{manifest.source}: {unknown_name('label', label, manifest.labels)}")
    clips = tuple(clip for clip in manifest.clips if not set(labels).intersection(clip.labels))
    if not clips:
        raise DataError(f"{manifest.source}: without {', '.join(labels)} no clip is left.")
    return replace(manifest, clips=clips)


def check_known(manifest: Manifest, labels: Sequence[str]) -> None:
    """Make sure that a model with `labels` can be right about every clip.

    Raises:
        DataError: naming every label of the clips that is not in `labels`, the nearest that is, and
            where the first one stands.
    """
    unknown = [label for label in manifest.labels if label not in set(labels)]
    if not unknown:
        return
    named = []
    for label in unknown[:NAMES_SHOWN]:
        nearest = difflib.get_close_matches(label, labels, n=1)
        named.append(f"{label!r} (nearest: {nearest[0]!r})" if nearest else repr(label))
    more = f" and {len(unknown) - NAMES_SHOWN} more" if len(unknown) > NAMES_SHOWN else ""
    where = next(clip.where for clip in manifest.clips if unknown[0] in clip.labels)
    raise DataError(
        f"{where}: the model does not know {len(unknown)} of the {len(manifest.labels)} "
        f"labels: {', '.join(named)}{more}. Correct them, leave their clips out with --without, or "
        "say with `auricle evaluate --classes` which of the model's labels they are."
    )


def targets_of(clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
    """`(N, C)`, 1 where the clip has the label."""
    index_of = {label: index for index, label in enumerate(labels)}
    targets = torch.zeros(len(clips), len(labels), dtype=torch.long)
    for row, clip in enumerate(clips):
        targets[row, [index_of[label] for label in clip.labels]] = 1
    return targets
