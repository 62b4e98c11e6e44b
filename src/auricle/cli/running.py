"""What commands share that train a model: options, which run to go on with, how it ends."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.experiment import Prepared, Report
    from auricle.training import Machine

LABELS_SHOWN = 12
CHOSEN_BY = ("accuracy", "mAP", "explained", "nearest")  # what tells the best epoch
RECIPE_FILE = "recipe.yaml"  # in the folder of a run
INTERRUPTED = 130  # exit code of a shell after Ctrl-C
TERMINATED = 143  # and after SIGTERM


def recipe(which: str = "") -> Any:
    """The argument that names a recipe, and settings of it; `which` recipes, for its help."""
    return typer.Argument(
        metavar="[RECIPE] [KEY=VALUE]...",
        help=f"Recipe file or name of a built-in recipe {which}".rstrip()
        + ", and settings that replace its own; with --resume, the folder of a run.",
        show_default=False,
    )


SoundsOption = Annotated[
    Path | None,
    typer.Option(
        help="Sounds to learn from: a folder of any depth, a manifest, or shards.",
        readable=False,  # the error is ours
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the run.", show_default="runs/NAME-N")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the run that is in the folder.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DevicesOption = Annotated[int, typer.Option(help="How many, on each node.")]
NodesOption = Annotated[int, typer.Option(help="How many machines train together.")]
StrategyOption = Annotated[str, typer.Option(help="How devices share the work: auto, ddp or fsdp.")]
SaveEveryOption = Annotated[
    float, typer.Option(help="Minutes after which the state of a long epoch is saved.")
]
SAVE_EVERY = 15.0


def leave(error: KeyboardInterrupt, text: str) -> NoReturn:
    """Say on stderr how to go on, and exit as shells do after the signal."""
    from auricle.training.machine import Terminated

    if not is_first():  # the others of a training say nothing, and have not failed
        raise typer.Exit(0) from error
    typer.echo(f"\n{text}", err=True)
    raise typer.Exit(TERMINATED if isinstance(error, Terminated) else INTERRUPTED) from error


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    from auricle.training.fit import is_first_process

    return is_first_process()


def check_writable(out: Path | None) -> None:
    """Refuse a folder that cannot be written, before anything is loaded."""
    from auricle import experiment

    if is_first():
        experiment.check_writable(out or Path("runs"))


def of_run(
    words: list[str], out: Path | None, overwrite: bool, resume: bool
) -> tuple[list[str], Path | None]:
    """The words of a recipe, and the folder for its run: with `resume`, of the run to go on with.

    Raises:
        ConfigError: there is no run to go on with, or it is to be replaced as well.
    """
    if not resume:
        return words, out
    if overwrite:
        raise ConfigError("--resume goes on with a run, --overwrite replaces it; choose one.")
    if out is not None:
        return words, out
    if not words or not Path(words[0]).is_dir():
        given = f", not {words[0]!r}" if words else ""
        raise ConfigError(
            f"--resume needs the folder of a run{given}: auricle train --resume FOLDER, or "
            "--out FOLDER beside a recipe."
        )
    folder = Path(words[0])
    if any(folder.glob(f"seed-*/{RECIPE_FILE}")):
        raise ConfigError(
            f"{folder}: holds the runs of several folds or seeds. The command that began them goes "
            f"on with them, given --out {folder}"
        )
    if not (folder / RECIPE_FILE).exists():
        raise ConfigError(
            f"{folder}: holds no {RECIPE_FILE}, so no run to go on with. To begin one there: "
            f"auricle train RECIPE --out {folder}"
        )
    return [str(folder / RECIPE_FILE), *words[1:]], folder


def run(
    prepared: "Prepared", folder: Path, overwrite: bool, resume: bool, machine: "Machine"
) -> "Report":
    """Run a recipe; on an interruption, print how to go on."""
    from auricle import experiment

    try:
        return experiment.run(prepared, folder, overwrite, resume, machine)
    except KeyboardInterrupt as error:
        leave(error, _after_interruption(folder, prepared.validation is not None))


def show(report: "Report") -> None:
    """Print what a run came to."""
    if is_first():
        typer.echo(_text(report))


def _after_interruption(folder: Path, is_validated: bool) -> str:
    last, best = folder / "last", folder / "best"
    if not (folder / "state.ckpt").exists():
        return "stopped before the first epoch was finished; no weights were saved."
    lines = ["stopped, and saved what was done."]
    if last.exists():
        more = f", {best} the best" if is_validated else ""
        lines.append(f"{last} is the last finished epoch{more}.")
    return " ".join([*lines, f"Go on with: auricle train --resume {folder}"])


def _text(report: "Report") -> str:
    """The short report: clips, best epoch, where the model is, what to do next."""
    best = report.best
    # Pretraining without a probe has none that is better than another.
    is_chosen = any(best.get(name) is not None for name in CHOSEN_BY)
    model = report.folder / ("best" if is_chosen or report.labels else "last")
    more = ", ..." if len(report.labels) > LABELS_SHOWN else ""
    lines: dict[str, Any] = {
        "clips": f"{report.num_train} to train, {report.num_validation} to validate"
    }
    if report.labels:
        names = ", ".join(report.labels[:LABELS_SHOWN])
        lines["classes"] = f"{len(report.labels)}: {names}{more}"
    if is_chosen:
        lines["best epoch"] = best["epoch"]
    lines |= _score_lines(best, report.num_validation)
    if report.average is not None:
        lines["average"] = _average_text(report.average, report.folder)
    if report.peak_memory_gb is not None:
        lines["peak memory"] = f"{report.peak_memory_gb:.2f} GB"
    following = f"auricle predict SOUND --model {model}"
    if not report.labels:
        following = f"auricle train RECIPE initial_weights={report.folder / 'last'}"
    lines |= {"model": model, "next": following}
    return "\n".join(f"{name:12} {text}" for name, text in lines.items())


def _score_lines(best: dict[str, Any], num_validation: int) -> dict[str, str]:
    """What the best epoch's numbers mean, as far as it has them."""
    texts = {
        "accuracy": f"{{:.1%}} of {num_validation} validation clips",
        "mAP": "{:.3f}",
        "explained": "{:.1%} of the variance of the teacher's logits",
        "agreement": "{:.1%} of the best labels in the teacher's three",
        "linear": "{:.1%} by a linear probe",
        "nearest": "{:.1%} by nearest neighbours",
    }
    return {
        name: text.format(best[name]) for name, text in texts.items() if best.get(name) is not None
    }


def _average_text(average: dict[str, Any], folder: Path) -> str:
    first, last = average["epochs"]
    parts = [f"weights of epochs {first} to {last}"]
    if average.get("accuracy") is not None:
        parts.append(f"accuracy {average['accuracy']:.1%}")
    if average.get("mAP") is not None:
        parts.append(f"mAP {average['mAP']:.3f}")
    return f"{', '.join(parts)}: {folder / 'average'}"
