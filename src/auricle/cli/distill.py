"""`auricle distill`: train a model to hear what another one hears; no labels are needed."""

from typing import Annotated

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
    SoundsOption,
    read_for,
)
from auricle.cli.train import check_writable, of_run, run, show
from auricle.errors import ConfigError


def distill(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help="Recipe file or name of a built-in recipe with a section `distillation`, and "
            "settings that replace its own; with --resume, the folder of a run.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Model that teaches: built-in name, checkpoint folder, or hub id."),
    ] = None,
    data: SoundsOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    nodes: NodesOption = 1,
    save_every: SaveEveryOption = SAVE_EVERY,
) -> None:
    """Train a model to hear what a teacher hears.

    Both hear the same augmented and mixed sounds, each at its own sample rate. The student has the
    teacher's labels and needs none of its own.

    Examples:

      auricle convert mn40_as_mAP_484.pt mn40

      auricle distill tagger --teacher mn40 --data sounds/ --out runs/tagger

      auricle distill --resume runs/tagger
    """
    words, out = of_run(words or [], out, overwrite, resume)
    if not words:
        raise ConfigError("give a recipe. See auricle distill --help.")
    from auricle import experiment  # here, so that --help does not wait for torch
    from auricle.training import Machine

    check_writable(out)
    given = [f"distillation.teacher={teacher}"] if teacher is not None else []
    prepared = read_for("distill", words, data, given)
    folder = out or experiment.new_folder(prepared.recipe.name)
    machine = Machine(device, devices, nodes, "auto", save_every)
    show(run(prepared, folder, overwrite, resume, machine))
