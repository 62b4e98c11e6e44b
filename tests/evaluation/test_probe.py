"""Probes, shown with an engine that embeds the pitch of a tone."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from auricle import data
from auricle.errors import DataError
from auricle.evaluation import ProbeConfig, compare, probe
from auricle.evaluation.probe import nearest_scores, probe_lines, write_probe

PITCHES = {"high": 2000.0, "low": 200.0, "middle": 700.0}  # Hz


def pitch_shares(waveform):
    """The share of the power near each pitch, and a number that says nothing."""
    spectrum = np.abs(np.fft.rfft(waveform.numpy())) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    power = [spectrum[np.abs(hertz - pitch) < 100].sum() for pitch in PITCHES.values()]
    return torch.tensor([*np.array(power) / sum(power), 1.0])


@pytest.fixture
def embedder(function_engine):
    return function_engine(pitch_shares)


def write_tones(folder, labels_of=lambda name: name, columns=""):
    """24 tones, eight of each pitch and each a little off it, in four folds and two splits."""
    lines = ["path,labels,fold,split,group"]
    for index in range(24):
        name = list(PITCHES)[index % 3]
        times = np.arange(4000) / 16_000
        tone = 0.5 * np.sin(2 * math.pi * (PITCHES[name] + index) * times)
        soundfile.write(folder / f"{index}.wav", tone, 16_000)
        side = "train" if index < 15 else "test"
        lines.append(f"{index}.wav,{labels_of(name)},{index // 3 % 4},{side},g{index // 2}")
    (folder / "tones.csv").write_text("\n".join(lines) + "\n")
    return folder / "tones.csv"


@pytest.fixture
def tones(tmp_path):
    return data.read(write_tones(tmp_path))


pytestmark = pytest.mark.filterwarnings("ignore:.*more than one split or fold")


def test_each_fold_is_judged_once_by_what_the_others_teach(embedder, tones):
    found = probe(embedder, tones)
    assert len(embedder.lengths) == 24  # each clip once
    assert (found.metric, found.width) == ("accuracy", 4)
    assert found.linear.metrics["accuracy"] == found.nearest.metrics["accuracy"] == 1.0
    assert [(part.name, part.num_train, part.num_test) for part in found.parts] == [
        (f"fold {fold}", 18, 6) for fold in range(4)
    ]
    assert {clip.path for clip in found.linear.clips} == {clip.path for clip in tones.clips}
    assert found.linear.metrics["resampled"] == {"unit": "groups", "number": 12, "rounds": 1000}


def test_named_splits_come_before_folds_and_only_they_are_heard(embedder, tones):
    found = probe(embedder, tones, ("train", "test"))
    assert [(part.name, part.num_train, part.num_test) for part in found.parts] == [("test", 15, 9)]
    clips = [clip for clip in tones.clips if clip.split == "train" or clip.fold == 1]
    few = replace(tones, clips=[replace(clip, split="other") for clip in clips[:1]] + clips[1:])
    embedder.lengths.clear()
    probe(embedder, few, ("train", "test"))
    assert len(embedder.lengths) == len(clips) - 1


def test_labels_that_the_sound_does_not_tell_are_not_learned(embedder, tones):
    labels = torch.randint(2, (24,), generator=torch.Generator().manual_seed(1)).tolist()
    clips = [
        replace(clip, labels=(f"class {label}",))
        for clip, label in zip(tones.clips, labels, strict=True)
    ]
    found = probe(embedder, replace(tones, clips=clips))
    assert found.linear.metrics["accuracy"] < 0.8
    assert found.nearest.metrics["accuracy"] < 0.8  # a clip is not its own neighbour


def test_a_class_of_one_fold_alone_is_never_learned(embedder, tones):
    clips = [
        replace(clip, labels=("odd",) if clip.fold == 2 else clip.labels) for clip in tones.clips
    ]
    found = probe(embedder, replace(tones, clips=clips))
    assert [part.linear for part in found.parts] == [1.0, 1.0, 0.0, 1.0]
    assert [part.nearest for part in found.parts] == [1.0, 1.0, 0.0, 1.0]


def test_clips_of_several_labels_are_judged_by_their_ranking(embedder, tmp_path):
    names = {"high": "whistle;sound", "low": "hum;sound", "middle": "voice;sound;hum"}
    tones = data.read(write_tones(tmp_path, names.__getitem__))
    found = probe(embedder, tones)
    assert found.metric == "mAP"
    assert found.linear.metrics["mAP"] == pytest.approx(1.0)
    assert found.nearest.metrics["mAP"] == pytest.approx(1.0)
    assert found.parts[0].linear == pytest.approx(1.0)


def test_faulty_clips_are_left_out_and_listed(embedder, tones):
    folder = tones.source.parent
    (folder / "3.wav").write_text("this is not a sound")
    soundfile.write(folder / "4.wav", np.zeros(400), 16_000)
    found = probe(embedder, tones)
    assert len(found.linear.clips) == 22
    assert [failure.clip.path.name for failure in found.linear.failures] == ["3.wav", "4.wav"]


def test_what_cannot_be_divided_is_refused_before_a_sound_is_heard(embedder, tones):
    with pytest.raises(DataError, match="no clip has the split 'validation'"):
        probe(embedder, tones, ("train", "validation"))
    assert embedder.lengths == []


def test_a_folder_without_folds_and_splits_is_drawn_into_folds(embedder, tmp_path):
    write_tones(tmp_path)
    for index in range(24):
        folder = tmp_path / "sounds" / list(PITCHES)[index % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{index}.wav").rename(folder / f"{index}.wav")
    found = probe(embedder, data.read(tmp_path / "sounds"))
    assert [part.name for part in found.parts] == [f"fold {number}" for number in range(1, 6)]
    assert len(found.linear.clips) == 24
    assert found.linear.metrics["accuracy"] == 1.0


def test_the_nearest_neighbours_vote_by_their_likeness():
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]).double()
    targets = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 1]])
    query = torch.tensor([[2.0, 0.0]]).double()
    assert nearest_scores(known, targets, query, 1).tolist() == [[1.0, 0.0]]
    scores = nearest_scores(known, targets, query, 2)[0]
    weights = [math.exp(1 / 0.07), math.exp(math.sqrt(0.5) / 0.07)]
    assert scores.tolist() == pytest.approx([1.0, weights[1] / sum(weights)])
    assert nearest_scores(known, targets, query, 9).shape == (1, 2)


def test_a_probe_is_written_for_people_programs_and_comparisons(embedder, tones, tmp_path):
    found = probe(embedder, tones, config=ProbeConfig(neighbours=3, seed=1))
    write_probe(found, tmp_path / "a", {"model": "pitch"})
    write_probe(found, tmp_path / "b", {"model": "pitch"})
    record = json.loads((tmp_path / "a" / "probe.json").read_text())
    assert record["model"] == "pitch"
    assert record["metric"] == "accuracy"
    assert record["linear"] == record["nearest"] == {"value": 1.0, "interval": None}
    assert [part["linear"] for part in record["parts"]] == [1.0] * 4
    assert record["linear_classes"][0]["label"] == "high"
    assert compare([tmp_path / "a"], [tmp_path / "b"]).accuracy == (1.0, 1.0)
    interval = "95 % interval not defined: other draws of these groups give the same value"
    assert probe_lines(found) == [
        "embedding   4 numbers; 24 clips in 12 groups judged",
        f"linear      accuracy 100.0% ({interval})",
        f"nearest     accuracy 100.0% ({interval})",
        *(f"  fold {fold}    linear 100.0%, nearest 100.0%" for fold in range(4)),
    ]
