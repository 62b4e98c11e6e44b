"""Windows: where they lie, how they are run in batches across recordings, how they are joined."""

import itertools
import math
import threading
import time

import pytest
import torch

from auricle.errors import AudioError, ConfigError, UserError
from auricle.inference import windows
from auricle.inference.windows import Limits


def recording(num_samples: int) -> torch.Tensor:
    return torch.arange(1.0, num_samples + 1)


def positions(num_samples: int, length: int, hop: int | None = None) -> list[tuple[int, int]]:
    found = windows.split([recording(num_samples)], length, hop)
    return [(window.start, window.end) for window in found]


@pytest.mark.parametrize(
    "num_samples, expected",
    [
        (1, [(0, 1)]),  # as short as it is
        (10, [(0, 10)]),  # exactly one
        (11, [(0, 10), (1, 11)]),  # the last one ends with the recording, as long as the others
        (15, [(0, 10), (5, 15)]),
        (16, [(0, 10), (5, 15), (6, 16)]),
        (25, [(0, 10), (5, 15), (10, 20), (15, 25)]),
    ],
)
def test_windows_overlap_by_half_and_the_last_ends_with_the_recording(num_samples, expected):
    assert positions(num_samples, length=10) == expected


@pytest.mark.parametrize(
    "num_samples, hop, expected",
    [
        (25, 10, [(0, 10), (10, 20), (15, 25)]),
        (20, 10, [(0, 10), (10, 20)]),
        (14, 2, [(0, 10), (2, 12), (4, 14)]),
        (7, 3, [(0, 7)]),
    ],
)
def test_windows_start_a_hop_apart(num_samples, hop, expected):
    assert positions(num_samples, 10, hop) == expected


@pytest.mark.parametrize("num_samples", [1, 9, 10, 11, 37, 100])
@pytest.mark.parametrize("length", [2, 7, 10])
def test_every_sample_is_heard_where_it_stands(num_samples, length):
    sound = recording(num_samples)
    heard = torch.zeros(num_samples)
    for window in windows.split([sound], length):
        assert len(window.waveform) == min(length, num_samples)
        assert torch.equal(window.waveform, sound[window.start : window.end])
        heard[window.start : window.end] = 1
    assert heard.all()


@pytest.mark.parametrize("block", [1, 3, 10, 64])
def test_blocks_give_the_windows_of_the_whole(block):
    sound = recording(60)
    whole = list(windows.split([sound], 10))
    streamed = list(windows.split(sound.split(block), 10))
    assert [window.start for window in streamed] == [window.start for window in whole]
    for one, other in zip(streamed, whole, strict=True):
        assert torch.equal(one.waveform, other.waveform)


def test_no_more_than_a_block_and_one_and_a_half_windows_is_held():
    longest = max(
        window.waveform.untyped_storage().nbytes() // 4
        for window in windows.split((recording(100) for _ in range(100)), 50)
    )
    assert longest <= 100 + 75


def test_mean_and_max_do_not_depend_on_the_batches():
    scores = torch.rand(7, 3)
    torch.testing.assert_close(windows.mean(scores.split(2)), scores.mean(dim=0))
    torch.testing.assert_close(windows.maximum(scores.split(3)), scores.amax(dim=0))


def test_an_unknown_aggregation_is_refused():
    with pytest.raises(ConfigError) as caught:
        windows.aggregation("maxx")
    assert str(caught.value) == (
        "unknown aggregation 'maxx'. Did you mean 'max'? Known: max, mean."
    )


# --- running them


class SumEngine:
    """Gives each waveform its sum and its length; takes 4 to 10 samples at 2 Hz."""

    labels: list[str] = []
    thresholds = None
    sample_rate = 2
    shortest_samples = 4
    longest_samples = 10
    batches_at_once = 1
    omits_pauses = False

    def __init__(self):
        self.sizes: list[tuple[int, int]] = []  # of the batches

    def score(self, waveforms, lengths):
        self.sizes.append(tuple(waveforms.shape))
        return torch.stack([waveforms.sum(dim=1), lengths.float()], dim=1)

    embed = score


@pytest.fixture
def engine():
    return SumEngine()


def lengths_of(outcomes):
    return [None if isinstance(each, UserError) else each.values[1].item() for _, each in outcomes]


def test_each_recordings_windows_come_in_order_with_their_times(engine):
    found = list(windows.run(engine, engine.score, [[recording(16)], [recording(7)]]))
    assert [(number, each.start, each.end) for number, each in found] == [
        (0, 0.0, 5.0),
        (0, 2.5, 7.5),
        (0, 3.0, 8.0),
        (1, 0.0, 3.5),
    ]
    assert [each.values[0].item() for _, each in found] == [55.0, 105.0, 115.0, 28.0]
    assert found[3][1].level == pytest.approx(10 * math.log10(4.0))


def test_batches_go_across_recordings_of_similar_length(engine):
    sizes = [10, 4, 10, 4, 9, 4]
    found = list(windows.run(engine, engine.score, [[recording(size)] for size in sizes]))
    assert [number for number, _ in found] == list(range(6))
    assert lengths_of(found) == sizes
    assert engine.sizes == [(3, 10), (3, 4)]


def test_a_batch_holds_no_more_samples_and_windows_than_allowed(engine):
    recordings = [[recording(10)] for _ in range(7)]
    list(windows.run(engine, engine.score, recordings, Limits(samples=39)))
    list(windows.run(engine, engine.score, recordings, Limits(windows=2)))
    list(windows.run(engine, engine.score, recordings, Limits(samples=5)))
    assert engine.sizes == [*[(3, 10)] * 2, (1, 10), *[(2, 10)] * 3, (1, 10), *[(1, 10)] * 7]


def test_recordings_are_read_as_they_are_needed(engine):
    opened = []

    def endless():
        for number in itertools.count():
            opened.append(number)
            yield [recording(10)]

    found = windows.run(engine, engine.score, endless(), Limits(samples=20))
    assert [next(found)[0] for _ in range(50)] == list(range(50))
    assert len(opened) < 50 + 2 * windows.BATCHES_AHEAD + 2


def test_a_stream_without_an_end_is_answered_window_by_window(engine):
    given = []

    def blocks():
        for number in itertools.count():
            given.append(number)
            yield torch.ones(5)

    found = windows.run(engine, engine.score, [blocks()], Limits(samples=1))
    assert [next(found)[1].end for _ in range(4)] == [5.0, 7.5, 10.0, 12.5]
    assert len(given) == 5  # of half a window each: no answer waits for the next block


def test_a_recording_that_fails_does_not_stop_the_others(engine):
    def damaged():
        yield recording(10)
        raise AudioError("damaged.")

    recordings = [[recording(5)], damaged(), [recording(3)], [], [recording(6)]]
    found = list(windows.grouped(windows.run(engine, engine.score, recordings)))
    assert [str(each) if isinstance(each, UserError) else len(each) for each in found] == [
        1,
        "damaged.",
        "the sound lasts 1500 ms; this model needs at least 2000 ms.",
        "the recording holds no samples.",
        1,
    ]


def test_an_error_of_ours_is_not_taken_for_the_recordings(engine):
    def broken():
        yield recording(10)
        raise KeyError("ours")

    with pytest.raises(KeyError):
        list(windows.grouped(windows.run(engine, engine.score, [broken()])))


def test_files_are_read_ahead_in_threads_and_given_in_order(monkeypatch):
    threads, opened = set(), []

    def blocks(source, sample_rate):
        threads.add(threading.current_thread())
        opened.append(source)
        time.sleep(0.001 * (source % 3))
        if source == 5:
            raise AudioError("five.")
        yield torch.full((sample_rate,), float(source))

    monkeypatch.setattr(windows.audio, "blocks", blocks)
    found = windows.read(iter(range(100)), 4)
    for number in range(5):
        assert [block.tolist() for block in next(found)] == [[float(number)] * 4]
    assert len(opened) <= 5 + windows.FILES_AHEAD + 1
    with pytest.raises(AudioError, match="five."):
        list(next(found))
    assert next(iter(next(found)))[0] == 6
    found.close()
    assert threading.main_thread() not in threads
    for thread in list(threads):  # the other one may only begin
        thread.join(timeout=10)
        assert not thread.is_alive()


# --- several batches at once


class ParallelEngine(SumEngine):
    """The same, for two batches at once; the first waits until another is computed with it."""

    batches_at_once = 2

    def __init__(self):
        super().__init__()
        self.pair = threading.Barrier(2)
        self.were_two = False
        self.threads: set[threading.Thread] = set()
        self.cores: set[int] = set()

    def score(self, waveforms, lengths):
        self.threads.add(threading.current_thread())
        if threading.current_thread() is not threading.main_thread():
            self.cores.add(torch.get_num_threads())
            if not self.were_two:
                self.pair.wait(timeout=10)
                self.were_two = True
        return super().score(waveforms, lengths)


def in_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_batches_are_computed_at_once_and_are_the_same_ones(engine):
    recordings = [[recording(4 + number % 7)] for number in range(40)]
    expected = list(windows.run(engine, engine.score, recordings, Limits(samples=40)))
    parallel = ParallelEngine()
    cores = torch.get_num_threads()
    found = list(windows.run(parallel, parallel.score, recordings, Limits(samples=40)))
    assert sorted(parallel.sizes) == sorted(engine.sizes)
    assert [number for number, _ in found] == list(range(40))
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert torch.equal(one.values, other.values)
        assert (one.start, one.end, one.level) == (other.start, other.end, other.level)
    helpers = parallel.threads - {threading.main_thread()}  # there a last one may be computed
    assert len(helpers) == 2
    assert parallel.cores == {cores // 2}
    for thread in helpers:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_the_number_of_threads_of_torch_is_left_alone(monkeypatch):
    def counted(waveform, *arguments):
        cores.append(torch.get_num_threads())
        return waveform

    cores: list[int] = []
    monkeypatch.setattr(windows, "without_pauses", counted)
    parallel = ParallelEngine()
    torch.set_num_threads(torch.get_num_threads())
    before = torch.get_num_threads(), in_new_thread(torch.get_num_threads)
    recordings = [[recording(10)] for _ in range(8)]
    found = windows.run(parallel, parallel.score, recordings, Limits(samples=20))
    next(found)
    assert parallel.cores == {before[0] // 2}
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before
    list(found)
    assert cores == [before[0]] * 8
    list(windows.run(parallel, parallel.score, recordings * 2, Limits(samples=20)))
    assert cores[8:] == [before[0]] * 8 + [1] * 8  # once batches take the others
    assert (torch.get_num_threads(), in_new_thread(torch.get_num_threads)) == before


def test_one_batch_alone_has_all_cores():
    parallel = ParallelEngine()
    assert len(list(windows.run(parallel, parallel.score, [[recording(10)], [recording(9)]]))) == 2
    stream = (torch.ones(5) for _ in range(9))  # each window is answered before the next block
    found = windows.run(parallel, parallel.score, [stream], Limits(samples=1))
    assert [each.end for _, each in found] == [5.0 + 2.5 * number for number in range(8)]
    assert parallel.threads == {threading.main_thread()}


def test_an_error_in_a_thread_is_raised():
    class Broken(ParallelEngine):
        def score(self, waveforms, lengths):
            if len(self.threads) == 2:
                return super().score(waveforms, lengths)
            super().score(waveforms, lengths)
            raise MemoryError("too much")

    broken = Broken()
    recordings = [[recording(10)] for _ in range(40)]
    with pytest.raises(MemoryError, match="too much"):
        list(windows.run(broken, broken.score, recordings, Limits(samples=20)))


def test_ctrl_c_does_not_wait_for_a_batch(monkeypatch):
    class Slow(SumEngine):
        batches_at_once = 2

        def score(self, waveforms, lengths):
            threads.append(threading.current_thread())
            begun.release()
            may_end.wait(timeout=10)
            return super().score(waveforms, lengths)

    def interrupted(running, return_when):
        assert len(running) == 3 and all(begun.acquire(timeout=10) for _ in range(2))
        raise KeyboardInterrupt

    threads: list[threading.Thread] = []
    begun, may_end = threading.Semaphore(0), threading.Event()
    slow = Slow()
    monkeypatch.setattr(windows, "wait", interrupted)
    recordings = [[recording(10)] for _ in range(40)]
    with pytest.raises(KeyboardInterrupt):
        list(windows.run(slow, slow.score, recordings, Limits(samples=20)))
    assert len(threads) == 2 and not slow.sizes
    may_end.set()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert len(slow.sizes) == 2  # the third was not begun any more


def test_pauses_are_left_out_of_what_is_joined():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]])
    levels = [-20.0, -80.0, -30.0]
    parts = [
        windows.Segment(start, start + 2.0, row, level)
        for start, row, level in zip((0.0, 1.0, 2.0), rows, levels, strict=True)
    ]
    joined = windows.join(parts)
    assert (joined.start, joined.end, joined.level) == (0.0, 4.0, -20.0)
    assert joined.values.tolist() == [0.75, 0.0]
    assert windows.join(parts[1:2]).values.tolist() == [0.0, 1.0]
