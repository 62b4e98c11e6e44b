"""Formats of answers: a table for people, JSON lines and CSV for programs."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from auricle.config import to_json
from auricle.errors import ConfigError, printable, unknown_name
from auricle.inference import records
from auricle.inference.records import Answer


@dataclass(frozen=True)
class Format:
    """How answers are written.

    Attributes:
        text: an answer as text that ends its last line.
        header: what comes before the first answer, given whether there are groups.
    """

    text: Callable[[Answer], str]
    header: Callable[[bool], str] = lambda has_groups: ""


def table(answer: Answer) -> str:
    """Return the file's name, then a line for each label or group.

    What is not recognised stands under a heading of its own; silence has no labels.
    """
    lines = [printable(str(answer.file))]
    for heading, entries in records.sections(answer.whole):
        lines += [f"  {heading}"] * bool(heading)
        lines += [f"  {entry.score:6.1%}  {records.title(entry)}" for entry in entries]
    return "\n".join(lines) + "\n"


def json_line(answer: Answer) -> str:
    """Return one JSON object on one line."""
    return to_json(records.record(answer)) + "\n"


def csv_lines(answer: Answer) -> str:
    """Return a line for each label or group of each window."""
    return _csv(records.rows(answer))


def _csv_header(has_groups: bool) -> str:
    return _csv([list(records.GROUP_COLUMNS if has_groups else records.COLUMNS)])


def _csv(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


FORMATS = {
    "table": Format(table),
    "json": Format(json_line),
    "csv": Format(csv_lines, _csv_header),
}


def choose(name: str) -> Format:
    """Return the format called so.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(unknown_name("format", name, FORMATS))
    return FORMATS[name]
