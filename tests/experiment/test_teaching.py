"""A recipe with a teacher: from unlabelled sounds to a student, and what is refused."""

import json

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from auricle import checkpoint, experiment
from auricle.errors import UserError
from auricle.experiment import prepare, recipe_from
from auricle.features import FbankConfig, PaddingConfig


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


LABELS = ["dog", "cat", "rain"]
MODEL = {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2}


@pytest.fixture
def teacher(tmp_path):
    """A checkpoint of three classes that hears at 32 kHz."""
    front_end = FbankConfig(
        sample_rate=32_000, num_mels=16, mean=-5.0, std=4.0, padding=PaddingConfig(frames=16)
    )
    torch.manual_seed(0)
    settings = {key: value for key, value in MODEL.items() if key != "name"}
    built = checkpoint.create("ast", settings, front_end, LABELS, "sigmoid")
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.5)
    checkpoint.save(built, tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def sounds(tmp_path):
    """A folder of eight unlabelled sounds, two levels deep, at several rates and lengths."""
    random = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / "sounds" / f"place {number % 2}" / "day"
        folder.mkdir(parents=True, exist_ok=True)
        rate = (16_000, 32_000, 44_100)[number % 3]
        clip = random.normal(0, 0.1, rate // (2 + number % 3))
        soundfile.write(folder / f"{number}.wav", clip, rate)
    return tmp_path / "sounds"


def recipe(teacher, sounds, **sections):
    values = {
        "name": "small",
        "data": {"source": str(sounds), "validation_share": 0.25, "workers": 0},
        "front_end": {"num_mels": 16, "mean": -5.0, "std": 4.0, "padding": {"frames": 16}},
        "model": MODEL,
        "augmentation": {"speed": 1.2, "reverberation_rate": 0.5, "filter_rate": 0.5},
        "overlap": {"rate": 0.5},
        "distillation": {"teacher": str(teacher), "embedding": 0.5},
        "training": {
            "epochs": 2,
            "batch_size": 3,
            "loss": "bce",
            "optimizer": {"learning_rate": 1e-3},
        },
    }
    return recipe_from({**values, **sections}, "test")


def test_a_student_is_trained_without_a_label(teacher, sounds, tmp_path):
    report = run(recipe(teacher, sounds), tmp_path / "run")
    assert report.num_train + report.num_validation == 8
    student = checkpoint.load(tmp_path / "run" / "best")
    assert student.labels == LABELS
    assert student.config.front_end.sample_rate == 16_000
    assert student.config.provenance["teacher"] == "teacher"
    assert {"explained", "agreement", "validation_loss"} <= set(report.best)
    scores = student.score(torch.randn(1, 4000))
    assert scores.shape == (1, 3)
    assert not (tmp_path / "run" / "state.ckpt").exists()


def test_a_teacher_teaches_over_time(teacher, sounds, tmp_path):
    config = json.loads((teacher / "config.json").read_text())
    config["model_settings"]["readout"] = "patch_mean"
    (teacher / "config.json").write_text(json.dumps(config))
    over_time = {"teacher": str(teacher), "column_logits": 0.5, "column_embedding": 0.5}
    student = {"name": "mobilenet", "width": 0.1}
    report = run(recipe(teacher, sounds, distillation=over_time, model=student), tmp_path / "run")
    assert report.last["train_loss"] > 0
    assert checkpoint.load(tmp_path / "run" / "last").labels == LABELS


def test_a_student_without_columns_is_refused(teacher, sounds, tmp_path):
    over_time = {"teacher": str(teacher), "column_logits": 0.5}
    with pytest.raises(UserError, match=r"the student \(model\) has no columns in time"):
        run(recipe(teacher, sounds, distillation=over_time), tmp_path / "run")


STUDENTS = [
    {**MODEL, "name": "asda", "patch": [8, 8]},
    {**MODEL, "name": "ham_ast", "conformer": {"num_blocks": 1, "kernel_size": 3}},
    {"name": "multiscale_ast", "max_frames": 32, "width": 8, "depths": [1, 1, 1, 1]},
    {"name": "mobilenet", "width": 0.1},
]


@pytest.mark.parametrize("student", STUDENTS, ids=[model["name"] for model in STUDENTS])
def test_any_model_can_be_the_student(teacher, sounds, tmp_path, student):
    report = run(recipe(teacher, sounds, model=student), tmp_path / "run")
    assert report.last["train_loss"] > 0
    assert checkpoint.load(tmp_path / "run" / "last").config.model == student["name"]


def test_sounds_are_read_at_the_rate_of_whoever_hears_more(teacher, sounds):
    assert prepare(recipe(teacher, sounds)).sample_rate == 32_000
    wide = {"num_mels": 16, "sample_rate": 48_000, "mean": -5.0, "std": 4.0}
    assert prepare(recipe(teacher, sounds, front_end=wide)).sample_rate == 48_000


def test_a_resumed_distillation_gives_the_same_bits(
    teacher, sounds, tmp_path, interrupted_in_epoch
):
    whole = recipe(teacher, sounds)
    run(whole, tmp_path / "whole")

    with interrupted_in_epoch(2):
        run(whole, tmp_path / "parts")
    run(whole, tmp_path / "parts", resume=True)
    first, second = (
        checkpoint.load(tmp_path / name / "last").state_dict() for name in ("whole", "parts")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    recipes = [(tmp_path / name / "recipe.yaml").read_text() for name in ("whole", "parts")]
    assert recipes[0] == recipes[1]
    records = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in records] == [1, 2]


def test_a_student_goes_on_from_weights_of_its_own(teacher, sounds, tmp_path):
    run(recipe(teacher, sounds), tmp_path / "first")
    start = checkpoint.load(tmp_path / "first" / "last")
    training = {
        "epochs": 1,
        "batch_size": 3,
        "loss": "bce",
        "optimizer": {"learning_rate": 1e-9},
    }
    again = recipe(
        teacher, sounds, initial_weights=str(tmp_path / "first" / "last"), training=training
    )
    run(again, tmp_path / "second")
    after = checkpoint.load(tmp_path / "second" / "last").state_dict()
    for name, value in start.state_dict().items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


def other(setting, owner, own):
    """The message for a setting of another kind of recipe."""
    return (
        f"test: {setting} is a setting of recipes for auricle {owner}; this one is for auricle "
        f"{own}. Leave it out."
    )


REFUSED = [
    (
        {"overlap": {"rate": 0.5}, "distillation": None},
        other("overlap", "distill", "train"),
    ),
    (
        {"folds": "all", "data": {"source": "."}},
        other("folds", "train", "distill"),
    ),
    (
        {"data": {"source": ".", "train_split": "train", "test_split": "test"}},
        other("data.test_split", "train", "distill"),
    ),
    (
        {"data": {"source": ".", "labels": ["a", "b"]}},
        other("data.labels", "train", "distill"),
    ),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED)
def test_what_makes_no_sense_with_or_without_a_teacher_is_refused(
    teacher, sounds, sections, message
):
    with pytest.raises(UserError) as caught:
        recipe(teacher, sounds, **sections)
    assert str(caught.value) == message


def test_a_teacher_of_exclusive_classes_wants_the_loss_that_fits(teacher, sounds):
    config = json.loads((teacher / "config.json").read_text())
    (teacher / "config.json").write_text(json.dumps({**config, "activation": "softmax"}))
    with pytest.raises(UserError) as caught:
        prepare(recipe(teacher, sounds))
    assert str(caught.value) == (
        f"distillation.teacher: {teacher} answers with a softmax, so training.loss must be ce, "
        "not bce."
    )


def test_a_teacher_without_labels_is_refused(teacher, sounds, tmp_path):
    settings = {key: value for key, value in MODEL.items() if key != "name"}
    mute = checkpoint.create("ast", settings, FbankConfig(num_mels=16), [], "sigmoid")
    checkpoint.save(mute, tmp_path / "mute")
    with pytest.raises(UserError) as caught:
        prepare(recipe(tmp_path / "mute", sounds))
    assert str(caught.value) == (
        f"distillation.teacher: {tmp_path / 'mute'} has no labels, so it has nothing to teach. "
        "Choose a model that was trained on labels."
    )
