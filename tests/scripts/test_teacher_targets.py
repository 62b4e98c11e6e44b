"""Targets from a teacher: which file it hears, and what the manifest then says."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Hears two classes: whether there is any sound, and (at 32 kHz only) more than 8 kHz.
TEACHER = """
import torch

class Teacher(torch.nn.Module):
    sample_rate, labels = 32_000, ["sound", "hiss; or so"]
    def forward(self, waveforms):
        spectrum = torch.fft.rfft(waveforms).abs()
        heard = torch.stack([spectrum.sum(1), spectrum[:, spectrum.shape[1] // 2 :].sum(1)], 1)
        return heard, heard[:, :1] / 7

def load_teacher(folder):
    return Teacher()

def resample(waveforms, rate, new_rate):
    return waveforms.repeat_interleave(new_rate // rate, dim=1)
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("teacher_targets")


@pytest.fixture
def folder(tmp_path):
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) / 10
    for name, samples in {"a": noise, "b": np.zeros(32_000, dtype=np.float32)}.items():
        (tmp_path / "clips").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "clips" / f"{name}.flac", samples, 32_000)
    (tmp_path / "manifest.csv").write_text("path,labels\nclips/a.flac,dog\nclips/b.flac,\n")
    (tmp_path / "teacher.py").write_text(TEACHER)
    return tmp_path


def run(script, monkeypatch, folder, *more):
    words = [folder / "manifest.csv", folder / "heard.safetensors", "--teacher", folder, *more]
    monkeypatch.setattr(sys, "argv", ["teacher_targets.py", *map(str, words)])
    script.main()


def test_every_clip_gets_a_row_of_probabilities(script, monkeypatch, folder, capsys):
    run(script, monkeypatch, folder)
    assert (folder / "manifest.csv").read_text().split() == [
        "path,labels,soft_targets",
        "clips/a.flac,dog,heard.safetensors:0",
        "clips/b.flac,,heard.safetensors:1",
    ]
    with safe_open(folder / "heard.safetensors", "pt") as file:
        assert json.loads(file.metadata()["labels"]) == ["sound", "hiss; or so"]
        assert file.get_tensor("targets").tolist() == [[1, 1], [0.5, 0.5]]
    assert "sound: 2, 2" in capsys.readouterr().out


def test_standardised_targets_are_alike_for_every_class_and_the_embedding(
    script, monkeypatch, folder
):
    run(script, monkeypatch, folder, "--standardise")
    with safe_open(folder / "heard.safetensors", "pt") as file:
        assert json.loads(file.metadata()["labels"]) == ["sound", "hiss; or so", "embedding 0"]
        targets = file.get_tensor("targets")
    # Two clips lie 1 / sqrt(2) standard deviations above and below their mean.
    expected = torch.tensor([[0.5**0.5] * 3, [-(0.5**0.5)] * 3]).sigmoid()
    torch.testing.assert_close(targets.float(), expected, atol=1e-3, rtol=0)


def test_a_second_run_writes_the_same(script, monkeypatch, folder):
    run(script, monkeypatch, folder)
    first = (folder / "manifest.csv").read_text()
    run(script, monkeypatch, folder)
    assert (folder / "manifest.csv").read_text() == first


def test_a_folder_without_teacher_is_refused(script, tmp_path):
    path = tmp_path / "teacher.py"
    with pytest.raises(SystemExit) as refusal:
        script.load_module(path)
    assert (
        str(refusal.value) == f"{path}: not there; --teacher must name the folder of the teacher."
    )


def test_a_manifest_without_clips_is_refused(script, tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("path,labels\n")
    with pytest.raises(SystemExit) as refusal:
        script.read_rows(path)
    assert str(refusal.value) == f"{path}: needs a column 'path' and at least one row."
