"""`auricle evaluate` and `auricle ensemble`: one model or several as one, on labelled clips."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli import judging
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
        judging.store_thresholds(model, evaluation.metrics["classes"], chosen_on)
    if evaluation.failures:
        raise typer.Exit(1)


def ensemble(  # noqa: PLR0913 - one parameter for each option
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: built-in or public names, checkpoint folders or files, or hub ids.",
            metavar="MODELS...",
            show_default=False,
        ),
    ],
    data: judging.DataOption,
    out: judging.OutOption,
    split: judging.SplitOption = None,
    fold: judging.FoldOption = None,
    without: judging.WithoutOption = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="How much a model counts; once for each, in their order."),
    ] = None,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Score labelled clips with several models, whose answer is the mean of their scores.

    The models may differ in everything but their labels: in strides, front ends, sample rates and
    window lengths. All score the same clips in one pass. The report is that of `auricle evaluate`,
    with each member's metrics besides.

    Examples:

      auricle ensemble runs/seed0/best runs/seed1/best --data words.csv --split test --out report

      auricle ensemble strides10 strides16 --weight 2 --weight 1 --data words.csv --out report
    """
    from rich.console import Console

    from auricle.evaluation import report
    from auricle.evaluation.evaluate import evaluate_ensemble, warn_of_trained_clips
    from auricle.inference import Ensemble  # here, so that --help does not wait for torch
    from auricle.inference.engine import TorchEngine

    with report.prepared(out):
        manifest = judging.clips_asked_for(data, split, fold, without)
        loaded = Ensemble.load(models, device, weight)
        for name, member in zip(loaded.names, loaded.members, strict=True):
            if isinstance(member.engine, TorchEngine):
                warn_of_trained_clips(name, member.engine.checkpoint.config.provenance, manifest)
        with judging.counting(len(manifest.clips)) as progress:
            evaluation, members = evaluate_ensemble(loaded, manifest, batch_size, progress)
        asked = {"model": f"ensemble of {', '.join(models)}", "data": str(data), "split": split}
        judging.finish(
            evaluation, out, asked | {"fold": fold, "without": without or [], "members": members}
        )
    Console().print(report.members_table(members))
    if evaluation.failures:
        raise typer.Exit(1)


def _check_calibration(classes: str | None, split: str | None, fold: int | None) -> None:
    if classes is not None:
        raise ConfigError(
            "--calibrate stores a threshold for each label of the model; with --classes the labels "
            "are put together. Use one of the two."
        )
    judging.check_clips_are_named(split, fold)
