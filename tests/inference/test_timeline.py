"""A recording over time: where scores lie, what is left out, what is dropped, memory."""

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from auricle.data.strong import Event
from auricle.errors import AudioError, CheckpointError, ConfigError
from auricle.inference import Classifier
from auricle.inference.events import EventSettings
from auricle.inference.timeline import (
    PIECE_HOPS,
    Timeline,
    Tracking,
    clock,
    cut_events,
    track,
)

RATE = 1000
NOISE = torch.from_numpy(np.random.default_rng(0).normal(0, 0.01, 60 * RATE)).float()


class Clicks:
    """Scores a window by the share of its samples above 0.5, of which recordings are made."""

    labels = ["Dog", "Speech", "Silence"]
    thresholds = None
    sample_rate = RATE
    shortest_samples = 100
    longest_samples = 4 * RATE
    batches_at_once = 1
    omits_pauses = True

    def score(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        share = (waveforms > 0.5).float().sum(dim=1) / lengths
        speech = (waveforms < -0.5).float().sum(dim=1) / lengths
        return torch.stack([share, speech, torch.ones(len(lengths))], dim=1)

    embed = score


class Framed(Clicks):
    """Scores each frame of 50 ms, besides, by the same."""

    frame_hop = 0.05

    def score_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        frames = waveforms.unfold(1, 50, 50)
        shares = [(frames > 0.5).float().mean(dim=2), (frames < -0.5).float().mean(dim=2)]
        return torch.stack([*shares, torch.ones_like(shares[0])], dim=2)


def sound(seconds: float, *spans: tuple[float, float, float]) -> Tensor:
    """Faint noise, and a constant added from one time to another: 1 is a dog, -1 is speech."""
    waveform = NOISE[: round(seconds * RATE)].clone()
    for onset, offset, value in spans:
        waveform[round(onset * RATE) : round(offset * RATE)] += value
    return waveform


def tracked(waveform: Tensor, engine=None, blocks: int = 700, **settings) -> Timeline:
    events = EventSettings(**({"max_gap": 0.0} | settings.pop("events", {})))
    recording = waveform.split(blocks)
    return track(engine or Clicks(), recording, Tracking(events=events, **settings))


def test_a_score_is_that_of_the_window_around_its_hop():
    timeline = tracked(sound(10, (4.0, 6.0, 1.0)), window=1.0)
    assert timeline.scores.shape == (100, 3)
    middles = (torch.arange(100) + 0.5) * 0.1
    overlap = (torch.clamp(middles + 0.5, max=6.0) - torch.clamp(middles - 0.5, min=4.0)).clamp(
        min=0
    )
    assert torch.allclose(timeline.scores[:, 0], overlap, atol=1e-6)
    # A quarter of the window, the release, is reached 0.25 s before and after.
    assert timeline.events == [Event(pytest.approx(3.7), pytest.approx(6.3), "Dog", 1.0)]


def test_scores_do_not_depend_on_how_the_recording_comes():
    waveform = sound(7.3, (0.0, 0.4, 1.0), (4.0, 6.0, 1.0), (7.0, 7.3, 1.0))
    whole = tracked(waveform, blocks=len(waveform))
    for blocks in (1, 99, 100, 5000):
        parts = tracked(waveform, blocks=blocks)
        assert torch.equal(whole.scores, parts.scores)
        assert whole.levels == pytest.approx(parts.levels)
    assert len(whole.scores) == len(whole.levels) == 73


@pytest.mark.parametrize("seconds, hops", [(0.03, 1), (0.1, 1), (0.13, 2), (1.0, 10), (4.05, 41)])
@pytest.mark.parametrize("engine", [Clicks(), Framed()])
def test_every_sample_is_in_a_hop_and_events_end_with_the_recording(seconds, hops, engine):
    if engine.__class__ is Framed and seconds < 0.1:
        pytest.skip("shorter than what the model takes")
    timeline = tracked(sound(seconds, (0, seconds, 1.0)), engine, events={"threshold": 0.02})
    assert len(timeline.scores) == len(timeline.levels) == hops
    [event] = timeline.events
    assert (event.onset, event.offset, event.label) == (0.0, pytest.approx(seconds), "Dog")


def test_frame_scores_lie_where_the_frames_are():
    spans = [(1.0, 1.2, 1.0), (3.0, 5.0, 1.0), (8.85, 9.0, 1.0)]  # over the edges of windows
    waveform = sound(10, *spans)
    waveform[round(6 * RATE) : round(7 * RATE)] = 0.0  # a pause, which stays in its place
    timeline = tracked(waveform, Framed())
    assert timeline.is_framed
    found = [(round(event.onset, 3), round(event.offset, 3)) for event in timeline.events]
    assert found == [(1.0, 1.2), (3.0, 5.0), (8.8, 9.0)]
    expected = torch.zeros(100)
    for onset, offset in found:
        expected[round(onset * 10) : round(offset * 10)] = 1.0
    assert torch.allclose(timeline.scores[:, 0], expected, atol=1e-6)


def test_frames_may_be_longer_than_the_hop():
    timeline = tracked(sound(10, (3.0, 5.0, 1.0)), Framed(), hop=0.02)
    assert len(timeline.scores) == 500
    [event] = timeline.events
    assert (event.onset, event.offset) == pytest.approx((3.0, 5.0))


def test_silence_has_no_scores_and_is_no_event():
    waveform = sound(10, (4.0, 6.0, 1.0))
    waveform[: 4 * RATE] = waveform[6 * RATE :] = 0.0
    timeline = tracked(waveform, events={"threshold": 0.1})
    assert timeline.events == [Event(4.0, 6.0, "Dog", 1.0)]
    assert not timeline.scores[:40].any() and not timeline.scores[60:].any()
    assert (timeline.levels[:40] < -200).all() and (timeline.levels[40:60] > -60).all()


def test_what_matters_to_no_event_is_not_kept():
    seconds = 3 * PIECE_HOPS / 10
    quiet = sound(60)
    waveform = torch.cat([quiet, quiet, quiet])[: round(seconds * RATE)].clone()
    waveform[70 * RATE : 72 * RATE] += 1.0
    waveform[10 * RATE : round(10.1 * RATE)] += 1.0  # scores 0.1, and matters to nothing
    everything = tracked(waveform)
    sparse = tracked(waveform, keep_all=False)
    assert sparse.events == everything.events != []
    assert everything.scores[100, 0] > 0
    assert not sparse.scores[:PIECE_HOPS, 0].any()
    assert torch.equal(
        sparse.scores[PIECE_HOPS : 2 * PIECE_HOPS, 0],
        everything.scores[PIECE_HOPS : 2 * PIECE_HOPS, 0],
    )
    numbers = [
        sum(values.size for _, values in each.columns.pieces) for each in (sparse, everything)
    ]
    assert numbers == [4 * PIECE_HOPS, 9 * PIECE_HOPS]  # 3 pieces of silence's own 1, 1 of a dog


def test_of_dropped_moments_nothing_is_kept():
    waveform = sound(10, (2.0, 8.0, 1.0))
    waveform[4000:5000] -= 2.0
    kept = tracked(waveform)
    timeline = tracked(waveform, drop={1: 0.5}, events={"max_gap": 9.0})
    # Speech scores 0.5 from 4.0 s on, of which 0.5 s before may be heard, too.
    spans = np.flatnonzero(np.diff(timeline.dropped.astype(int), prepend=0, append=0))
    assert spans.tolist() == [35, 55]
    assert timeline.dropped_seconds == pytest.approx(2.0)
    assert not timeline.scores[timeline.dropped].any()
    assert np.isneginf(timeline.levels[timeline.dropped]).all()
    assert [event.label for event in kept.events] == ["Dog", "Speech", "Dog"]
    assert [
        (event.label, event.offset <= 3.5 or event.onset >= 5.5) for event in timeline.events
    ] == [
        ("Dog", True),
        ("Dog", True),
    ]


def test_only_selected_labels_are_events():
    waveform = sound(10, (2.0, 4.0, 1.0), (6.0, 8.0, -1.0))
    assert [event.label for event in tracked(waveform).events] == ["Dog", "Speech"]
    only = tracked(waveform, columns=frozenset({1}))
    assert [event.label for event in only.events] == ["Speech"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"hop": 0.0}, "the hop must be from 0.01 to 60 seconds, got 0."),
        ({"hop": float("nan")}, "the hop must be from 0.01 to 60 seconds, got nan."),
        ({"window": 0.05}, "the window must be as long as the hop (0.1 s) at least, got 0.05 s."),
    ],
)
def test_times_are_checked(settings, message):
    with pytest.raises(ConfigError) as caught:
        Tracking(**settings)
    assert str(caught.value) == message


def test_a_window_is_as_long_as_the_model_takes():
    waveform = sound(10, (5.0, 6.0, 1.0))
    longest = tracked(waveform, window=4.0)
    assert torch.equal(tracked(waveform, window=9.0).scores, longest.scores)
    assert torch.equal(
        tracked(waveform, hop=0.05, window=0.06).scores,
        tracked(waveform, hop=0.05, window=0.1).scores,
    )
    with pytest.raises(ConfigError) as caught:
        tracked(waveform, hop=5.0, window=5.0)
    assert str(caught.value) == (
        "the hop must be no longer than a window of this model, 4 s, got 5."
    )


def test_scores_that_are_no_numbers_are_an_error():
    class Diverged(Clicks):
        def score(self, waveforms, lengths):
            return super().score(waveforms, lengths) * float("nan")

    with pytest.raises(CheckpointError, match="scores that are not numbers"):
        tracked(sound(1), Diverged())


def write(path, waveform: Tensor):
    soundfile.write(path, waveform.numpy(), RATE, subtype="FLOAT")
    return path


def test_a_classifier_gives_the_timeline_of_a_file(tmp_path):
    path = write(tmp_path / "dog.wav", sound(10, (4.0, 6.0, 1.0), (7.0, 9.0, -1.0)))
    classifier = Classifier(Clicks())
    timeline = classifier.timeline(path, hop=0.2, window=0.5)
    assert (timeline.hop, timeline.seconds, timeline.is_framed) == (0.2, 10.0, False)
    assert [event.label for event in timeline.events] == ["Dog", "Speech"]
    chosen = classifier.select(labels=["Animal"]).timeline(path)
    assert [event.label for event in chosen.events] == ["Dog"]
    dropped = classifier.timeline(path, drop_if={"Speech": None})
    assert [event.label for event in dropped.events] == ["Dog"]
    assert dropped.dropped_seconds == pytest.approx(3.0)
    with pytest.raises(ConfigError, match="unknown label 'Speach'. Did you mean 'Speech'?"):
        classifier.timeline(path, drop_if={"Speach": 0.5})
    with pytest.raises(AudioError):
        classifier.timeline(tmp_path / "cat.wav")


def test_thresholds_of_events_are_those_of_the_labels():
    class Calibrated(Clicks):
        thresholds = (0.1, 0.2, 0.3)

    classifier = Classifier(Calibrated())
    own = {"Dog": 0.1, "Speech": 0.2, "Silence": 0.3}
    assert classifier.event_settings().threshold == own
    least = classifier.select(min_score=0.15).event_settings().threshold
    assert least == own | {"Dog": 0.15}
    assert Classifier(Clicks()).event_settings().threshold == 0.5


def test_events_are_cut_out_of_the_sound(tmp_path):
    waveform = sound(10, (4.0, 6.0, 0.5))
    path = write(tmp_path / "farm.wav", waveform)
    events = [Event(4.0, 6.0, "Dog"), Event(9.5, 10.0, "Baby cry, infant/cry")]
    written = cut_events(path, "farm.wav", events, tmp_path / "clips")
    assert [each.name for each in written] == [
        "farm.wav_0-00-04.0_Dog.wav",
        "farm.wav_0-00-09.5_Baby cry, infant_cry.wav",
    ]
    samples, rate = soundfile.read(written[0], dtype="float32")
    assert rate == RATE
    assert torch.equal(torch.from_numpy(samples), waveform[4000:6000])
    assert len(soundfile.read(written[1])[0]) == 500


@pytest.mark.parametrize(
    "seconds, digits, expected",
    [
        (0, 0, "0:00:00"),
        (1202.4, 0, "0:20:02"),
        (59.96, 1, "0:01:00.0"),
        (36000.5, 3, "10:00:00.500"),
    ],
)
def test_times_are_written_as_on_a_clock(seconds, digits, expected):
    assert clock(seconds, digits) == expected
