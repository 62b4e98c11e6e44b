"""Recognised labels, and what is silence."""

import math

import pytest
import torch

from auricle.inference import Classifier, Prediction, Segment, recognition
from auricle.inference.recognition import SILENCE, Selection, level, recognise, without_pauses

LABELS = ["dog", "cat", "rain"]
SCORES = torch.tensor([0.5, 0.25, 0.75])
SILENT = 10 ** (-75 / 20)


def heard(level=-20.0, scores=SCORES):
    return Segment(1.0, 3.0, scores, level)


def test_the_level_is_that_of_the_rms_without_an_offset(tone):
    assert level(2 * tone) == pytest.approx(-3.01, abs=0.01)
    assert level(0.02 * tone + 0.5) == pytest.approx(-43.01, abs=0.01)
    assert level(torch.zeros(100)) == level(torch.full((7,), 0.25)) == -math.inf
    assert level(torch.ones(1)) == -math.inf


def test_without_thresholds_nothing_is_said_of_recognition():
    answer = recognise(heard(), LABELS, None, top=2)
    assert answer.best == [Prediction("rain", 0.75), Prediction("dog", 0.5)]
    assert (answer.start, answer.end, answer.recognised, answer.silence) == (1.0, 3.0, None, False)
    assert answer.shown == answer.best


def test_a_label_is_recognised_from_its_threshold_on():
    answer = recognise(heard(), LABELS, (0.6, 0.25, 0.7), top=3)
    assert [each.recognised for each in answer.best] == [True, False, True]
    assert answer.recognised == [Prediction("rain", 0.75, True), Prediction("cat", 0.25, True)]


def test_what_is_recognised_is_shown_first_and_counts_beyond_the_best():
    answer = recognise(heard(), LABELS, (0.6, 0.25, 0.8), top=1)
    assert answer.best == [Prediction("rain", 0.75, False)]
    assert answer.recognised == answer.shown == [Prediction("cat", 0.25, True)]


def test_of_fewer_labels_than_asked_for_all_are_given():
    assert len(recognise(heard(), LABELS, None, top=9).best) == 3


@pytest.mark.parametrize("decibels, silence", [(-70.1, True), (-70.0, False), (-math.inf, True)])
def test_nothing_is_recognised_in_silence(decibels, silence):
    answer = recognise(heard(decibels), LABELS, (0.0, 0.0, 0.0), top=3)
    assert answer.silence == silence
    assert len(answer.recognised) == (0 if silence else 3)
    assert [each.label for each in answer.best] == ["rain", "dog", "cat"]


def test_silence_is_no_label_of_what_sounds():
    scores = torch.tensor([0.9, 0.2])
    answer = recognise(heard(scores=scores), [SILENCE, "rain"], (0.1, 0.1), top=2)
    assert answer.best == answer.recognised == [Prediction("rain", pytest.approx(0.2), True)]
    silent = recognise(heard(-90.0, scores), [SILENCE, "rain"], (0.1, 0.1), top=1)
    assert [each.label for each in silent.best] == [SILENCE]


def test_only_selected_labels_from_the_least_score_on_are_named():
    chosen = Selection(frozenset([0, 1]), min_score=0.4)
    answer = recognise(heard(), LABELS, (0.1, 0.1, 0.1), 3, chosen)
    assert [each.label for each in answer.best] == ["dog"]
    assert [each.label for each in answer.recognised] == ["dog"]


def test_scores_of_32_bits_meet_thresholds_of_64():
    score = torch.tensor([0.7])
    assert recognise(heard(scores=score), ["dog"], (score.item(),), 1).recognised
    assert not recognise(heard(scores=score), ["dog"], (0.7 + 1e-9,), 1).recognised


@pytest.fixture(scope="module")
def classifier(tiny_model):
    return Classifier.load(tiny_model, device="cpu")


def test_a_recording_is_silent_only_where_each_of_its_windows_is(classifier):
    """The mean over a minute would hide a second of sound."""
    rate = classifier.sample_rate
    waveform = torch.zeros(60 * rate)
    assert classifier.recognise(waveform, rate).silence
    waveform[30 * rate : 31 * rate] = 0.001 * torch.sin(torch.arange(rate) * 0.3)
    assert level(waveform) < -70
    answer = classifier.recognise(waveform, rate)
    assert (answer.silence, answer.start, answer.end) == (False, 0.0, 60.0)


def test_a_list_of_waveforms_is_recognised_as_each_alone(classifier, tone):
    waveforms = [tone, SILENT * tone, tone[:5000]]
    together = classifier.recognise(waveforms, 16_000, top=2)
    assert [answer.silence for answer in together] == [False, True, False]
    for waveform, answer in zip(waveforms, together, strict=True):
        alone = classifier.recognise(waveform, 16_000, top=2)
        assert [each.label for each in alone.best] == [each.label for each in answer.best]
        assert (alone.silence, alone.end) == (answer.silence, answer.end)


@pytest.fixture
def bark():
    """Half a second of noise, of which no frame is silent."""
    return 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_silence_of_more_than_a_pause_and_at_the_ends_is_left_out(bark, offset):
    guard = torch.zeros(round(recognition.GUARD_SECONDS * 16_000))
    short, long = torch.zeros(6400), torch.zeros(32_000)
    waveform = torch.cat([long, bark, long, bark, short, bark, long[:4050]]) + offset
    kept = without_pauses(waveform, 16_000)
    expected = torch.cat([guard, bark, guard, guard, bark, short, bark, guard]) + offset
    assert torch.equal(kept, expected)


def test_where_all_or_nothing_sounds_all_is_kept(bark):
    faint = 1e-4 * bark  # -100 dBFS
    for waveform in (bark, faint, torch.zeros(500), bark[:5], torch.full((16_000,), 0.5)):
        assert without_pauses(waveform, 16_000) is waveform
    quiet_room = 0.01 * torch.cat([bark, 0.1 * bark])  # -60 and -80 dBFS
    assert len(without_pauses(quiet_room, 16_000)) == 8000 + 640


def test_silence_around_a_sound_changes_nothing(classifier, bark):
    """Neither in its scores nor in its embedding: half a second of it in five of zeros."""
    guard = torch.zeros(round(recognition.GUARD_SECONDS * 16_000))
    expected = torch.cat([guard, bark, guard])
    amid = torch.cat([torch.zeros(16_000), bark, torch.zeros(5600)])  # one window
    assert classifier.score_waveforms([amid]).equal(classifier.score_waveforms([expected]))
    assert classifier.embed(amid, 16_000).equal(classifier.embed(expected, 16_000))
    answer = classifier.recognise(amid, 16_000)
    assert (answer.start, answer.end, answer.silence) == (0.0, len(amid) / 16_000, False)


def test_classify_gives_the_best_of_recognise(classifier, tone):
    assert classifier.classify(tone, 16_000, 3) == classifier.recognise(tone, 16_000, 3).best
