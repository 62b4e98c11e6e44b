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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from auricle.inference.recognition import Recognition

MAX_COLUMNS = 4096  # of the picture; more would not be seen
SIZE_INCHES = (11.0, 4.0)
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
    figure.suptitle(sound.name, parse_math=False)
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
