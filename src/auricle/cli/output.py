"""What commands on sound files share: files in turn, failures, progress, bars on a terminal."""

import contextlib
import errno
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auricle.errors import ConfigError, UserError, printable, refused

if TYPE_CHECKING:
    from auricle.audio import Select
    from auricle.inference import Engine, Segment
    from auricle.inference.records import Answer
    from auricle.inference.windows import Compute

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


class Failures:
    """Counts the files that failed: each is one line on stderr, and the others go on."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def reported(self, path: Path) -> Iterator[None]:
        """Report a user's error in the block, as one about `path`."""
        try:
            yield
        except UserError as error:
            self.count += 1
            name = printable(str(path))
            is_named = str(error).startswith((name, "standard input"))
            where = "" if is_named else f"{name}: "
            typer.echo(f"error: {where}{error}", err=True)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """A block that imports torch, sooner, and lets the process end sooner.

    What modules hold is no garbage: Python looks through it neither while they are loaded nor at
    the end, where it took nearly half as long as loading them.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def find_sounds(files: list[Path], failures: Failures, with_raw: bool = False) -> list[Path]:
    """The sound files that `files` name, directories walked; what is not there is reported."""
    from auricle import audio

    sounds: list[Path] = []
    for given in files:
        with failures.reported(given):
            sounds += audio.find_sounds([given], warn_skipped=True, with_raw=with_raw)
    return sounds


def check_writable(option: str, path: Path) -> None:
    """Refuse (ConfigError) a file that cannot be written, before any sound; make its folder."""
    trial = path.with_name(f".{path.name}.trial")
    with refused(ConfigError, f"{option} {path}: cannot be written", " Name another place."):
        path.parent.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def choose_pictures(plot: Path | None, sounds: list[Path]) -> dict[Path, Path]:
    """Where to draw each recording: nowhere without --plot; else OUT.png, or files in a folder."""
    if plot is None:
        return {}
    from auricle.inference import plot as plotting

    plotting.check_installed()
    check_writable("--plot", plot if plot.suffix else plot / "picture.png")
    if not plot.suffix:
        return name_files(plot, sounds, ".png")
    if len(sounds) > 1:
        raise ConfigError(
            f"--plot {plot}: one picture cannot hold {len(sounds)} recordings. Name a folder "
            "(without a suffix), and each gets a picture in it."
        )
    return dict.fromkeys(sounds, plot)


def name_files(folder: Path, sounds: list[Path], suffix: str) -> dict[Path, Path]:
    """`folder/dog.wav.png`, and `folder/dog.wav-2.png` for a second file called dog.wav."""
    named: dict[Path, Path] = {}
    seen: dict[str, int] = {}
    for sound in dict.fromkeys(sounds):
        seen[sound.name] = seen.get(sound.name, 0) + 1
        number = f"-{seen[sound.name]}" if seen[sound.name] > 1 else ""
        named[sound] = folder / f"{sound.name}{number}{suffix}"
    return named


def segments(
    engine: "Engine", compute: "Compute", sounds: list[Path], select: "Select"
) -> "Iterator[list[Segment] | UserError]":
    """The windows of each file in turn, or its error; a terminal shows how far it is."""
    from auricle.inference import windows

    progress = Progress()
    sources = [select(sound) for sound in sounds]

    def watched() -> "Iterator[tuple[int, Segment | UserError]]":
        for number, outcome in windows.run_files(engine, compute, sources):
            if not isinstance(outcome, UserError):
                progress.update(f"{printable(sounds[number].name)}: {outcome.end:.0f} s done")
            yield number, outcome

    for found in windows.grouped(watched()):
        progress.clear()
        yield found


@contextlib.contextmanager
def counting(
    total: int, unit: str, elsewhere: Callable[[int], None]
) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr while the block runs; call what it gives with how many are done.

    Args:
        elsewhere: what to call where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield elsewhere
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda num_done: progress.advance(task, num_done)


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
