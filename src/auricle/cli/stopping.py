"""How a command leaves that was told to stop; of processes that share a training, one speaks."""

from typing import NoReturn

import typer

INTERRUPTED = 130  # exit code of a shell after Ctrl-C
TERMINATED = 143  # and after SIGTERM


def leave(error: KeyboardInterrupt, text: str) -> NoReturn:
    """Say on stderr how to go on, and exit as shells do after the signal."""
    from auricle.training.machine import Terminated

    if not is_first():  # the others of a training say nothing, and have not failed
        raise typer.Exit(0) from error
    typer.echo(f"\n{text}", err=True)
    raise typer.Exit(TERMINATED if isinstance(error, Terminated) else INTERRUPTED) from error


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    from auricle.training.fit import is_first_process

    return is_first_process()
