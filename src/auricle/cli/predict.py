"""`auricle predict`: name what is heard in sound files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli import output
from auricle.errors import ConfigError, UserError

if TYPE_CHECKING:
    from auricle.inference import Classifier, Segment

DEFAULT_MODEL = "tagger"


def predict(  # noqa: PLR0913 - one parameter for each option
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Sound files; directories are walked.",
            metavar="FILES...",
            readable=False,  # one that may not be read is reported, and the others go on
        ),
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Built-in name, checkpoint folder or file, or hub id."),
    ] = DEFAULT_MODEL,
    top: Annotated[int, typer.Option(min=1, help="How many labels to give, best first.")] = 5,
    group: Annotated[
        bool,
        typer.Option(
            "--group",
            help="Give groups of the AudioSet ontology instead of labels, each with the best way "
            "down to what was heard.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A line for each label of each window.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the log-mel spectrogram with the labels: OUT.png for one recording, "
            "a folder for any number."
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            help="How the windows of a long recording are joined: mean or max.",
            show_default="mean",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Name what is heard in sound files.

    Where the model has thresholds, labels below theirs are told apart; a sound below -70 dBFS is
    silence. A file that cannot be used is reported on stderr and the others go on. Exit code 0:
    all files were answered; 1: a file failed; 2: nothing could be tried.

    Examples:

      auricle predict dog.wav

      auricle predict recordings/ --json > labels.jsonl

      auricle predict dog.wav --model runs/mine/best --plot dog.png
    """
    show = _choose_format(as_json, as_csv, aggregate)
    from auricle.inference import Classifier  # here, so that --help does not wait for torch

    classifier = Classifier.load(model, device, aggregate or "mean")
    if group:
        classifier.check_groups()
    failures = Failures()
    sounds = _find_sounds(files, failures)
    pictures = _choose_pictures(plot, sounds)
    if as_csv:
        typer.echo(",".join(output.GROUP_COLUMNS if group else output.CSV_COLUMNS))
    for sound in sounds:
        with failures.reported(sound):
            segments = _listen(classifier, sound)
            whole = _interpret(classifier, classifier.whole(segments), top, group)
            windows = (_interpret(classifier, segment, top, group) for segment in segments)
            answer = output.Answer(sound, model, whole, windows)
            show(answer)
            if pictures:
                _draw(classifier, answer, pictures[sound])
    if failures.count:
        raise typer.Exit(1)


class Failures:
    """Counts the files that failed: each is one line on stderr, and the others go on."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def reported(self, path: Path) -> Iterator[None]:
        """Report a user's error in the block, as one about `path`."""
        try:
            yield
        except UserError as error:
            self.count += 1
            where = "" if str(error).startswith(str(path)) else f"{path}: "
            typer.echo(f"error: {where}{error}", err=True)


def _choose_format(as_json: bool, as_csv: bool, aggregate: str | None) -> output.Show:
    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be given together. Choose one.")
    if as_csv and aggregate is not None:
        raise ConfigError(
            "--aggregate has no meaning with --csv, which gives every window lines of its own. "
            "Leave one of them out."
        )
    if as_json:
        return output.show_json
    return output.show_csv if as_csv else output.show_table


def _find_sounds(files: list[Path], failures: Failures) -> list[Path]:
    from auricle import audio

    sounds: list[Path] = []
    for given in files:
        with failures.reported(given):
            sounds += audio.find_sounds([given], warn_skipped=True)
    return sounds


def _listen(classifier: "Classifier", sound: Path) -> "list[Segment]":
    segments = []
    with output.listening_to(sound) as heard:
        for segment in classifier.segments(sound):
            segments.append(segment)
            heard(segment.end)
    return segments


def _interpret(classifier: "Classifier", segment: "Segment", top: int, group: bool) -> output.Part:
    groups = classifier.groups(segment, top) if group else None
    return output.Part(classifier.interpret(segment, top), groups)


def _choose_pictures(plot: Path | None, sounds: list[Path]) -> dict[Path, Path]:
    """Where to draw each recording: nowhere without --plot; else OUT.png, or files in a folder."""
    if plot is None:
        return {}
    from auricle.inference import plot as plotting

    plotting.check_installed()
    if not plot.suffix:
        return _name_pictures(plot, sounds)
    if len(sounds) > 1:
        raise ConfigError(
            f"--plot {plot}: one picture cannot hold {len(sounds)} recordings. Name a folder "
            "(without a suffix), and each gets a picture in it."
        )
    return dict.fromkeys(sounds, plot)


def _name_pictures(folder: Path, sounds: list[Path]) -> dict[Path, Path]:
    """`folder/dog.wav.png`, and `folder/dog.wav-2.png` for a second file called dog.wav."""
    pictures: dict[Path, Path] = {}
    seen: dict[str, int] = {}
    for sound in dict.fromkeys(sounds):
        seen[sound.name] = seen.get(sound.name, 0) + 1
        number = f"-{seen[sound.name]}" if seen[sound.name] > 1 else ""
        pictures[sound] = folder / f"{sound.name}{number}.png"
    return pictures


def _draw(classifier: "Classifier", answer: output.Answer, picture: Path) -> None:
    from auricle.inference import plot

    fbank = classifier.checkpoint.fbank
    plot.save(answer.file, answer.whole.recognition, fbank, picture)
