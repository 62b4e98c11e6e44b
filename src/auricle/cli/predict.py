"""`auricle predict` and `auricle embed`: sound files to labels, and to vectors."""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli import output
from auricle.errors import ConfigError, UserError

if TYPE_CHECKING:
    from auricle.audio import Select
    from auricle.inference import Classifier, Engine, Segment
    from auricle.inference.records import Answer, Format, Part
    from auricle.inference.vectors import Row

DEFAULT_MODEL = "tagger"
SHORT_FORMS = ("json", "csv")  # --json is --format json
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
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", "-m", help="Built-in or public name, checkpoint folder or file, or hub id."
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL",
        help="Name only this label; may be given again. A name or id (/m/0jbk) of AudioSet's "
        "ontology stands for everything under it.",
        rich_help_panel=SELECTION,
    ),
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL", help="Never name this label; as --labels.", rich_help_panel=SELECTION
    ),
]
MinScoreOption = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="From which score on a label is named.", rich_help_panel=SELECTION
    ),
]
ChannelOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|mix",
        help="Score this channel, counted from 1, or the mean of all, even where they cancel.",
        show_default="the mean, or the loudest where they cancel",
        rich_help_panel=RUNNING,
    ),
]
RawOption = Annotated[
    str | None,
    typer.Option(
        metavar="RATE,ENCODING[,CHANNELS]",
        help="What files without a header are, such as 8000,s16le or 44100,f32le,2; also ulaw, "
        "alaw, gsm and vox. In folders such files are then read, too.",
        rich_help_panel=RUNNING,
    ),
]
DeviceOption = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=RUNNING)
]


def predict(  # noqa: PLR0913 - one parameter for each option
    files: SoundsArgument,
    model: ModelOption = DEFAULT_MODEL,
    top: Annotated[int, typer.Option(min=1, help="How many labels to give, best first.")] = 5,
    group: Annotated[
        bool,
        typer.Option(
            "--group",
            help="Give groups of the AudioSet ontology instead of labels, each with the best way "
            "down to a label.",
        ),
    ] = False,
    labels: LabelsOption = None,
    without: WithoutOption = None,
    min_score: MinScoreOption = 0.0,
    events: Annotated[
        bool,
        typer.Option("--events", help="Give times, too: auricle timeline with these options."),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            help="table, json or csv; with --events those of auricle timeline.",
            show_default="table",
        ),
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
    channel: ChannelOption = None,
    raw: RawOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Name what is heard in sound files.

    Where the model has thresholds, labels below theirs stand apart; a sound below -70 dBFS is
    silence. A file that cannot be used is reported on stderr and the others go on. Exit code 0:
    all files were answered; 1: a file failed; 2: nothing could be tried.

    Examples:

      auricle predict dog.wav

      auricle predict recordings/ --json > labels.jsonl

      auricle predict farm.wav --labels Animal --without Dog --min-score 0.2

      auricle predict dog.wav --model runs/mine/best --plot dog.png
    """
    name = _format_name(format, as_json, as_csv)
    _check_options(name, events, group, aggregate)
    if events:
        from auricle.cli.events import timeline  # which has its options from here

        return timeline(
            files,
            model,
            format=name,
            plot=plot,
            labels=labels,
            without=without,
            min_score=min_score,
            channel=channel,
            raw=raw,
            device=device,
        )
    with output.importing():  # here, so that --help does not wait
        from auricle.inference import Classifier, records

        select = selection(channel, raw)

    chosen = records.choose_format(name)
    classifier = Classifier.load(model, device, aggregate or "mean")
    classifier = classifier.select(labels or None, without or [], min_score)
    if group:
        classifier.check_groups()
    failures = output.Failures()
    sounds = output.find_sounds(files, failures, raw is not None)
    pictures = output.choose_pictures(plot, sounds)
    typer.echo(chosen.header(group), nl=False)
    show = _shower(name, chosen)
    part = partial(_part, classifier, top, group)
    found = output.segments(classifier.engine, classifier.engine.score, sounds, select)
    for sound, segments in zip(sounds, found, strict=True):
        with failures.reported(sound):
            if isinstance(segments, UserError):
                raise segments
            windows = map(part, segments)
            answer = records.Answer(sound, model, part(classifier.whole(segments)), windows)
            show(answer)
            if pictures:
                _draw(classifier, answer, select, pictures[sound])
    if failures.count:
        raise typer.Exit(1)


def embed(
    files: SoundsArgument,
    out: Annotated[Path, typer.Option(help="vectors.parquet, or vectors.npy.", show_default=False)],
    model: ModelOption = DEFAULT_MODEL,
    channel: ChannelOption = None,
    raw: RawOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write the embeddings of sound files, a vector for each window that predict has.

    Parquet has the columns file, start, end (in seconds) and vector. An .npy file holds the vectors
    alone; which window each row is stands in a CSV file beside it. The model needs no labels. A
    file that cannot be used is reported on stderr, the others go on, and the exit code is then 1.

    Examples:

      auricle embed recordings/ --out vectors.parquet

      auricle embed dog.wav cat.wav --model runs/pretrained/last --out vectors.npy
    """
    with output.importing():  # here, so that --help does not wait
        from auricle.inference import load_embedder, vectors

        select = selection(channel, raw)

    vectors.check_kind(out)
    output.check_writable("--out", out)
    engine = load_embedder(model, device)
    failures = output.Failures()
    sounds = output.find_sounds(files, failures, raw is not None)
    count = vectors.write(_rows(engine, sounds, select, failures), out)
    if count:
        typer.echo(f"{out}: {count} vectors of {len(sounds)} files")
    if failures.count:
        raise typer.Exit(1)


def selection(channel: str | None, raw: str | None) -> "Select":
    """How files are read, by `--channel` and `--raw`.

    Raises:
        ConfigError: neither a number from 1 on nor "mix"; no rate and encoding that can be read.
    """
    from auricle.audio import Raw, Selected

    number: Any = int(channel) if channel and re.fullmatch(r"0*[1-9]\d{0,4}", channel) else channel
    if isinstance(number, str) and number != "mix":
        raise ConfigError(
            f"--channel {channel}: give the number of a channel, counted from 1, or mix."
        )
    if raw is None:
        return partial(Selected, channel=number)
    match = re.fullmatch(r"(\d{1,9}),([^,]+)(?:,(\d{1,9}))?", raw)
    if match is None:
        raise ConfigError(
            f"--raw {raw}: give RATE,ENCODING or RATE,ENCODING,CHANNELS, such as 8000,s16le."
        )
    try:
        kind = Raw(int(match[1]), match[2], int(match[3] or 1))
    except ConfigError as error:
        raise ConfigError(f"--raw {raw}: {error}") from error
    return partial(Selected, channel=number, raw=kind)


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


def _check_options(name: str, events: bool, group: bool, aggregate: str | None) -> None:
    """Refuse (ConfigError) what has no meaning with --csv or --events."""
    if name == "csv" and aggregate is not None:
        raise ConfigError(
            "--aggregate has no meaning with --csv, which gives every window lines of its own. "
            "Leave one of them out."
        )
    given = "--group" if group else "--aggregate" if aggregate else ""
    if events and given:
        raise ConfigError(
            f"{given} has no meaning with --events, which gives labels and their times. Leave one "
            "of them out."
        )


def _shower(name: str, chosen: "Format") -> "Callable[[Answer], None]":
    if name == "table" and sys.stdout.isatty():
        return output.show_bars
    return lambda answer: typer.echo(chosen.text(answer), nl=False)


def _part(classifier: "Classifier", top: int, group: bool, segment: "Segment") -> "Part":
    from auricle.inference.records import Part

    groups = classifier.groups(segment, top) if group else None
    return Part(classifier.interpret(segment, top), groups)


def _draw(classifier: "Classifier", answer: "Answer", select: "Select", picture: Path) -> None:
    from auricle.inference import plot

    fbank = classifier.checkpoint.fbank
    plot.save(answer.file, answer.whole.recognition, fbank, picture, select)


def _rows(
    engine: "Engine", sounds: list[Path], select: "Select", failures: output.Failures
) -> "Iterator[Row]":
    found = output.segments(engine, engine.embed, sounds, select)
    for sound, segments in zip(sounds, found, strict=True):
        with failures.reported(sound):
            if isinstance(segments, UserError):
                raise segments
            for segment in segments:
                yield str(sound), segment.start, segment.end, segment.values
