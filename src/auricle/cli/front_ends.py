"""The option `--front-end`: whose log-mel values are measured."""

from typing import TYPE_CHECKING, Annotated

import typer

from auricle.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from auricle.features import FilterbankConfig

FrontEnd = Annotated[
    str,
    typer.Option(help="Whose log-mel values: fbank (AST, HAM-AST) or efficientat (MobileNet)."),
]


def front_end_settings(name: str, where: str, **settings: int | None) -> "FilterbankConfig":
    """The settings of the front end called `name`, with its own defaults for what is None.

    Args:
        where: the command, for messages.

    Raises:
        ConfigError: there is no such front end, or it cannot have these settings.
    """
    from auricle.config import from_dict
    from auricle.features import FILTERBANKS

    if name not in FILTERBANKS:
        raise ConfigError(f"--front-end: {unknown_name('front end', name, FILTERBANKS)}")
    given = {key: value for key, value in settings.items() if value is not None}
    return from_dict(FILTERBANKS[name].config, given, where)
