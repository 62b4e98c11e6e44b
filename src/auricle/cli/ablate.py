"""`auricle ablate` and `auricle tune`: many trainings of a recipe, by a grid or by a search."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.running import DeviceOption, check_writable, leave

STOPPED = "stopped; the same command goes on from here."


def ablate(  # noqa: PLR0913 - one parameter for each option
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="GRID [KEY=VALUE]...",
            help="Grid file or name of a built-in grid, and settings that replace those of every "
            "cell's recipe.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the runs and the table.", show_default=False)
    ],
    table_only: Annotated[
        bool, typer.Option("--table", help="Train nothing; write the table of what is there.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Repeat an experiment in several variants, seeds and folds, and compare them.

    A call goes on where the last one stopped: finished runs are kept, the one that was cut off
    is resumed. Several processes may share the folder, and with it the work. The table (table.md,
    table.csv, table.png) has each variant's score over the seeds, its difference from the first
    variant, its parameters, multiply-adds and speed, and the paper's figure.

    Examples:

      DATA=ESC-50-master auricle ablate ham_table3_esc50 --out runs/table3

      auricle ablate my_grid.yaml training.epochs=2 --out runs/short

      auricle ablate my_grid.yaml --table --out runs/short
    """
    from auricle.experiment import read_grid, run_grid, scores_of, write_table
    from auricle.training import Machine  # here, so that --help does not wait for torch

    check_writable(out)
    grid = read_grid(words[0], words[1:])
    if not table_only:
        try:
            run_grid(grid, out, Machine(device))
        except KeyboardInterrupt as error:
            leave(error, STOPPED)
    out.mkdir(parents=True, exist_ok=True)
    typer.echo(write_table(grid, scores_of(grid, out), out))


def tune(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SEARCH [KEY=VALUE]...",
            help="YAML file with a recipe and ranges, and settings that replace the recipe's.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the trials and the result.", show_default=False)
    ],
    device: DeviceOption = "auto",
) -> None:
    """Search for the settings of a recipe that validate best.

    The file names a recipe, a number of trials, and ranges:

    ranges: {training.optimizer.learning_rate: {low: 1e-5, high: 1e-3, log: true}}

    A call goes on where the last one stopped. Writes trials.csv and best.yaml, the recipe of the
    best trial. Test clips have no part in it.

    Examples:

      auricle tune search.yaml --out runs/search

      auricle train runs/search/best.yaml --out runs/best
    """
    from auricle.experiment import read_search
    from auricle.experiment import tune as run_trials
    from auricle.training import Machine  # here, so that --help does not wait for torch

    check_writable(out)
    search = read_search(Path(words[0]), words[1:])
    try:
        trials = run_trials(search, out, Machine(device))
    except KeyboardInterrupt as error:
        leave(error, STOPPED)
    for trial in trials[:10]:
        settings = "  ".join(f"{key}={value}" for key, value in trial.settings.items())
        typer.echo(f"trial {trial.number:<4} {trial.score:.4f}  {settings}")
    typer.echo(f"{out}: {len(trials)} trials, best.yaml and trials.csv")
