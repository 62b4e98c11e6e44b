"""An evaluation as one HTML page that needs nothing but itself and, to listen, the sounds.

Every name is escaped, pictures are inside, and nothing is loaded from a network. Sounds are linked
by their place relative to the page.
"""

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from auricle.data import Clip
from auricle.evaluation.calibration import FEWEST_POSITIVES
from auricle.evaluation.evaluate import Evaluation
from auricle.evaluation.pictures import (
    draw_classes,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
)

SUMMARY = {  # key in metrics.json: title, what it means
    "accuracy": ("accuracy", "share of clips whose best-scored class is one of theirs"),
    "top5_accuracy": ("top-5", "the same for the five best-scored classes"),
    "mAP": ("mAP", "mean over classes of the average precision"),
    "mAUC": ("mAUC", "mean over classes of the area under the ROC curve"),
    "d_prime": ("d'", "sqrt(2) times the inverse normal distribution of mAUC"),
    "macro_f1": ("macro F1", "mean over classes of F1"),
    "calibration_error": (
        "ECE",
        "expected calibration error: |score - share that is right|, 15 bins of equal width",
    ),
}
ALL_LABELS = {  # key of all_labels in metrics.json: what it means
    "first": "the best-scored of all the model's labels is one of the clip's classes",
    "among_five": "one of the five best is",
    "recognised": "such a label reaches its threshold",
    "nothing_recognised": "no label does",
}
ASKED = ("model", "data", "split", "fold", "without", "trained_on")
CLASS_COLUMNS = {  # key of a class's row: title
    "label": "class",
    "clips": "clips",
    "average_precision": "AP",
    "auc": "AUC",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "best_f1": "best F1 here",
    "threshold": "threshold",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: .7rem 0; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
table.sortable th { cursor: pointer; } th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
img { max-width: 100%; } audio { height: 2rem; vertical-align: middle; } p { max-width: 46rem; }
"""
SCRIPT = """
for (const head of document.querySelectorAll("table.sortable th")) {
  head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", place = head.cellIndex;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0], sign = down ? -1 : 1;
    const value = row => row.cells[place].textContent, number = text => parseFloat(text);
    const compare = (a, b) => {
      const x = number(a), y = number(b);
      if (isNaN(x) && isNaN(y)) return sign * a.localeCompare(b);
      return isNaN(x) ? 1 : isNaN(y) ? -1 : sign * (x - y);
    };
    body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
  });
}
"""


@dataclass(frozen=True)
class Markup:
    """Text that is HTML already; everything else is escaped."""

    text: str


def page(evaluation: Evaluation, record: dict[str, Any], folder: Path) -> str:
    """The page that will lie in `folder`, for what metrics.json holds as `record`."""
    title = f"{record.get('model', 'model')} on {record.get('data', evaluation.manifest.source)}"
    all_labels = [(ALL_LABELS[key], share) for key, share in record.get("all_labels", {}).items()]
    failed = [(failed["file"], failed["reason"]) for failed in record["failed"]]
    sections = [
        _section("Asked", _asked(record)),
        _section("Summary", _summary(record)),
        _section("Among all labels", _table(("share of the clips", ""), all_labels)),
        _section("Members", _members(record)),
        _section("Record next", _record_next(record)),
        _section("Classes", _classes(evaluation)),
        *_pictures(evaluation),
        _section("Most surely wrong", _worst(evaluation, folder)),
        _section("Not scored", _table(("clip", "why"), failed)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{''.join(sections)}"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{body}\n" if body else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], sortable: bool = False) -> str:
    if not rows:
        return ""
    kind = ' class="sortable"' if sortable else ""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table{kind}><thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, Markup):
        return f"<td>{value.text}</td>"
    if isinstance(value, float):
        return f'<td class="number">{value:.3f}</td>'
    if isinstance(value, int):
        return f'<td class="number">{value}</td>'
    return f"<td>{escape('-' if value is None else str(value))}</td>"


def _asked(record: dict[str, Any]) -> str:
    keys = [*ASKED, "num_clips", "num_failed", "auricle"]
    values = {key: record[key] for key in keys if record.get(key) not in (None, [])}
    return _table(("", ""), [(key, str(value)) for key, value in values.items()])


def _summary(record: dict[str, Any]) -> str:
    rows = []
    for key, (title, meaning) in SUMMARY.items():
        if key not in record:
            continue
        value, ends = record[key], record["intervals"].get(key)
        if value is None:
            value = f"not defined: {record['undefined'][key]}"
        low, high = ends or (None, None)
        if f"intervals.{key}" in record["undefined"]:
            low = f"not defined: {record['undefined'][f'intervals.{key}']}"
        rows.append((title, value, low, high, meaning))
    drawn = record["resampled"]
    return _table(("", "value", "from", "to", "meaning"), rows) + (
        f"<p>Intervals: 95 %, over {drawn['number']} {drawn['unit']}. They say what other clips "
        "could have given, not what another training could have.</p>"
    )


def _members(record: dict[str, Any]) -> str:
    members = record.get("members", [])
    head = [SUMMARY.get(key, (key, ""))[0] for key in members[0]] if members else []
    return _table(head, [list(member.values()) for member in members])


def _record_next(record: dict[str, Any]) -> str:
    texts = (f"<li>{escape(text)}</li>" for text in record.get("record_next", []))
    return f"<ul>{''.join(texts)}</ul>" if record.get("record_next") else ""


def _classes(evaluation: Evaluation) -> str:
    # Those that no clip has come last; of AudioSet's 527 they may be most.
    classes = sorted(evaluation.metrics["classes"], key=lambda row: row["clips"] == 0)
    rows = [[row[key] for key in CLASS_COLUMNS] for row in classes]
    return _table(list(CLASS_COLUMNS.values()), rows, sortable=True) + (
        "<p>Click on a head to sort. The best F1 was sought on these very clips, one threshold a "
        "class: other clips give a lower one. Classes of fewer than "
        f"{FEWEST_POSITIVES} clips, or of all, share the threshold with the best micro F1 of all "
        "classes, and have no best F1 of their own.</p>"
    )


def _pictures(evaluation: Evaluation) -> list[str]:
    metrics = evaluation.metrics
    pictures = {"Average precision and recall": draw_classes(metrics)}
    if "confusion_matrix" in metrics:
        pictures["Confusion matrix"] = draw_confusion(metrics)
    curves = draw_precision_recall(evaluation.scores, evaluation.targets, metrics)
    pictures["Precision and recall"] = curves
    pictures["Calibration"] = draw_reliability(metrics)
    return [_section(title, _image(title, picture)) for title, picture in pictures.items()]


def _image(title: str, picture: bytes) -> str:
    data = base64.b64encode(picture).decode("ascii")
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def _worst(evaluation: Evaluation, folder: Path) -> str:
    rows = []
    for wrong in evaluation.metrics["worst"]:
        clip = evaluation.clips[wrong["clip"]]
        scores = (wrong["predicted"], wrong["score"], "; ".join(clip.labels), wrong["own_score"])
        rows.append((*_links(clip, folder), *scores))
    head = ("clip", "listen", "best-scored", "score", "label", "its score")
    return _table(head, rows) or "<p>No clip is wrong.</p>"


def _links(clip: Clip, folder: Path) -> tuple[Any, Any]:
    """The clip's name and a player; a sound within a shard has no file to link."""
    if clip.span is not None:
        return clip.source or clip.path.name, None
    address = escape(_address(clip.path, folder))
    name = f'<a href="{address}">{escape(clip.path.name)}</a>'
    player = f'<audio controls preload="none" src="{address}"></audio>'
    return Markup(name), Markup(player)


def _address(path: Path, folder: Path) -> str:
    """Where the sound is, as a link from a page in `folder`."""
    path = path.resolve()
    try:
        relative = os.path.relpath(path, folder.resolve())
    except ValueError:  # on another drive of Windows
        return path.as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))
