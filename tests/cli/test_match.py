"""`auricle match`: a student and its teacher to a student of the teacher's spread."""

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli.main import app
from auricle.data import read
from auricle.evaluation import agree
from auricle.inference import Classifier


@pytest.fixture
def pair(tiny_model, tmp_path):
    """A teacher, and a student whose logits are a third of the teacher's, and lower."""
    teacher = checkpoint.load(tiny_model)
    teacher.config = teacher.config.model_copy(update={"activation": "sigmoid"})
    checkpoint.save(teacher, tmp_path / "teacher")
    count = len(teacher.labels)
    teacher.model.scale_logits(torch.full((count,), 1 / 3), torch.full((count,), -2.0))
    checkpoint.save(teacher, tmp_path / "student")
    return tmp_path / "student", tmp_path / "teacher"


@pytest.fixture
def sounds(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for number in range(6):
        noise = random.normal(0, 0.1, 8000).cumsum() / (1 + 20 * number)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", noise, 16_000, "FLOAT")
    return tmp_path / "sounds"


def run(*words):
    return CliRunner().invoke(app, ["match", *map(str, words), "--device", "cpu"])


def test_the_written_student_answers_as_its_teacher(pair, sounds, tmp_path):
    student, teacher = pair
    result = run(student, teacher, "--data", sounds, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    labels = len(checkpoint.load(teacher).labels)
    assert result.stdout == (
        f"{tmp_path / 'out'}: {student} with the mean and deviation that {teacher} gives each of "
        f"{labels} labels in 6 clips\n"
    )
    manifest = read(sounds, labelled=False)
    sides = [Classifier.load(folder, "cpu") for folder in (tmp_path / "out", teacher)]
    assert agree(*sides, manifest).numbers["logit_difference"] < 1e-4
    origin = checkpoint.load(tmp_path / "out").config.provenance["matched"]
    assert origin == {
        "teacher": str(teacher),
        "data": str(sounds),
        "split": None,
        "fold": None,
        "clips": 6,
    }


def test_a_faulty_clip_is_left_out_and_nothing_else_lost(pair, sounds, tmp_path):
    (sounds / "3.wav").write_text("no sound")
    result = run(*pair, "--data", sounds, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count(f"error: {sounds / '3.wav'}: ") == 1
    assert checkpoint.load(tmp_path / "out").config.provenance["matched"]["clips"] == 5


def test_one_clip_has_no_deviation(pair, sounds, tmp_path):
    for path in sorted(sounds.iterdir())[1:]:
        path.unlink()
    result = run(*pair, "--data", sounds, "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {sounds}: both scored 1 clip(s); how much answers vary takes two or more.\n",
    )
    assert not (tmp_path / "out").exists()


def test_what_exists_is_not_written_over(pair, sounds, tmp_path):
    result = run(*pair, "--data", sounds, "--out", pair[0])
    assert result.exit_code == 2
    assert result.stderr == f"error: {pair[0]}: exists already. Choose a new folder for --out.\n"


def test_a_pair_that_cannot_be_matched_is_refused_before_a_sound_is_opened(pair, tmp_path):
    student, teacher = pair
    softmax = checkpoint.load(teacher)
    softmax.config = softmax.config.model_copy(update={"activation": "softmax"})
    checkpoint.save(softmax, tmp_path / "softmax")
    words = ("--data", tmp_path / "nowhere", "--out", tmp_path / "out")
    result = run(student, tmp_path / "softmax", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the teacher answers with a softmax, ")
    assert not (tmp_path / "out").exists()
