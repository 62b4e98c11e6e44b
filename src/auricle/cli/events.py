"""`auricle timeline`: what is heard in recordings, and when."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.atomic import write_text
from auricle.cli import output
from auricle.cli.predict import (
    DEFAULT_MODEL,
    ChannelOption,
    DeviceOption,
    LabelsOption,
    MinScoreOption,
    ModelOption,
    RawOption,
    SoundsArgument,
    WithoutOption,
    selection,
)
from auricle.errors import ConfigError, printable
from auricle.progress import MinuteLines

if TYPE_CHECKING:
    from torch import Tensor

    from auricle import audio
    from auricle.inference import Classifier
    from auricle.inference.events import EventSettings
    from auricle.inference.records import EventAnswer
    from auricle.inference.timeline import Timeline, Tracking

EVENTS = "What an event is"  # panel of --help

BoxesOption = Annotated[
    bool,
    typer.Option(
        "--boxes",
        help="Take times from where scores change most, not from the threshold.",
        rich_help_panel=EVENTS,
    ),
]
HopOption = Annotated[
    float, typer.Option(help="Seconds from one score to the next.", rich_help_panel=EVENTS)
]
WindowOption = Annotated[
    float,
    typer.Option(
        help="Seconds around each that are scored by a model without frame scores.",
        rich_help_panel=EVENTS,
    ),
]


def timeline(  # noqa: PLR0913 - one parameter for each option
    files: SoundsArgument,
    model: ModelOption = DEFAULT_MODEL,
    format: Annotated[
        str, typer.Option(help="table, json, csv, raven, audacity, vtt, dcase or textgrid.")
    ] = "table",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a file for each recording into it, and print nothing.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw spectrogram, events and level: OUT.png for one recording, a folder for any "
            "number."
        ),
    ] = None,
    cut: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write each event into it as a WAV file."),
    ] = None,
    labels: LabelsOption = None,
    without: WithoutOption = None,
    min_score: MinScoreOption = 0.0,
    drop_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL[:SCORE]",
            help="Keep nothing of the moments in which this may be heard, from the score on (the "
            "label's threshold): they are only counted. May be given again.",
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCORE|LABEL=SCORE|METRICS.json",
            help="From which score on a label is an event; of a metrics.json of auricle evaluate "
            "--events, what is best there. May be given again.",
            show_default="those of the model, or 0.5",
            rich_help_panel=EVENTS,
        ),
    ] = None,
    boxes: BoxesOption = False,
    max_gap: Annotated[
        float,
        typer.Option(help="Seconds between events that are one.", rich_help_panel=EVENTS),
    ] = 0.5,
    min_length: Annotated[
        float, typer.Option(help="Seconds of the shortest event.", rich_help_panel=EVENTS)
    ] = 0.0,
    max_length: Annotated[
        float,
        typer.Option(
            help="Seconds of the longest event; longer ones are divided.",
            show_default="none",
            rich_help_panel=EVENTS,
        ),
    ] = float("inf"),
    hop: HopOption = 0.1,
    window: WindowOption = 1.0,
    channel: ChannelOption = None,
    raw: RawOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Name what is heard in sound files, with the times from when to when.

    A label is never twice at one time, and a kind of sound and one under it in AudioSet's ontology
    are one event: the most specific that is sure. A model without frame scores scores a window
    around each hop, which is said on stderr. A file that cannot be used is reported on stderr and
    the others go on. Exit code 0: all files were answered; 1: a file failed; 2: nothing could be
    tried.

    Examples:

      auricle timeline night.flac

      auricle timeline night.flac --plot night.png --cut clips/ --labels Animal

      auricle timeline recordings/ --format raven --out tables/

      auricle timeline street.wav --drop-if Speech:0.1 --format csv > events.csv
    """
    with output.importing():  # here, so that --help does not wait
        from auricle.inference import Classifier, records

    select = selection(channel, raw)
    chosen = records.choose_event_format(format)
    dropping = dict(map(_dropping, drop_if or []))
    classifier = Classifier.load(model, device).select(labels or None, without or [], min_score)
    settings = replace(
        _with_thresholds(classifier, threshold or []),
        boxes=boxes,
        max_gap=max_gap,
        min_length=min_length,
        max_length=max_length,
        remainder=window,
    )
    tracking = classifier.tracking(hop, window, settings, dropping, keep_all=False)
    failures = output.Failures()
    sounds = output.find_sounds(files, failures, raw is not None)
    _check_outputs(chosen.suffix, format, out, cut, sounds)
    pictures = output.choose_pictures(plot, sounds)
    tables = {} if out is None else output.name_files(out, sounds, chosen.suffix or f".{format}")
    clips = {} if cut is None else output.name_files(cut, sounds, "")
    _tell_windows(classifier, model, tracking)
    typer.echo("" if out else chosen.header, nl=False)
    for sound in sounds:
        with failures.reported(sound):
            source = select(sound)
            answer = records.EventAnswer(
                sound,
                model,
                _track(classifier, source, sound, tracking),
                classifier.sample_rate / 2,
            )
            if out is None:
                typer.echo(chosen.text(answer), nl=False)
            else:
                write_text(tables[sound], chosen.header + chosen.text(answer))
            _illustrate(classifier, source, answer, pictures.get(sound), clips.get(sound))
    if failures.count:
        raise typer.Exit(1)


def _tell_windows(classifier: "Classifier", model: str, tracking: "Tracking") -> None:
    """Say on stderr that a model has no frame scores, and what is scored instead."""
    from auricle.inference.timeline import has_frames, window_samples

    if not has_frames(classifier.engine):
        seconds = window_samples(classifier.engine, tracking) / classifier.sample_rate
        windows = f"a window of {seconds:g} s is scored every {tracking.hop:g} s."
        typer.echo(f"{model} gives no frame scores: {windows}", err=True)


def _track(
    classifier: "Classifier", source: "audio.Source", sound: Path, tracking: "Tracking"
) -> "Timeline":
    """The sound over time; a terminal shows how far it is."""
    from auricle import audio
    from auricle.inference.timeline import track

    progress, rate = output.Progress(), classifier.sample_rate

    def watched() -> "Iterator[Tensor]":
        samples = 0
        for block in audio.blocks(source, rate):
            yield block
            samples += len(block)
            progress.update(f"{printable(sound.name)}: {samples / rate:.0f} s done")

    found = track(classifier.engine, watched(), tracking)
    progress.clear()
    return found


def _illustrate(
    classifier: "Classifier",
    source: "audio.Source",
    answer: "EventAnswer",
    picture: Path | None,
    cut: Path | None,
) -> None:
    """Draw the picture and cut the events out, where they are asked for."""
    from auricle.inference import plot
    from auricle.inference.timeline import cut_events

    if picture is not None:
        plot.save_timeline(
            source, answer.file.name, answer.timeline, classifier.checkpoint.fbank, picture
        )
    if cut is not None:
        cut_events(source, cut.name, answer.events, cut.parent)


def _dropping(text: str) -> tuple[str, float | None]:
    """The label and the score of --drop-if; labels may hold colons themselves."""
    label, colon, score = text.rpartition(":")
    if not colon:
        return text, None
    return label, _score(score, f"--drop-if {text}")


def _score(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(f"{where}: a score is a number from 0 to 1, got {text!r}.")
    return value


def _with_thresholds(classifier: "Classifier", given: list[str]) -> "EventSettings":
    """The classifier's settings of events, with thresholds that were given for all or by label."""
    from auricle.evaluation.detection import read_thresholds
    from auricle.inference import ontology
    from auricle.inference.events import of_label

    settings = classifier.event_settings()
    for text in given:
        known = {name: of_label(settings.threshold, name) for name in classifier.labels}
        if text.endswith(".json"):
            settings = replace(settings, threshold=known | read_thresholds(Path(text)))
            continue
        label, _, score = text.rpartition("=")
        value = _score(score, f"--threshold {text}")
        if not label:
            settings = replace(settings, threshold=value)
            continue
        [column, *more] = ontology.columns_of([label], classifier.labels)
        names = [classifier.labels[at] for at in (column, *more)]
        settings = replace(settings, threshold=known | dict.fromkeys(names, value))
    return settings


def _check_outputs(
    suffix: str | None, format: str, out: Path | None, cut: Path | None, sounds: list[Path]
) -> None:
    """Refuse outputs that cannot be written, and documents of one recording for several."""
    if suffix and out is None and len(sounds) > 1:
        raise ConfigError(
            f"--format {format}: one {format} document cannot hold {len(sounds)} recordings. Name "
            "a folder with --out, and each gets a file in it."
        )
    for option, folder in (("--out", out), ("--cut", cut)):
        if folder is not None and sounds:
            output.check_writable(option, folder / sounds[0].name)


def soundscapes(  # noqa: PLR0913 - one parameter for each option
    events: Annotated[
        Path,
        typer.Argument(
            help="Manifest, or folder with a sub-folder per class; clips of one label are used.",
            show_default=False,
            readable=False,
        ),
    ],
    backgrounds: Annotated[
        Path,
        typer.Argument(help="Manifest, or folder of sounds.", show_default=False, readable=False),
    ],
    out: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    count: Annotated[int, typer.Option(help="How many of each split.")] = 100,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 10.0,
    fewest: Annotated[int, typer.Option(help="Clips in each, at least.")] = 1,
    most: Annotated[int, typer.Option(help="Clips in each, at most.")] = 4,
    snr: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOWEST HIGHEST", help="Of events, in dB above the background under them."
        ),
    ] = (0.0, 20.0),
    overlap: Annotated[int, typer.Option(help="Events that may be at one time.")] = 2,
    validation_share: Annotated[
        float, typer.Option(help="Of clips and backgrounds, where these name no splits.")
    ] = 0.2,
    test_share: Annotated[float, typer.Option(help="The same.")] = 0.2,
    sample_rate: Annotated[int, typer.Option(help="In Hz.")] = 16_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same.")] = 0,
) -> None:
    """Make soundscapes of labelled clips over backgrounds, with the times of their events.

    Writes audio/SPLIT/*.flac, events.csv (strong labels) and sources.csv (which clip is where, over
    what). Splits are those of the manifest, or drawn by whole groups, so that no recording is in
    two of them; backgrounds likewise.

    Examples:

      auricle soundscapes sounds/ backgrounds/ --out soundscapes

      auricle soundscapes clips.csv street.csv --snr 0 0 --overlap 1 --out soundscapes
    """
    from auricle.data import read
    from auricle.data.soundscapes import SoundscapeConfig, divide, make

    config = SoundscapeConfig(count, seconds, fewest, most, *snr, overlap, sample_rate, seed)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: holds something already. Name a new folder.")
    shares = {"validation": validation_share, "test": test_share}
    parts = divide(read(events), shares, seed)
    scenes = divide(read(backgrounds, labelled=False), shares, seed)
    total = count * len(parts)
    with output.counting(total, "soundscapes", MinuteLines(total, "soundscapes")) as progress:
        labels = make(parts, scenes, config, out, progress)
    number = sum(len(each.events) for each in labels.recordings)
    typer.echo(f"{out}: {total} soundscapes of {', '.join(sorted(parts))} with {number} events")
