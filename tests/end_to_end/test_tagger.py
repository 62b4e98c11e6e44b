"""The built-in taggers as they were shipped: what they are, and what they answer."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import audio
from auricle.checkpoint import WEIGHTS_FILE
from auricle.cli.main import app
from auricle.inference import Classifier, names

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 16_000


MEGABYTES = {"tagger": 12.0, "tagger_tiny": 3.0}


@pytest.fixture(scope="module", params=MEGABYTES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def tagger(name):
    return Classifier.load(name, device="cpu")


@pytest.fixture(scope="module")
def examples():
    """The sounds that `scripts/answers.py` makes without a speech engine."""
    sys.path.insert(0, str(SCRIPTS))
    try:
        answers = importlib.import_module("answers")
    finally:
        sys.path.remove(str(SCRIPTS))
    return {name: answers.EXAMPLES[name].make() for name in ("music", "hum", "silence")}


def test_it_fits_into_the_package(name):
    assert (names.BUILTIN / name / WEIGHTS_FILE).stat().st_size <= 1e6 * MEGABYTES[name]


def test_it_knows_audiosets_labels_and_has_a_threshold_for_each(tagger):
    assert len(tagger.labels) == len(set(tagger.labels)) == 527
    assert {"Speech", "Music", "Dog", "Silence", "Chainsaw"} <= set(tagger.labels)
    assert len(tagger.thresholds) == 527
    assert all(0 < threshold < 1 for threshold in tagger.thresholds)
    assert tagger.window_seconds >= 10


@pytest.mark.parametrize("seconds", [0.2, 1.0, 10.0, 25.0])
def test_it_hears_clips_of_any_length(tagger, seconds):
    waveform = 0.1 * torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    scores = tagger.score_waveforms([waveform])
    assert scores.shape == (1, 527)
    assert scores.isfinite().all()


def best(tagger, example, tmp_path, count=3):
    waveform, rate = example
    soundfile.write(tmp_path / "sound.wav", waveform, rate)
    return [each.label for each in tagger.classify_file(tmp_path / "sound.wav", top=count)]


def test_plucked_strings_are_music(tagger, examples, tmp_path):
    found = best(tagger, examples["music"], tmp_path)
    assert "Music" in found or "Musical instrument" in found


def test_mains_hum_is_a_hum_or_its_sines(tagger, examples, tmp_path):
    hums = {"Hum", "Mains hum", "Buzz", "Sine wave", "Harmonic"}
    assert hums & set(best(tagger, examples["hum"], tmp_path))


@pytest.mark.parametrize("gain_db", [-10, -30])
def test_soft_sounds_are_heard_as_loud_ones_are(tagger, shared_data, gain_db):
    """Of twenty clips of ten sounds: the same best labels, where levels above -30 dBFS differ."""
    clips = sorted((shared_data / "esc10" / "audio").glob("*.flac"))[::20]
    waveforms = [audio.load(clip, tagger.sample_rate) for clip in clips]
    loud = tagger.score_waveforms(waveforms)
    soft = tagger.score_waveforms([10 ** (gain_db / 20) * each for each in waveforms])
    places = (loud > loud.gather(1, soft.argmax(dim=1, keepdim=True))).sum(dim=1)
    assert (places < 5).double().mean() >= 0.8


def test_in_silence_nothing_is_recognised(name, examples, tmp_path):
    waveform, rate = examples["silence"]
    soundfile.write(tmp_path / "zeros.wav", waveform, rate)
    words = ["predict", str(tmp_path / "zeros.wav"), "--model", name, "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["model"], record["silence"], record["recognised"]) == (name, True, [])


def test_without_a_name_it_is_the_larger_one_that_answers(examples, tmp_path):
    waveform, rate = examples["silence"]
    soundfile.write(tmp_path / "zeros.wav", waveform, rate)
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "zeros.wav"), "--json"])
    assert json.loads(result.stdout)["model"] == "tagger"


@pytest.mark.slow
def test_by_the_names_of_labels_it_names_what_its_card_says(name, tmp_path, shared_data):
    folder, out = shared_data / "esc10", tmp_path / "zero"
    run("prepare", "esc10", folder, "--out", tmp_path / "esc10.csv")
    words = ("--data", tmp_path / "esc10.csv", "--classes", "esc10", "--out", out)
    run("evaluate", name, *words, "--device", "cpu")
    metrics = json.loads((out / "metrics.json").read_text())
    told = json.loads((names.BUILTIN / name / "config.json").read_text())["metrics"]
    assert metrics["accuracy"] == pytest.approx(told["esc10_zero_shot"], abs=1.5 / 400)


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
