"""What `auricle predict` prints: a table for people, JSON lines or CSV for programs."""

import contextlib
import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from auricle.inference import Group, Prediction, Recognition

CSV_COLUMNS = ("file", "start", "end", "label", "score", "recognised", "silence")
GROUP_COLUMNS = (*CSV_COLUMNS, "path")
SCORE_DIGITS = 6  # more would be noise of the arithmetic
SECOND_DIGITS = 3
BAR_WIDTH = 24  # characters of a score of 1
STEP = " > "  # from a kind of sound to one under it: names hold commas


@dataclass(frozen=True)
class Part:
    """What was heard in a stretch of a recording, and its groups where they were asked for."""

    recognition: "Recognition"
    groups: "list[Group] | None" = None

    @property
    def lines(self) -> "list[Prediction] | list[Group]":
        """What is told of it: groups or labels, those that are recognised first."""
        return self.recognition.shown if self.groups is None else self.groups


@dataclass(frozen=True)
class Answer:
    """What was heard in one file: as a whole, and in each of its windows."""

    file: Path
    model: str
    whole: Part
    windows: Iterable[Part]


Show = Callable[[Answer], None]


@contextlib.contextmanager
def listening_to(file: Path) -> Iterator[Callable[[float], None]]:
    """A line on the terminal while the block runs; call what it gives with the seconds heard."""
    if not sys.stderr.isatty():
        yield lambda seconds: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(file.name)) as status:
        yield lambda seconds: status.update(Text(f"{file.name}: {seconds:.0f} s heard"))


def show_table(answer: Answer) -> None:
    """The file's name, then a line for each label or group; with bars on a terminal.

    What is not recognised stands under a heading of its own; of silence nothing is told.
    """
    if sys.stdout.isatty():
        _show_bars(answer)
        return
    lines = [str(answer.file)]
    for heading, told in sections(answer.whole):
        lines += [f"  {heading}"] * bool(heading)
        lines += [f"  {line.score:6.1%}  {name_of(line)}" for line in told]
    typer.echo("\n".join(lines))


def sections(part: Part) -> "list[tuple[str, list[Prediction | Group]]]":
    """Headings, and what stands under each; the first has none where something was recognised."""
    from auricle.features.filterbank import SILENCE_DBFS

    if part.recognition.silence:
        return [(f"silence, below {SILENCE_DBFS:.0f} dBFS", [])]
    found = [line for line in part.lines if line.recognised is not False]
    guesses = [line for line in part.lines if line.recognised is False]
    heading = "below their thresholds:" if found else "nothing recognised; best guesses:"
    return [("", found)] * bool(found) + [(heading, guesses)] * bool(guesses)


def name_of(line: "Prediction | Group") -> str:
    """A label; or a group with the way down to what was heard, and the score of that."""
    from auricle.inference import Group

    if not isinstance(line, Group) or not line.path:
        return line.label
    own, last = f"{line.score:.1%}", f"{line.path[-1].score:.1%}"
    return STEP.join(line.names) + ("" if own == last else f" ({last})")


def show_json(answer: Answer) -> None:
    """One JSON object on one line."""
    from auricle.config import to_json

    heard = answer.whole.recognition
    record = {
        "file": str(answer.file),
        "duration": round(heard.end, SECOND_DIGITS),
        "model": answer.model,
        "labels": _json(heard.best),
        "recognised": None if heard.recognised is None else _json(heard.recognised),
        "silence": heard.silence,
    }
    if answer.whole.groups is not None:
        pairs = zip(_json(answer.whole.groups), answer.whole.groups, strict=True)
        record["groups"] = [
            entry | {"recognised": group.recognised, "path": _json(group.path)}
            for entry, group in pairs
        ]
    typer.echo(to_json(record))


def _json(entries: "Sequence[Prediction | Group]") -> list[dict[str, Any]]:
    return [{"label": entry.label, "score": round(entry.score, SCORE_DIGITS)} for entry in entries]


def show_csv(answer: Answer) -> None:
    """A line for each label of each window, in the order of CSV_COLUMNS (GROUP_COLUMNS)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for part in answer.windows:
        heard = part.recognition
        start, end = round(heard.start, SECOND_DIGITS), round(heard.end, SECOND_DIGITS)
        for line in part.lines:
            recognised = "" if line.recognised is None else int(line.recognised)
            row = [answer.file, start, end, line.label, round(line.score, SCORE_DIGITS)]
            writer.writerow([*row, recognised, int(heard.silence), *_path(line)])
    typer.echo(text.getvalue(), nl=False)


def _path(line: "Prediction | Group") -> list[str]:
    from auricle.inference import Group

    return [STEP.join(line.names[1:])] if isinstance(line, Group) else []


def _show_bars(answer: Answer) -> None:
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Text, because a string would be read as markup: a file may be called "[red].wav".
    console.print(
        Text(str(answer.file), style="bold"), Text(f"{answer.whole.recognition.end:.1f} s", "dim")
    )
    for heading, told in sections(answer.whole):
        if heading:
            console.print(f"  {heading}", style="dim")
        table = Table.grid(padding=(0, 2))
        for line in told:
            bar = Bar(1.0, 0.0, line.score, width=BAR_WIDTH, color="white" if heading else "cyan")
            table.add_row(f"  {line.score:6.1%}", bar, Text(name_of(line)))
        if told:
            console.print(table)
