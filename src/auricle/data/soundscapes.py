"""Soundscapes: events from labelled clips, laid over backgrounds at known times.

What a soundscape holds depends on the seed, its split and its number alone, so that more of them
begin with the same. Clips and backgrounds are of one split each, whole groups at a time.

Shapes: S samples of a soundscape.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle import audio
from auricle.atomic import file_beside
from auricle.data import strong
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.reading import TEST, TRAIN, VALIDATION
from auricle.data.splitting import split_by_group
from auricle.data.strong import Event, MarkedRecording, StrongLabels
from auricle.errors import ConfigError, DataError, refused

TABLE, SOURCES = "events.csv", "sources.csv"
SOURCE_COLUMNS = ("path", "onset", "label", "clip", "snr_db", "background")
FRAME_SECONDS = 0.02
SOUND_DECIBELS = 40.0  # below an event's loudest frame it is over
PAUSE_SECONDS = 0.5  # from which on what follows is another event
SHORTEST_SECONDS = 0.1  # of an event
FADE_SECONDS = 0.01  # at the ends of an event
BACKGROUND_DBFS = -40.0  # RMS
TRIES = 20  # to find a place for an event


@dataclass(frozen=True)
class SoundscapeConfig:
    """What soundscapes are like.

    Attributes:
        count: of each split.
        seconds: length of each.
        fewest, most: clips in each.
        lowest_snr, highest_snr: of events, in dB above the background under them.
        overlap: how many events may be at one time.
        sample_rate: in Hz.
    """

    count: int = 100
    seconds: float = 10.0
    fewest: int = 1
    most: int = 4
    lowest_snr: float = 0.0
    highest_snr: float = 20.0
    overlap: int = 2
    sample_rate: int = 16_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no soundscape.

        Raises:
            ConfigError: naming what is too small, or out of order.
        """
        for name, least in {"count": 1, "fewest": 0, "overlap": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if not 1 <= self.seconds <= 36_000:
            raise ConfigError(f"seconds must be from 1 to 36000, got {self.seconds:g}.")
        if self.most < max(1, self.fewest) or not self.lowest_snr <= self.highest_snr < 100:
            raise ConfigError(
                f"bounds are out of order: events from {self.fewest} to {self.most}, "
                f"signal-to-noise from {self.lowest_snr:g} to {self.highest_snr:g} dB."
            )


@dataclass(frozen=True)
class Placed:
    """A clip's sounds in a soundscape: their events, and how they were made."""

    events: tuple[Event, ...]
    clip: Path
    snr_db: float


def divide(manifest: Manifest, shares: dict[str, float], seed: int) -> dict[str, Manifest]:
    """Return the clips of each split: the manifest's own, or else drawn by whole groups.

    Args:
        shares: of validation and test, where the manifest has no splits; a share of 0 is none.

    Raises:
        DataError: there are too few groups.
    """
    if manifest.splits:
        return {name: manifest.select(name) for name in manifest.splits}
    parts, rest = {}, manifest
    left = 1.0
    for name in (TEST, VALIDATION):
        if shares.get(name, 0.0):
            rest, parts[name] = split_by_group(rest, shares[name] / left, seed)
            left -= shares[name]
    return {TRAIN: rest, **dict(reversed(parts.items()))}


def make(
    events: dict[str, Manifest],
    backgrounds: dict[str, Manifest],
    config: SoundscapeConfig,
    out: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> StrongLabels:
    """Write soundscapes of every split into `out`, with `events.csv` and `sources.csv`.

    Args:
        events, backgrounds: clips by split, as `divide` gives them.
        progress: is called with 1 after each.

    Raises:
        DataError: a split has events and no background, or no clip of a single label; or `out`
            cannot be written.
        AudioError: a sound cannot be read.
    """
    missing = sorted(events.keys() - backgrounds.keys())
    if missing:
        raise DataError(
            f"no background is of split {missing[0]}. Backgrounds of a manifest with splits are "
            "used in these alone; a folder of sounds is divided as the events are."
        )
    recordings, rows = [], []
    with refused(DataError, f"{out}: cannot be written"):
        for number, split in enumerate(sorted(events)):
            chooser = _Chooser(events[split], backgrounds[split], config)
            folder = out / "audio" / split
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(config.count):
                random = np.random.default_rng([config.seed, number, index])
                waveform, placed, background = chooser.soundscape(random)
                path = folder / f"{index:05d}.flac"
                with file_beside(path) as part:
                    soundfile.write(part, waveform.numpy(), config.sample_rate, format="FLAC")
                found = tuple(sorted(_all_events(placed), key=lambda event: event.onset))
                recordings.append(MarkedRecording(path, found, "", split))
                rows += [_row(path.relative_to(out), each, background) for each in placed]
                progress(1)
        with (out / SOURCES).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([SOURCE_COLUMNS, *rows])
    labels = StrongLabels(out, tuple(recordings))
    strong.write(labels, out / TABLE)
    return labels


def sounding(waveform: Tensor, sample_rate: int) -> list[tuple[int, int]]:
    """Return from where to where something sounds in samples `(S,)`, apart by PAUSE_SECONDS.

    A frame sounds if it is less than SOUND_DECIBELS below the loudest one.
    """
    size = round(FRAME_SECONDS * sample_rate)
    frames = torch.nn.functional.pad(waveform, (0, -len(waveform) % size)).view(-1, size)
    power = frames.square().mean(dim=1)
    active = torch.nonzero(power > power.max() * 10 ** (-SOUND_DECIBELS / 10)).flatten().tolist()
    spans: list[tuple[int, int]] = []
    for frame in active:
        start, end = frame * size, min((frame + 1) * size, len(waveform))
        if spans and start - spans[-1][1] < PAUSE_SECONDS * sample_rate:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return [span for span in spans if span[1] - span[0] >= SHORTEST_SECONDS * sample_rate]


class _Chooser:
    """Draws the soundscapes of one split."""

    def __init__(self, events: Manifest, backgrounds: Manifest, config: SoundscapeConfig):
        self.config = config
        self.backgrounds = list(backgrounds.clips)
        self.by_label: dict[str, list[Clip]] = {}
        for clip in events.clips:
            if len(clip.labels) == 1:  # else it is not known which of them is when
                self.by_label.setdefault(clip.labels[0], []).append(clip)
        if not self.by_label:
            raise DataError(
                f"{events.source}: an event is a clip with one label, and there is none."
            )

    def soundscape(self, random: np.random.Generator) -> tuple[Tensor, list[Placed], Path]:
        """Return samples `(S,)`, the clips in them, and the file of the background."""
        rate = self.config.sample_rate
        background, path = self._background(random)
        mixture = background.clone()
        free = np.full(len(mixture), self.config.overlap, np.int64)  # events that still fit
        placed: list[Placed] = []
        for _ in range(random.integers(self.config.fewest, self.config.most + 1)):
            label = sorted(self.by_label)[random.integers(len(self.by_label))]
            clip = self.by_label[label][random.integers(len(self.by_label[label]))]
            snr_db = float(random.uniform(self.config.lowest_snr, self.config.highest_snr))
            sound, spans = _loaded(clip, rate, len(mixture))
            start = _place(random, spans, len(sound), free, _taken(placed, label, rate))
            if start is None:
                continue
            for first, last in spans:
                under = background[start + first : start + last]
                scale = _rms(under) / _rms(sound[first:last]) * 10 ** (snr_db / 20)
                part = _faded(sound[first:last] * scale, rate)
                mixture[start + first : start + last] += part
                free[start + first : start + last] -= 1
            times = [((start + first) / rate, (start + last) / rate) for first, last in spans]
            events = tuple(Event(onset, offset, label) for onset, offset in times)
            placed.append(Placed(events, clip.path, snr_db))
        return mixture / max(1.0, float(mixture.abs().max()) * 1.001), placed, path

    def _background(self, random: np.random.Generator) -> tuple[Tensor, Path]:
        """A stretch of a background as long as a soundscape, repeated where it is shorter."""
        clip = self.backgrounds[random.integers(len(self.backgrounds))]
        seconds, rate = self.config.seconds, self.config.sample_rate
        surplus = max(0.0, audio.duration(clip.sound()) - seconds)
        sound = audio.load_part(clip.sound(), rate, float(random.uniform(0, surplus)), seconds)
        length = round(seconds * rate)
        sound = sound.repeat(-(-length // len(sound)))[:length]
        level = _rms(sound)
        if level < 1e-6:  # silence has no level to be brought to
            sound = torch.from_numpy(random.normal(size=length).astype(np.float32))
            level = _rms(sound)
        return sound * (10 ** (BACKGROUND_DBFS / 20) / level), clip.path


def _loaded(clip: Clip, sample_rate: int, longest: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """A clip from its first sound on, at most half a soundscape, and where it sounds."""
    waveform = audio.load(clip.sound(), sample_rate)
    spans = sounding(waveform, sample_rate)
    if not spans:
        raise DataError(f"{clip.where}: {clip.path.name} is silent, so it cannot be an event.")
    first = spans[0][0]
    end = min(spans[-1][1], first + longest // 2)
    kept = [(start - first, min(stop, end) - first) for start, stop in spans if start < end]
    shortest = SHORTEST_SECONDS * sample_rate
    return waveform[first:end], [span for span in kept if span[1] - span[0] >= shortest]


def _place(
    random: np.random.Generator,
    spans: Sequence[tuple[int, int]],
    length: int,
    free: NDArray[np.int64],
    taken: NDArray[np.int64],
) -> int | None:
    """Where a clip may begin: beside others of its label, and not over too many; None: nowhere."""
    for _ in range(TRIES):
        start = int(random.integers(0, len(free) - length + 1))
        places = [(start + first, start + last) for first, last in spans]
        alone = all(last <= begin or first >= end for first, last in places for begin, end in taken)
        if alone and all(free[first:last].min() > 0 for first, last in places):
            return start
    return None


def _taken(placed: Sequence[Placed], label: str, sample_rate: int) -> NDArray[np.int64]:
    """Where a label is already, `(N, 2)` in samples."""
    events = [event for event in _all_events(placed) if event.label == label]
    times = [(event.onset, event.offset) for event in events]
    return np.round(np.array(times).reshape(-1, 2) * sample_rate).astype(np.int64)


def _all_events(placed: Sequence[Placed]) -> Iterator[Event]:
    for each in placed:
        yield from each.events


def _rms(samples: Tensor) -> float:
    return max(1e-9, float(samples.double().square().mean().sqrt()))


def _faded(samples: Tensor, sample_rate: int) -> Tensor:
    """Samples that rise from zero and fall to it, so that a cut is no click."""
    size = min(round(FADE_SECONDS * sample_rate), len(samples) // 2)
    ramp = torch.linspace(0, 1, size)
    gains = torch.ones(len(samples))
    gains[:size], gains[len(samples) - size :] = ramp, ramp.flip(0)
    return samples * gains


def _row(path: Path, placed: Placed, background: Path) -> list[str]:
    event = placed.events[0]
    onset, snr = f"{event.onset:.3f}", f"{placed.snr_db:.1f}"
    return [path.as_posix(), onset, event.label, str(placed.clip), snr, str(background)]
