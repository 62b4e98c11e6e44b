"""`auricle predict`: name what is heard in sound files."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli import options, output
from auricle.errors import ConfigError, UserError

if TYPE_CHECKING:
    from auricle.audio import Channel
    from auricle.inference import Classifier, Segment
    from auricle.inference.formats import Format
    from auricle.inference.records import Answer, Part

DEFAULT_MODEL = "tagger"
SHORT_FORMS = ("json", "csv")  # --json is --format json


def predict(  # noqa: PLR0913 - one parameter for each option
    files: options.SoundsArgument,
    model: options.Model = DEFAULT_MODEL,
    top: Annotated[int, typer.Option(min=1, help="How many labels to give, best first.")] = 5,
    group: Annotated[
        bool,
        typer.Option(
            "--group",
            help="Give groups of the AudioSet ontology instead of labels, each with the best way "
            "down to what was heard.",
        ),
    ] = False,
    labels: options.Labels = None,
    without: options.Without = None,
    min_score: options.MinScore = 0.0,
    format: Annotated[
        str | None, typer.Option(help="table, json or csv.", show_default="table")
    ] = None,
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
    channel: options.Channel = None,
    device: options.Device = "auto",
) -> None:
    """Name what is heard in sound files.

    Where the model has thresholds, labels below theirs are told apart; a sound below -70 dBFS is
    silence. A file that cannot be used is reported on stderr and the others go on. Exit code 0:
    all files were answered; 1: a file failed; 2: nothing could be tried.

    Examples:

      auricle predict dog.wav

      auricle predict recordings/ --json > labels.jsonl

      auricle predict farm.wav --labels Animal --without Dog --min-score 0.2

      auricle predict dog.wav --model runs/mine/best --plot dog.png
    """
    name = _format_name(format, as_json, as_csv)
    if name == "csv" and aggregate is not None:
        raise ConfigError(
            "--aggregate has no meaning with --csv, which gives every window lines of its own. "
            "Leave one of them out."
        )
    selected = options.channel_of(channel)
    from auricle.inference import Classifier, formats, records  # here, so that --help does not wait

    chosen = formats.choose(name)
    classifier = Classifier.load(model, device, aggregate or "mean")
    classifier = classifier.select(labels or None, without or [], min_score)
    if group:
        classifier.check_groups()
    failures = output.Failures()
    sounds = output.find_sounds(files, failures)
    pictures = _choose_pictures(plot, sounds)
    typer.echo(chosen.header(group), nl=False)
    show = _shower(name, chosen)
    part = partial(_part, classifier, top, group)
    engine = classifier.engine
    found = output.segments(engine, engine.score, sounds, selected)
    for sound, segments in zip(sounds, found, strict=True):
        with failures.reported(sound):
            if isinstance(segments, UserError):
                raise segments
            windows = map(part, segments)
            answer = records.Answer(sound, model, part(classifier.whole(segments)), windows)
            show(answer)
            if pictures:
                _draw(classifier, answer, selected, pictures[sound])
    if failures.count:
        raise typer.Exit(1)


def _format_name(format: str | None, as_json: bool, as_csv: bool) -> str:
    asked = [
        f"--{name}"
        for name, is_given in zip(SHORT_FORMS, (as_json, as_csv), strict=True)
        if is_given
    ]
    asked += ["--format"] * (format is not None)
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} cannot be given together. Choose one.")
    return format or (asked[0].removeprefix("--") if asked else "table")


def _shower(name: str, chosen: "Format") -> "Callable[[Answer], None]":
    if name == "table" and sys.stdout.isatty():
        return output.show_bars
    return lambda answer: typer.echo(chosen.text(answer), nl=False)


def _part(classifier: "Classifier", top: int, group: bool, segment: "Segment") -> "Part":
    from auricle.inference.records import Part

    groups = classifier.groups(segment, top) if group else None
    return Part(classifier.interpret(segment, top), groups)


def _choose_pictures(plot: Path | None, sounds: list[Path]) -> dict[Path, Path]:
    """Where to draw each recording: nowhere without --plot; else OUT.png, or files in a folder."""
    if plot is None:
        return {}
    from auricle.inference import plot as plotting

    plotting.check_installed()
    output.check_writable("--plot", plot if plot.suffix else plot / "picture.png")
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


def _draw(classifier: "Classifier", answer: "Answer", channel: "Channel", picture: Path) -> None:
    from auricle.inference import plot

    fbank = classifier.checkpoint.fbank
    plot.save(answer.file, answer.whole.recognition, fbank, picture, channel)
