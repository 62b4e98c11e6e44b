"""The picture of a recording."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio, features
from auricle.data.strong import Event
from auricle.errors import ConfigError, MissingExtraError
from auricle.features import EfficientATConfig, Fbank, FbankConfig
from auricle.inference import Prediction, Recognition, plot
from auricle.inference.timeline import Columns, Timeline

RATE = 16_000
PREDICTIONS = [Prediction("dog $x$", 0.9), Prediction("鳥の声", 0.1)]
HEARD = Recognition(0.0, 3.0, PREDICTIONS, None, silence=False)


@pytest.fixture
def fbank() -> Fbank:
    return Fbank(FbankConfig(num_mels=32))


@pytest.fixture
def sound(tmp_path) -> Path:
    path = tmp_path / "a $sound$ 鳥.wav"
    noise = np.random.default_rng(0).normal(size=3 * RATE, scale=0.1)
    soundfile.write(path, noise, RATE, subtype="FLOAT")
    return path


def test_a_picture_is_written_where_asked(tmp_path, fbank, sound):
    out = tmp_path / "new folder" / "picture.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot.save(sound, HEARD, fbank, out)
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("block_seconds", [30.0, 0.5, 0.013])
def test_blocks_join_without_a_seam(fbank, sound, monkeypatch, block_seconds):
    blocks = audio.blocks
    monkeypatch.setattr(audio, "blocks", lambda *given: blocks(*given, block_seconds))
    image = plot.spectrogram(sound, 3.0, fbank)
    whole, _ = fbank.log_mel(audio.load(sound, RATE)[None])
    torch.testing.assert_close(image, whole[0].T, atol=1e-3, rtol=0)


def test_a_long_recording_has_fewer_columns_than_frames(fbank, sound, monkeypatch):
    monkeypatch.setattr(plot, "MAX_COLUMNS", 100)
    blocks = audio.blocks
    monkeypatch.setattr(audio, "blocks", lambda *given: blocks(*given, 0.5))
    image = plot.spectrogram(sound, 3.0, fbank)
    whole, _ = fbank.log_mel(audio.load(sound, RATE)[None])  # 298 frames
    assert image.shape == (32, 100)  # three frames in each column but the last
    torch.testing.assert_close(image[:, 1], whole[0, 3:6].mean(dim=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(image[:, -1], whole[0, 297], atol=1e-3, rtol=0)


@pytest.mark.parametrize("config", [FbankConfig(), EfficientATConfig()])
@pytest.mark.parametrize(
    ("scale", "brightest"),
    [
        pytest.param(0.0, (0.0, 0.01), id="silence is black"),
        pytest.param(3e-5, (0.0, 0.8), id="what is nearly silent is dark"),
        pytest.param(0.3, (1.0, 1.0), id="the loudest is the brightest"),
    ],
)
def test_colours_tell_how_loud_it_is(config, scale, brightest):
    fbank = features.build(config)
    noise = torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    image = fbank.log_mel(scale * noise)[0][0].T
    lowest, highest = plot.shown_range(image, fbank)
    assert brightest[0] <= (image.max() - lowest) / (highest - lowest) <= brightest[1]


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path, fbank, sound):
    with pytest.raises(ConfigError) as caught:
        plot.save(sound, HEARD, fbank, tmp_path / "picture.xyz")
    assert str(caught.value).startswith(
        f"{tmp_path / 'picture.xyz'}: the picture cannot be written (Format 'xyz' is not supported"
    )


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as caught:
        plot.check_installed()
    assert str(caught.value) == (
        "drawing needs the package 'matplotlib', which is not installed. "
        "Install it with: pip install 'auricle[plot]'"
    )


@pytest.mark.parametrize(
    "recognised, silence, colours, title",
    [
        ([None, None], False, ["tab:blue", "tab:blue"], ""),
        ([False, True], False, ["tab:blue", "lightgrey"], ""),  # recognised ones first
        ([False, False], False, ["lightgrey", "lightgrey"], "nothing recognised"),
        ([None, None], True, ["lightgrey", "lightgrey"], "silence"),
    ],
)
def test_what_is_not_recognised_is_grey(recognised, silence, colours, title):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    to_rgba = pytest.importorskip("matplotlib.colors").to_rgba
    axes = figure.subplots()
    best = [Prediction("dog", 0.5, recognised[0]), Prediction("cat", 0.4, recognised[1])]
    found = None if None in recognised else [each for each in best if each.recognised]
    plot._draw_labels(axes, Recognition(0.0, 3.0, best, found, silence))
    assert [bar.get_facecolor() for bar in axes.patches] == list(map(to_rgba, colours))
    assert axes.get_title() == title


def timeline(seconds: float, events: list[Event], dropped: slice = slice(0)) -> Timeline:
    num_hops = round(seconds * 10)
    mask = np.zeros(num_hops, bool)
    mask[dropped] = True
    levels = np.where(mask, -np.inf, -40.0)
    columns = Columns(np.zeros(1, np.float32))
    return Timeline(["x"], seconds, 0.1, levels, events, mask, False, columns)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn."""
    figures = []

    def keep(figure, *rest, save=plot._save):
        figures.append(figure)
        save(figure, *rest)

    monkeypatch.setattr(plot, "_save", keep)
    return figures


def test_a_timeline_has_spectrogram_tracks_and_level(tmp_path, fbank, sound, drawn):
    events = [
        Event(0.0, 1.0, "dog $x$", 0.9),
        Event(1.5, 2.0, "鳥の声", 0.1),
        Event(2, 3, "dog $x$", 1),
    ]
    out = tmp_path / "picture.png"
    given = timeline(3.0, events, dropped=slice(10, 15))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot.save_timeline(sound, sound.name, given, fbank, out)
    assert out.read_bytes().startswith(b"\x89PNG")
    spectrogram, tracks, level = drawn[0].axes
    assert [label.get_text() for label in tracks.get_yticklabels()] == ["dog $x$", "鳥の声"]
    assert [len(bars.get_paths()) for bars in tracks.collections] == [2, 1]
    image = spectrogram.images[0].get_array()
    columns = np.linspace(0, 3, image.shape[1])
    blank = (columns > 1.01) & (columns < 1.49)
    lowest = np.float32(spectrogram.images[0].get_clim()[0])
    assert (image[:, blank] == lowest).all() and (image[:, ~blank] > lowest).any()
    assert level.get_xlim() == (0.0, 3.0)


def test_a_timeline_of_hours_still_reads(tmp_path, fbank, sound, drawn):
    hours = 3 * 3600.0
    events = [Event(at, at + 1, f"label {at // 300}", 0.5) for at in range(0, int(hours), 100)]
    plot.save_timeline(sound, sound.name, timeline(hours, events), fbank, tmp_path / "hours.png")
    _, tracks, level = drawn[0].axes
    assert len(tracks.get_yticks()) == plot.TRACKS_SHOWN
    assert tracks.get_title() == "and 16 labels with less time"
    ticks = zip(level.get_xticks(), level.get_xticklabels(), strict=True)
    shown = [label.get_text() for at, label in ticks if 0 <= at <= hours]
    assert (len(shown), shown[:3]) == (13, ["0:00:00", "0:15:00", "0:30:00"])
    assert len(level.collections[0].get_paths()[0]) < 4 * plot.MAX_COLUMNS
