"""An agreement on disk and on the screen.

`agreement.json` holds the request and everything that `measure_likeness` returns, tables last.
`agreement.csv` holds a line for each clip: the best label and its score by the teacher and by the
student, and where the student's best stands in the teacher's order.
"""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auricle.data.table import write_rows
from auricle.evaluation import report
from auricle.evaluation.agreement import TOP, Agreement, ranks

JSON_FILE = "agreement.json"
CLIPS_FILE = "agreement.csv"
TABLES = ("classes", "worst")  # last in agreement.json
LABELS_SHOWN = 10  # of each end of the table
CLIPS_SHOWN = 5


def write(agreement: Agreement, folder: Path, request: dict[str, Any]) -> None:
    """Write agreement.json and agreement.csv into `folder`.

    Args:
        request: what was compared (student, teacher, data, ...), for the top of agreement.json.

    Raises:
        DataError: the folder cannot be written to.
    """
    rows = _clip_rows(agreement)
    write_rows(folder / CLIPS_FILE, list(rows[0]), rows)
    numbers = dict(agreement.numbers)
    tables = {name: numbers.pop(name) for name in TABLES}
    tables["worst"] = [row | {"clip": rows[row["clip"]]["file"]} for row in tables["worst"]]
    report.write_json(report.json_record(request | numbers, agreement, tables), folder / JSON_FILE)


def _clip_rows(agreement: Agreement) -> list[dict[str, str]]:
    rows = []
    best = [(each.max(dim=1)) for each in (agreement.teacher, agreement.student)]
    standing = ranks(agreement.student, agreement.teacher).tolist()
    for row, (clip, rank) in enumerate(zip(agreement.clips, standing, strict=True)):
        values = {"file": clip.name_in(agreement.manifest.source)}
        for name, (scores, labels) in zip(("teacher", "student"), best, strict=True):
            values[name] = agreement.labels[int(labels[row])]
            values[f"{name}_score"] = f"{scores[row].item():.6g}"
        rows.append(values | {"place": str(rank)})
    return rows


def print_tables(agreement: Agreement, console: Console) -> None:
    """Print the numbers, the labels that agree best and worst, and the clips that agree worst."""
    console.print("\n".join(_lines(agreement.numbers)) + "\n", markup=False, highlight=False)
    rows = [row for row in agreement.numbers["classes"] if row["average_precision"] is not None]
    rows.sort(key=lambda row: (-row["average_precision"], row["label"]))
    table = Table("label", box=None, padding=(0, 2, 0, 0))
    for title in ("teacher's clips", "AP", "logit difference", "correlation"):
        table.add_column(title, justify="right")
    cut = len(rows) > 2 * LABELS_SHOWN
    for number, row in enumerate(rows[:LABELS_SHOWN] + rows[-LABELS_SHOWN:] if cut else rows):
        if cut and number == LABELS_SHOWN:
            table.add_row(f"... {len(rows) - 2 * LABELS_SHOWN} more in {JSON_FILE}")
        correlation = row["logit_correlation"]
        table.add_row(
            escape(row["label"]),
            str(row["clips"]),
            f"{row['average_precision']:.3f}",
            f"{row['logit_difference']:.2f}",
            "-" if correlation is None else f"{correlation:.2f}",
        )
    console.print(table)
    for row in agreement.numbers["worst"][:CLIPS_SHOWN]:
        clip = agreement.clips[row["clip"]]
        name = clip.name_in(agreement.manifest.source)
        console.print(
            f"{name}: teacher {row['teacher']} {row['teacher_score']:.1%}, "
            f"student {row['student']} {row['student_score']:.1%}",
            markup=False,
            highlight=False,
        )


def _lines(numbers: dict[str, Any]) -> list[str]:
    shown = {
        "clips": f"{numbers['num_clips']}, labels {numbers['num_labels']}",
        f"best label among teacher's {TOP}": report.value_text(numbers, "top1_in_top3", True),
        "the same best label": report.value_text(numbers, "top1_same", True),
    }
    name = f"mAP, teacher's labels from {numbers['threshold']:g}"
    shown[name] = report.value_text(numbers, "mAP")
    if numbers["mAP"] is not None:
        shown[name] += f" over {numbers['labels_counted']} labels"
    correlation = numbers["logit_correlation"]
    shown["logits"] = f"mean difference {numbers['logit_difference']:.2f}, correlation " + (
        "-" if correlation is None else f"{correlation:.3f}"
    )
    if numbers["clips_without_labels"]:
        shown["clips without a teacher's label"] = str(numbers["clips_without_labels"])
    width = max(map(len, shown))
    return [f"{name:<{width}}  {value}" for name, value in shown.items()]
