"""The options that every command has which trains a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from auricle.experiment import Prepared

SoundsOption = Annotated[
    Path | None,
    typer.Option(
        help="Sounds to learn from: a folder of any depth, a manifest, or shards.",
        readable=False,  # the error is ours
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(help="Folder for the run.", show_default="runs/NAME-N")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the run that is in the folder.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DevicesOption = Annotated[int, typer.Option(help="How many, on each node.")]
NodesOption = Annotated[int, typer.Option(help="How many machines train together.")]
StrategyOption = Annotated[str, typer.Option(help="How devices share the work: auto, ddp or fsdp.")]
SaveEveryOption = Annotated[
    float, typer.Option(help="Minutes after which the state of a long epoch is saved.")
]
SAVE_EVERY = 15.0


def read_for(
    command: Literal["distill", "pretrain"],
    words: list[str],
    data: Path | None,
    given: Sequence[str] = (),
) -> "Prepared":
    """The recipe that `words` names, with the settings `given` and its own; for the sounds `data`.

    Raises:
        ConfigError: it is for another command; the data are not read then.
        UserError: it cannot be used.
    """
    from auricle import experiment  # here, so that --help does not wait for torch

    overrides = [*given, *words[1:]]
    if data is None:
        return experiment.read_recipe(words[0], overrides, command)
    return experiment.recipe_for_sounds(words[0], data, overrides, command)
