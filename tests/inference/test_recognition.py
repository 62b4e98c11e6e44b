"""Recognised labels, and what is silence."""

import json
import math
import shutil

import pytest
import soundfile
import torch

from auricle.inference import Classifier, Prediction, Segment, recognition, windows
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
    loud_room = torch.cat([bark, 0.001 * bark])  # -20 and -80 dBFS
    assert len(without_pauses(loud_room, 16_000)) == 8000 + 640


def test_a_soft_recording_keeps_what_a_loud_one_keeps(bark):
    """Its reverberation, 30 dB below it, is no pause, however soft both are; zeros are one."""
    loud = torch.cat([bark, 10**-1.5 * bark, torch.zeros(16_000)])
    for gain in (1.0, 0.1, 0.01, 1e-3):
        assert len(without_pauses(gain * loud, 16_000)) == 16_000 + 640


def test_a_sound_that_is_not_symmetric_leaves_silence_silent(bark):
    """Its mean, spread over the zeros around it, would be above the level of silence."""
    thump = torch.cat([torch.zeros(32_000), bark + 0.1, torch.zeros(32_000)])
    assert 20 * math.log10(thump.mean()) > -70
    assert len(without_pauses(thump, 16_000)) == 640 + 8000 + 640


def test_of_the_shortest_sounds_as_much_stays_as_a_model_needs():
    click = torch.zeros(16_000)
    click[8000] = 1.0
    for waveform in (click, click[: 8000 + 1], click[8000:]):
        for shortest in (400, 5000, 7900):
            kept = without_pauses(waveform, 16_000, shortest)
            assert shortest <= len(kept) < 2 * shortest + 1600
            assert kept.sum() == 1.0


@pytest.fixture
def repeating(tiny_model, tmp_path):
    """The tiny model with short clips repeated up to a second, which leaves out pauses."""
    folder = shutil.copytree(tiny_model, tmp_path / "repeating")
    config = json.loads((folder / "config.json").read_text())
    config["front_end"]["padding"] = {"mode": "repeat", "frames": 98}
    (folder / "config.json").write_text(json.dumps(config))
    return Classifier.load(folder, device="cpu")


@pytest.mark.parametrize("samples", [8000, 1])  # a bark; a click
def test_silence_around_a_sound_changes_nothing(repeating, bark, samples, tmp_path):
    """Neither in scores nor embedding, of waveform, file and blocks alike; it is repeated."""
    sound = bark[:samples].clone()
    sound[0] = 0.5
    amid = torch.cat([torch.zeros(16_000), sound, torch.zeros(13_600 - samples)])  # one window
    alone = without_pauses(amid, 16_000)
    second = alone.repeat(16_000)[: 400 + 97 * 160]
    expected = repeating.checkpoint.score(second[None]).detach()[0]
    soundfile.write(tmp_path / "amid.wav", amid.numpy(), 16_000, subtype="FLOAT")
    blocks = windows.run(repeating.engine, repeating.engine.score, [amid.split(3000)])
    for scores in (
        repeating.score_waveforms([alone])[0],
        repeating.score_waveforms([amid])[0],
        repeating.score_file(tmp_path / "amid.wav"),
        *(segment.values for _, segment in blocks),
    ):
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    embedding = repeating.checkpoint.embed(second[None]).detach()[0]
    torch.testing.assert_close(repeating.embed(amid, 16_000), embedding, atol=1e-4, rtol=1e-4)
    answer = repeating.recognise(amid, 16_000)
    assert (answer.start, answer.end, answer.silence) == (0.0, len(amid) / 16_000, False)


def test_a_model_that_repeats_nothing_scores_pauses_as_it_was_trained(classifier, bark):
    amid = torch.cat([torch.zeros(16_000), bark, torch.zeros(5600)])
    expected = classifier.checkpoint.score(amid[None]).detach()
    assert classifier.score_waveforms([amid]).equal(expected)


def test_loud_noise_that_the_tagger_takes_for_silence_is_not_called_so():
    """Brown noise at -20 dBFS; to the model nothing is more like it than "Silence"."""
    white = torch.randn(80_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    brown = torch.fft.irfft(
        torch.fft.rfft(white) / torch.arange(40_001).clamp(min=4)  # nothing below 1 Hz
    )
    brown = (0.1 * brown / brown.square().mean().sqrt()).float()
    tagger = Classifier.load("tagger", device="cpu")
    assert tagger.labels[tagger.score_waveforms([brown])[0].argmax()] == SILENCE
    answer = tagger.recognise(brown, 16_000, top=len(tagger.labels))
    assert not answer.silence and len(answer.best) == len(tagger.labels) - 1
    assert SILENCE not in [each.label for each in [*answer.best, *answer.recognised]]


def test_classify_gives_the_best_of_recognise(classifier, tone):
    assert classifier.classify(tone, 16_000, 3) == classifier.recognise(tone, 16_000, 3).best
