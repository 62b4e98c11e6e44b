"""Score the clips of a manifest as `predict` does, and measure: metrics, intervals, worst clips.

Every clip is scored once, whole; faulty clips are set aside. Scores may be those of a classifier,
embeddings, or anything else that is a tensor for each clip.

Shapes: B clips of a batch, N clips, K members of an ensemble, C classes.
"""

import difflib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from auricle.data import Clip, Manifest, trained_on
from auricle.data.clips import group_of
from auricle.errors import AudioError, DataError, DataWarning, UserError, listed, unknown_name
from auricle.evaluation import bootstrap
from auricle.evaluation.bootstrap import (
    Interval,
    WeightedRanking,
    bootstrap_intervals,
    jackknife_intervals,
    number_groups,
    weighted_macro_f1,
    weighted_means,
)
from auricle.evaluation.calibration import best_thresholds, calibration_error, reliability
from auricle.evaluation.metrics import (
    TOP_CLASSES,
    classification_metrics,
    correct_clips,
    d_prime,
    found_classes,
    is_single_label,
    require_torchmetrics,
    wilson_interval,
)
from auricle.inference import Classifier, Ensemble
from auricle.inference.windows import Limits, Sound

SEED = 0  # of the intervals
NUM_WORST = 20  # clips listed
MEMBER_METRICS = ("accuracy", "top5_accuracy", "mAP", "mAUC", "d_prime", "macro_f1")

Scorer: TypeAlias = Classifier | Ensemble  # what can be evaluated
ScoreFiles: TypeAlias = Callable[[Sequence[Sound], Limits], Iterator[Tensor | UserError]]
Progress: TypeAlias = Callable[[int], object]  # called with a number of clips that were scored


def no_progress(num_clips: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Failure:
    """A clip that could not be scored, and why."""

    clip: Clip
    reason: str

    def __str__(self) -> str:
        """The reason, with the file where it does not name it itself."""
        path = str(self.clip.path)
        return self.reason if path in self.reason else f"{path}: {self.reason}"


@dataclass(frozen=True)
class ScoredClips:
    """The clips that could be scored, their scores `(N, ...)`, and the others."""

    clips: list[Clip]
    scores: Tensor
    failures: list[Failure]


def score_clips(
    score_files: ScoreFiles, manifest: Manifest, batch_size: int, progress: Progress = no_progress
) -> ScoredClips:
    """Score every clip of `manifest`, long ones window by window.

    Args:
        score_files: such as `Classifier.score_files`.
        batch_size: windows that are scored together at most.
        progress: called with 1 for each clip once it is scored.

    Raises:
        DataError: no clip can be scored.
        CheckpointError: the model's scores are not numbers.
        MissingExtraError: a clip needs PyAV, which is not installed.
    """
    clips: list[Clip] = []
    rows: list[Tensor] = []
    failures: list[Failure] = []
    outcomes = score_files([clip.sound for clip in manifest.clips], Limits(windows=batch_size))
    for clip, outcome in zip(manifest.clips, outcomes, strict=True):
        if isinstance(outcome, AudioError):
            failures.append(Failure(clip, str(outcome)))
        elif isinstance(outcome, UserError):
            raise type(outcome)(str(Failure(clip, str(outcome)))) from outcome
        else:
            clips.append(clip)
            rows.append(outcome)
        progress(1)
    if not clips:
        raise DataError(
            f"{manifest.source}: none of its {len(failures)} clips can be scored. "
            f"The first: {failures[0]}"
        )
    return ScoredClips(clips, torch.stack(rows), failures)


@dataclass(frozen=True)
class Evaluation:
    """The scores of the clips, and how good they are.

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
    progress: Progress = no_progress,
) -> Evaluation:
    """Score every clip of `manifest` whole, long ones window by window, and measure the result.

    Args:
        thresholds: from which score on a class of a multi-label clip is predicted; None: 0.5.
        progress: called with the number of clips of each batch once they are scored.

    Raises:
        DataError: the clips carry a label that the model does not know, or none can be scored.
        CheckpointError: the model's scores are not numbers.
        MissingExtraError: torchmetrics is not installed.
    """
    labels = list(classifier.labels)
    scored = score_labelled(classifier.score_files, labels, manifest, batch_size, progress)
    return measure(manifest, scored, labels, thresholds)


def score_labelled(
    score_files: ScoreFiles,
    labels: Sequence[str],
    manifest: Manifest,
    batch_size: int,
    progress: Progress,
) -> ScoredClips:
    """Score every clip of `manifest`; errors are those of `evaluate`."""
    require_torchmetrics()  # hours of scoring must not end in its absence
    check_known(manifest, labels)
    return score_clips(score_files, manifest.without_soft_targets(), batch_size, progress)


def measure(
    manifest: Manifest,
    scored: ScoredClips,
    labels: list[str],
    thresholds: list[float] | None = None,
) -> Evaluation:
    """Judge scores `(N, C)` by the labels of their clips."""
    targets = targets_of(scored.clips, labels)
    groups = number_groups([group_of(clip) for clip in scored.clips])
    metrics = judge(scored.scores, targets, labels, groups, thresholds)
    return Evaluation(
        manifest, scored.clips, scored.scores, targets, labels, metrics, scored.failures
    )


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

    def with_nearest(label: str) -> str:
        nearest = difflib.get_close_matches(label, labels, n=1)
        return f"{label!r} (nearest: {nearest[0]!r})" if nearest else repr(label)

    where = next(clip.where for clip in manifest.clips if unknown[0] in clip.labels)
    raise DataError(
        f"{where}: the model does not know {len(unknown)} of the {len(manifest.labels)} "
        f"labels: {listed(unknown, shown=with_nearest)}. Correct them, leave their clips out with "
        "--without, or say with `auricle evaluate --classes` which of the model's labels they are."
    )


def warn_of_trained_clips(name: str, provenance: Mapping[str, Any], clips: Manifest) -> int | None:
    """Warn (`DataWarning`) where a model was trained on clips that it is to be evaluated on.

    Returns:
        how many they are by their names (`data.trained_on`); None where the provenance of the model
        does not say what it was trained on.
    """
    count = trained_on(provenance, clips)
    if count:
        text = (
            f"{name}: trained on {count} of these {len(clips.clips)} clips, by their names. The "
            "numbers do not say how well it does on other sound: choose clips that it was not "
            "trained on (--split, --fold)."
        )
        warnings.warn(text, DataWarning, stacklevel=2)
    return count


def targets_of(clips: Sequence[Clip], labels: Sequence[str]) -> Tensor:
    """`(N, C)`, 1 where the clip has the label."""
    index_of = {label: index for index, label in enumerate(labels)}
    targets = torch.zeros(len(clips), len(labels), dtype=torch.long)
    for row, clip in enumerate(clips):
        targets[row, [index_of[label] for label in clip.labels]] = 1
    return targets


def judge(
    scores: Tensor,
    targets: Tensor,
    labels: list[str],
    groups: Tensor,
    thresholds: list[float] | None = None,
) -> dict[str, Any]:
    """The metrics of `classification_metrics`, and besides, as plain JSON values:

    calibration_error, reliability: of `calibration`.
    intervals: the 95 % interval of each metric, None where it is not defined: Wilson's or the
        bootstrap's of a share, the jackknife's of a mean over classes; `resampled` says over what.
    undefined: why a metric, or an interval (`intervals.METRIC`), is None.
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
    metrics["calibration_error"] = calibration_error(scores, targets, single_label)
    metrics["intervals"] = _intervals(scores, targets, groups, thresholds)
    described = bootstrap.described(metrics["intervals"], groups)
    metrics["undefined"] |= described["undefined"]
    metrics["resampled"] = described["resampled"]
    metrics["reliability"] = reliability(scores, targets, single_label)
    rows = zip(metrics["classes"], best_thresholds(scores, targets), strict=True)
    metrics["classes"] = [row | chosen for row, chosen in rows]
    metrics["worst"] = worst_clips(scores, targets, labels)
    return metrics


def _intervals(
    scores: Tensor, targets: Tensor, groups: Tensor, thresholds: list[float] | None
) -> dict[str, Interval]:
    shares = {"accuracy": correct_clips(scores, targets)}
    if scores.shape[1] > TOP_CLASSES:
        shares["top5_accuracy"] = correct_clips(scores, targets, TOP_CLASSES)
    intervals: dict[str, Interval]
    if bootstrap.unit_of(groups) == "clip":  # Wilson's holds for shares near 0 and 1, too
        ends = {name: wilson_interval(int(each.sum()), len(each)) for name, each in shares.items()}
        intervals = {name: list(each) for name, each in ends.items()}
    else:
        intervals = bootstrap_intervals(weighted_means(shares), groups, SEED)
    ranking = WeightedRanking(scores, targets)
    if ranking:
        intervals |= jackknife_intervals(ranking.means, groups, SEED)
    predicted = found_classes(scores, is_single_label(targets), thresholds)
    intervals |= jackknife_intervals(weighted_macro_f1(predicted, targets), groups, SEED)
    if ranking:  # d' rises with the mAUC
        ends_of_auc = intervals["mAUC"]
        intervals["d_prime"] = ends_of_auc and [d_prime(end) for end in ends_of_auc]
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


def evaluate_ensemble(
    ensemble: Ensemble, manifest: Manifest, batch_size: int = 32, progress: Progress = no_progress
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Like `evaluate`; and a row of metrics for each member, as plain JSON values.

    A clip that one member cannot score is left out for all, so that every number is about the same
    clips.
    """
    scored = score_labelled(ensemble.score_members, ensemble.labels, manifest, batch_size, progress)
    whole = replace(scored, scores=ensemble.join(scored.scores))
    evaluation = measure(manifest, whole, ensemble.labels)
    rows = []
    members = zip(ensemble.names, ensemble.weights, scored.scores.unbind(dim=1), strict=True)
    for name, weight, scores in members:
        rows.append({"member": name, "weight": weight} | _numbers(scores, evaluation))
    return evaluation, rows


def _numbers(scores: Tensor, evaluation: Evaluation) -> dict[str, float | None]:
    metrics = classification_metrics(scores, evaluation.targets, evaluation.labels)
    numbers = {key: metrics[key] for key in MEMBER_METRICS if key in metrics}
    single_label = metrics["single_label"]
    numbers["calibration_error"] = calibration_error(scores, evaluation.targets, single_label)
    return numbers
