"""An evaluation on disk and on the screen: metrics.json, report.html, predictions.csv, tables.

`metrics.json` holds the request (model, data, split, ...), the metrics under the names of
`metrics.py` and of `evaluate.judge`, `failed` clips with their reasons, and the tables: `classes`,
`reliability`, `worst` and, for single-label data, `confusion_matrix` (rows: the clip's class,
columns: the best-scored one). What is not defined is null, and `undefined` says why, under the
metric's name or `intervals.METRIC`. The same evaluation gives the same bytes. `report.html` shows
it all on one page.

`predictions.csv` holds a line for each scored clip: file (relative to the manifest's folder),
labels, predicted, correct (1 or 0), group and fold where the clips have them, and then
`score:LABEL` for each class or, for more than 50 classes, the five best as label_1, score_1,
label_2, ... Scores have six significant digits, so that small ones keep their order.
`scores.safetensors` holds all of them, `(clips, classes)`, for `auricle compare`.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from safetensors.torch import save_file

import auricle
from auricle.config import to_json
from auricle.data.table import write_rows
from auricle.errors import DataError, listed, refused
from auricle.evaluation.agreement import Both
from auricle.evaluation.evaluate import Evaluation
from auricle.evaluation.page import SUMMARY, page
from auricle.evaluation.pictures import require_matplotlib

METRICS_FILE = "metrics.json"
PAGE_FILE = "report.html"
PREDICTIONS_FILE = "predictions.csv"
SCORES_FILE = "scores.safetensors"
TABLES = ("classes", "confusion_matrix", "reliability", "worst")  # last in metrics.json
WIDEST_TABLE = 50  # classes that get a column each in predictions.csv
BEST_SHOWN = 5  # labels a clip gets there otherwise
LONGEST_TABLE = 40  # classes printed; of more, the best and the worst
ENDS_SHOWN = 10  # how many of these


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """`writable` for a report with pictures.

    Raises:
        DataError: as `writable`.
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    with writable(folder):
        yield


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Meet whatever could keep files from `folder` before hours of scoring, not after.

    What was made is taken away again if nothing was written there.

    Raises:
        DataError: the folder cannot be made or written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _make(folder)
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()


def _make(folder: Path) -> None:
    with refused(DataError, f"{folder}: cannot be written to"):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise DataError(f"{folder}: cannot be written to (Permission denied).")


def write(evaluation: Evaluation, folder: Path, request: dict[str, Any]) -> None:
    """Write metrics.json, report.html, predictions.csv and scores.safetensors into `folder`.

    Args:
        request: what was evaluated (model, data, split, ...), for the top of metrics.json.

    Raises:
        DataError: the folder cannot be written to.
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    write_predictions(evaluation, folder)
    record = metrics_record(evaluation, request)
    text = page(evaluation, record, folder)
    with refused(DataError, f"{folder}: cannot be written to"):
        (folder / PAGE_FILE).write_text(text, encoding="utf-8", errors="backslashreplace")
    write_json(record, folder / METRICS_FILE)


def write_predictions(evaluation: Evaluation, folder: Path) -> None:
    """Write predictions.csv and scores.safetensors, which `auricle compare` reads, into `folder`.

    Raises:
        DataError: the folder cannot be written to.
    """
    _make(folder)
    rows = _prediction_rows(evaluation)
    write_rows(folder / PREDICTIONS_FILE, list(rows[0]), rows)
    with refused(DataError, f"{folder}: cannot be written to"):
        scores = {"scores": evaluation.scores.contiguous()}
        save_file(scores, folder / SCORES_FILE, metadata={"labels": to_json(evaluation.labels)})
        (folder / SCORES_FILE).chmod(0o644)  # safetensors writes for the owner alone


def write_json(record: dict[str, Any], path: Path) -> None:
    """Write `record`, a line for each value and for each row of a table (DataError: it cannot)."""
    with refused(DataError, f"{path.parent}: cannot be written to"):
        # A name of bytes that are no text becomes \udcff, which JSON reads and people can.
        path.write_text(_json(record), encoding="utf-8", errors="backslashreplace")


def metrics_record(evaluation: Evaluation, request: dict[str, Any]) -> dict[str, Any]:
    """What metrics.json holds, as plain JSON values in the order of the file."""
    metrics = dict(evaluation.metrics)
    tables = {key: metrics.pop(key) for key in TABLES if key in metrics}
    tables["worst"] = [
        row | {"clip": evaluation.clips[row["clip"]].name_in(evaluation.manifest.source)}
        for row in tables["worst"]
    ]
    return json_record(request | metrics, evaluation, tables)


def json_record(
    values: dict[str, Any], judged: Evaluation | Both, tables: dict[str, Any]
) -> dict[str, Any]:
    """The version, `values`, which clips were left out of what was judged, and the `tables`."""
    failed = [
        {"file": failure.clip.name_in(judged.manifest.source), "reason": failure.reason}
        for failure in judged.failures
    ]
    version = {"auricle": auricle.__version__}
    return version | values | {"num_failed": len(failed), "failed": failed} | tables


def _json(record: dict[str, Any]) -> str:
    """JSON with a line for each value and for each row of a table."""
    lines = []
    for key, value in record.items():
        text = to_json(value)
        if value and isinstance(value, list) and isinstance(value[0], list | dict):
            rows = [to_json(row) for row in value]
            text = "[\n    " + ",\n    ".join(rows) + "\n  ]"
        lines.append(f"  {to_json(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _prediction_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    rows = []
    has_groups = any(clip.group for clip in evaluation.clips)
    has_folds = any(clip.fold is not None for clip in evaluation.clips)
    for clip, chosen, scores in zip(
        evaluation.clips, evaluation.chosen, evaluation.scores.tolist(), strict=True
    ):
        row = {"file": clip.name_in(evaluation.manifest.source), "labels": ";".join(clip.labels)}
        row |= {"predicted": chosen, "correct": str(int(chosen in clip.labels))}
        if has_groups:
            row["group"] = clip.group or ""
        if has_folds:
            row["fold"] = "" if clip.fold is None else str(clip.fold)
        rows.append(row | _score_columns(evaluation.labels, scores))
    return rows


def _score_columns(labels: list[str], scores: list[float]) -> dict[str, str]:
    if len(labels) <= WIDEST_TABLE:
        return {f"score:{label}": f"{s:.6g}" for label, s in zip(labels, scores, strict=True)}
    best = sorted(range(len(labels)), key=lambda index: -scores[index])[:BEST_SHOWN]
    columns: dict[str, str] = {}
    for rank, index in enumerate(best, start=1):
        columns |= {f"label_{rank}": labels[index], f"score_{rank}": f"{scores[index]:.6g}"}
    return columns


def print_tables(evaluation: Evaluation, console: Console) -> None:
    """Print the metrics, and a row for each class (of many classes, the best and the worst)."""
    console.print(_summary(evaluation.metrics), markup=False, highlight=False)
    rows = sorted(evaluation.metrics["classes"], key=_by_average_precision)
    table = Table("class", box=None, padding=(0, 2, 0, 0))
    for title in ("clips", "AP", "AUC", "precision", "recall"):
        table.add_column(title, justify="right")
    shown = rows if len(rows) <= LONGEST_TABLE else rows[:ENDS_SHOWN] + rows[-ENDS_SHOWN:]
    for number, row in enumerate(shown):
        if len(shown) < len(rows) and number == ENDS_SHOWN:
            table.add_row(f"... {len(rows) - len(shown)} more in metrics.json")
        values = [row[key] for key in ("average_precision", "auc", "precision", "recall")]
        numbers = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(escape(row["label"]), str(row["clips"]), *numbers)
    console.print(table)


def _by_average_precision(row: dict[str, Any]) -> tuple[float, str]:
    """Best first, those without a value last."""
    value = row["average_precision"]
    return (-value if value is not None else math.inf, row["label"])


def _summary(metrics: dict[str, Any]) -> str:
    values = {"clips": str(metrics["num_clips"])}
    grouped = metrics["resampled"]["unit"] == "groups"
    for key, (name, _) in SUMMARY.items():
        if key in metrics:
            values[name] = value_text(metrics, key, key in ("accuracy", "top5_accuracy"))
    if "all_labels" in metrics:
        values["all labels"] = _among_all(metrics["all_labels"])
    if grouped:
        values["groups"] = str(metrics["resampled"]["number"])
    absent = metrics["classes_without_positives"]
    if absent:
        values["no clip of"] = listed(absent)
    return "\n".join(f"{name:<12}{value}" for name, value in values.items()) + "\n"


def _among_all(shares: dict[str, float]) -> str:
    text = f"a right one first {shares['first']:.1%}, among five {shares['among_five']:.1%}"
    if "recognised" in shares:
        text += f", recognised {shares['recognised']:.1%}"
        text += f"; nothing recognised {shares['nothing_recognised']:.1%}"
    return text


def value_text(metrics: dict[str, Any], key: str, as_share: bool = False) -> str:
    """Return a metric with its interval for people, or why one of them is not defined."""
    why = metrics["undefined"]
    if metrics[key] is None:
        return f"not defined: {why[key]}"
    value = f"{metrics[key]:.1%}" if as_share else f"{metrics[key]:.3f}"
    if key not in metrics["intervals"]:
        return value
    ends = metrics["intervals"][key]
    if ends is None:
        return f"{value} (95 % interval not defined: {why[f'intervals.{key}']})"
    return f"{value} (95 % interval {' to '.join(end_texts(ends, as_share))})"


def end_texts(ends: list[float], as_share: bool) -> list[str]:
    """Return both ends of an interval, with as many digits as it takes to distinguish them."""
    for digits in range(1 if as_share else 3, 9):
        texts = [f"{end:.{digits}{'%' if as_share else 'f'}}" for end in ends]
        if texts[0] != texts[1]:
            break
    return texts


def members_table(rows: list[dict[str, Any]]) -> Table:
    """The rows of `evaluate_ensemble` for a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, key in enumerate(rows[0]):
        title, _ = SUMMARY.get(key, (key, ""))
        table.add_column(title, justify="right" if number else "left")
    for row in rows:
        name, *numbers = row.values()
        table.add_row(escape(name), *("not defined" if n is None else f"{n:.3f}" for n in numbers))
    return table
