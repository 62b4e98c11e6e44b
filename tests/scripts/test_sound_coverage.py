"""Coverage of a collection of sounds: what is counted, and what is listened to again."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.inference import ontology

SCRIPTS = Path(__file__).parents[2] / "scripts"

TEACHER = """
import torch

class Teacher:
    sample_rate, labels = 32_000, ["Dog", "Rain"]
    def __call__(self, waveform):
        with open("heard.txt", "a") as file:
            print(waveform.shape[1], file=file)
        return torch.tensor([[4.0, -4.0]]), torch.zeros(1, 3)

def load_teacher(folder):
    return Teacher()
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("sound_coverage")


@pytest.fixture
def labels():
    return [kind.name for kind in ontology.read().values()]


def heard(script, labels, clips):
    """What was heard, if each of `clips` names the labels that are certain in it."""
    rows = [
        {"path": f"{index}.flac", "group": "ab"[index % 2], "split": "train"}
        for index in range(len(clips))
    ]
    probabilities = np.zeros((len(clips), len(labels)), dtype=np.float32)
    for row, names in zip(probabilities, clips, strict=True):
        row[[labels.index(name) for name in names]] = 0.31
    return script.Heard(rows, np.full(len(clips), 1800.0), probabilities, labels)


def test_a_clip_counts_once_for_a_class_and_a_kind(script, labels):
    lines = script.coverage(heard(script, labels, [["Dog", "Bark"], ["Rain"], ["Bark"], []]))
    assert "| dog | 2 |" in lines and "| rain | 1 |" in lines and "| sneezing | 0 |" in lines
    assert "| Animal: Domestic animals, pets | 2 | Bark 2; Dog 1 |" in lines
    assert lines[-1].startswith("Labels with fewer than 10 (3): Bark; Dog; Rain.")


def test_hours_are_counted_by_split(script, labels):
    lines = script.summary(heard(script, labels, [["Dog"], ["Rain"], []]))
    assert lines[2] == "| train | 3 | 1.5 | 2 |"
    assert lines[4] == "| test | 0 | 0.0 | 0 |"
    assert lines[5] == "| all | 3 | 1.5 | 2 |"


def test_packages_are_listed_with_all_their_licences_and_shown_with_few(script, labels, tmp_path):
    licence = "GPL-2; MIT; CC0-1.0; BSD; CC-BY-3.0"
    rows = [f"{index}.flac,a,debian,dogs,1.0,{licence}" for index in (0, 1)]
    rows.append("2.flac,a,npm,rain,2.0,MIT")
    head = "clip,file,registry,package,version,licence"
    (tmp_path / "sources.csv").write_text("\n".join([head, *rows]))
    sources = script.packages(tmp_path, heard(script, labels, [[], [], []]))
    assert sources == [
        ("debian", "dogs", "1.0", "2", "60.0", licence),
        ("npm", "rain", "2.0", "1", "30.0", "MIT"),
    ]
    lines = script.largest(sources)
    assert "| debian | 1 | 2 | 1.0 |" in lines
    assert "| dogs | 1.0 | 2 | 60.0 | GPL-2, MIT, CC0-1.0, BSD and 1 more |" in lines


def test_a_clip_is_listened_to_once(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.py").write_text(TEACHER)
    rows = ["path,labels,group,split,source"]
    for name, length in (("a", 4000), ("b", 6400)):
        soundfile.write(tmp_path / f"{name}.flac", np.zeros(length), 32_000)
        rows.append(f"{name}.flac,,{name},train,p")
        (tmp_path / "manifest.csv").write_text("\n".join(rows))
        result = script.hear(tmp_path, tmp_path)
    soundfile.write(tmp_path / "a.flac", 0.1 * np.sin(np.arange(4001)), 32_000)  # made anew
    result = script.hear(tmp_path, tmp_path)
    assert (tmp_path / "heard.txt").read_text().split() == ["4000", "6400", "4001"]
    assert result.labels == ["Dog", "Rain"]
    assert result.clips(["Dog"]) == 2 and result.clips(["Rain"]) == 0
    assert result.seconds.tolist() == [4001 / 32_000, 0.2]


def test_what_another_teacher_heard_is_not_taken_for_this_ones(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.py").write_text(TEACHER)
    soundfile.write(tmp_path / "a.flac", np.zeros(4000), 32_000)
    (tmp_path / "manifest.csv").write_text("path,labels,group,split,source\na.flac,,a,train,p")
    script.hear(tmp_path, tmp_path)
    (tmp_path / "other.safetensors").write_bytes(b"other weights")
    with pytest.raises(SystemExit) as caught:
        script.hear(tmp_path, tmp_path)
    store = tmp_path / "heard.npz"
    assert str(caught.value) == f"{store}: another teacher heard these sounds. Remove the file."


def test_the_manifest_is_written_again_with_what_is_heard_best(script, labels, tmp_path):
    found = heard(script, labels, [["Dog"], ["Rain"]])
    rows = [{**row, "labels": "", "source": "x"} for row in found.rows]
    found = script.Heard(rows, found.seconds, found.probabilities, labels)
    script.write_heard(tmp_path / "heard.csv", found)
    assert (tmp_path / "heard.csv").read_text().splitlines() == [
        "path,group,split,labels,source",
        "0.flac,a,train,Dog,x",
        "1.flac,b,train,Rain,x",
    ]
