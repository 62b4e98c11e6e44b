"""A student and its teacher, shown with models whose scores are given."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console

from auricle import audio, data
from auricle.errors import AudioError, CheckpointError, DataError
from auricle.evaluation import agree, agreement_report
from auricle.evaluation.agreement import measure_likeness, ranks, shared_labels
from auricle.inference import Classifier

LABELS = ["a", "b", "c", "d", "e"]
GROUPS = torch.arange(4)
TEACHER = torch.tensor(
    [
        [0.9, 0.8, 0.7, 0.1, 0.2],
        [0.1, 0.2, 0.9, 0.6, 0.3],
        [0.7, 0.1, 0.3, 0.2, 0.4],
        [0.1, 0.3, 0.2, 0.4, 0.3],
    ]
)


def likeness(student, threshold=0.5, groups=GROUPS):
    return measure_likeness(student, TEACHER, LABELS, groups, threshold)


def test_a_copy_agrees_in_everything():
    numbers = likeness(TEACHER.clone())
    assert numbers["top1_in_top3"] == numbers["top1_same"] == numbers["mAP"] == 1.0
    assert numbers["logit_difference"] == 0.0
    assert numbers["logit_correlation"] == pytest.approx(1.0)
    assert numbers["worst"] == []
    assert numbers["clips_without_labels"] == 1  # the last, which has no score from 0.5 on
    assert numbers["labels_counted"] == 4  # nobody has e


def test_the_best_label_is_looked_for_among_the_teachers_three():
    student = torch.full((4, 5), 0.1)
    student[[0, 1, 2, 3], [2, 0, 1, 3]] = 0.9  # third, last, last and first in the teacher's order
    assert ranks(student, TEACHER).tolist() == [3, 5, 5, 1]
    numbers = likeness(student)
    assert numbers["top1_in_top3"] == 0.5
    assert numbers["top1_same"] == 0.25
    assert [row["clip"] for row in numbers["worst"]] == [1, 2]  # 0.9 before 0.7 - 0.1
    assert numbers["worst"][1] == {
        "clip": 2,
        "teacher": "a",
        "teacher_score": pytest.approx(0.7),
        "student": "b",
        "student_score": pytest.approx(0.9),
        "place": 5,
    }


def test_logits_are_compared_label_by_label():
    logits = TEACHER.double().logit()
    student = logits * torch.tensor([1.0, 2.0, 1.0, -1.0, 1.0]) + torch.tensor([0.5, 0, 0, 0, 0])
    rows = likeness(student.sigmoid())["classes"]
    assert rows[0]["logit_difference"] == pytest.approx(0.5)
    assert [row["logit_correlation"] for row in rows] == pytest.approx([1, 1, 1, -1, 1])
    expected = logits[:, 1].abs().mean().item()
    assert rows[1]["logit_difference"] == pytest.approx(expected)


def test_a_label_that_never_changes_has_no_correlation():
    student = TEACHER.clone()
    student[:, 0] = 0.5
    numbers = likeness(student)
    assert numbers["classes"][0]["logit_correlation"] is None
    assert numbers["logit_correlation"] == pytest.approx(1.0)


def test_the_threshold_says_which_labels_the_teacher_gives():
    clips = [row["clips"] for row in likeness(TEACHER, threshold=0.3)["classes"]]
    assert clips == [2, 2, 3, 2, 3]
    numbers = likeness(TEACHER, threshold=0.95)
    assert numbers["mAP"] is None
    assert "mAP" not in numbers["intervals"]
    why = "at this threshold the teacher gives no label to some clips and not to others"
    assert numbers["undefined"]["mAP"] == why


def test_intervals_are_drawn_by_groups():
    numbers = likeness(TEACHER, groups=torch.tensor([0, 0, 1, 1]))
    assert numbers["resampled"] == {"unit": "groups", "number": 2, "rounds": 1000}
    assert numbers["intervals"]["top1_same"] is None
    same = "other draws of these groups give the same value"
    assert numbers["undefined"]["intervals.top1_same"] == same


@pytest.fixture
def sounds(tmp_path):
    """Three unlabelled tones of amplitude 0.1, 0.2 and 0.3, a second each."""
    for place in (1, 2, 3):
        folder = tmp_path / "sounds" / f"part {place % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        samples = place / 10 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
        soundfile.write(folder / f"{place}.wav", samples, 16_000, subtype="FLOAT")
    return data.read(tmp_path / "sounds", labelled=False)


@pytest.fixture
def models(function_engine):
    """A student and a teacher that answer by a sound's loudness, each at its own sample rate."""

    def row_of(table):
        return lambda waveform: table[round(waveform.abs().max().item() * 10)]

    student = {place: torch.tensor([0.2, 0.9, 0.3, 0.4]) for place in range(4)}
    return [
        Classifier(function_engine(row_of(student), ["d", "x", "a", "b"], 16_000, 100)),
        Classifier(function_engine(row_of(TEACHER), LABELS, 32_000, 100, 64_000)),
    ]


def test_each_model_scores_the_files_at_its_own_rate(models, sounds):
    student, teacher = models
    found = agree(student, teacher, sounds)
    assert (student.engine.lengths, teacher.engine.lengths) == ([16_000] * 3, [32_000] * 3)
    assert found.labels == ["d", "a", "b"]  # that both know
    # part 0 holds the second clip, part 1 the first and the third
    torch.testing.assert_close(found.teacher, TEACHER[[2, 1, 3]][:, [3, 0, 1]])
    assert found.student.tolist()[0] == pytest.approx([0.2, 0.3, 0.4])
    assert found.numbers["num_clips"] == 3


def test_a_clip_that_one_cannot_score_is_left_out_for_both(models, sounds):
    student, teacher = models
    soundfile.write(sounds.clips[1].path, np.full(80, 0.1), 16_000)  # 160 samples for the teacher
    found = agree(student, teacher, sounds)
    assert [clip.path.name for clip in found.clips] == ["2.wav", "3.wav"]
    assert [failure.clip.path.name for failure in found.failures] == ["1.wav"]
    torch.testing.assert_close(found.teacher, TEACHER[[2, 3]][:, [3, 0, 1]])


def test_clips_that_nobody_scores_together_are_refused(models, sounds, monkeypatch):
    student, teacher = models
    for clip, size in zip(sounds.clips, (80, 80, 16_000), strict=True):
        soundfile.write(clip.path, np.full(size, 0.1), 16_000)
    blocks = audio.blocks

    def all_but_long_sounds(source, sample_rate):
        if sample_rate == teacher.sample_rate and source == sounds.clips[2].path:
            raise AudioError("too long.")
        return blocks(source, sample_rate)

    monkeypatch.setattr(audio, "blocks", all_but_long_sounds)
    with pytest.raises(DataError) as caught:
        agree(student, teacher, sounds)
    assert str(caught.value) == (
        f"{sounds.source}: no clip can be scored by both. The student's first: "
        f"{sounds.clips[0].path}: the sound lasts 5 ms; this model needs at least 6 ms. The "
        f"teacher's first: {sounds.clips[2].path}: too long."
    )


def test_models_without_labels_in_common_are_refused():
    with pytest.raises(CheckpointError) as caught:
        shared_labels(["a", "b"], ["b", "c"])
    assert str(caught.value) == (
        "student and teacher share 1 labels; to be compared they need two or more. The student "
        "begins with a, b; the teacher with b, c."
    )


def test_an_agreement_is_written_and_printed(models, sounds, tmp_path):
    found = agree(*models, sounds)
    agreement_report.write(found, tmp_path / "out", {"student": "s", "teacher": "t"})
    record = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (record["student"], record["num_clips"], record["failed"]) == ("s", 3, [])
    with (tmp_path / "out" / "agreement.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "file": str(Path("part 0", "2.wav")),
        "teacher": "a",
        "teacher_score": "0.7",
        "student": "b",
        "student_score": "0.4",
        "place": "3",
    }
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        agreement_report.print_tables(found, console)
    assert capture.get().startswith("clips                            3, labels 3\n")
