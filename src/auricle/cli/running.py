"""The options that every command has which trains a model."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.experiment import Recipe

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
COMMANDS = {"distillation": "distill", "pretraining": "pretrain"}  # of a recipe's sections


def read_for(
    section: Literal["distillation", "pretraining"],
    words: list[str],
    data: Path | None,
    given: Sequence[str] = (),
) -> "Recipe":
    """The recipe that `words` names, with the settings `given` and its own; for the sounds `data`.

    Raises:
        ConfigError: it has no such `section`; the data are not read then.
        UserError: it cannot be used.
    """
    from auricle import experiment  # here, so that --help does not wait for torch

    overrides = [*given, *words[1:]]
    _check_section(words[0], experiment.sections_of(words[0], overrides), section)
    if data is None:
        return experiment.read_recipe(words[0], overrides)
    return experiment.recipe_for_sounds(words[0], data, overrides)


def _check_section(name: str, sections: Collection[str], section: str) -> None:
    """Refuse a recipe of another command, and name that one."""
    if section in sections:
        return
    for other, command in COMMANDS.items():
        if other in sections:
            raise ConfigError(
                f"{name}: has no section {section}, but a section {other}: auricle {command} {name}"
            )
    raise ConfigError(
        f"{name}: has no section {section}, so it learns from labels: auricle train {name}"
    )
