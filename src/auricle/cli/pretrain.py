"""`auricle pretrain`: let a model learn from sound alone; no labels and no teacher are needed."""

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
    StrategyOption,
    read_for,
)
from auricle.cli.train import check_writable, of_run, run, show
from auricle.errors import ConfigError


def pretrain(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [KEY=VALUE]...",
            help="Recipe file or name of a built-in recipe with a section `pretraining`, and "
            "settings that replace its own; with --resume, the folder of a run.",
            show_default=False,
        ),
    ] = None,
    data: SoundsOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    nodes: NodesOption = 1,
    strategy: StrategyOption = "auto",
    save_every: SaveEveryOption = SAVE_EVERY,
) -> None:
    """Let a model learn from sound without labels: what is hidden from it, from what it sees.

    What comes out has no labels. Train it on some, or ask `auricle probe` what its embeddings tell.

    Examples:

      auricle pretrain pretrain_asda_small --data sounds/ --out runs/start

      auricle pretrain --resume runs/start

      auricle probe runs/start/last --data esc10.csv --out probe
    """
    words, out = of_run(words or [], out, overwrite, resume)
    if not words:
        raise ConfigError("give a recipe. See auricle pretrain --help.")
    from auricle import experiment  # here, so that --help does not wait for torch
    from auricle.training import Machine

    check_writable(out)
    prepared = read_for("pretrain", words, data)
    folder = out or experiment.new_folder(prepared.recipe.name)
    machine = Machine(device, devices, nodes, strategy, save_every)
    show(run(prepared, folder, overwrite, resume, machine))
