"""What a model answers about a recording, as plain values, and as a table, JSON lines or CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auricle.config import to_json
from auricle.errors import ConfigError, printable, unknown_name
from auricle.inference.ontology import Group
from auricle.inference.recognition import Prediction, Recognition

SCORE_DIGITS = 6  # more would be noise of the arithmetic
SECOND_DIGITS = 3
STEP = " > "  # from a kind of sound to one under it: names hold commas
COLUMNS = ("file", "start", "end", "label", "score", "recognised", "silence")
GROUP_COLUMNS = (*COLUMNS, "path")


@dataclass(frozen=True)
class Part:
    """What is in a stretch of a recording, and its groups where they were asked for."""

    recognition: Recognition
    groups: list[Group] | None = None

    @property
    def lines(self) -> list[Prediction] | list[Group]:
        """Groups or labels, those that are recognised first."""
        return self.recognition.shown if self.groups is None else self.groups


@dataclass(frozen=True)
class Answer:
    """What is in one file: as a whole, and in each of its windows."""

    file: Path
    model: str
    whole: Part
    windows: Iterable[Part]


@dataclass(frozen=True)
class Format:
    """How answers are written.

    Attributes:
        text: an answer as text that ends its last line.
        header: what comes before the first answer, given whether there are groups.
    """

    text: Callable[[Answer], str]
    header: Callable[[bool], str] = lambda has_groups: ""


def record(answer: Answer) -> dict[str, Any]:
    """Return the answer about the whole file as JSON values; the keys are in docs/predict.md."""
    found = answer.whole.recognition
    values: dict[str, Any] = {
        "file": str(answer.file),
        "duration": round(found.end, SECOND_DIGITS),
        "model": answer.model,
        "labels": _scored(found.best),
        "recognised": None if found.recognised is None else _scored(found.recognised),
        "silence": found.silence,
    }
    if answer.whole.groups is not None:
        values["groups"] = [
            entry | {"recognised": group.recognised, "path": _scored(group.path)}
            for entry, group in zip(_scored(answer.whole.groups), answer.whole.groups, strict=True)
        ]
    return values


def rows(answer: Answer) -> list[list[Any]]:
    """Return a row for each label or group of each window: COLUMNS, or GROUP_COLUMNS."""
    return [
        [
            printable(str(answer.file)),
            round(part.recognition.start, SECOND_DIGITS),
            round(part.recognition.end, SECOND_DIGITS),
            line.label,
            round(line.score, SCORE_DIGITS),
            "" if line.recognised is None else int(line.recognised),
            int(part.recognition.silence),
            *([STEP.join(line.names[1:])] if isinstance(line, Group) else []),
        ]
        for part in answer.windows
        for line in part.lines
    ]


def sections(part: Part) -> list[tuple[str, list[Prediction | Group]]]:
    """Return headings and what stands under each; the first has none if anything is recognised."""
    from auricle.features.filterbank import SILENCE_DBFS

    if part.recognition.silence:
        return [(f"silence, below {SILENCE_DBFS:.0f} dBFS", [])]
    if not part.lines:
        return [("no label reaches --min-score", [])]
    found: list[Prediction | Group] = [line for line in part.lines if line.recognised is not False]
    guesses: list[Prediction | Group] = [line for line in part.lines if line.recognised is False]
    heading = "below their thresholds:" if found else "nothing recognised; best guesses:"
    return [("", found)] * bool(found) + [(heading, guesses)] * bool(guesses)


def title(line: Prediction | Group) -> str:
    """Return a label; or a group with the way down to its best kind, and the score of that."""
    if not isinstance(line, Group) or not line.path:
        return line.label
    own, last = f"{line.score:.1%}", f"{line.path[-1].score:.1%}"
    return STEP.join(line.names) + ("" if own == last else f" ({last})")


def table(answer: Answer) -> str:
    """Return the file's name, then a line for each label or group.

    What is not recognised stands under a heading of its own; silence has no labels.
    """
    lines = [printable(str(answer.file))]
    for heading, entries in sections(answer.whole):
        lines += [f"  {heading}"] * bool(heading)
        lines += [f"  {entry.score:6.1%}  {title(entry)}" for entry in entries]
    return "\n".join(lines) + "\n"


def json_line(answer: Answer) -> str:
    """Return one JSON object on one line."""
    return to_json(record(answer)) + "\n"


def csv_lines(answer: Answer) -> str:
    """Return a line for each label or group of each window."""
    return _csv(rows(answer))


def _csv_header(has_groups: bool) -> str:
    return _csv([list(GROUP_COLUMNS if has_groups else COLUMNS)])


def _csv(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


FORMATS = {
    "table": Format(table),
    "json": Format(json_line),
    "csv": Format(csv_lines, _csv_header),
}


def choose_format(name: str) -> Format:
    """Return the format called so; ConfigError: there is none."""
    if name not in FORMATS:
        raise ConfigError(unknown_name("format", name, FORMATS))
    return FORMATS[name]


def _scored(entries: Sequence[Prediction | Group]) -> list[dict[str, Any]]:
    return [{"label": entry.label, "score": round(entry.score, SCORE_DIGITS)} for entry in entries]
