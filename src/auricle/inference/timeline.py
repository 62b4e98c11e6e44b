"""A recording over time: a score for each label every hop, and the events in them.

A model with a frame head answers `score_frames`. Another one scores a window around each hop, at
many times the cost, and its events are as long as the window at least.

Shapes: B waveforms, S samples, T hops of a recording, C classes, F frames of a window.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from auricle import audio
from auricle.data.strong import Event
from auricle.errors import ConfigError, DataError, UserError, refused
from auricle.features.filterbank import SILENCE_DBFS
from auricle.inference import windows
from auricle.inference.engine import Engine
from auricle.inference.events import EventSettings, find_in_columns, of_label
from auricle.inference.recognition import SILENCE, Segment
from auricle.inference.windows import Cutting, Recording

HOP_SECONDS = 0.1
WINDOW_SECONDS = 1.0  # around each hop, for a model without frame scores
PIECE_HOPS = 512  # whose scores are kept or left out together
BOX_FLOOR = 0.1  # share of a threshold below which a score does not move a box
LOWEST_POWER = 1e-30  # -300 dBFS, in place of nothing


class FrameEngine(Engine, Protocol):
    """An engine whose model has a frame head; `frame_hop` is in seconds."""

    @property
    def frame_hop(self) -> float: ...

    def score_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return scores `(B, F, C)` from 0 to 1; frame `f` is the time from `f * frame_hop` on."""


def has_frames(engine: Engine) -> TypeGuard[FrameEngine]:
    """Whether the engine gives scores of frames."""
    return getattr(engine, "frame_hop", None) is not None


@dataclass(frozen=True)
class Tracking:
    """How a recording is scored over time.

    Attributes:
        hop: seconds from one score to the next.
        window: seconds around each, for a model without frame scores.
        events: how scores become events.
        columns: labels of events; None: all.
        drop: columns of labels in whose presence nothing is kept, each with the score from which on
            it may be heard.
        keep_all: keep every score. Else those of a label that matters to no event in a stretch of
            PIECE_HOPS are 0: memory grows with what is heard, not with the number of labels.
    """

    hop: float = HOP_SECONDS
    window: float = WINDOW_SECONDS
    events: EventSettings = EventSettings()
    columns: frozenset[int] | None = None
    drop: Mapping[int, float] = field(default_factory=dict)
    keep_all: bool = True

    def __post_init__(self) -> None:
        """Refuse times that are none.

        Raises:
            ConfigError: a hop below 10 ms or above a minute, or a window shorter than the hop.
        """
        if not 0.01 <= self.hop <= 60:
            raise ConfigError(f"the hop must be from 0.01 to 60 seconds, got {self.hop:g}.")
        if not self.hop <= self.window < math.inf:
            raise ConfigError(
                f"the window must be as long as the hop ({self.hop:g} s) at least, got "
                f"{self.window:g} s."
            )

    def floor(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """From which score on each label matters, `(C,)`."""
        share = BOX_FLOOR if self.events.boxes else self.events.release
        floor = [
            0.0 if self.keep_all else share * of_label(self.events.threshold, label)
            for label in labels
        ]
        for column, threshold in self.drop.items():
            floor[column] = min(floor[column], threshold)
        return np.array(floor, np.float32)


class Columns(Sequence[NDArray[np.float32]]):
    """Scores by label, `(T,)` each, of which only stretches that reach a floor are held."""

    def __init__(self, floor: NDArray[np.float32]):
        self.floor = floor
        self.num_rows = 0
        self.pieces: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        self.rows: list[NDArray[np.float32]] = []

    def append(self, row: NDArray[np.float32]) -> None:
        """Append the scores `(C,)` of a hop."""
        self.num_rows += 1
        self.rows.append(row)
        if len(self.rows) == PIECE_HOPS:
            self.finish()

    def finish(self) -> None:
        """Put away the rows that came last."""
        if self.rows:
            piece = np.stack(self.rows)
            held = np.flatnonzero(piece.max(axis=0) >= self.floor)
            self.pieces.append((held, np.ascontiguousarray(piece[:, held])))
            self.rows = []

    def __len__(self) -> int:
        return len(self.floor)

    def __getitem__(self, column: int) -> NDArray[np.float32]:  # type: ignore[override]
        """The scores `(T,)` of a label, 0 where they were not kept."""
        values = np.zeros(self.num_rows, np.float32)
        for number, (held, piece) in enumerate(self.pieces):
            at = np.searchsorted(held, column)
            if at < len(held) and held[at] == column:
                values[number * PIECE_HOPS :][: len(piece)] = piece[:, at]
        return values

    def reached(self) -> list[int]:
        """Labels of which anything is held, in order."""
        return sorted(set(itertools.chain(*(held.tolist() for held, _ in self.pieces))))

    def erase(self, rows: NDArray[np.bool_]) -> None:
        """Set the scores of some hops `(T,)` to 0."""
        for number, (_, piece) in enumerate(self.pieces):
            piece[rows[number * PIECE_HOPS :][: len(piece)]] = 0.0


@dataclass(frozen=True)
class Timeline:
    """What is heard in a recording, over time.

    Attributes:
        labels: names of the C classes.
        seconds: length of the recording.
        hop: seconds from one score to the next.
        levels: `(T,)`, RMS of each hop in dB below full scale; -inf where it was dropped.
        events: by onset; see `events.find_events`.
        dropped: `(T,)`, whether a hop was dropped: neither its scores nor its events are here.
        is_framed: whether the model gave the scores of frames; else windows were scored.
    """

    labels: list[str]
    seconds: float
    hop: float
    levels: NDArray[np.float64]
    events: list[Event]
    dropped: NDArray[np.bool_]
    is_framed: bool
    columns: Columns = field(repr=False)

    @cached_property
    def scores(self) -> Tensor:
        """Scores `(T, C)`; hop `t` is the time from `t * hop` on. Silent hops have 0."""
        columns = [torch.from_numpy(self.columns[at]) for at in range(len(self.columns))]
        return torch.stack(columns, dim=1)

    @property
    def dropped_seconds(self) -> float:
        """Seconds of what was dropped."""
        return min(self.seconds, float(self.dropped.sum()) * self.hop)


def window_samples(engine: Engine, tracking: Tracking) -> int:
    """Length of a window around a hop: what was asked for, as far as the engine takes it."""
    size = max(round(tracking.window * engine.sample_rate), engine.shortest_samples)
    return min(size, engine.longest_samples)


def track(engine: Engine, recording: Recording, tracking: Tracking) -> Timeline:
    """Score a recording over time and find its events; read and scored in blocks.

    Raises:
        AudioError: the sound cannot be read, or holds no samples.
        ConfigError: the hop is longer than the windows that the engine takes.
    """
    rate = engine.sample_rate
    hop = round(tracking.hop * rate)
    if not has_frames(engine) and hop > engine.longest_samples:
        longest = engine.longest_samples / rate
        raise ConfigError(
            f"the hop must be no longer than a window of this model, {longest:g} s, got "
            f"{tracking.hop:g}."
        )
    meter = _Meter(recording, hop)
    size = window_samples(engine, tracking)
    if has_frames(engine):
        rows = _framed(engine, meter, hop)
    else:
        rows = _windowed(engine, meter, hop, size)
    columns = Columns(tracking.floor(engine.labels))
    for row in rows:
        columns.append(row)
    columns.finish()
    levels = meter.levels()
    columns.erase(levels < SILENCE_DBFS)
    dropped = _dropped(columns, tracking, blur=0 if has_frames(engine) else size / rate / 2)
    columns.erase(dropped)
    levels[dropped] = -math.inf
    wanted = [at for at in columns.reached() if _is_wanted(engine.labels[at], at, tracking)]
    events = find_in_columns(
        _Some(columns, wanted),
        hop / rate,
        [engine.labels[at] for at in wanted],
        tracking.events,
        dropped,
    )
    seconds = meter.num_samples / rate
    events = [_within(event, seconds) for event in events]
    return Timeline(
        list(engine.labels),
        seconds,
        hop / rate,
        levels,
        events,
        dropped,
        has_frames(engine),
        columns,
    )


class _Some(Sequence[NDArray[np.float32]]):
    """Some columns, each made as it is asked for."""

    def __init__(self, columns: Columns, places: list[int]):
        self.columns, self.places = columns, places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: int) -> NDArray[np.float32]:  # type: ignore[override]
        return self.columns[self.places[place]]


class _Meter:
    """Passes a recording's blocks on, and measures the level of each hop in them."""

    def __init__(self, recording: Recording, hop: int):
        self.recording, self.hop = recording, hop
        self.num_samples = 0
        self.powers: list[Tensor] = []

    def __iter__(self) -> Iterator[Tensor]:
        rest = torch.empty(0)
        for block in self.recording:
            self.num_samples += len(block)
            yield block
            rest = torch.cat([rest, block])
            whole = len(rest) // self.hop * self.hop
            self._measure(rest[:whole].view(-1, self.hop))
            rest = rest[whole:]
        if len(rest):
            self._measure(rest[None])

    def _measure(self, hops: Tensor) -> None:
        hops = hops.double() - hops.double().mean(dim=1, keepdim=True)  # an offset is no sound
        self.powers.append(hops.square().mean(dim=1))

    def levels(self) -> NDArray[np.float64]:
        """RMS of each hop `(T,)` in dB below full scale."""
        powers = torch.cat(self.powers) if self.powers else torch.empty(0)
        return 10 * np.log10(np.maximum(powers.numpy().astype(np.float64), LOWEST_POWER))


def _windowed(engine: Engine, meter: _Meter, hop: int, size: int) -> Iterator[NDArray[np.float32]]:
    """Scores `(C,)` of a window around each hop; beyond the recording's ends is silence."""

    def padded() -> Iterator[Tensor]:
        before = (size - hop) // 2
        yield torch.zeros(before)
        yield from meter
        num_hops = math.ceil(meter.num_samples / hop)
        if num_hops:
            yield torch.zeros((num_hops - 1) * hop + size - before - meter.num_samples)

    for segment in _segments(engine, padded(), Cutting(size, hop)):
        row = segment.values
        yield (torch.zeros_like(row) if segment.is_silent else row).numpy()


def _framed(engine: FrameEngine, meter: _Meter, hop: int) -> Iterator[NDArray[np.float32]]:
    """Scores `(C,)` of the frame at the middle of each hop, from the window it is deeper inside."""
    seconds = hop / engine.sample_rate
    segments = _segments(engine, meter, Cutting(keep_pauses=True))
    number = 0  # of the hop whose turn it is
    for segment, following in itertools.pairwise(itertools.chain(segments, [None])):
        assert segment is not None  # for the type checker
        until = segment.end + seconds / 2  # the last hop may begin only just before the end
        if following is not None:
            until = (following.start + segment.end) / 2
        while (middle := (number + 0.5) * seconds) < until - 1e-9:
            at = int((middle - segment.start) / engine.frame_hop + 1e-6)
            yield segment.values[min(at, len(segment.values) - 1)].numpy()
            number += 1


def _segments(engine: Engine, blocks: Iterable[Tensor], cutting: Cutting) -> Iterator[Segment]:
    compute = engine.score_frames if has_frames(engine) else engine.score
    for _, outcome in windows.run(engine, compute, [blocks], cutting=cutting):
        if isinstance(outcome, UserError):
            raise outcome
        yield outcome


def _dropped(columns: Columns, tracking: Tracking, blur: float) -> NDArray[np.bool_]:
    """Hops `(T,)` in which what is to be dropped may be heard: `blur` seconds to each side, too."""
    found = np.zeros(columns.num_rows, np.bool_)
    for column, threshold in tracking.drop.items():
        found |= columns[column] >= threshold
    reach = math.ceil(blur / tracking.hop - 1e-9)
    return np.asarray(sliding_window_view(np.pad(found, reach), 2 * reach + 1).any(axis=1))


def _is_wanted(label: str, column: int, tracking: Tracking) -> bool:
    """Whether a label may be an event: silence is measured, and models call loud noise so."""
    return label != SILENCE and (tracking.columns is None or column in tracking.columns)


def _within(event: Event, seconds: float) -> Event:
    """An event that ends with the recording, whose last hop may be longer."""
    return Event(event.onset, min(event.offset, seconds), event.label, event.score)


def clock(seconds: float, digits: int = 0) -> str:
    """Return a time as hours, minutes and seconds: 0:20:02, or 0:20:02.5 with one digit."""
    ticks = round(seconds * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, rest = divmod(whole, 60)
    fraction = f".{part:0{digits}d}" if digits else ""
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}{fraction}"


def cut_events(
    source: audio.Source, name: str, events: Sequence[Event], folder: Path
) -> list[Path]:
    """Write each event of the sound `name` into `folder` as a WAV file of its own, mono.

    They are called `dog.wav_0-20-02.5_Bark.wav`, by sound, onset and label.

    Raises:
        AudioError: the sound cannot be read.
        DataError: the folder cannot be written to.
    """
    import soundfile

    rate = audio.probe(source).sample_rate
    written = []
    with refused(DataError, f"{folder}: cannot be written", " Name another folder."):
        folder.mkdir(parents=True, exist_ok=True)
        for event in events:
            label = re.sub(r"[^\w ,()-]", "_", event.label)
            time = clock(event.onset, 1).replace(":", "-")
            written.append(folder / f"{name}_{time}_{label}.wav")
            part = audio.load_part(source, rate, event.onset, event.offset - event.onset)
            soundfile.write(written[-1], part.numpy(), rate, subtype="FLOAT")
    return written
