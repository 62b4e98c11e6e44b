"""`auricle statistics`: mean and standard deviation of a data set's log-mel values."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.front_ends import FrontEnd, front_end_settings


def statistics(
    data: Annotated[
        Path,
        typer.Argument(
            help="Manifest, or folder with a sub-folder per class.", readable=False
        ),  # the error is ours
    ],
    split: Annotated[str | None, typer.Option(help="Only the clips of this split.")] = None,
    not_fold: Annotated[int | None, typer.Option(help="Only the clips of the other folds.")] = None,
    front_end: FrontEnd = "fbank",
    sample_rate: Annotated[
        int | None, typer.Option(help="In Hz.", show_default="the front end's own")
    ] = None,
    num_mels: Annotated[int, typer.Option(help="Mel bins.")] = 128,
) -> None:
    """Print the mean and std that a recipe takes under front_end.

    They are measured over the true frames of all clips; padding has no part in them. What auricle
    prepare has stored beside the manifest is taken, if it is of these clips and settings.

    Examples:

      auricle statistics sounds/

      auricle statistics esc50.csv --not-fold 1
    """
    from auricle.data import measure_statistics, read
    from auricle.data.statistics import find_statistics, statistics_file

    settings = front_end_settings(
        front_end, "statistics", sample_rate=sample_rate, num_mels=num_mels
    )
    stored = None if not_fold is not None else find_statistics(data, split, settings)
    if stored is not None:
        typer.echo(
            f"from {statistics_file(data)}: {stored.num_clips} of {stored.of} clips", err=True
        )
        mean, std = stored.mean, stored.std
    else:
        measured = measure_statistics(read(data).select(split, not_fold=not_fold), settings)
        mean, std = measured.mean, measured.std
    typer.echo(f"mean: {mean:.7f}\nstd: {std:.7f}")
