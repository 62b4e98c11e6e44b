"""`auricle evaluate` and `auricle ensemble`: one model or several as one, on labelled clips."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli import judging
from auricle.cli.events import EVENTS, BoxesOption, HopOption, WindowOption
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
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="Judge events with times: --data is a table of strong labels (docs/events.md).",
            rich_help_panel=EVENTS,
        ),
    ] = False,
    sounds: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="What names of sounds are relative to.",
            show_default="the table's folder",
            rich_help_panel=EVENTS,
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            metavar="METRICS.json",
            help="Thresholds of events from an earlier evaluation, of other recordings.",
            show_default="the model's",
            rich_help_panel=EVENTS,
        ),
    ] = None,
    boxes: BoxesOption = False,
    hop: HopOption = 0.1,
    window: WindowOption = 1.0,
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

      auricle evaluate tagger --events --data events.csv --split test --out report
    """
    _check_options(events, calibrate, classes, split, fold)
    if events:
        return _evaluate_events(
            {"model": model, "data": str(data), "split": split, "without": without or []}
            | {"hop": hop, "window": window, "boxes": boxes},
            *(sounds, classes, thresholds, out, device),
        )
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
        chosen_on |= {"clips": len(evaluation.clips)}
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


def _evaluate_events(
    asked: dict[str, Any],
    sounds: Path | None,
    classes: str | None,
    thresholds: Path | None,
    out: Path,
    device: str,
) -> None:
    """Judge events with times; `asked` is model, data, split, without, hop, window and boxes."""
    from rich.console import Console

    from auricle.data import strong
    from auricle.evaluation import detection, report
    from auricle.evaluation.evaluate import warn_of_trained_clips
    from auricle.evaluation.zero_shot import SAME_NAMES, by_class
    from auricle.inference import Classifier, resolve
    from auricle.inference.timeline import Tracking

    with report.writable(out):
        labels = strong.read(Path(asked["data"]), sounds).select(asked["split"])
        labels = labels.without(asked["without"])
        found = resolve(asked["model"])
        classifier = Classifier(found, device)
        clips = detection.as_clips(labels)
        grouped = by_class(classifier, classes or SAME_NAMES, clips)
        given = None if thresholds is None else detection.read_thresholds(thresholds)
        settings = replace(
            classifier.event_settings(), boxes=asked["boxes"], remainder=asked["window"]
        )
        columns = frozenset(
            classifier.labels.index(name) for own in grouped.classes.values() for name in own
        )
        tracking = Tracking(asked["hop"], asked["window"], settings, columns)
        with judging.counting(len(labels.recordings)) as progress:
            judged = detection.evaluate_events(grouped, labels, tracking, given, progress)
        judging.report_failures(judged.failures)
        warned = warn_of_trained_clips(asked["model"], found.config.provenance, clips)
        asked |= {"thresholds": thresholds and str(thresholds), "trained_on": warned}
        detection.write(judged, out, asked)
        detection.print_tables(judged, Console())
    typer.echo(f"{out}: metrics.json and events.csv")
    if judged.failures:
        raise typer.Exit(1)


def _check_options(
    events: bool, calibrate: bool, classes: str | None, split: str | None, fold: int | None
) -> None:
    """Refuse (ConfigError) what has no meaning with --events, or with --calibrate."""
    given = "--fold" if fold is not None else "--calibrate" if calibrate else ""
    if events and given:
        raise ConfigError(
            f"{given} has no meaning with --events. Choose recordings with --split; thresholds "
            "are in metrics.json, for --thresholds."
        )
    if calibrate and classes is not None:
        raise ConfigError(
            "--calibrate stores a threshold for each label of the model; with --classes the labels "
            "are put together. Use one of the two."
        )
    if calibrate:
        judging.check_clips_are_named(split, fold)
