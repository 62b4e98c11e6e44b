"""Which clips and which weights a run learns from: balanced sampling, a frozen backbone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle import checkpoint, experiment
from auricle.data import save_soft_targets
from auricle.errors import ConfigError, DataError
from auricle.experiment import Recipe, prepare, recipe_from
from auricle.experiment.run import build_checkpoint
from auricle.inference import resolve
from auricle.training import Supervised


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


TRAINING = {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": {"learning_rate": 1e-2}}
MODEL = {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2, "dropout": 0.5}


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Ten clips of 0.3 s, of which one is rare."""
    random = np.random.default_rng(0)
    rows = ["path,labels"]
    for number in range(10):
        soundfile.write(tmp_path / f"{number}.wav", random.normal(0, 0.1, 4800), 16_000)
        rows.append(f"{number}.wav,{'rare' if number == 0 else 'common'}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def recipe(manifest: Path, training: dict | None = None, **sections) -> Recipe:
    values = {
        "name": "small",
        "data": {"source": str(manifest), "workers": 0},
        "front_end": {"num_mels": 16},
        "model": MODEL,
        "training": {**TRAINING, **(training or {})},
    }
    return recipe_from({**values, **sections}, "test")


@pytest.fixture
def initial(manifest, tmp_path) -> str:
    run(recipe(manifest), tmp_path / "initial")
    return str(tmp_path / "initial" / "best")


def test_balanced_sampling_hears_a_rare_clip_more_often(manifest, tmp_path, monkeypatch):
    heard = []
    original = Supervised.loss

    def listen(step, batch):
        heard.extend(batch[2].argmax(dim=1).tolist())
        return original(step, batch)

    monkeypatch.setattr(Supervised, "loss", listen)
    run(recipe(manifest, {"sampling": "balanced", "epochs": 4}), tmp_path / "run")
    assert len(heard) == 40
    assert sum(heard) > 10  # 1 is the rare one; in any order it would be heard 4 times


def test_balanced_sampling_wants_labels(manifest, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.eye(2), ["common", "rare"])
    header, *rows = manifest.read_text().splitlines()
    rows = [f"{row}," for row in rows]
    rows[1] = "1.wav,,teacher.safetensors:0"
    manifest.write_text("\n".join([f"{header},soft_targets", *rows]) + "\n")
    with pytest.raises(DataError) as caught:
        prepare(recipe(manifest, {"sampling": "balanced"}))
    assert str(caught.value) == (
        f"{manifest}, line 3: no labels, but training.sampling is balanced, which counts them. "
        "Use training.sampling=shuffle."
    )


def test_a_frozen_backbone_stays_and_the_new_head_learns(manifest, initial, tmp_path):
    data = {"source": str(manifest), "workers": 0, "labels": ["common", "none", "rare"]}
    probe = recipe(manifest, {"freeze": "backbone"}, initial_weights=initial, data=data)
    run(probe, tmp_path / "probe")
    before = checkpoint.load(Path(initial)).model.state_dict()
    after = checkpoint.load(tmp_path / "probe" / "best").model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith("head.")}


def test_a_frozen_backbone_rests_in_eval_mode_while_it_trains(
    manifest, initial, tmp_path, monkeypatch
):
    modes = []
    original = Supervised.loss

    def look(step, batch):
        modes.append((step.model.encoder.blocks[0].mlp.dropout.training, step.model.head.training))
        return original(step, batch)

    monkeypatch.setattr(Supervised, "loss", look)
    data = {"source": str(manifest), "workers": 0, "labels": ["common", "none", "rare"]}
    data |= {"train_split": "train", "validation_split": "validation"}  # between two epochs
    header, *rows = manifest.read_text().splitlines()
    rows = [f"{row},{'validation' if number > 5 else 'train'}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([f"{header},split", *rows]))
    training = {"freeze": "backbone", "epochs": 2}
    run(recipe(manifest, training, initial_weights=initial, data=data), tmp_path / "probe")
    assert set(modes) == {(False, True)}


def test_nothing_left_to_learn_is_refused_and_the_earlier_run_stays(manifest, initial, tmp_path):
    probe = recipe(manifest, {"freeze": "backbone"}, initial_weights=initial)
    run(recipe(manifest), tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        run(probe, tmp_path / "run", overwrite=True)
    assert str(caught.value) == (
        "training.freeze is backbone, but all of the model comes from the initial weights, so that "
        "nothing would learn. Use training.freeze=none."
    )
    assert (tmp_path / "run" / "best" / "config.json").is_file()


def test_reinitialised_positions_learn_as_new_ones(manifest, initial):
    tuned = recipe(manifest, initial_weights=initial, initial_positions="reinitialised")
    labels = ["common", "rare"]
    _, new = build_checkpoint(tuned, labels, tuned.front_end.fbank(), resolve(initial))
    assert new == {"positions.prefix", "positions.grid"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"freeze": "backbone"}}, "training.freeze 'backbone' needs initial_weights"),
        ({"initial_positions": "nearest"}, "initial_positions 'nearest' needs initial_weights"),
    ],
    ids=["freeze", "positions"],
)
def test_what_needs_initial_weights_is_refused_without(manifest, sections, message):
    with pytest.raises(ConfigError) as caught:
        recipe(manifest, **sections)
    assert str(caught.value) == f"test: {message}."
