"""Soundscapes: known times, levels and overlaps; reproducible; no source in two splits."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle.data import read, soundscapes, strong
from auricle.data.soundscapes import SoundscapeConfig, divide, make, sounding
from auricle.errors import ConfigError, DataError

RATE = 16_000
LABELS = ("Bark", "Bell", "Rain")
SHARES = {"validation": 0.25, "test": 0.25}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Clips of tones after half a second of silence, by label; and a folder of backgrounds."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for number, label in enumerate(LABELS):
        (folder / "events" / label).mkdir(parents=True)
        for take in range(4):
            times = np.arange(round(RATE * (0.4 + 0.2 * take))) / RATE
            tone = 0.3 * np.sin(2 * np.pi * (1000 + 700 * number + 50 * take) * times)
            samples = np.concatenate([np.zeros(RATE // 2), tone, np.zeros(RATE)])
            soundfile.write(folder / "events" / label / f"{take}.wav", samples, RATE)
    (folder / "backgrounds").mkdir()
    for take in range(4):
        noise = random.normal(size=RATE * (4 if take else 12), scale=0.01 * (take + 1))
        soundfile.write(folder / "backgrounds" / f"{take}.wav", noise, RATE)
    return folder


def made(sounds: Path, out: Path, **settings):
    config = SoundscapeConfig(**({"count": 8, "seconds": 8.0} | settings))
    events = divide(read(sounds / "events"), SHARES, config.seed)
    backgrounds = divide(read(sounds / "backgrounds", labelled=False), SHARES, config.seed)
    return make(events, backgrounds, config, out)


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_makes_the_same_and_more_begin_with_the_same(sounds, tmp_path):
    for name, count, seed in (("a", 3, 0), ("b", 3, 0), ("more", 5, 0), ("other", 3, 1)):
        made(sounds, tmp_path / name, count=count, seed=seed)
    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b") != digest(tmp_path / "other")
    more = digest(tmp_path / "more")
    assert {name: more[name] for name in first if name.endswith(".flac")} == {
        name: value for name, value in first.items() if name.endswith(".flac")
    }
    assert len(first) == 9 + 2


def test_the_table_is_read_as_strong_labels(sounds, tmp_path):
    labels = made(sounds, tmp_path)
    again = strong.read(tmp_path / "events.csv")
    assert {each.split for each in again.recordings} == {"train", "validation", "test"}
    assert len(again.recordings) == 24 == len(labels.recordings)
    assert again.labels == list(LABELS)
    for ours, read_again in zip(labels.recordings, again.recordings, strict=True):
        assert ours.path == read_again.path
        assert soundfile.info(ours.path).duration == 8.0
        for one, two in zip(ours.events, read_again.events, strict=True):
            assert (two.onset, two.offset) == pytest.approx((one.onset, one.offset), abs=6e-4)


def test_no_source_is_in_two_splits(sounds, tmp_path):
    made(sounds, tmp_path, count=30)
    rows = list(csv.DictReader((tmp_path / "sources.csv").open()))
    for column in ("clip", "background"):
        splits: dict[str, set[str]] = {}
        for row in rows:
            splits.setdefault(row[column], set()).add(Path(row["path"]).parts[1])
        assert len(splits) > 3
        assert all(len(names) == 1 for names in splits.values())


def test_events_stand_where_the_table_says_as_loud_as_asked(sounds, tmp_path):
    labels = made(sounds, tmp_path, lowest_snr=20.0, highest_snr=20.0, overlap=1, fewest=2)
    checked = 0
    for recording in labels.recordings:
        samples, _ = soundfile.read(recording.path)
        is_event = np.zeros(len(samples), bool)
        for event in recording.events:
            is_event[round(event.onset * RATE) : round(event.offset * RATE)] = True
        floor = np.sqrt(np.mean(samples[~is_event] ** 2))
        for event in recording.events:
            part = samples[round(event.onset * RATE) : round(event.offset * RATE)]
            ratio = 20 * np.log10(np.sqrt(np.mean(part**2)) / floor)
            assert ratio == pytest.approx(20.0, abs=0.5)  # with fades, and the noise below it
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("overlap", [1, 2])
def test_no_more_events_overlap_than_asked_and_never_of_one_label(sounds, tmp_path, overlap):
    labels = made(sounds, tmp_path, seconds=3.0, fewest=3, most=6, overlap=overlap)
    most = 0
    for recording in labels.recordings:
        for event in recording.events:
            others = [o for o in recording.events if o.onset <= event.onset < o.offset - 1e-9]
            most = max(most, len(others))
            assert sum(other.label == event.label for other in others) == 1
    assert most == overlap


def test_sounds_with_a_pause_are_two_events():
    tone = torch.sin(torch.arange(RATE) / 3)
    waveform = torch.cat([torch.zeros(800), tone, torch.zeros(RATE), 0.5 * tone])
    assert sounding(waveform, RATE) == [
        pytest.approx((800, 800 + RATE), abs=320),
        pytest.approx((800 + 2 * RATE, 800 + 3 * RATE), abs=320),
    ]
    short = torch.cat([tone, torch.zeros(RATE // 4), tone])
    assert len(sounding(short, RATE)) == 1
    assert sounding(torch.zeros(RATE), RATE) == []


def test_splits_of_a_manifest_are_kept(noise_clips):
    manifest = read(noise_clips(split=["train", "train", "test", "test"]))
    parts = divide(manifest, SHARES, 0)
    assert {name: len(part.clips) for name, part in parts.items()} == {"test": 2, "train": 2}


def test_a_split_needs_a_background(sounds, tmp_path):
    events = divide(read(sounds / "events"), SHARES, 0)
    backgrounds = divide(read(sounds / "backgrounds", labelled=False), {}, 0)
    with pytest.raises(DataError) as caught:
        make(events, backgrounds, SoundscapeConfig(count=1), tmp_path)
    assert str(caught.value) == (
        "no background is of split test. Backgrounds of a manifest with splits are used in these "
        "alone; a folder of sounds is divided as the events are."
    )


def test_a_silent_clip_is_no_event(sounds, tmp_path):
    (tmp_path / "events" / "Hush").mkdir(parents=True)
    path = tmp_path / "events" / "Hush" / "0.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    backgrounds = divide(read(sounds / "backgrounds", labelled=False), {}, 0)
    with pytest.raises(DataError) as caught:
        made_of = divide(read(tmp_path / "events"), {}, 0)
        make(made_of, backgrounds, SoundscapeConfig(count=1), tmp_path / "out")
    assert str(caught.value) == f"{path}: 0.wav is silent, so it cannot be an event."


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"count": 0}, "count must be at least 1, got 0."),
        ({"seconds": 0.5}, "seconds must be from 1 to 36000, got 0.5."),
        (
            {"fewest": 5},
            "bounds are out of order: events from 5 to 4, signal-to-noise from 0 to 20 dB.",
        ),
        (
            {"lowest_snr": 30.0},
            "bounds are out of order: events from 1 to 4, signal-to-noise from 30 to 20 dB.",
        ),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError) as caught:
        SoundscapeConfig(**settings)
    assert str(caught.value) == message
    assert soundscapes.TABLE == "events.csv"
