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


def test_sounds_without_splits_or_labels_need_no_setting(parts):
    recipe = yaml.safe_load((parts / "small.yaml").read_text())
    recipe["data"] = {
        "source": "elsewhere",
        "train_split": "train",
        "validation_split": "validation",
        "workers": 0,
    }
    recipe["training"]["sampling"] = "square_root"
    (parts / "split.yaml").write_text(yaml.safe_dump(recipe))
    sounds, teacher = parts / "sounds", str(parts / "teacher")
    words = [str(parts / "split.yaml"), "--teacher", teacher, "--out", str(parts / "run")]
    result = run(*words, "--data", str(sounds))
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[:2] == [
        f"{sounds}: no split 'train': a tenth of the clips validates.",
        f"{sounds}: clips without labels: all are drawn alike, not by square_root.",
    ]
    stored = yaml.safe_load((parts / "run" / "recipe.yaml").read_text())
    assert (stored["data"]["validation_share"], stored["data"]["train_split"]) == (0.1, None)
    assert stored["training"]["sampling"] == "shuffle"


def test_splits_and_labels_that_are_there_are_used(parts):
    recipe = yaml.safe_load((parts / "small.yaml").read_text())
    del recipe["data"]["validation_share"]
    recipe["data"] |= {"train_split": "train", "validation_split": "validation"}
    recipe["training"]["sampling"] = "square_root"
    (parts / "split.yaml").write_text(yaml.safe_dump(recipe))
    lines = ["path,labels,split"]
    lines += [
        f"sounds/{number}.wav,x,{'validation' if number > 3 else 'train'}" for number in range(6)
    ]
    (parts / "sounds.csv").write_text("\n".join(lines))
    words = [str(parts / "split.yaml"), "--teacher", str(parts / "teacher")]
    result = run(*words, "--data", str(parts / "sounds.csv"), "--out", str(parts / "run"))
    assert result.exit_code == 0, result.stderr
    assert "drawn alike" not in result.stderr and "a tenth" not in result.stderr
    stored = yaml.safe_load((parts / "run" / "recipe.yaml").read_text())
    assert stored["data"]["validation_split"] == "validation"
    assert stored["training"]["sampling"] == "square_root"


def test_sounds_that_cannot_be_read_are_no_reason_for_a_traceback(parts):
    for path in (parts / "sounds").iterdir():
        path.write_text("not a sound")
    words = [str(parts / "small.yaml"), "--teacher", str(parts / "teacher")]
    result = run(*words, "--data", str(parts / "sounds"), "--out", str(parts / "run"))
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"error: {parts / 'sounds'}: of 4 training clips 0 can be read; distillation needs two or "
        f"more. The first that cannot: {parts / 'sounds'}"
    )


def test_one_clip_is_too_few_to_say_how_much_a_teacher_varies(parts):
    for number in range(1, 6):
        (parts / "sounds" / f"{number}.wav").unlink()
    words = [str(parts / "small.yaml"), "data.validation_share=null"]
    words += ["--teacher", str(parts / "teacher"), "--data", str(parts / "sounds")]
    result = run(*words, "--out", str(parts / "run"))
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {parts / 'sounds'}: of 1 training clips 1 can be read; distillation needs two or "
        "more.\n",
    )


def test_a_sound_that_is_too_short_is_skipped_and_named(parts):
    short = parts / "sounds" / "short.wav"
    soundfile.write(short, np.full(128, 0.1), 16_000)
    words = [str(parts / "small.yaml"), "data.validation_share=null", "data.max_faulty_share=0.5"]
    words += ["augmentation.speed=1.5"]
    words += ["--teacher", str(parts / "teacher"), "--data", str(parts / "sounds")]
    result = run(*words, "--out", str(parts / "run"))
    assert result.exit_code == 0, result.stderr
    assert (parts / "run" / "faults.csv").read_text().splitlines()[1] == (
        f'{short},"{short}: 8.0 ms of sound, but at least 38.6 ms are needed. Leave it out, or '
        'give a longer one."'
    )


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
        f"error: {path}: is a recipe for auricle train, not for auricle distill. Use: "
        f"auricle train {path}\n"
    )


def test_a_recipe_of_another_command_is_sent_there_before_its_data_are_read(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    result = run("pretrain_words_small", "--data", nowhere)
    assert (result.exit_code, result.stderr) == (
        2,
        "error: pretrain_words_small: is a recipe for auricle pretrain, not for auricle distill. "
        "Use: auricle pretrain pretrain_words_small\n",
    )
    result = CliRunner().invoke(app, ["pretrain", "tagger", "--data", nowhere])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: tagger: is a recipe for auricle distill, not for auricle pretrain. Use: auricle "
        "distill tagger\n",
    )
