"""The sounds that a model is asked about, and the page with its answers."""

import importlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def answers(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("answers")


@pytest.fixture
def sentence(answers, monkeypatch):
    """A second of two tones in the place of speech, one of them above a telephone's band."""
    times = np.arange(16_000) / 16_000
    waveform = 0.25 * (np.sin(2 * np.pi * 1000 * times) + np.sin(2 * np.pi * 3700 * times))
    monkeypatch.setattr(answers, "speech", lambda: (waveform, 16_000))
    return waveform


def power_near(waveform, rate, hertz):
    power = np.abs(np.fft.rfft(waveform)) ** 2
    places = np.abs(np.fft.rfftfreq(len(waveform), 1 / rate) - hertz) < 50
    return power[places].sum() / power.sum()


def test_a_telephone_keeps_its_band(answers, sentence):
    waveform, rate = answers.telephone()
    assert (rate, len(waveform)) == (8000, 8000)
    assert power_near(waveform, rate, 1000) > 0.95
    assert power_near(waveform, rate, 3700) < 0.01


def test_noise_is_as_far_below_speech_as_said(answers, sentence):
    waveform, _ = answers.speech_in_noise()
    noise = waveform - sentence
    assert 20 * np.log10(sentence.std() / noise.std()) == pytest.approx(5)


def test_a_plucked_string_has_its_pitch(answers):
    string = answers.pluck(220.0, seed=0)
    period = round(answers.SAMPLE_RATE / 220)
    assert np.corrcoef(string[:-period], string[period:])[0, 1] > 0.9
    assert np.abs(string[-period:]).max() < 0.1 * np.abs(string[:period]).max()  # it dies away
    music, rate = answers.music()
    assert len(music) / rate == 10.0
    assert np.abs(music).max() == 0.5


def test_what_is_too_loud_stands_at_full_scale(answers, monkeypatch):
    noise = np.random.default_rng(0).normal(size=1000)
    monkeypatch.setattr(answers, "dogs", lambda: (noise, 16_000))
    waveform, _ = answers.clipped()
    assert np.abs(waveform).max() == 1
    assert (np.abs(waveform) == 1).mean() > 0.5


def test_the_page_shows_each_sound_and_what_cannot_be_made_is_named(
    answers, monkeypatch, tmp_path, capsys
):
    def no_recording():
        raise answers.demo.NoRecordingError("no network.")

    asked = []

    def answer(folder, *words):
        asked.append(words)
        if "--plot" in words:
            noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
            Image.fromarray(noise).save(words[words.index("--plot") + 1])
        return "answer\n"

    monkeypatch.setattr(answers, "ask", answer)
    examples = {
        "dogs": answers.Example("Dogs.", no_recording),
        "mains_hum": answers.Example("Mains hum.", answers.hum),
    }
    monkeypatch.setattr(answers, "EXAMPLES", examples)
    answers.write_page(tmp_path, tmp_path, "tagger")
    assert capsys.readouterr().out == "without dogs: no network.\nanswer\nanswer\n"
    assert [words[0] for words in asked] == ["mains_hum.wav", "mains_hum.wav"]
    assert soundfile.info(tmp_path / "mains_hum.wav").duration == 5.0
    with Image.open(tmp_path / "mains_hum.png") as picture:
        assert len(picture.getcolors()) <= 64
    text = (tmp_path / "README.md").read_text()
    assert "## Mains hum\n\nMains hum.\n\n![Mains hum](mains_hum.png)\n" in text
    assert "$ auricle predict mains_hum.wav --model tagger --group --top 3\nanswer\n" in text


def test_a_question_that_fails_ends_the_script(answers, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="error: absent.wav: no\n")
    monkeypatch.setattr(answers.subprocess, "run", lambda *words, **options: failed)
    with pytest.raises(SystemExit) as refusal:
        answers.ask(tmp_path, "absent.wav")
    assert str(refusal.value) == "auricle predict absent.wav: error: absent.wav: no"
