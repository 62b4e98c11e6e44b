"""Speeds of models: measured once for a machine, and within bounds."""

import json

import pytest

from auricle.experiment import speed
from auricle.experiment.speed import TIMED_CLIPS, TIMED_ROUNDS, measure_speeds, speeds
from auricle.models import configure

SMALL = {"max_frames": 32, "num_mels": 16, "width": 8, "depth": 1, "num_heads": 2}


def described(**changes):
    return "ast", configure("ast", {**SMALL, "num_classes": 2, **changes}).to_dict()


@pytest.fixture
def measured(monkeypatch):
    """The models that were measured, a list a call; each is given the speed 2.5 clips/s."""
    calls = []

    def measure(models):
        calls.append([settings["depth"] for _, settings in models])
        return [2.5] * len(models)

    monkeypatch.setattr(speed, "measure_speeds", measure)
    return calls


def test_only_what_is_missing_is_measured(tmp_path, measured):
    path = tmp_path / "out" / "speeds.json"
    assert speeds({"one": described()}, path) == {"one": 2.5}
    assert speeds({"one": described(), "two": described(depth=2)}, path) == {"one": 2.5, "two": 2.5}
    speeds({"one": described(), "two": described(depth=2)}, path)
    assert measured == [[1], [2]]
    stored = json.loads(path.read_text())
    assert stored["device"] == speed.device_name()
    assert stored["models"]["one"]["clips_per_second"] == 2.5


def test_a_model_with_other_settings_is_measured_anew(tmp_path, measured):
    path = tmp_path / "speeds.json"
    speeds({"one": described()}, path)
    speeds({"one": described(depth=3)}, path)
    assert measured == [[1], [3]]


def test_another_machine_measures_all_anew(tmp_path, measured, monkeypatch):
    path = tmp_path / "speeds.json"
    speeds({"one": described()}, path)
    monkeypatch.setattr(speed, "device_name", lambda: "a faster one")
    speeds({"one": described()}, path)
    assert measured == [[1], [1]]
    assert json.loads(path.read_text())["device"] == "a faster one"


def test_a_damaged_file_is_written_anew(tmp_path, measured):
    path = tmp_path / "speeds.json"
    path.write_text("{")
    assert speeds({"one": described()}, path) == {"one": 2.5}
    assert len(measured) == 1


@pytest.mark.parametrize(
    "seconds, size, rounds", [(0.01, TIMED_CLIPS, TIMED_ROUNDS), (3.0, 1, 3), (60.0, 1, 1)]
)
def test_large_models_are_timed_on_few_clips(monkeypatch, seconds, size, rounds):
    batches = []

    def take(network, features):
        batches.append(len(features))
        return seconds * len(features)

    monkeypatch.setattr(speed, "_seconds", take)
    assert measure_speeds([described()]) == pytest.approx([1 / seconds])
    assert batches == [1, 1] + [size] * rounds


def test_a_real_model_has_a_speed():
    assert all(value > 0 for value in measure_speeds([described(), described(depth=2)]))
