"""`auricle train`: train a model by a recipe, or on a folder of your own sounds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.running import (
    SAVE_EVERY,
    DeviceOption,
    DevicesOption,
    NodesOption,
    OutOption,
    OverwriteOption,
    ResumeOption,
    SaveEveryOption,
    StrategyOption,
)
from auricle.cli.stopping import is_first, leave
from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.experiment import Prepared, Report, Scores
    from auricle.training import Machine

LABELS_SHOWN = 12
CHOSEN_BY = ("accuracy", "mAP", "explained", "nearest")  # what tells the best epoch
RECIPE_FILE = "recipe.yaml"  # in the folder of a run


def train(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help="Recipe file or name of a built-in recipe, and settings that replace its own; "
            "with --resume, the folder of a run.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a recipe: a folder with a sub-folder of sounds for each class, or a "
            "manifest.",
            readable=False,  # the error is ours
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="With --data: the model to start from.")
    ] = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    nodes: NodesOption = 1,
    strategy: StrategyOption = "auto",
    save_every: SaveEveryOption = SAVE_EVERY,
) -> None:
    """Train a model; the folder of the run holds it as best/ and last/.

    Examples:

      auricle train esc50_ast data.source=esc50.csv folds=[1] seeds=1

      auricle train my_recipe.yaml training.epochs=5 --out runs/short

      auricle train --resume runs/short

      auricle train --data sounds/ --from tagger --out runs/sounds

      auricle predict new.wav --model runs/sounds/best
    """
    words, out = of_run(words or [], out, overwrite, resume)
    check_writable(out)
    prepared = _prepared(words, data, start)
    from auricle import experiment  # here, so that --help does not wait for torch
    from auricle.training import Machine

    folder = out or experiment.new_folder(prepared.recipe.name)
    machine = Machine(device, devices, nodes, strategy, save_every)
    if experiment.is_repeated(prepared.recipe):
        _repeat(prepared, folder, machine, overwrite)
        return
    show(run(prepared, folder, overwrite, resume, machine))
    if experiment.test_split(prepared.recipe) is not None and is_first():
        typer.echo(_test_text(experiment.score(prepared, folder)))


def run(
    prepared: "Prepared", folder: Path, overwrite: bool, resume: bool, machine: "Machine"
) -> "Report":
    """Run a recipe; who interrupts it is told how to go on."""
    from auricle import experiment

    try:
        return experiment.run(prepared, folder, overwrite, resume, machine)
    except KeyboardInterrupt as error:
        leave(error, _after_interruption(folder))


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


def _prepared(words: list[str], data: Path | None, start: str | None) -> "Prepared":
    if data is None and not words:
        raise ConfigError("give a recipe, or --data FOLDER --from MODEL. See auricle train --help.")
    if data is None and start is not None:
        raise ConfigError("--from goes with --data; with a recipe write initial_weights=MODEL.")
    if data is not None and words and "=" not in words[0]:
        raise ConfigError(
            f"--data takes the place of a recipe, but {words[0]!r} was given, too. Recipes that "
            "need no labels take it: auricle pretrain, auricle distill."
        )
    if data is not None and start is None:
        raise ConfigError("--data needs a model to start from: --from MODEL.")
    from auricle import experiment

    if data is not None and start is not None:
        return experiment.recipe_for_folder(data, start, words)
    return experiment.read_recipe(words[0], words[1:])


def _repeat(prepared: "Prepared", folder: Path, machine: "Machine", overwrite: bool) -> None:
    """Train a recipe with `folds` or `seeds`; what is finished of it is kept."""
    from auricle import experiment

    try:
        summary = experiment.repeat(prepared, folder, machine, overwrite)
    except KeyboardInterrupt as error:
        leave(error, f"stopped; the same command with --out {folder} goes on from here.")
    if summary is not None:
        typer.echo(_summary_text(summary, folder))


def show(report: "Report") -> None:
    """Print what a run came to."""
    if is_first():
        typer.echo(_text(report))


def _after_interruption(folder: Path) -> str:
    last, best = folder / "last", folder / "best"
    if not (folder / "state.ckpt").exists():
        return "stopped before the first epoch was finished; no weights were saved."
    lines = ["stopped, and saved what was done."]
    if last.exists():
        lines.append(f"{last} is the last finished epoch, {best} the best.")
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


def _test_text(scores: "Scores") -> str:
    """How the best epoch does on the test split."""
    parts = [f"{scores.checkpoint} on {len(scores.clips)} clips of {scores.clips_of}"]
    for metric in ("accuracy", "mAP"):
        if scores.metrics.get(metric) is not None:
            parts.append(f"{metric} {scores.metrics[metric]:.4f}")
    return f"{'test':12} {', '.join(parts)}"


def _average_text(average: dict[str, Any], folder: Path) -> str:
    first, last = average["epochs"]
    parts = [f"weights of epochs {first} to {last}"]
    if average.get("accuracy") is not None:
        parts.append(f"accuracy {average['accuracy']:.1%}")
    if average.get("mAP") is not None:
        parts.append(f"mAP {average['mAP']:.3f}")
    return f"{', '.join(parts)}: {folder / 'average'}"


def _summary_text(summary: dict[str, Any], folder: Path) -> str:
    """Mean and spread over the seeds of a repeated recipe."""
    lines: dict[str, Any] = {"runs": len(summary["runs"])}
    for metric in ("accuracy", "mAP"):
        if metric in summary:
            found = summary[metric]
            spread = "" if found["std"] is None else f" +- {found['std']:.4f}"
            lines[metric] = f"{found['mean']:.4f}{spread}"
    lines["folder"] = folder
    return "\n".join(f"{name:12} {text}" for name, text in lines.items())
