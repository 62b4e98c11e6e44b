"""Recordings of any length through an engine: cut into windows, run in batches, joined again.

Batches go across recordings, whatever these are: files, waveforms, or a stream without an end.

Shapes: S samples of a recording, W samples of a window, n windows in a batch, C classes.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor

from auricle import audio
from auricle.errors import AudioError, CheckpointError, ConfigError, UserError, unknown_name
from auricle.inference.engine import Engine
from auricle.inference.recognition import Segment, level, without_pauses

Recording: TypeAlias = Iterable[Tensor]  # consecutive blocks (S,), mono, at the engine's rate
Compute: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # an engine's `score` or `embed`

Sound: TypeAlias = audio.Source | Callable[[], audio.Source]  # a file, or what opens it

MOST_PADDING = 0.25  # share of a window in a batch of different lengths
BATCHES_AHEAD = 4  # batches that the windows waiting for others like them could fill
FILES_AHEAD = 16  # recordings that are opened before their turn
DECODERS = 2  # threads


@dataclass(frozen=True)
class Window:
    """Samples `(W,)` of a recording, and the position of the first of them."""

    start: int
    waveform: Tensor

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self.start + len(self.waveform)


@dataclass(frozen=True)
class Limits:
    """What bounds the memory that `run` takes.

    Attributes:
        samples: in one batch, padding included; 65 s at 16 kHz. One window is always a batch.
        windows: in one batch.
    """

    samples: int = 1 << 20
    windows: int = 64


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Cutting:
    """How recordings are cut into windows, in samples.

    Attributes:
        length: None: the engine's longest.
        hop: from one window's start to the next's; None: half a window.
        keep_pauses: compute with a window as it is, because times in it count.
    """

    length: int | None = None
    hop: int | None = None
    keep_pauses: bool = False


DEFAULT_CUTTING = Cutting()


def run(
    engine: Engine,
    compute: Compute,
    recordings: Iterable[Recording],
    limits: Limits = DEFAULT_LIMITS,
    cutting: Cutting = DEFAULT_CUTTING,
) -> Iterator[tuple[int, Segment | UserError]]:
    """Yield each recording's windows in order, as `(number of the recording, segment)`.

    A recording that fails gives its error, after the segments that were there before; the others go
    on. Recordings are read as they are needed, and no more is held than a few batches. Several of
    them are computed at once, on a part of the cores each, where the engine gains by it; which
    windows are a batch does not depend on that.

    Args:
        compute: `engine.score` or `engine.embed`.
    """
    entries: deque[_Entry] = deque()  # in order, from the oldest that was not given out on
    waiting: list[_Entry] = []
    with _Batches(engine, compute) as batches:
        for entry in _entries(engine, recordings, cutting, batches.beside):
            entries.append(entry)
            if entry.window:
                waiting.append(entry)
            if (
                len(waiting) >= BATCHES_AHEAD * limits.windows
                or sum(each.size for each in waiting) >= BATCHES_AHEAD * limits.samples
            ):
                batches.compute(_take(waiting, limits), is_alone=not waiting)
            yield from _finished(entries)
        while waiting:
            batches.compute(_take(waiting, limits), is_alone=not waiting)
            yield from _finished(entries)
        batches.finish()
        yield from _finished(entries)


def grouped(
    outcomes: Iterable[tuple[int, Segment | UserError]],
) -> Iterator[list[Segment] | UserError]:
    """Yield all segments of each recording, or its error, from what `run` yields."""
    for _, found in itertools.groupby(outcomes, key=lambda pair: pair[0]):
        segments: list[Segment] = []
        error: UserError | None = None
        for _, outcome in found:
            if isinstance(outcome, UserError):
                error = outcome
            else:
                segments.append(outcome)
        yield error or segments


def run_files(
    engine: Engine, compute: Compute, sounds: Iterable[Sound], limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, Segment | UserError]]:
    """`run` of sound files of any length, which are read in blocks and ahead, in threads."""
    return run(engine, compute, read(sounds, engine.sample_rate), limits)


def join_files(
    engine: Engine,
    compute: Compute,
    sounds: Iterable[Sound],
    limits: Limits = DEFAULT_LIMITS,
    aggregate: "Aggregate | None" = None,
) -> Iterator[Tensor | UserError]:
    """Yield the joined values of each sound file, or its error, in the order of the files.

    Args:
        aggregate: None: `mean`.
    """
    for found in grouped(run_files(engine, compute, sounds, limits)):
        yield found if isinstance(found, UserError) else join(found, aggregate or mean).values


def read(sounds: Iterable[Sound], sample_rate: int) -> Iterator[Recording]:
    """Yield sound files as blocks, in order, each begun in a thread before its turn comes.

    Short files are then already decoded; of longer ones the first block is.
    """
    tasks: SimpleQueue[tuple[Sound, Future[Recording]] | None] = SimpleQueue()

    def decode() -> None:
        while task := tasks.get():
            sound, begun = task
            begun.set_result(_begun(sound, sample_rate))

    for _ in range(DECODERS):
        # A daemon: one that waits for a pipe must not keep the process from ending.
        threading.Thread(target=decode, daemon=True).start()
    ahead: deque[Future[Recording]] = deque()
    try:
        for sound in sounds:
            ahead.append(Future())
            tasks.put((sound, ahead[-1]))
            if len(ahead) > FILES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for _ in range(DECODERS):
            tasks.put(None)


def split(blocks: Iterable[Tensor], length: int, hop: int | None = None) -> Iterator[Window]:
    """Cut a recording, given as consecutive blocks, into windows of `length` samples.

    A window starts every `hop` samples (None: half a window), and one more ends where the recording
    ends, so every sample is in a window and all are equally long. A recording of at most `length`
    samples is one window, as short as it is. No more is held than a block, a window and a hop;
    blocks are not copied where a window lies in one.
    """
    hop = hop or max(1, length // 2)
    held = torch.empty(0)  # the recording from `start` on, where the last window began
    start = 0
    step = 0  # from `start` to the next window: nothing before the first one
    for block in blocks:
        held = torch.cat([held, block]) if len(held) else block
        while len(held) >= step + length:
            held, start = held[step:], start + step
            yield Window(start, held[:length])
            step = hop
    covered = length if step else 0
    if len(held) > covered:
        surplus = max(0, len(held) - length)
        yield Window(start + surplus, held[surplus:])


def mean(scores: Iterable[Tensor]) -> Tensor:
    """Mean `(C,)` over all rows of the batches `(n, C)`, which are added in double precision."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for batch in scores:
        total = total + batch.double().sum(dim=0)
        count += len(batch)
    return (total / count).float()


def maximum(scores: Iterable[Tensor]) -> Tensor:
    """Largest value of every class, `(C,)`, over all rows of the batches `(n, C)`."""
    return torch.stack([batch.amax(dim=0) for batch in scores]).amax(dim=0)


Aggregate: TypeAlias = Callable[[Iterable[Tensor]], Tensor]
AGGREGATIONS: dict[str, Aggregate] = {"mean": mean, "max": maximum}


def aggregation(name: str) -> Aggregate:
    """Return the function that joins the scores of windows.

    Raises:
        ConfigError: the name is not in the table.
    """
    if name not in AGGREGATIONS:
        raise ConfigError(unknown_name("aggregation", name, AGGREGATIONS))
    return AGGREGATIONS[name]


def join(segments: Iterable[Segment], aggregate: Aggregate = mean) -> Segment:
    """Consecutive windows of a recording as one segment, as loud as the loudest of them.

    Silent windows do not count, unless all are: pauses do not drown what sounds.
    """
    parts = list(segments)
    sounding = [part for part in parts if not part.is_silent] or parts
    values = aggregate(part.values[None] for part in sounding)
    return Segment(parts[0].start, parts[-1].end, values, max(part.level for part in parts))


def check_length(engine: Engine, num_samples: int) -> None:
    """Refuse a waveform that is too short for the engine.

    Raises:
        AudioError: it is.
    """
    if num_samples < engine.shortest_samples:
        raise AudioError(
            f"the sound lasts {1000 * num_samples / engine.sample_rate:.0f} ms; this model "
            f"needs at least {1000 * engine.shortest_samples / engine.sample_rate:.0f} ms."
        )


@dataclass(eq=False)
class _Entry:
    """A window on its way through `run`, or what became of it; None: not known yet."""

    recording: int
    window: Window | None
    sound: Tensor = field(default_factory=lambda: torch.empty(0))  # of it, what is computed with
    level: float = 0.0
    outcome: Segment | UserError | None = None

    @property
    def size(self) -> int:
        """Samples that are yet to be computed with."""
        return len(self.sound)


def _entries(
    engine: Engine, recordings: Iterable[Recording], cutting: Cutting, call: Callable[..., Any]
) -> Iterator[_Entry]:
    """The windows of all recordings, and for each recording that fails its error."""
    length = cutting.length or engine.longest_samples
    for number, blocks in enumerate(recordings):
        try:
            window = None
            for window in split(blocks, length, cutting.hop):
                check_length(engine, len(window.waveform))
                scored = call(_scored, engine, window.waveform, cutting.keep_pauses)
                yield _Entry(number, window, *scored)
            if window is None:
                raise AudioError("the recording holds no samples.")
        except UserError as error:
            yield _Entry(number, None, outcome=error)


def _scored(engine: Engine, waveform: Tensor, keep_pauses: bool) -> tuple[Tensor, float]:
    """What of a window is scored, and how loud it is without pauses."""
    sound = without_pauses(waveform, engine.sample_rate, engine.shortest_samples)
    omits_pauses = engine.omits_pauses and not keep_pauses
    return sound if omits_pauses else waveform, level(sound)


class _Batches:
    """Computes batches: one on all cores that torch may use, several at once on a part of them."""

    def __init__(self, engine: Engine, compute: Compute):
        self.engine, self.score = engine, compute
        self.num_threads = engine.batches_at_once
        self.pool: ThreadPoolExecutor | None = None
        self.one_core: ThreadPoolExecutor | None = None  # begins with the pool
        self.running: set[Future[None]] = set()  # or waiting for a thread, one at most

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in filter(None, (self.pool, self.one_core)):
            pool.shutdown(wait=False, cancel_futures=True)

    def compute(self, batch: list[_Entry], is_alone: bool) -> None:
        """Compute a batch now, or soon in a thread, unless it `is_alone`: no other is known yet."""
        if self.num_threads == 1 or (is_alone and not self.running):
            self._run(batch)
            return
        if self.pool is None:
            self.pool = _pool(self.num_threads, torch.get_num_threads() // self.num_threads)
            self.one_core = _pool(1, 1)
        self.running.add(self.pool.submit(self._run, batch))
        if len(self.running) > self.num_threads:
            done, self.running = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    def beside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, on one core once batches take the others.

        Here torch would divide even little work among all cores, and its threads spin after it.
        """
        if self.one_core is None:
            return function(*arguments)
        return self.one_core.submit(function, *arguments).result()

    def finish(self) -> None:
        """Wait for all that was begun."""
        while self.running:
            self.running.pop().result()

    def _run(self, batch: list[_Entry]) -> None:
        rows = self.score(*audio.pad_batch([entry.sound for entry in batch]))
        for entry, row in zip(batch, rows, strict=True):
            assert entry.window is not None  # for the type checker
            window, rate = entry.window, self.engine.sample_rate
            outcome: Segment | UserError = Segment(
                window.start / rate, window.end / rate, row, entry.level
            )
            if not row.isfinite().all():
                outcome = CheckpointError(
                    "the model gives scores that are not numbers. Its weights are damaged, or its "
                    "training diverged."
                )
            entry.window, entry.sound = None, torch.empty(0)  # not needed any more
            entry.outcome = outcome


def _pool(size: int, cores: int) -> ThreadPoolExecutor:
    """Threads in which torch uses so many cores each."""
    begun = threading.Barrier(size + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first call takes over what was set last, anywhere
        torch.set_num_threads(cores)
        begun.wait()

    pool = ThreadPoolExecutor(size, initializer=begin)
    for _ in range(size):
        pool.submit(int)  # begins a thread
    begun.wait()
    # Nothing new here, but for threads that begin elsewhere.
    torch.set_num_threads(torch.get_num_threads())
    return pool


def _take(waiting: list[_Entry], limits: Limits) -> list[_Entry]:
    """Take the oldest window, and those most like it in length, from `waiting`."""
    batch = _choose(waiting, limits)
    chosen = set(batch)
    waiting[:] = [entry for entry in waiting if entry not in chosen]
    return batch


def _choose(waiting: list[_Entry], limits: Limits) -> list[_Entry]:
    oldest, *others = waiting
    batch = [oldest]
    shortest = longest = oldest.size
    for entry in sorted(others, key=lambda other: abs(other.size - oldest.size)):
        shortest, longest = min(shortest, entry.size), max(longest, entry.size)
        is_full = len(batch) == limits.windows or longest * (len(batch) + 1) > limits.samples
        if is_full or shortest < (1 - MOST_PADDING) * longest:
            break
        batch.append(entry)
    return batch


def _finished(entries: deque[_Entry]) -> Iterator[tuple[int, Segment | UserError]]:
    while entries and entries[0].outcome is not None:
        entry = entries.popleft()
        assert entry.outcome is not None  # for the type checker
        yield entry.recording, entry.outcome


def _begun(sound: Sound, sample_rate: int) -> Recording:
    """The sound with its first block read; an error waits until that block is asked for."""
    try:
        blocks = audio.blocks(sound() if callable(sound) else sound, sample_rate)
        return itertools.chain([next(blocks)], blocks)
    except Exception as error:
        return _failing(error)


def _failing(error: Exception) -> Iterator[Tensor]:
    raise error
    yield  # what makes it an iterator
