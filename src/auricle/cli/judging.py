"""What `auricle evaluate` and `auricle ensemble` share: the clips asked for, progress, the end."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.progress import MinuteLines

if TYPE_CHECKING:
    from auricle.data import Manifest
    from auricle.evaluation import Evaluation, Failure

ModelArgument = Annotated[
    str,
    typer.Argument(help="Built-in name, checkpoint folder or file, or hub id.", show_default=False),
]
TeacherArgument = Annotated[str, typer.Argument(help="Another model.", show_default=False)]
DataOption = Annotated[
    Path,
    typer.Option(
        help="Manifest, or folder with a sub-folder per class.",
        show_default=False,
        readable=False,  # the error is ours
    ),
]
UnlabelledDataOption = Annotated[
    Path,
    typer.Option(
        help="Manifest, or folder of sounds at any depth; labels are not needed.",
        show_default=False,
        readable=False,
    ),
]
OutOption = Annotated[Path, typer.Option(help="Folder for the report.", show_default=False)]
SplitOption = Annotated[str | None, typer.Option(help="Only the clips of this split.")]
FoldOption = Annotated[int | None, typer.Option(help="Only the clips of this fold.")]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="Leave out the clips of this label; may be given again."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Clips that are scored together.")]


def clips_asked_for(
    data: Path, split: str | None, fold: int | None, without: list[str] | None
) -> "Manifest":
    """The clips of a manifest that the options leave."""
    from auricle.data import read
    from auricle.evaluation import leave_out

    return leave_out(read(data).select(split, fold), without or [])


@contextlib.contextmanager
def counting(total: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal's stderr while the block runs; call what it gives with clips done.

    Elsewhere it prints a line a minute.
    """
    if not sys.stderr.isatty():
        yield MinuteLines(total, "clips")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), "clips", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda num_clips: progress.advance(task, num_clips)


def report_failures(failures: "Iterable[Failure]") -> None:
    """A line on stderr for each clip that was left out."""
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)


def finish(evaluation: "Evaluation", out: Path, asked: dict[str, Any]) -> None:
    """Report the clips that failed, write the folder, print the tables."""
    from rich.console import Console

    from auricle.evaluation import report

    report_failures(evaluation.failures)
    report.write(evaluation, out, asked)
    if asked["without"]:
        typer.echo(f"without the clips labelled {', '.join(asked['without'])}")
    report.print_tables(evaluation, Console())
    typer.echo(f"{out}: report.html, metrics.json, predictions.csv and scores.safetensors")
