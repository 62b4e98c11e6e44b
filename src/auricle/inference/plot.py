"""A picture of a recording: its log-mel spectrogram, and beside it its labels.

Shapes: S samples, T frames, M mel bins.
"""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from auricle import audio
from auricle.errors import AudioWarning, ConfigError, require
from auricle.features import Filterbank
from auricle.features.filterbank import hz_to_mel
from auricle.inference.timeline import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from auricle.data.strong import Event
    from auricle.inference.recognition import Recognition
    from auricle.inference.timeline import Timeline

MAX_COLUMNS = 4096  # of the picture; more would not be seen
SIZE_INCHES = (11.0, 4.0)
TRACKS_SHOWN = 20  # labels with the most time
TRACK_INCHES = 0.22  # height of a label's track
WIDEST_INCHES = 24.0  # of a picture of hours, which starts at the size above
INCHES_AN_HOUR = 6.0
LOWEST_DBFS = -100.0
MOST_TICKS = 12
TICK_SECONDS = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    21_600,
)
DOTS_PER_INCH = 120
DECIBELS_SHOWN = 80.0  # below the loudest value, but for what is below the filterbank's floor
FEWEST_DECIBELS = 40.0  # from the floor up, so that silence and what is nearly so stay dark
NEPERS_IN_DECIBEL = math.log(10) / 10  # log-mel values are natural logarithms of powers
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16_000)


def check_installed() -> None:
    """Refuse to start what ends in a picture (MissingExtraError)."""
    require("matplotlib.figure", "plot", "drawing")


def save(
    sound: Path,
    recognition: "Recognition",
    fbank: Filterbank,
    out: Path,
    select: audio.Select = Path,
) -> None:
    """Draw the sound file `sound` and its labels into the picture `out`.

    Labels below their thresholds are grey. The sound is read as `select` gives it.

    Raises:
        ConfigError: the picture cannot be written, or its format is unknown.
        MissingExtraError: matplotlib is not installed.
    """
    check_installed()
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)  # given when the sound was classified
        image = spectrogram(select(sound), recognition.end, fbank)
    _draw_spectrogram(left, image, recognition.end, fbank)
    _draw_labels(right, recognition)
    _save(figure, sound.name, out)


def save_timeline(
    source: audio.Source, name: str, timeline: "Timeline", fbank: Filterbank, out: Path
) -> None:
    """Draw a sound called `name` over time into the picture `out`: of seconds as of hours.

    From above: spectrogram, a track for each label with events (the TRACKS_SHOWN with the most
    time), level. What was dropped is blank in all of them. Errors as of `save`.
    """
    check_installed()
    from matplotlib.figure import Figure

    tracks = _tracks(timeline)
    height = TRACK_INCHES * max(2, len(tracks))
    width = min(WIDEST_INCHES, SIZE_INCHES[0] + timeline.seconds / 3600 * INCHES_AN_HOUR)
    figure = Figure(figsize=(width, 4.5 + height), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(2.5, height, 1.2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)  # said when the sound was scored
        image = spectrogram(source, timeline.seconds, fbank)
    lowest, _ = shown_range(image, fbank)
    places = torch.arange(image.shape[1]) * len(timeline.dropped) // image.shape[1]
    image[:, torch.from_numpy(timeline.dropped)[places]] = lowest
    _draw_spectrogram(axes[0], image, timeline.seconds, fbank)
    axes[0].set_xlabel("")
    _draw_tracks(axes[1], tracks, timeline)
    _draw_level(axes[2], timeline)
    _save(figure, name, out)


def _save(figure: "Figure", title: str, out: Path) -> None:
    figure.suptitle(title, parse_math=False)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # A label in a script that the font lacks is drawn as boxes; the picture is still good.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(out, dpi=DOTS_PER_INCH)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{out}: the picture cannot be written ({error}).") from error


def spectrogram(sound: audio.Source, seconds: float, fbank: Filterbank) -> Tensor:
    """Log-mel values `(M, columns)` of a whole recording, read block by block.

    A column is one frame, or the mean of several where a recording has more than MAX_COLUMNS.
    """
    num_frames = fbank.num_frames(round(seconds * fbank.config.sample_rate))
    per_column = 1 + num_frames // MAX_COLUMNS
    columns = []
    rest = torch.empty(0, fbank.config.num_mels)  # frames of an unfinished column
    for frames in _frames(sound, fbank):
        rest = torch.cat([rest, frames])
        count = len(rest) // per_column
        whole, rest = rest[: count * per_column], rest[count * per_column :]
        columns.append(whole.view(count, per_column, -1).mean(dim=1) if count else rest[:0])
    if len(rest):
        columns.append(rest.mean(dim=0, keepdim=True))
    return torch.cat(columns).T


def _frames(sound: audio.Source, fbank: Filterbank) -> Iterator[Tensor]:
    """Log-mel values `(T, M)` of the recording, part by part.

    Where frames stand around their places (EfficientAT), a part ends with its last whole hop.
    """
    rest = torch.empty(0)  # samples that the next frame begins with
    for block in audio.blocks(sound, fbank.config.sample_rate):
        rest = torch.cat([rest, block])
        num_frames = min(fbank.num_frames(len(rest)), len(rest) // fbank.hop_size)
        if num_frames:
            log_mel, _ = fbank.log_mel(rest[None].to(fbank.window.device))
            yield log_mel[0, :num_frames].cpu()
            rest = rest[num_frames * fbank.hop_size :]


def _draw_spectrogram(axes: "Axes", image: Tensor, seconds: float, fbank: Filterbank) -> None:
    lowest, highest = shown_range(image, fbank)
    axes.imshow(
        image.numpy(),
        origin="lower",
        aspect="auto",
        extent=(0.0, seconds, -0.5, len(image) - 0.5),
        vmin=lowest,
        vmax=highest,
        cmap="magma",
    )
    shown = [hz for hz in TICKS_HZ if hz < fbank.config.highest_hz]
    axes.set_yticks([_mel_bin(hz, fbank) for hz in shown], [f"{hz:,} Hz" for hz in shown])
    axes.set_xlabel("seconds")


def shown_range(image: Tensor, fbank: Filterbank) -> tuple[float, float]:
    """The log-mel values that the darkest and the brightest colour stand for."""
    zeros = torch.zeros(1, fbank.num_samples(1), device=fbank.window.device)
    floor = fbank.log_mel(zeros)[0].min().item()
    loudest = image.max().item()
    lowest = max(floor, loudest - DECIBELS_SHOWN * NEPERS_IN_DECIBEL)
    return lowest, max(loudest, lowest + FEWEST_DECIBELS * NEPERS_IN_DECIBEL)


def _mel_bin(hz: float, fbank: Filterbank) -> float:
    """The bin, as a fraction, whose filter has its peak at `hz`: edges are even in mel."""
    config = fbank.config
    mel, lowest, highest = hz_to_mel([hz, config.lowest_hz, config.highest_hz])
    return float((mel - lowest) / (highest - lowest) * (config.num_mels + 1) - 1)


def _draw_labels(axes: "Axes", recognition: "Recognition") -> None:
    shown, places = recognition.shown, range(len(recognition.shown))
    grey = [recognition.silence or prediction.recognised is False for prediction in shown]
    colours = ["lightgrey" if is_grey else "tab:blue" for is_grey in grey]
    bars = axes.barh(places, [prediction.score for prediction in shown], color=colours)
    axes.bar_label(bars, [f"{prediction.score:.1%}" for prediction in shown], padding=3)
    axes.set_yticks(places, [prediction.label for prediction in shown], parse_math=False)
    axes.invert_yaxis()  # best on top
    axes.set_xlim(0.0, 1.25)  # a score of 1 leaves room for its number
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    if all(grey):
        axes.set_title(
            "silence" if recognition.silence else "nothing recognised", fontsize="medium"
        )


def _tracks(timeline: "Timeline") -> "dict[str, list[Event]]":
    """The events of each label that is shown, in the order in which labels are first heard."""
    tracks: dict[str, list[Event]] = {}
    for event in timeline.events:
        tracks.setdefault(event.label, []).append(event)
    seconds = {
        label: sum(event.offset - event.onset for event in own) for label, own in tracks.items()
    }
    shown = sorted(tracks, key=lambda label: -seconds[label])[:TRACKS_SHOWN]
    return {label: own for label, own in tracks.items() if label in shown}


def _draw_tracks(axes: "Axes", tracks: "dict[str, list[Event]]", timeline: "Timeline") -> None:
    for place, events in enumerate(tracks.values()):
        spans = [(event.onset, event.offset - event.onset) for event in events]
        colours = [("tab:blue", 0.3 + 0.7 * (event.score or 0.0)) for event in events]
        # The edge keeps an event of a second to be seen in hours.
        axes.broken_barh(spans, (place - 0.4, 0.8), facecolors=colours, edgecolors=colours)
    axes.set_yticks(range(len(tracks)), list(tracks), parse_math=False)
    axes.set_ylim(max(2, len(tracks)) - 0.5, -0.5)  # the first label on top
    others = len({event.label for event in timeline.events}) - len(tracks)
    if others or not tracks:
        title = f"and {others} labels with less time" if others else "no events"
        axes.set_title(title, fontsize="medium")


def _draw_level(axes: "Axes", timeline: "Timeline") -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    levels = timeline.levels.clip(LOWEST_DBFS, 0.0)
    size = 1 + len(levels) // MAX_COLUMNS
    highest = [levels[at : at + size].max() for at in range(0, len(levels), size)]
    times = [at * timeline.hop for at in range(0, len(levels), size)]
    axes.fill_between(times, highest, LOWEST_DBFS, step="post", color="tab:grey")
    axes.set_ylim(LOWEST_DBFS, 0.0)
    axes.set_ylabel("dBFS")
    axes.set_xlim(0.0, timeline.seconds)
    fitting = [step for step in TICK_SECONDS if timeline.seconds <= MOST_TICKS * step]
    step = fitting[0] if fitting else math.ceil(timeline.seconds / MOST_TICKS / 86400) * 86400
    axes.xaxis.set_major_locator(MultipleLocator(step))
    digits = 1 if step < 1 else 0
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: clock(max(0.0, at), digits)))
    axes.set_xlabel("time")
