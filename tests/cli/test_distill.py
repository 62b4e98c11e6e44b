"""`auricle distill`: what is refused, and what reaches the recipe."""

import numpy as np
import pytest
import soundfile
import torch
import yaml
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli.main import app
from auricle.features import FbankConfig, PaddingConfig

MODEL = {"width": 8, "depth": 1, "num_heads": 2, "max_frames": 64}


def run(*words: str):
    return CliRunner().invoke(app, ["distill", *words])


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "give a recipe. See auricle distill --help."),
        (("x.yaml",), "x.yaml: no such recipe file."),
        (
            ("x.yaml", "--resume", "--overwrite"),
            "--resume goes on with a run, --overwrite replaces it; choose one.",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(words, message):
    result = run(*words)
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")


@pytest.fixture
def parts(tmp_path):
    """A recipe, a teacher and a folder of sounds."""
    front_end = FbankConfig(num_mels=16, padding=PaddingConfig(frames=16))
    torch.manual_seed(0)
    teacher = checkpoint.create("ast", MODEL, front_end, ["dog", "cat"], "sigmoid")
    for parameter in teacher.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    checkpoint.save(teacher, tmp_path / "teacher")
    random = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    for number in range(6):
        sound = random.normal(0, 0.1, 4000 + 1000 * number)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", sound, 16_000)
    recipe = {
        "data": {"source": "elsewhere", "validation_share": 0.3, "workers": 0},
        "front_end": {"num_mels": 16, "mean": -5.0, "std": 4.0, "padding": {"frames": 16}},
        "model": {"name": "ast", **MODEL},
        "distillation": {"teacher": "somebody"},
        "training": {
            "epochs": 1,
            "batch_size": 2,
            "loss": "bce",
            "optimizer": {"learning_rate": 1e-3},
        },
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def test_teacher_and_sounds_are_those_of_the_command(parts):
    words = [str(parts / "small.yaml"), "--teacher", str(parts / "teacher")]
    result = run(*words, "--data", str(parts / "sounds"), "--out", str(parts / "run"))
    assert result.exit_code == 0, result.stderr
    assert "of the variance of the teacher's logits" in result.stdout
    assert "in the teacher's three" in result.stdout
    assert checkpoint.load(parts / "run" / "best").labels == ["dog", "cat"]


def test_a_teacher_that_is_not_there_is_named(parts):
    result = run(str(parts / "small.yaml"), "--data", str(parts / "sounds"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: unknown model 'somebody'.")


def test_a_recipe_without_a_teacher_belongs_to_train(parts):
    recipe = yaml.safe_load((parts / "small.yaml").read_text())
    del recipe["distillation"]
    recipe["data"]["source"] = str(parts / "labelled")
    for name in ("a", "b"):
        (parts / "labelled" / name).mkdir(parents=True)
        soundfile.write(parts / "labelled" / name / "1.wav", np.zeros(4000), 16_000)
        soundfile.write(parts / "labelled" / name / "2.wav", np.zeros(4000), 16_000)
    path = parts / "plain.yaml"
    path.write_text(yaml.safe_dump(recipe))
    result = run(str(path))
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {path}: has no section distillation, so it learns from labels: auricle train "
        f"{path}\n"
    )
