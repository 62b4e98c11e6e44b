"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from auricle.errors import ConfigError

SELECTION = "Which labels"  # panel of --help
RUNNING = "How it runs"

SoundsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Sound files; directories are walked, - is standard input.",
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
Channel = Annotated[
    str | None,
    typer.Option(
        metavar="N|mix",
        help="Score this channel, counted from 1, or the mean of all, even where they cancel.",
        show_default="the mean, or the loudest where they cancel",
        rich_help_panel=RUNNING,
    ),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING)
]


def channel_of(text: str | None) -> int | Literal["mix"] | None:
    """What `--channel` names.

    Raises:
        ConfigError: neither a number from 1 on nor "mix".
    """
    if text is None:
        return None
    if text == "mix":
        return "mix"
    if not text.isdecimal() or not 1 <= int(text) < 2**16:
        raise ConfigError(
            f"--channel {text}: give the number of a channel, counted from 1, or mix."
        )
    return int(text)
