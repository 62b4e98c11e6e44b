"""`auricle agree`, from files to files."""

import json
import shutil

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli.main import app


@pytest.fixture
def sounds(tmp_path):
    """Three sounds of noise in a folder, one below another."""
    generator = torch.Generator().manual_seed(0)
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = torch.rand(8000, generator=generator) - 0.5
        soundfile.write(path, noise.cumsum(0).numpy() / 100, 16_000)
    return tmp_path / "sounds"


@pytest.fixture
def copy(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "copy")
    return tmp_path / "copy"


def run(*words):
    return CliRunner().invoke(app, ["agree", *map(str, words), "--device", "cpu"])


def test_a_copy_agrees_about_a_folder_of_sounds(tiny_model, copy, sounds, tmp_path):
    result = run(copy, tiny_model, "--data", sounds, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert (record["student"], record["teacher"]) == (str(copy), str(tiny_model))
    assert (record["num_clips"], record["top1_same"]) == (3, 1.0)
    assert (tmp_path / "out" / "agreement.csv").read_text().splitlines()[3].startswith("deep/c.wav")
    assert result.stdout.endswith(f"{tmp_path / 'out'}: agreement.json and agreement.csv\n")


def test_a_split_of_a_manifest_without_labels_is_taken(tiny_model, copy, sounds, tmp_path):
    (sounds / "clips.csv").write_text("path,split\na.wav,test\nb.wav,train\ndeep/c.wav,test\n")
    words = ("--data", sounds / "clips.csv", "--split", "test", "--out", tmp_path / "out")
    assert run(copy, tiny_model, *words).exit_code == 0
    assert json.loads((tmp_path / "out" / "agreement.json").read_text())["num_clips"] == 2


def test_a_faulty_clip_is_named_once_and_the_exit_code_is_1(tiny_model, copy, sounds, tmp_path):
    (sounds / "b.wav").write_text("this is not a sound")
    result = run(copy, tiny_model, "--data", sounds, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count(f"error: {sounds / 'b.wav'}: ") == 1


def test_a_model_is_not_compared_with_itself(tiny_model, sounds, tmp_path):
    result = run(tiny_model, tiny_model, "--data", sounds, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == f"error: {tiny_model}: named twice. Name each checkpoint once.\n"
    assert not (tmp_path / "out").exists()


def test_thresholds_are_stored_where_the_students_labels_are_most_like_the_teachers(
    tiny_model, copy, sounds, tmp_path
):
    (sounds / "clips.csv").write_text("path,split\na.wav,test\nb.wav,train\ndeep/c.wav,test\n")
    words = ("--data", sounds / "clips.csv", "--out", tmp_path / "out", "--calibrate")
    refused = run(copy, tiny_model, *words)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: --calibrate chooses thresholds on the clips that")
    assert checkpoint.load(copy).config.thresholds is None

    result = run(copy, tiny_model, *words, "--split", "test", "--threshold", "0.45")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "out" / "agreement.json").read_text())["classes"]
    stored = checkpoint.load(copy).config
    assert stored.thresholds == tuple(row["calibrated"] for row in rows)
    assert stored.provenance["thresholds"] == {
        "teacher": str(tiny_model),
        "data": str(sounds / "clips.csv"),
        "split": "test",
        "fold": None,
        "threshold": 0.45,
        "clips": 2,
    }
    assert f"{copy}: thresholds of {len(rows)} classes stored" in result.stdout


def test_thresholds_need_a_teacher_who_knows_every_label(tiny_model, copy, sounds, tmp_path):
    known = checkpoint.load(tiny_model)
    names = known.config.id2label | {"0": "howl"}
    known.config = known.config.model_copy(update={"id2label": names})
    checkpoint.save(known, copy)
    (sounds / "clips.csv").write_text("path,split\na.wav,test\n")
    words = ("--data", sounds / "clips.csv", "--split", "test", "--out", tmp_path / "out")
    result = run(copy, tiny_model, *words, "--calibrate")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: the teacher does not know 1 of the student's labels: howl. Name another teacher.\n"
    )


def test_thresholds_cannot_be_stored_in_what_is_no_folder(tiny_model, sounds, tmp_path):
    words = ("--data", sounds, "--split", "test", "--out", tmp_path / "out")
    result = run("tagger", tiny_model, *words, "--calibrate")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: tagger: no folder. --calibrate stores thresholds in the student's own checkpoint: "
        "name its folder.\n",
    )
