"""What came of a run: its numbers as `result.json`, and its scores on clips that it never saw."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auricle.atomic import write_text
from auricle.config import finite, to_json
from auricle.data import Manifest
from auricle.errors import ConfigError, DataError
from auricle.evaluation import evaluate
from auricle.experiment.folder import RESULT_FILE, SCORES_FILE
from auricle.experiment.prepared import Prepared
from auricle.experiment.recipe import Recipe, TrainRecipe
from auricle.inference import Classifier
from auricle.progress import MinuteLines
from auricle.training.history import Record


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    folder: Path
    best: Record  # the numbers of the best epoch
    last: Record  # and of the last
    average: Record | None  # of the weights averaged over epochs, if training.average_epochs
    num_train: int  # clips
    num_validation: int  # clips
    labels: list[str]
    seconds: float  # of all epochs, over all parts of a resumed run
    parameters: int
    peak_memory_gb: float | None  # of the process that finished the run; None: not known


def write_report(report: Report) -> None:
    """Write `result.json`: with it the run is finished."""
    values: dict[str, Any] = asdict(report)
    del values["folder"]
    write_text(report.folder / RESULT_FILE, to_json(values, indent=2) + "\n")


def read_report(folder: Path) -> Report | None:
    """The report of the finished run in `folder`; None if it is not finished.

    Raises:
        ConfigError: `result.json` is damaged.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    try:
        return Report(folder, **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not readable as the result of a run ({error}).") from error


METRICS = ("accuracy", "accuracy_interval", "top5_accuracy", "macro_f1", "mAP", "mAUC", "d_prime")


@dataclass(frozen=True)
class Scores:
    """How well a run does, and on which clips."""

    checkpoint: str  # best, last or average
    clips_of: str  # "split test" or "fold 1"
    metrics: dict[str, Any]
    clips: list[str]  # relative to the manifest's folder
    groups: list[str]  # what clips that are not independent share; a clip of no group is its own
    chosen: list[str]  # the best-scored label of each clip
    correct: list[bool]  # whether that is one of the clip's


def score(prepared: Prepared, folder: Path) -> Scores:
    """The scores of the run in `folder`, made once and kept there as scores.json.

    With a test split the epoch that validated best is scored on it. Otherwise the clips that
    validate are the only ones not trained on; so as not to choose on what is scored, it is
    then the last epoch. Where the run has averaged the weights of epochs, it is their average.

    Raises:
        UserError: the checkpoint or the clips cannot be used, or all were trained on.
    """
    path = folder / SCORES_FILE
    if path.exists():
        return read_scores(folder)
    name, clips_of, manifest = kept_from_training(prepared)
    if (folder / "average").exists():  # an early stop may come before the epochs to average
        name = "average"
    lines = MinuteLines(len(manifest.clips), f"clips of {clips_of} scored")
    evaluation = evaluate(Classifier.load(str(folder / name)), manifest, progress=lines)
    chosen = evaluation.chosen
    names = [clip.name_in(manifest.source) for clip in evaluation.clips]
    scores = Scores(
        name,
        clips_of,
        finite({key: evaluation.metrics[key] for key in METRICS if key in evaluation.metrics}),
        names,
        [clip.group or alone for clip, alone in zip(evaluation.clips, names, strict=True)],
        chosen,
        [label in clip.labels for label, clip in zip(chosen, evaluation.clips, strict=True)],
    )
    write_text(path, to_json(asdict(scores)) + "\n")
    return scores


def read_scores(folder: Path) -> Scores:
    """The scores that are in the folder of a run; ConfigError: they are damaged."""
    path = folder / SCORES_FILE
    try:
        return Scores(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: not readable as the scores of a run ({error}). Remove it: the run is scored "
            "again."
        ) from error


def test_split(recipe: Recipe) -> str | None:
    """The split on which a run of `recipe` is scored when it is finished, if there is one."""
    return recipe.data.test_split if isinstance(recipe, TrainRecipe) else None


def kept_from_training(prepared: Prepared) -> tuple[str, str, Manifest]:
    """The checkpoint to score, what its clips are called, and these clips.

    Raises:
        DataError: every clip is trained on.
    """
    settings, test = prepared.recipe.data, test_split(prepared.recipe)
    if test is not None:
        return "best", f"split {test}", prepared.manifest.select(test)
    held_out = prepared.validation
    if held_out is None:
        raise DataError(
            f"{settings.source}: every clip is trained on, none is left to score. Give "
            "data.test_split, data.fold, data.validation_split or data.validation_share."
        )
    names = {"fold": settings.fold, "split": settings.validation_split}
    named = [f"{name} {value}" for name, value in names.items() if value is not None]
    return "last", named[0] if named else f"{settings.validation_share:.0%} of the groups", held_out
