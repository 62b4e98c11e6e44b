"""`auricle train`, `distill` and `pretrain`: with labels, from a teacher, from sound alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from auricle.cli import own, running
from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.experiment import Prepared, Scores
    from auricle.training import Machine


def train(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[list[str] | None, running.recipe()] = None,
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
    speed: Annotated[
        Literal["quick", "full"],
        typer.Option(help="With --data: quick leaves fine-tuning out."),
    ] = "full",
    background: Annotated[
        Path | None,
        typer.Option(
            help="With --data: a folder of other sounds, which are none of the classes.",
            show_default="what comes with the model",
            readable=False,  # the error is ours
        ),
    ] = None,
    many: Annotated[
        bool, typer.Option("--many", help="With --data: a clip may have several classes, or none.")
    ] = False,
    add: Annotated[
        bool,
        typer.Option("--add", help="With --data: add the clips to those of the model of --from."),
    ] = False,
    keep_validation: Annotated[
        bool,
        typer.Option(
            "--keep-validation", help="With --data: do not learn from the clips that validate."
        ),
    ] = False,
    out: running.OutOption = None,
    overwrite: running.OverwriteOption = False,
    resume: running.ResumeOption = False,
    device: running.DeviceOption = "auto",
    devices: running.DevicesOption = 1,
    nodes: running.NodesOption = 1,
    strategy: running.StrategyOption = "auto",
    save_every: running.SaveEveryOption = running.SAVE_EVERY,
) -> None:
    """Train a model; the folder of the run holds it as best/ and last/.

    With --data and --from a model learns one's own classes: first a head on its frozen embeddings,
    in seconds, then all of it, where there is more to gain; the better of the two is kept.

    Examples:

      auricle train esc50_ast data.source=esc50.csv 'folds=[1]' seeds=1

      auricle train my_recipe.yaml training.epochs=5 --out runs/short

      auricle train --resume runs/short

      auricle train --data sounds/ --from tagger --out runs/sounds

      auricle train --data more/ --from runs/sounds/best --add --out runs/more

      auricle predict new.wav --model runs/more/best
    """
    words = words or []
    if data is None:
        words, out = running.of_run(words, out, overwrite, resume)
    running.check_writable(out)
    _check_words(words, data, start, add or many or keep_validation or background is not None)
    from auricle import experiment  # here, so that --help does not wait for torch
    from auricle.training import Machine

    machine = Machine(device, devices, nodes, strategy, save_every)
    if data is not None and start is not None:
        from auricle.experiment.own_sounds import Request

        quick = speed == "quick"
        asked = Request(data, start, background, many, add, quick, keep_validation, words)
        own.train(asked, out, overwrite, resume, machine)
        return
    prepared = experiment.read_recipe(words[0], words[1:])
    folder = out or experiment.new_folder(prepared.recipe.name)
    if experiment.is_repeated(prepared.recipe):
        _repeat(prepared, folder, machine, overwrite)
        return
    running.show(running.run(prepared, folder, overwrite, resume, machine))
    if experiment.test_split(prepared.recipe) is not None and running.is_first():
        typer.echo(_test_text(experiment.score(prepared, folder)))


def distill(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[list[str] | None, running.recipe("with a section `distillation`")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Model that teaches: built-in or public name, checkpoint folder, or hub id."
        ),
    ] = None,
    data: running.SoundsOption = None,
    out: running.OutOption = None,
    overwrite: running.OverwriteOption = False,
    resume: running.ResumeOption = False,
    device: running.DeviceOption = "auto",
    devices: running.DevicesOption = 1,
    nodes: running.NodesOption = 1,
    save_every: running.SaveEveryOption = running.SAVE_EVERY,
) -> None:
    """Train a model to reproduce the outputs of a teacher.

    Both receive the same augmented and mixed sounds, each at its own sample rate. The student has
    the teacher's labels and needs none of its own.

    Examples:

      auricle convert mn40_as_mAP_484.pt mn40

      auricle distill tagger --teacher mn40 --data sounds/ --out runs/tagger

      auricle distill --resume runs/tagger
    """
    given = [f"distillation.teacher={teacher}"] if teacher is not None else []
    machine = (device, devices, nodes, "auto", save_every)
    _learn("distill", words or [], data, (out, overwrite, resume), machine, given)


def pretrain(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[list[str] | None, running.recipe("with a section `pretraining`")] = None,
    data: running.SoundsOption = None,
    out: running.OutOption = None,
    overwrite: running.OverwriteOption = False,
    resume: running.ResumeOption = False,
    device: running.DeviceOption = "auto",
    devices: running.DevicesOption = 1,
    nodes: running.NodesOption = 1,
    strategy: running.StrategyOption = "auto",
    save_every: running.SaveEveryOption = running.SAVE_EVERY,
) -> None:
    """Let a model learn from sound without labels: what is hidden from it, from what it sees.

    What comes out has no labels. Train it on some, or ask `auricle probe` what its embeddings tell.

    Examples:

      auricle pretrain pretrain_asda_small --data sounds/ --out runs/start

      auricle pretrain --resume runs/start

      auricle probe runs/start/last --data esc10.csv --out probe
    """
    machine = (device, devices, nodes, strategy, save_every)
    _learn("pretrain", words or [], data, (out, overwrite, resume), machine)


def _learn(  # noqa: PLR0913 - the options that both commands have
    command: Literal["distill", "pretrain"],
    words: list[str],
    data: Path | None,
    run: tuple[Path | None, bool, bool],
    machine: tuple[str, int, int, str, float],
    given: Sequence[str] = (),
) -> None:
    """Run the recipe that `words` names, with the settings `given` and its own; for `data`."""
    out, overwrite, resume = run
    words, out = running.of_run(words, out, overwrite, resume)
    if not words:
        raise ConfigError(f"give a recipe. See auricle {command} --help.")
    from auricle import experiment  # here, so that --help does not wait for torch
    from auricle.training import Machine

    running.check_writable(out)
    overrides = [*given, *words[1:]]
    if data is None:
        prepared = experiment.read_recipe(words[0], overrides, command)
    else:
        prepared = experiment.recipe_for_sounds(words[0], data, overrides, command)
    folder = out or experiment.new_folder(prepared.recipe.name)
    running.show(running.run(prepared, folder, overwrite, resume, Machine(*machine)))


def _check_words(words: list[str], data: Path | None, start: str | None, own: bool) -> None:
    """Refuse what does not go together; `own`: an option was given that goes with --data alone."""
    if data is None and not words:
        raise ConfigError("give a recipe, or --data FOLDER --from MODEL. See auricle train --help.")
    if data is None and start is not None:
        raise ConfigError("--from goes with --data; with a recipe write initial_weights=MODEL.")
    if data is None and own:
        raise ConfigError(
            "--add, --many, --background and --keep-validation go with --data FOLDER --from MODEL."
        )
    if data is not None and words and "=" not in words[0]:
        raise ConfigError(
            f"--data takes the place of a recipe, but {words[0]!r} was given, too. Recipes that "
            "need no labels take it: auricle pretrain, auricle distill."
        )
    if data is not None and start is None:
        raise ConfigError("--data needs a model to start from: --from MODEL.")


def _repeat(prepared: "Prepared", folder: Path, machine: "Machine", overwrite: bool) -> None:
    """Train a recipe with `folds` or `seeds`; what is finished of it is kept."""
    from auricle import experiment

    try:
        summary = experiment.repeat(prepared, folder, machine, overwrite)
    except KeyboardInterrupt as error:
        running.leave(error, f"stopped; the same command with --out {folder} goes on from here.")
    if summary is not None:
        typer.echo(_summary_text(summary, folder))


def _test_text(scores: "Scores") -> str:
    """How the best epoch does on the test split."""
    parts = [f"{scores.checkpoint} on {len(scores.clips)} clips of {scores.clips_of}"]
    for metric in ("accuracy", "mAP"):
        if scores.metrics.get(metric) is not None:
            parts.append(f"{metric} {scores.metrics[metric]:.4f}")
    return f"{'test':12} {', '.join(parts)}"


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
