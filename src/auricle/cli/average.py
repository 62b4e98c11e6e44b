"""`auricle average`: one checkpoint from several."""

from pathlib import Path
from typing import Annotated

import typer


def average(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: checkpoint folders or files, built-in names, or hub ids.",
            metavar="MODELS...",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="New folder for the averaged checkpoint.", show_default=False)
    ],
) -> None:
    """Average the weights of several checkpoints of one model into a new checkpoint.

    The checkpoints must be alike in everything but their weights: usually they are epochs of one
    run, as in the AST paper. Nothing is known yet of how good the new one is: evaluate it.

    Example:

      auricle average runs/mine/epoch-6 runs/mine/epoch-7 runs/mine/epoch-8 --out runs/mine/average
    """
    from auricle import averaging, checkpoint
    from auricle.inference import names, resolve  # here, so that --help does not wait for torch

    names.check_distinct(models)
    checkpoint.check_new(out)
    averaged = averaging.average([(model, resolve(model)) for model in models])
    checkpoint.save(averaged, out)
    typer.echo(f"{out}: the average of {len(models)} checkpoints")
