"""What commands share that judge models: options, the clips asked for, thresholds, the end."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli import output
from auricle.errors import ConfigError, listed
from auricle.progress import MinuteLines

if TYPE_CHECKING:
    from auricle.data import Manifest
    from auricle.evaluation import Evaluation, Failure

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Built-in or public name, checkpoint folder or file, or hub id.", show_default=False
    ),
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


def counting(total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on a terminal's stderr while the block runs; call what it gives with clips done.

    Elsewhere it prints a line a minute.
    """
    return output.counting(total, "clips", MinuteLines(total, "clips"))


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


def check_clips_are_named(split: str | None, fold: int | None) -> None:
    """Refuse to choose thresholds on whatever a manifest holds (ConfigError)."""
    if split is None and fold is None:
        raise ConfigError(
            "--calibrate chooses thresholds on the clips that are scored. Say which with --split "
            "or --fold, and keep the test clips out of it."
        )


def store_thresholds(model: str, classes: list[dict[str, Any]], chosen_on: dict[str, Any]) -> None:
    """Store the thresholds of `classes` into the checkpoint folder `model`, and say so.

    Args:
        classes: rows of `calibration.best_thresholds`, each with its `label`.
        chosen_on: what the thresholds were chosen on, for the provenance.
    """
    from auricle import checkpoint
    from auricle.evaluation.calibration import thresholds_for

    checkpoint.store_thresholds(Path(model), thresholds_for(classes), chosen_on)
    typer.echo(f"{model}: {_describe_thresholds(classes)}")


def _describe_thresholds(classes: list[dict[str, Any]]) -> str:
    """What was stored, in a line."""
    from auricle.evaluation.calibration import FEWEST_POSITIVES

    shared = [row for row in classes if row["shared_threshold"]]
    stored = f"thresholds of {len(classes)} classes stored"
    if not shared:
        return stored
    common = shared[0]["threshold"]
    value = "0.5, as these clips cannot decide" if common is None else f"{common:.3f}"
    return (
        f"{stored}; {len(shared)} of fewer than {FEWEST_POSITIVES} clips, or of all, share one "
        f"({value}): {listed([row['label'] for row in shared])}"
    )
