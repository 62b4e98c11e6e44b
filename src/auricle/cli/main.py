"""`auricle`: the table of commands; a user's error becomes one line and exit code 2."""

import inspect
import re
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

import auricle
from auricle.cli.ablate import ablate
from auricle.cli.agree import agree
from auricle.cli.average import average
from auricle.cli.compare import compare
from auricle.cli.convert import convert
from auricle.cli.describe import describe
from auricle.cli.distill import distill
from auricle.cli.embed import embed
from auricle.cli.ensemble import ensemble
from auricle.cli.evaluate import evaluate
from auricle.cli.match import match
from auricle.cli.models import models
from auricle.cli.predict import predict
from auricle.cli.prepare import prepare
from auricle.cli.pretrain import pretrain
from auricle.cli.probe import probe
from auricle.cli.statistics import statistics
from auricle.cli.train import train
from auricle.cli.tune import tune
from auricle.errors import AudioWarning, DataWarning, TrainingWarning, UserError, printable

# A command has the name and docstring of its function. None imports torch before it runs.
COMMANDS: tuple[Callable[..., None], ...] = (
    predict,
    embed,
    train,
    distill,
    pretrain,
    ablate,
    tune,
    evaluate,
    compare,
    probe,
    agree,
    match,
    average,
    ensemble,
    models,
    describe,
    convert,
    prepare,
    statistics,
)

# Ours, as one line; others keep Python's form.
SHOWN_WARNINGS = (AudioWarning, DataWarning, TrainingWarning)


class ReportingGroup(TyperGroup):
    """Runs a command and puts what the user should know on stderr, one line each."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `error: ...` and exit code 2 for what the user can mend."""
        with warnings.catch_warnings():
            for category in SHOWN_WARNINGS:
                warnings.simplefilter("always", category)
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except UserError as error:
                typer.echo(f"error: {error}", err=True)
                raise typer.Exit(2) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, SHOWN_WARNINGS):
        typer.echo(f"warning: {printable(str(message))}", err=True)
    else:
        typer.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True)


app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"auricle {auricle.__version__}")
        raise typer.Exit


@app.callback()
def describe_program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Name what is heard in a recording: train, evaluate and use spectrogram transformers."""


def _unwrap(text: str) -> str:
    """Each paragraph on one line, for the terminal to break where it is wide."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


for command in COMMANDS:
    app.command(help=_unwrap(inspect.getdoc(command) or ""))(command)


def main() -> None:
    """Run the command that the process was started with."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold bytes that are no text, and a terminal may lack a letter.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()
