"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

SELECTION = "Which labels"  # panel of --help
RUNNING = "How it runs"

SoundsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Sound files; directories are walked.",
        metavar="FILES...",
        readable=False,  # one that may not be read is reported, and the others go on
    ),
]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Built-in name, checkpoint folder or file, or hub id."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL",
        help="Name only this label; may be given again. A name or id (/m/0jbk) of AudioSet's "
        "ontology stands for everything under it.",
        rich_help_panel=SELECTION,
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL", help="Never name this label; as --labels.", rich_help_panel=SELECTION
    ),
]
MinScore = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="From which score on a label is named.", rich_help_panel=SELECTION
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING)
]
