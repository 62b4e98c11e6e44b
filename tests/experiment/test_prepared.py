"""What a run reads: the manifest, the initial weights and the teacher, once each."""

from collections import Counter

import pytest
import torch

from auricle import checkpoint, data
from auricle.experiment import (
    prepare,
    recipe_for_folder,
    recipe_for_sounds,
    recipe_from,
    repeat,
    run,
)
from auricle.features import FbankConfig

MODEL = {"max_frames": 64, "width": 16, "depth": 1, "num_heads": 2}
TRAINING = {"epochs": 1, "batch_size": 4, "optimizer": {"learning_rate": 1e-3}}


@pytest.fixture
def table(noise_clips):
    """Eight clips in two folds."""
    return noise_clips(fold=[1, 1, 2, 2] * 2)


@pytest.fixture
def start(tmp_path):
    """A checkpoint with the labels of the clips."""
    with torch.random.fork_rng():
        made = checkpoint.create("ast", MODEL, FbankConfig(num_mels=32), ["a", "b"], "softmax")
    checkpoint.save(made, tmp_path / "start")
    return str(tmp_path / "start")


@pytest.fixture
def reads(monkeypatch):
    """How often each manifest and each model was read."""
    counts = Counter()

    def counted(module, name):
        plain = getattr(module, name)

        def read(path, *others, **options):
            counts[f"{name} {path.name}"] += 1
            return plain(path, *others, **options)

        monkeypatch.setattr(module, name, read)

    counted(data, "read")
    counted(checkpoint, "load")
    return counts


def values(table, **sections):
    settings = {
        "name": "small",
        "data": {"source": str(table), "validation_share": 0.5, "workers": 0},
        "front_end": {"num_mels": 32},
        "model": {"name": "ast", **MODEL},
        "training": {**TRAINING, "loss": "ce"},
    }
    return {**settings, **sections}


def test_training_reads_manifest_and_weights_once(table, start, tmp_path, reads):
    run(prepare(recipe_from(values(table, initial_weights=start), "test")), tmp_path / "run")
    assert reads == {"read clips.csv": 1, "load start": 1}


def test_training_on_own_sounds_reads_manifest_and_model_once(table, start, tmp_path, reads):
    words = ["training.epochs=1", "data.workers=0"]
    run(recipe_for_folder(table, start, words), tmp_path / "run")
    assert reads == {"read clips.csv": 1, "load start": 1}


def test_seeds_and_folds_share_what_is_read(table, start, tmp_path, reads):
    repeated = values(table, initial_weights=start, seeds=2, folds="all")
    repeated["data"] = {"source": str(table), "workers": 0}
    repeat(prepare(recipe_from(repeated, "test")), tmp_path / "runs")
    scored = {f"load {name}": count for name, count in {"last": 4}.items()}  # what was trained
    assert reads == {"read clips.csv": 1, "load start": 1, **scored}


def test_distillation_reads_manifest_weights_and_teacher_once(table, start, tmp_path, reads):
    made = checkpoint.load(tmp_path / "start")
    checkpoint.save(made, tmp_path / "teacher")
    taught = values(table, initial_weights=start)
    taught["distillation"] = {"teacher": str(tmp_path / "teacher")}
    reads.clear()
    run(prepare(recipe_from(taught, "test")), tmp_path / "run")
    assert reads == {"read clips.csv": 1, "load start": 1, "load teacher": 1}


def test_pretraining_reads_its_sounds_once(table, tmp_path, reads):
    (tmp_path / "recipe.yaml").write_text(
        "model: {name: asda, patch: [4, 4], max_frames: 64, width: 16, depth: 1, num_heads: 2}\n"
        "front_end: {num_mels: 32}\n"
        "pretraining: {objective: {decoder: {groups: 4}, clones: 2}}\n"
        "training: {epochs: 1, batch_size: 4, optimizer: {learning_rate: 0.001}}\n"
    )
    words = ["data.workers=0", "data.validation_share=0.5"]
    run(recipe_for_sounds(str(tmp_path / "recipe.yaml"), table, words), tmp_path / "run")
    assert reads == {"read clips.csv": 1}
