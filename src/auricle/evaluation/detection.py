"""A model's events and frame scores judged against strong labels, as `auricle timeline` finds them.

Shapes: T hops of a recording, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import auricle
from auricle import audio
from auricle.config import parse_json
from auricle.data import Clip, Manifest
from auricle.data.strong import Event, MarkedRecording, StrongLabels
from auricle.data.table import write_rows
from auricle.errors import ConfigError, DataError, UserError, refused
from auricle.evaluation.calibration import best_thresholds
from auricle.evaluation.evaluate import Failure, Progress, no_progress
from auricle.evaluation.events import (
    PSDS1,
    PSDS2,
    Recording,
    event_based,
    intersection_based,
    psds,
    segment_based,
)
from auricle.evaluation.report import METRICS_FILE, write_json
from auricle.evaluation.zero_shot import ByClass
from auricle.inference import Classifier
from auricle.inference.events import EventSettings, find_events, of_label
from auricle.inference.timeline import Tracking, track

EVENTS_FILE = "events.csv"
LOWEST_BOX = 1e-3  # score of the least sure box that is ranked
EVENT_COLUMNS = ("file", "onset", "offset", "label", "score")
F1_METRICS = (event_based, segment_based, intersection_based)


@dataclass(frozen=True)
class Detection:
    """Recordings with what is true and what was found, the metrics, and who could not be read."""

    source: Path
    files: list[Path]
    recordings: list[Recording]
    metrics: dict[str, Any]
    failures: list[Failure]


def as_clips(labels: StrongLabels) -> Manifest:
    """The recordings with the labels of their events, as clips whose labels are checked."""
    return Manifest(labels.source, [_clip(each) for each in labels.recordings])


def evaluate_events(
    model: ByClass,
    labels: StrongLabels,
    tracking: Tracking,
    thresholds: Mapping[str, float] | None = None,
    progress: Progress = no_progress,
) -> Detection:
    """Score recordings over time and measure events and scores against strong labels.

    A class scores what the highest of its labels scores. PSDS is that of the scores, or of all
    boxes, each with its own score, where events are boxes. `classes` of the metrics has a row for
    each: F1 by all three measures, PSDS, and `threshold`, with the best F1 on the hops of these
    recordings (`best_f1`; shared by classes of few hops), which other recordings may be given.

    Args:
        thresholds: by class, of events; None: the lowest of those of its labels.

    Raises:
        DataError: no recording could be scored.
        MissingExtraError: torchmetrics is not installed.
    """
    assert isinstance(model.scorer, Classifier)
    if thresholds is None:
        thresholds = {
            name: min(of_label(tracking.events.threshold, label) for label in own)
            for name, own in model.classes.items()
        }
    settings = replace(tracking.events, threshold=thresholds)
    files, recordings, failures = [], [], []
    for marked in labels.recordings:
        try:
            recordings.append(_scored(model, marked, tracking, settings))
            files.append(marked.path)
        except UserError as error:
            failures.append(Failure(_clip(marked), str(error)))
        progress(1)
    if not recordings:
        raise DataError(f"{labels.source}: no recording could be scored. {failures[0]}")
    metrics = _measured(recordings, model, settings)
    return Detection(labels.source, files, recordings, metrics, failures)


def write(detection: Detection, folder: Path, request: dict[str, Any]) -> None:
    """Write metrics.json, and events.csv with what was found.

    Raises:
        DataError: the folder cannot be written to.
    """
    failed = [
        {"file": each.clip.name_in(detection.source), "reason": each.reason}
        for each in detection.failures
    ]
    record = {"auricle": auricle.__version__} | request | detection.metrics
    classes = record.pop("classes")
    write_json(
        record | {"num_failed": len(failed), "failed": failed, "classes": classes},
        folder / METRICS_FILE,
    )
    rows = (
        {
            "file": str(file),
            "onset": f"{event.onset:.3f}",
            "offset": f"{event.offset:.3f}",
            "label": event.label,
            "score": f"{event.score or 0.0:.6g}",
        }
        for file, recording in zip(detection.files, detection.recordings, strict=True)
        for event in recording.events
    )
    write_rows(folder / EVENTS_FILE, EVENT_COLUMNS, rows)


def print_tables(detection: Detection, console: Console) -> None:
    """Print the metrics, and a row for each class."""
    metrics = detection.metrics
    lines = {"recordings": f"{metrics['num_recordings']}, {metrics['hours']:.2f} h"}
    for metric in F1_METRICS:
        found = metrics[metric.__name__]
        name = metric.__name__.removesuffix("_based")
        lines[f"{name} F1"] = f"{_text(found['macro'])} macro, {_text(found['micro'])} micro"
    lines |= {"PSDS1": _text(metrics["psds1"]), "PSDS2": _text(metrics["psds2"])}
    error = metrics["onset_error"]
    lines["onset"] = "-" if error is None else f"off by {1000 * error:.0f} ms (median)"
    text = "\n".join(f"{name:<17}{value}" for name, value in lines.items())
    console.print(text + "\n", markup=False, highlight=False)
    table = Table("class", box=None, padding=(0, 2, 0, 0))
    columns = ("event_f1", "segment_f1", "intersection_f1", "psds1", "psds2", "threshold")
    for title in ("events", *columns):
        shown = title.removesuffix("_f1").replace("psds", "PSDS")
        table.add_column(shown, justify="right", no_wrap=True)
    for row in metrics["classes"]:
        values = [_text(row[key]) for key in columns]
        table.add_row(escape(row["label"]), str(row["events"]), *values)
    console.print(table)


def read_thresholds(path: Path) -> dict[str, float]:
    """Return the thresholds that an earlier evaluation found, by class and by the class's labels.

    Args:
        path: the metrics.json of that evaluation.

    Raises:
        ConfigError: it is no such file.
    """
    wrong = f"{path}: not the metrics.json of auricle evaluate --events."
    with refused(ConfigError, f"{path}: cannot be read"):
        content = path.read_bytes()
    try:
        rows = parse_json(content)["classes"]
        found = {
            str(name): row["threshold"]
            for row in rows
            if "event_f1" in row
            for name in (row["label"], *row["labels"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(wrong) from error
    if not found:
        raise ConfigError(wrong)
    return {name: float(value) for name, value in found.items() if value is not None}


def _clip(marked: MarkedRecording) -> Clip:
    names = tuple(dict.fromkeys(event.label for event in marked.events))
    return Clip(marked.path, names, marked.split, group=marked.group, where=marked.where)


def _scored(
    model: ByClass, marked: MarkedRecording, tracking: Tracking, settings: EventSettings
) -> Recording:
    assert isinstance(model.scorer, Classifier)
    engine = model.scorer.engine
    timeline = track(engine, audio.blocks(marked.path, engine.sample_rate), tracking)
    place = {label: at for at, label in enumerate(engine.labels)}
    scores = np.stack(
        [
            np.max([timeline.columns[place[label]] for label in own], axis=0)
            for own in model.classes.values()
        ],
        axis=1,
    )
    found = find_events(scores, timeline.hop, model.labels, settings)
    events = [replace(event, offset=min(event.offset, timeline.seconds)) for event in found]
    return Recording(timeline.seconds, marked.events, events, scores, timeline.hop)


def _measured(
    recordings: Sequence[Recording], model: ByClass, settings: EventSettings
) -> dict[str, Any]:
    names = model.labels
    by_name = {metric.__name__: metric(recordings, names) for metric in F1_METRICS}
    ranked = [_boxes_of(each, names, settings) if settings.boxes else each for each in recordings]
    scores = {"psds1": psds(ranked, names, PSDS1), "psds2": psds(ranked, names, PSDS2)}
    rows = []
    for at, best in enumerate(best_thresholds(*_hops(recordings, names))):
        row: dict[str, Any] = {"label": names[at], "labels": list(model.classes[names[at]])}
        row["events"] = sum(e.label == names[at] for each in recordings for e in each.truth)
        for name, found in by_name.items():
            row[f"{name.removesuffix('_based')}_f1"] = found["classes"][at]["f1"]
        row |= {name: found["classes"][at]["psds"] for name, found in scores.items()}
        rows.append(row | {key: best[key] for key in ("threshold", "best_f1", "shared_threshold")})
    return {
        "num_recordings": len(recordings),
        "hours": sum(recording.seconds for recording in recordings) / 3600,
        **{
            name: {average: found[average] for average in ("micro", "macro")}
            for name, found in by_name.items()
        },
        **{name: found["psds"] for name, found in scores.items()},
        "onset_error": _onset_error(recordings),
        "classes": rows,
    }


def _boxes_of(recording: Recording, names: Sequence[str], settings: EventSettings) -> Recording:
    """The recording with all its boxes in place of scores: PSDS then ranks them."""
    assert recording.scores is not None
    lowest = replace(settings, threshold=LOWEST_BOX)
    boxes = find_events(recording.scores, recording.hop, names, lowest)
    return replace(recording, events=boxes, scores=None)


def _hops(
    recordings: Sequence[Recording], names: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and targets `(hops, C)` of all recordings: what is heard at the middle of a hop."""
    targets = []
    for recording in recordings:
        assert recording.scores is not None
        middles = (np.arange(len(recording.scores)) + 0.5) * recording.hop
        heard = np.zeros(recording.scores.shape, np.int64)
        for event in recording.truth:
            heard[(middles >= event.onset) & (middles < event.offset), names.index(event.label)] = 1
        targets.append(heard)
    scores = np.concatenate([each.scores for each in recordings if each.scores is not None])
    return torch.from_numpy(scores), torch.from_numpy(np.concatenate(targets))


def _onset_error(recordings: Sequence[Recording]) -> float | None:
    """Median seconds between a true onset and that of the first event found in it; None: none."""
    errors = []
    for recording in recordings:
        for true in recording.truth:
            onsets = [event.onset for event in recording.events if _overlap(event, true)]
            errors += [abs(min(onsets) - true.onset)] if onsets else []
    return float(np.median(errors)) if errors else None


def _overlap(event: Event, true: Event) -> bool:
    return event.label == true.label and event.onset < true.offset and event.offset > true.onset


def _text(value: Any) -> str:
    value = value["f1"] if isinstance(value, dict) else value
    return "-" if value is None else f"{value:.3f}"
