"""What `auricle predict` shows on a terminal: bars for scores, and how far it is."""

import os
import sys
import time
from typing import TYPE_CHECKING

import typer

from auricle.errors import printable

if TYPE_CHECKING:
    from auricle.inference.records import Answer

BAR_WIDTH = 24  # characters of a score of 1
PATIENCE = 0.5  # seconds without an answer, after which a line says what is worked on
CLEAR_LINE = "\r\x1b[2K"


class Progress:
    """A line on the terminal about the file that is worked on, while no answer comes."""

    def __init__(self) -> None:
        self.is_shown = False
        self.is_wanted = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.last = time.monotonic()

    def update(self, text: str) -> None:
        """Show `text` if the last answer or line is long ago."""
        if self.is_wanted and time.monotonic() - self.last > PATIENCE:
            typer.echo(f"{CLEAR_LINE}{text}", err=True, nl=False)
            self.is_shown, self.last = True, time.monotonic()

    def clear(self) -> None:
        """Take the line away: an answer comes."""
        if self.is_shown:
            typer.echo(CLEAR_LINE, err=True, nl=False)
        self.is_shown, self.last = False, time.monotonic()


def show_bars(answer: "Answer") -> None:
    """Print the answer with a bar for each score."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from auricle.inference.records import sections, title

    console = Console()
    # Text, because a string would be read as markup: a file may be called "[red].wav".
    console.print(
        Text(printable(str(answer.file)), style="bold"),
        Text(f"{answer.whole.recognition.end:.1f} s", "dim"),
    )
    for heading, lines in sections(answer.whole):
        if heading:
            console.print(f"  {heading}", style="dim")
        table = Table.grid(padding=(0, 2))
        for line in lines:
            bar = Bar(1.0, 0.0, line.score, width=BAR_WIDTH, color="white" if heading else "cyan")
            table.add_row(f"  {line.score:6.1%}", bar, Text(title(line)))
        if lines:
            console.print(table)
