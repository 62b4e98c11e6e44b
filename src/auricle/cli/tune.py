"""`auricle tune`: search for settings within declared ranges."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.stopping import leave
from auricle.cli.train import check_writable


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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
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
        leave(error, "stopped; the same command goes on from here.")
    for trial in trials[:10]:
        settings = "  ".join(f"{key}={value}" for key, value in trial.settings.items())
        typer.echo(f"trial {trial.number:<4} {trial.score:.4f}  {settings}")
    typer.echo(f"{out}: {len(trials)} trials, best.yaml and trials.csv")
