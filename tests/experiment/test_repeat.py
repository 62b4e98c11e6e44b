"""Folds and seeds of one recipe: which runs there are, what is scored, and what it comes to."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle import experiment
from auricle.data import read
from auricle.errors import ConfigError, DataError
from auricle.experiment import Recipe, Scores, prepare, recipe_from
from auricle.experiment.repeat import summarize
from auricle.training import fit


def parts(recipe):
    return experiment.parts(prepare(recipe))


def repeat(recipe, out, **options):
    return experiment.repeat(prepare(recipe), out, **options)


def score(recipe, folder):
    return experiment.score(prepare(recipe), folder)


MODEL = {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2}


@pytest.fixture
def manifest(noise_clips) -> Path:
    """Twelve clips in two classes, in two folds and, unrelated to these, three splits."""
    splits = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    return noise_clips(fold=[1, 1, 2, 2] * 3, split=splits)


def recipe(manifest: Path, data: dict, **sections) -> Recipe:
    values = {
        "name": "small",
        "data": {"source": str(manifest), "workers": 0, **data},
        "front_end": {"num_mels": 16},
        "model": MODEL,
        "training": {
            "epochs": 2,
            "batch_size": 4,
            "loss": "ce",
            "optimizer": {"learning_rate": 1e-3},
        },
    }
    return recipe_from({**values, **sections}, "test")


SPLITS = {"train_split": "train", "validation_split": "validation", "test_split": "test"}


def test_a_recipe_is_run_for_each_fold_of_each_seed(manifest):
    found = parts(recipe(manifest, {}, folds="all", seeds=2, seed=3))
    assert [part.name for part in found] == [
        "seed-3-fold-1",
        "seed-3-fold-2",
        "seed-4-fold-1",
        "seed-4-fold-2",
    ]
    assert [(part.prepared.recipe.seed, part.prepared.recipe.data.fold) for part in found] == [
        (3, 1),
        (3, 2),
        (4, 1),
        (4, 2),
    ]
    assert {(part.prepared.recipe.seeds, part.prepared.recipe.folds) for part in found} == {
        (1, None)
    }


def test_seeds_alone_are_runs_of_the_same_split(manifest):
    found = parts(recipe(manifest, SPLITS, seeds=2))
    assert [part.name for part in found] == ["seed-0", "seed-1"]
    assert {part.prepared.recipe.data.test_split for part in found} == {"test"}


def test_a_fold_that_no_clip_has_is_refused(manifest):
    with pytest.raises(DataError) as error:
        parts(recipe(manifest, {}, folds=[1, 7]))
    assert str(error.value) == f"{manifest}: no clip has fold 7. Folds: 1, 2."


def test_all_folds_of_clips_without_folds_are_refused(manifest):
    manifest.write_text("path,labels\n0.wav,a\n1.wav,b\n")
    with pytest.raises(DataError) as error:
        parts(recipe(manifest, {}, folds="all"))
    assert str(error.value) == (
        f"{manifest}: folds: all needs clips in two folds or more. Give them in the column fold."
    )


def test_folds_and_another_validation_cannot_be_given_together(manifest):
    with pytest.raises(ConfigError) as error:
        recipe(manifest, {"fold": 1}, folds="all")
    assert str(error.value) == "test: folds and data.fold cannot be given together; choose one."


def test_a_repeated_recipe_leaves_a_scored_run_for_each_part(manifest, tmp_path):
    out = tmp_path / "out"
    asked = recipe(manifest, {}, folds="all", seeds=2)
    summary = repeat(asked, out)
    assert json.loads((out / "summary.json").read_text()) == summary
    correct = {}
    for part in parts(asked):
        scores = score(part.prepared.recipe, out / part.name)
        fold = read(manifest).select(fold=part.prepared.recipe.data.fold)
        assert (scores.checkpoint, scores.clips_of) == (
            "last",
            f"fold {part.prepared.recipe.data.fold}",
        )
        assert scores.clips == scores.groups == [clip.path.name for clip in fold.clips]
        correct[part.name] = np.mean(scores.correct)
        assert scores.metrics["accuracy"] == pytest.approx(correct[part.name])
    of_seeds = [
        np.mean([correct[f"seed-{seed}-fold-{fold}"] for fold in (1, 2)]) for seed in (0, 1)
    ]
    assert summary["accuracy"]["seeds"] == pytest.approx(of_seeds)
    assert summary["accuracy"]["mean"] == pytest.approx(np.mean(of_seeds))
    assert summary["accuracy"]["std"] == pytest.approx(np.std(of_seeds, ddof=1))


def test_finished_parts_are_not_run_again(manifest, tmp_path):
    out = tmp_path / "out"
    asked = recipe(manifest, SPLITS, seeds=2)
    first = repeat(asked, out)
    kept = out / "seed-0" / "best" / "model.safetensors"
    before = kept.stat().st_mtime_ns
    assert repeat(asked, out) == first
    assert kept.stat().st_mtime_ns == before


def test_of_several_processes_only_the_first_scores(manifest, tmp_path, monkeypatch):
    out, asked = tmp_path / "out", recipe(manifest, SPLITS, seeds=2)
    repeat(asked, out)
    for path in (out / "summary.json", *out.glob("*/scores.json")):
        path.unlink()
    monkeypatch.setattr(fit, "is_first_process", lambda: False)
    assert repeat(asked, out) is None
    assert not list(out.rglob("s*.json"))


def test_a_process_that_is_not_the_first_takes_no_run_away(manifest, tmp_path, monkeypatch):
    out, asked = tmp_path / "out", recipe(manifest, SPLITS)
    repeat(asked, out)
    (out / "seed-0" / "notes.txt").touch()
    monkeypatch.setattr(fit, "is_first_process", lambda: False)
    repeat(asked, out, overwrite=True)
    assert (out / "seed-0" / "notes.txt").exists()


def test_the_epoch_that_validated_best_is_scored_on_the_test_split(manifest, tmp_path):
    asked = recipe(manifest, SPLITS)
    repeat(asked, tmp_path / "out")
    scores = score(asked, tmp_path / "out" / "seed-0")
    assert (scores.checkpoint, scores.clips_of) == ("best", "split test")
    assert scores.clips == ["9.wav", "10.wav", "11.wav"]


def test_nothing_kept_from_training_is_refused_after_the_run(manifest, tmp_path):
    with pytest.raises(DataError) as error:
        repeat(recipe(manifest, {}, seeds=2), tmp_path / "out")
    assert str(error.value) == (
        f"{manifest}: every clip is trained on, none is left to score. Give data.test_split, "
        "data.fold, data.validation_split or data.validation_share."
    )
    assert not (tmp_path / "out").exists()


def scores(accuracy: float) -> Scores:
    return Scores("last", "fold 1", {"accuracy": accuracy, "mAP": None}, [], [], [], [])


def test_the_folds_of_a_seed_count_as_one_score(manifest):
    asked = recipe(manifest, {}, folds="all", seeds=2)
    names = [part.name for part in parts(asked)]
    found = summarize(dict(zip(names, map(scores, (0.5, 0.7, 0.8, 1.0)), strict=True)), 2)
    assert found["accuracy"]["seeds"] == pytest.approx([0.6, 0.9])
    assert found["accuracy"]["mean"] == pytest.approx(0.75)
    assert found["accuracy"]["std"] == pytest.approx(0.3 / 2**0.5)
    assert "mAP" not in found


def test_what_is_overwritten_is_run_and_scored_anew(manifest, tmp_path):
    out = tmp_path / "out"
    repeat(recipe(manifest, SPLITS), out)
    training = {
        "epochs": 1,
        "batch_size": 2,
        "loss": "ce",
        "optimizer": {"learning_rate": 0.1},
    }
    other = recipe(manifest, SPLITS, training=training)
    with pytest.raises(ConfigError, match="training.epochs"):
        repeat(other, out)
    before = json.loads((out / "seed-0" / "scores.json").read_text())
    repeat(other, out, overwrite=True)
    assert json.loads((out / "seed-0" / "scores.json").read_text()) != before


def test_the_average_of_epochs_is_scored_where_the_recipe_asks_for_one(manifest, tmp_path):
    training = {
        "epochs": 2,
        "batch_size": 4,
        "loss": "ce",
        "optimizer": {"learning_rate": 1e-3},
        "average_epochs": [1, 2],
    }
    asked = recipe(manifest, SPLITS, training=training)
    repeat(asked, tmp_path / "out")
    assert score(asked, tmp_path / "out" / "seed-0").checkpoint == "average"


def test_a_run_that_stopped_before_the_epochs_to_average_is_scored_without(manifest, tmp_path):
    training = {
        "epochs": 5,
        "batch_size": 4,
        "loss": "ce",
        "optimizer": {"learning_rate": 1e-12},  # no epoch is better than the first
        "average_epochs": [5, 5],
        "early_stop": 1,
    }
    asked = recipe(manifest, SPLITS, training=training, seeds=2)
    repeat(asked, tmp_path / "out")
    assert score(asked, tmp_path / "out" / "seed-0").checkpoint == "best"


def test_every_run_is_named_before_it_begins(manifest, tmp_path, capsys):
    repeat(recipe(manifest, SPLITS, seeds=2), tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("seed")] == [
        "seed-0, run 1 of 2",
        "seed-1, run 2 of 2",
    ]


def test_clips_of_one_name_in_two_folders_beside_the_manifest_stay_apart(tmp_path):
    random = np.random.default_rng(0)
    rows = ["path,labels,fold"]
    for number in range(8):
        path = tmp_path / "sounds" / "ab"[number % 2] / f"{number // 2}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, random.normal(0, 0.1, 4800), 16_000)
        rows.append(f"../sounds/{path.parent.name}/{path.name},{path.parent.name},{number // 4}")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "clips.csv").write_text("\n".join(rows) + "\n")
    asked = recipe(tmp_path / "lists" / "clips.csv", {}, folds=[0])
    repeat(asked, tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "seed-0-fold-0" / "scores.json").read_text())
    names = ["../sounds/a/0.wav", "../sounds/b/0.wav", "../sounds/a/1.wav", "../sounds/b/1.wav"]
    assert scores["clips"] == scores["groups"] == names


def test_a_full_disk_leaves_no_half_of_the_scores(manifest, tmp_path, monkeypatch):
    asked = parts(recipe(manifest, SPLITS))[0].prepared.recipe
    repeat(recipe(manifest, SPLITS), tmp_path / "out")
    folder = tmp_path / "out" / "seed-0"
    (folder / "scores.json").unlink()

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        score(asked, folder)
    assert not (folder / "scores.json").exists()


def test_damaged_scores_are_one_line(manifest, tmp_path):
    (tmp_path / "scores.json").write_text('{"checkpoint"')
    with pytest.raises(ConfigError) as caught:
        score(recipe(manifest, SPLITS), tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'scores.json'}: not readable as the scores ")
    assert str(caught.value).endswith("Remove it: the run is scored again.")
    assert "\n" not in str(caught.value)
