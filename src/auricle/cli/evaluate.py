"""`auricle evaluate`: judge a model on labelled clips."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli import judging, thresholds
from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.evaluation import Evaluation


def evaluate(  # noqa: PLR0913 - one parameter for each option
    model: judging.ModelArgument,
    data: judging.DataOption,
    out: judging.OutOption,
    split: judging.SplitOption = None,
    fold: judging.FoldOption = None,
    without: judging.WithoutOption = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="MAP",
            help="Which of the model's labels make up each class of the data: a YAML file, a map "
            "of the package (esc10), or names, for labels of the same name.",
        ),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Store the thresholds with the best F1 on these clips into the checkpoint.",
        ),
    ] = False,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Score labelled clips and measure how well a model names them.

    Writes report.html, metrics.json, predictions.csv and scores.safetensors, and prints the
    metrics. A clip that cannot be used is reported on stderr and the others go on. Exit code 0: all
    clips were scored; 1: a clip failed, and the metrics are those of the others; 2: nothing could
    be scored.

    Examples:

      auricle evaluate runs/mine/best --data sounds/ --out report

      auricle evaluate keywords --data words.csv --split test --without _silence_ --out report

      auricle evaluate runs/mine/best --data mine.csv --split validation --calibrate --out report

      auricle evaluate runs/audioset/best --data esc10.csv --classes esc10 --out report
    """
    if calibrate:
        _check_calibration(classes, split, fold)
    from pathlib import Path

    from auricle import checkpoint
    from auricle.evaluation import report
    from auricle.evaluation.evaluate import evaluate as evaluate_clips
    from auricle.evaluation.evaluate import warn_of_trained_clips
    from auricle.evaluation.zero_shot import by_class, evaluate_zero_shot
    from auricle.inference import Classifier, resolve  # here, so that --help waits for no torch

    with report.prepared(out):
        manifest = judging.clips_asked_for(data, split, fold, without)
        # Thresholds can only be stored in a folder of our own.
        found = checkpoint.load(Path(model)) if calibrate else resolve(model)
        classifier = Classifier(found, device)
        asked: dict[str, Any] = {
            **{"model": model, "data": str(data), "split": split, "fold": fold},
            "without": without or [],
            "trained_on": warn_of_trained_clips(model, found.config.provenance, manifest),
        }
        decisions = list(found.config.thresholds) if found.config.thresholds else None
        judge: Callable[..., Evaluation] = partial(evaluate_clips, classifier)
        if classes is not None:
            grouped = by_class(classifier, classes, manifest)
            asked["label_map"] = {"name": classes, "labels": grouped.classes}
            judge = partial(evaluate_zero_shot, grouped)
        with judging.counting(len(manifest.clips)) as progress:
            evaluation = judge(manifest, batch_size, decisions, progress)
        judging.finish(evaluation, out, asked)
    if calibrate:
        chosen_on = {key: asked[key] for key in ("data", "split", "fold", "without")}
        chosen_on["clips"] = len(evaluation.clips)
        thresholds.store(model, evaluation.metrics["classes"], chosen_on)
    if evaluation.failures:
        raise typer.Exit(1)


def _check_calibration(classes: str | None, split: str | None, fold: int | None) -> None:
    if classes is not None:
        raise ConfigError(
            "--calibrate stores a threshold for each label of the model; with --classes the labels "
            "are put together. Use one of the two."
        )
    thresholds.check_clips_are_named(split, fold)
