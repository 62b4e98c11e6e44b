"""`auricle`: the table of commands; a user's error becomes one line and exit code 2."""

import contextlib
import errno
import inspect
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

import auricle
from auricle.cli.ablate import ablate, tune
from auricle.cli.agree import agree, match
from auricle.cli.compare import compare
from auricle.cli.evaluate import ensemble, evaluate
from auricle.cli.events import soundscapes, timeline
from auricle.cli.models import average, convert, describe, models
from auricle.cli.predict import embed, predict
from auricle.cli.prepare import prepare, statistics
from auricle.cli.probe import probe
from auricle.cli.train import distill, pretrain, train
from auricle.errors import AudioWarning, DataWarning, TrainingWarning, UserError, printable

# Panels of --help, by what a person wants. A command has the name and docstring of its function.
# None imports torch before it runs.
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Use": (predict, timeline, embed),
    "Train": (train, evaluate, distill, pretrain),
    "Data": (prepare, soundscapes, statistics),
    "Models": (models, describe, convert, average),
    "Research": (compare, probe, agree, match, ensemble, ablate, tune),
}

# Ours, as one line; others keep Python's form.
SHOWN_WARNINGS = (AudioWarning, DataWarning, TrainingWarning)


# What keeps a file from being written or read, and is no fault of ours.
OF_THE_SYSTEM = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
    | {errno.ENOTDIR, errno.EISDIR}
)
OUTPUT_FAILED = 1  # exit code, as for a reader that left


# The base of what typer raises for wrong words on the command line; its module is not public.
UsageError: Any = typer.BadParameter.__mro__[1]


class ReportingGroup(TyperGroup):
    """Runs a command and puts what the user should know on stderr, one line each."""

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        """Run the command; `error: ...` and exit code 2 for what the user can mend."""
        settings["standalone_mode"] = False  # else typer shows errors itself, in a box
        with warnings.catch_warnings():
            for category in SHOWN_WARNINGS:
                warnings.simplefilter("always", category)
            warnings.showwarning = _show_warning
            try:
                sys.exit(super().main(*args, **settings) or 0)
            except UsageError as error:
                _fail(_one_line(error))
            except UserError as error:
                _fail(str(error))
            except OSError as error:
                if error.filename is None or error.errno not in OF_THE_SYSTEM:
                    raise
                _fail(f"{error.filename}: {error.strerror}.")


def _fail(message: str) -> NoReturn:
    if message:
        typer.echo(f"error: {printable(message)}", err=True)
    sys.exit(2)


def _one_line(error: Any) -> str:
    """What is wrong with the command line, and whose --help to read; nothing where that came."""
    text = " ".join(error.format_message().split())
    if not text:  # of a command without arguments the help was printed
        return ""
    end = "" if text[-1] in ".?" else "."
    command = f"{error.ctx.command_path} " if error.ctx else ""
    return f"{text[0].lower()}{text[1:]}{end} See {command}--help."


class OutputError(Exception):
    """Standard output does not take what is written: its disk is full, or it was closed."""


class StandardOutput(io.TextIOWrapper):
    """Standard output whose errors cannot be taken for those of other files."""

    def write(self, text: str) -> int:
        with self._failing():
            return super().write(text)

    def flush(self) -> None:
        with self._failing():
            super().flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has left: click ends quietly
                raise
            raise OutputError(error.strerror) from error


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


for panel, commands in PANELS.items():
    for command in commands:
        text = _unwrap(inspect.getdoc(command) or "")
        app.command(help=text, rich_help_panel=panel)(command)


def main() -> None:
    """Run the command that the process was started with."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: no file opened later may take its number
            os.open(os.devnull, os.O_RDONLY)
    stdout: Any = sys.stdout  # None where it is closed
    encoding = stdout.encoding if stdout else "utf-8"
    buffer = stdout.detach() if stdout else io.BufferedWriter(io.FileIO(1, "w"))
    # A file name may hold bytes that are no text, and a terminal may lack a letter.
    sys.stdout = StandardOutput(buffer, encoding, "backslashreplace", None, buffer.isatty())
    if sys.stderr:
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what waits to be written goes nowhere
        typer.echo(f"error: standard output: {error}.", err=True)
        sys.exit(OUTPUT_FAILED)
