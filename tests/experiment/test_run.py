"""Running a recipe: statistics, initial weights, the run's folder, interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio, checkpoint, experiment
from auricle.data import measure_statistics, read, save_soft_targets, trained_on
from auricle.errors import CheckpointError, DataWarning, UserError
from auricle.experiment import Recipe, new_folder, prepare, recipe_for_folder, recipe_from
from auricle.experiment.run import build_checkpoint
from auricle.features import FbankConfig
from auricle.training import Supervised


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


MODEL = {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2}
OPTIMIZER = {"learning_rate": 1e-3}


@pytest.fixture
def manifest(tmp_path) -> Path:
    """Eight clips of 0.3 s in two classes and two folds; those of fold 1 are louder."""
    random = np.random.default_rng(0)
    rows = ["path,labels,fold"]
    for number in range(8):
        loudness = 0.2 if number < 4 else 0.01
        name = f"{number}.wav"
        soundfile.write(tmp_path / name, random.normal(0, loudness, 4800), 16_000)
        rows.append(f"{name},{'ab'[number % 2]},{1 if number < 4 else 2}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "clips.csv"


def recipe(manifest: Path, **sections) -> Recipe:
    values = {
        "name": "small",
        "data": {"source": str(manifest), "fold": 1, "workers": 0},
        "front_end": {"num_mels": 16},
        "model": MODEL,
        "training": {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": OPTIMIZER},
    }
    return recipe_from({**values, **sections}, "test")


def test_statistics_of_the_data_set_are_those_of_the_training_clips(manifest, tmp_path):
    front_end = {"num_mels": 16, "statistics": "dataset"}
    run(recipe(manifest, front_end=front_end), tmp_path / "run")
    stored = checkpoint.load(tmp_path / "run" / "best").config.front_end
    measured = measure_statistics(read(manifest).select(not_fold=1), FbankConfig(num_mels=16))
    assert (stored.mean, stored.std) == (measured.mean, measured.std)


def test_given_statistics_are_used(manifest, tmp_path):
    front_end = {"num_mels": 16, "mean": -3.0, "std": 2.0}
    run(recipe(manifest, front_end=front_end), tmp_path / "run")
    stored = checkpoint.load(tmp_path / "run" / "best").config.front_end
    assert (stored.mean, stored.std) == (-3.0, 2.0)


@pytest.fixture
def initial(manifest, tmp_path) -> Path:
    """A trained model of two classes whose statistics are -3 and 2."""
    front_end = {"num_mels": 16, "mean": -3.0, "std": 2.0}
    run(recipe(manifest, front_end=front_end), tmp_path / "initial")
    return tmp_path / "initial" / "best"


def test_initial_weights_are_the_start_and_keep_their_statistics(manifest, initial, tmp_path):
    training = {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": {"learning_rate": 1e-9}}
    tuned = recipe(manifest, initial_weights=str(initial), training=training, seed=5)
    run(tuned, tmp_path / "tuned")
    before, after = checkpoint.load(initial), checkpoint.load(tmp_path / "tuned" / "best")
    assert after.config.front_end == before.config.front_end
    for (name, old), new in zip(
        before.model.named_parameters(), after.model.parameters(), strict=True
    ):
        torch.testing.assert_close(new, old, atol=1e-6, rtol=0, msg=name)


def test_statistics_of_another_filterbank_are_refused(manifest, initial, tmp_path):
    tuned = recipe(manifest, initial_weights=str(initial))
    other = tuned.front_end.model_copy(update={"hop_ms": 20.0})
    with pytest.raises(UserError) as caught:
        run(tuned.model_copy(update={"front_end": other}), tmp_path / "tuned")
    assert str(caught.value) == (
        "front_end.hop_ms is 20.0, the initial weights were trained with 10.0. Use that, or "
        "front_end.statistics=dataset."
    )


def test_weights_that_do_not_fit_are_refused_before_any_sound_is_opened(
    manifest, initial, tmp_path, monkeypatch
):
    monkeypatch.setattr("auricle.data.measure_statistics", lambda *parts: pytest.fail("listened"))
    tuned = recipe(manifest, initial_weights=str(initial))
    front_end = tuned.front_end.model_copy(update={"statistics": "dataset"})
    model = tuned.model.model_copy(update={"width": 16})
    with pytest.raises(UserError, match="choose the same patch and size"):
        run(tuned.model_copy(update={"front_end": front_end, "model": model}), tmp_path / "tuned")


def test_new_modules_and_a_new_head_learn_faster(manifest, initial, tmp_path):
    optimizer = {"learning_rate": 1e-9, "new_modules_factor": 1e7}
    training = {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": optimizer}
    data = {"source": str(manifest), "workers": 0, "labels": ["b", "a", "c"]}
    tuned = recipe(manifest, initial_weights=str(initial), training=training, data=data)
    run(tuned, tmp_path / "tuned")
    before, after = checkpoint.load(initial).model, checkpoint.load(tmp_path / "tuned/best").model
    torch.testing.assert_close(after.norm.weight, before.norm.weight, atol=1e-6, rtol=0)
    assert (after.head.norm.weight - 1).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["ast", "mobilenet"])
def test_labels_in_another_order_keep_their_rows_of_the_head(manifest, tmp_path, name):
    model = MODEL if name == "ast" else {"name": name, "width": 0.1, "max_frames": 32}
    first = recipe(manifest, model=model, front_end={"num_mels": 32})
    labels = ["a", "b", "c"]
    before, _ = build_checkpoint(first, labels, first.front_end.fbank())
    checkpoint.save(before, tmp_path / "initial")
    tuned = first.model_copy(update={"initial_weights": str(tmp_path / "initial"), "seed": 3})
    order = ["c", "a", "b"]
    after, new = build_checkpoint(tuned, order, first.front_end.fbank(), before)
    assert (after.labels, new) == (order, set())
    old, now = before.model.head.linear, after.model.head.linear
    assert now.weight.equal(old.weight[[2, 0, 1]]) and now.bias.equal(old.bias[[2, 0, 1]])
    sound = torch.randn(2, 4800, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        after.eval().score(sound), before.eval().score(sound)[:, [2, 0, 1]], atol=1e-6, rtol=0
    )


def test_a_run_on_the_same_labels_in_another_order_does_not_speak_of_a_new_head(
    manifest, initial, tmp_path, capsys
):
    data = {"source": str(manifest), "workers": 0, "labels": ["b", "a"]}
    run(recipe(manifest, initial_weights=str(initial), data=data), tmp_path / "tuned")
    assert "the head is new" not in capsys.readouterr().err


def test_a_checkpoint_knows_the_clips_that_it_and_its_start_were_trained_on(
    manifest, initial, tmp_path
):
    tuned = recipe(
        manifest, initial_weights=str(initial), data={"source": str(manifest), "fold": 2}
    )
    run(tuned, tmp_path / "tuned")
    clips = read(manifest)
    for folder, counts in ((initial, (4, 0)), (tmp_path / "tuned" / "best", (4, 4))):
        provenance = checkpoint.load(folder).config.provenance
        found = [trained_on(provenance, clips.select(fold=fold)) for fold in (2, 1)]
        assert tuple(found) == counts
    assert "smallest" not in (initial / "README.md").read_text()


def test_training_clips_are_cropped_and_validation_clips_are_heard_whole(
    manifest, tmp_path, monkeypatch
):
    heard = {"loss": set(), "validate": set()}  # samples

    def listen(name):
        original = getattr(Supervised, name)

        def spy(step, batch):
            heard[name].update(batch[1].tolist())
            return original(step, batch)

        monkeypatch.setattr(Supervised, name, spy)

    listen("loss")
    listen("validate")
    data = {"source": str(manifest), "fold": 1, "workers": 0, "crop_seconds": 0.2}
    run(recipe(manifest, data=data), tmp_path / "run")
    assert heard == {"loss": {3200}, "validate": {4800}}


def test_soft_targets_are_for_training_only(manifest, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.full((8, 2), 0.5), ["a", "b"])
    header, *rows = manifest.read_text().splitlines()
    rows = [f"{row},teacher.safetensors:{number}" for number, row in enumerate(rows)]
    manifest.write_text("\n".join([f"{header},soft_targets", *rows]) + "\n")
    report = run(recipe(manifest), tmp_path / "run")
    assert 0 <= report.best["accuracy"] <= 1


def test_multi_label_clips_are_trained_with_bce(manifest, tmp_path):
    manifest.write_text(manifest.read_text().replace("0.wav,a", "0.wav,a;b"))
    training = {"epochs": 1, "batch_size": 2, "loss": "bce", "optimizer": OPTIMIZER}
    report = run(recipe(manifest, training=training), tmp_path / "run")
    assert "accuracy" not in report.best
    assert checkpoint.load(tmp_path / "run" / "best").config.activation == "sigmoid"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sound_that_cannot_be_read_is_skipped_wherever_it_is_read(manifest, tmp_path, workers):
    """One of four clips to train on, and one of four that validate."""
    for number in (1, 5):
        (tmp_path / f"{number}.wav").write_text("no sound")
    data = {"source": str(manifest), "fold": 1, "workers": workers, "max_faulty_share": 0.25}
    with pytest.warns(DataWarning) as caught:
        report = run(recipe(manifest, data=data), tmp_path / "run")
    reasons = [unreadable(tmp_path / f"{number}.wav") for number in (5, 1)]
    assert [str(one.message) for one in caught] == [f"skipped: {reason}" for reason in reasons]
    assert (report.last["faulty_clips"], report.last["faulty_validation_clips"]) == (1, 1)
    rows = (tmp_path / "run" / "faults.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(tmp_path / f"{n}.wav") for n in (5, 1)]


def unreadable(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        audio.load(path, 16_000)
    return str(caught.value)


@pytest.mark.parametrize(
    "number, side", [(5, "training"), (1, "validation")], ids=["training", "validation"]
)
def test_too_many_sounds_that_cannot_be_read_end_the_run(manifest, tmp_path, number, side):
    (tmp_path / f"{number}.wav").write_text("no sound")
    out = tmp_path / "run"
    with pytest.warns(DataWarning), pytest.raises(UserError) as caught:
        run(recipe(manifest), out)
    assert str(caught.value) == (
        f"1 of 4 {side} clips (25.0%) cannot be read, more than data.max_faulty_share=0.01 allows. "
        f"The first: {unreadable(tmp_path / f'{number}.wav')} {out / 'faults.csv'} lists those "
        "that were met. Move them away, or raise data.max_faulty_share; of clips with labels, "
        "auricle prepare --check leaves all out beforehand."
    )


def test_a_batch_without_any_clip_is_skipped(manifest, tmp_path):
    for number in range(4, 8):
        (tmp_path / f"{number}.wav").write_text("no sound")
    data = {"source": str(manifest), "workers": 0, "max_faulty_share": 0.5}
    training = {"epochs": 1, "batch_size": 1, "loss": "ce", "optimizer": OPTIMIZER}
    with pytest.warns(DataWarning):
        report = run(recipe(manifest, data=data, training=training), tmp_path / "run")
    assert report.last["faulty_clips"] == 4
    assert np.isfinite(report.last["train_loss"])


def test_a_run_folder_is_not_overwritten_unless_asked(manifest, tmp_path):
    out = tmp_path / "run"
    run(recipe(manifest), out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as caught:
        run(recipe(manifest), out)
    assert str(caught.value) == (
        f"{out}: holds a run already. Choose another --out, replace it with --overwrite, or go on "
        "with it by --resume."
    )
    run(recipe(manifest), out, overwrite=True)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1
    assert (out / "notes.txt").read_text() == "mine"


def test_a_file_is_no_run_folder(manifest):
    with pytest.raises(UserError) as caught:
        run(recipe(manifest), manifest)
    assert str(caught.value) == f"{manifest}: is a file, not a folder. Choose another --out."


def test_a_failed_start_leaves_the_earlier_run(manifest, tmp_path):
    out = tmp_path / "run"
    run(recipe(manifest), out)
    wrong = recipe(manifest, initial_weights=str(tmp_path / "absent"))
    with pytest.raises(UserError):
        run(wrong, out, overwrite=True)
    assert (out / "best" / "config.json").is_file()


def test_the_default_folder_is_the_first_free_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert new_folder("esc50") == Path("runs/esc50-1")
    Path("runs/esc50-1").mkdir(parents=True)
    assert new_folder("esc50") == Path("runs/esc50-2")


def test_the_recipe_for_own_sounds_follows_model_and_clips(manifest, initial):
    made = recipe_for_folder(manifest, str(initial)).recipe
    assert made.name == "clips"
    assert made.model.width == 8
    assert made.front_end.num_mels == 16
    assert made.statistics == "initial"
    assert made.training.loss == "ce"
    assert made.training.epochs == 30
    assert made.training.batch_size == 1
    assert made.training.optimizer.learning_rate == 1e-4
    assert made.data.validation_share == 0.2


def test_splits_of_own_sounds_are_used(manifest, initial):
    text = manifest.read_text().replace("fold", "split")
    manifest.write_text(text.replace(",1\n", ",train\n").replace(",2\n", ",validation\n"))
    made = recipe_for_folder(manifest, str(initial), ["training.epochs=2"]).recipe
    assert (made.data.train_split, made.data.validation_split) == ("train", "validation")
    assert made.training.epochs == 2


def test_a_mistake_beside_own_sounds_is_named(manifest, initial):
    with pytest.raises(UserError) as caught:
        recipe_for_folder(manifest, str(initial), ["training.epochs=0"])
    assert str(caught.value) == (
        f"--data {manifest}: training.epochs: Input should be greater than or equal to 1, got 0."
    )


def test_every_parameter_learns(manifest, tmp_path):
    model = {**MODEL, "name": "ham_ast", "conformer": {"num_blocks": 1, "kernel_size": 3}}
    training = {
        "epochs": 4,
        "batch_size": 2,
        "loss": "ce",
        "optimizer": OPTIMIZER,
        "schedule": {"name": "multistep", "start": 9, "factor": 1.0},
    }
    small = recipe(manifest, model=model, training=training)
    run(small, tmp_path / "run")
    trained = checkpoint.load(tmp_path / "run" / "last")
    fresh, _ = build_checkpoint(small, ["a", "b"], FbankConfig(num_mels=16))
    start = dict(fresh.model.named_parameters())
    still = [name for name, value in trained.model.named_parameters() if value.equal(start[name])]
    assert still == []


def test_metrics_of_the_best_epoch_are_stored_in_its_checkpoint(manifest, tmp_path):
    report = run(recipe(manifest), tmp_path / "run")
    stored = checkpoint.load(tmp_path / "run" / "best").config
    assert stored.metrics == report.best
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text()) == report.best
    assert stored.provenance["recipe"] == "small"
    assert stored.provenance["data"] == manifest.name  # and no path of this machine
    assert (report.num_train, report.num_validation) == (4, 4)


def test_a_finished_run_is_reported_at_once_when_it_is_resumed(manifest, tmp_path, monkeypatch):
    report = run(recipe(manifest), tmp_path / "run")
    monkeypatch.setattr("auricle.training.fit.fit", lambda *parts: pytest.fail("trained again"))
    assert run(recipe(manifest), tmp_path / "run", resume=True) == report
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert list(stored) == [
        "best",
        "last",
        "average",
        "num_train",
        "num_validation",
        "labels",
        "seconds",
        "parameters",
        "peak_memory_gb",
    ]
    assert stored["parameters"] == sum(
        value.numel() for value in checkpoint.load(tmp_path / "run" / "best").model.parameters()
    )


def test_a_run_that_was_never_begun_is_begun_when_it_is_resumed(manifest, tmp_path):
    assert run(recipe(manifest), tmp_path / "run", resume=True).last["epoch"] == 1


def test_another_recipe_is_refused_when_a_run_is_resumed(manifest, tmp_path):
    out = tmp_path / "run"
    run(recipe(manifest), out)
    training = {"epochs": 2, "batch_size": 4, "loss": "ce", "optimizer": OPTIMIZER}
    other = recipe(manifest, training=training, model={**MODEL, "depth": 2}, seed=3)
    with pytest.raises(UserError) as caught:
        run(other, out, resume=True)
    assert str(caught.value) == (
        f"{out}: holds a run of another recipe: model.depth is 1 there and 2 here; seed is 0 there "
        "and 3 here; training.batch_size is 2 there and 4 here; and 1 more. Go on with that run's "
        f"own recipe (auricle train --resume {out}), or choose another --out."
    )


def test_measured_statistics_and_defaults_are_no_other_recipe(manifest, tmp_path):
    measured = recipe(manifest, front_end={"num_mels": 16, "statistics": "dataset"})
    run(measured, tmp_path / "run")
    data = {"source": str(manifest), "fold": 1, "workers": 1}  # workers change nothing
    again = recipe(manifest, name="other", data=data, front_end=measured.front_end.to_dict())
    assert run(again, tmp_path / "run", resume=True).last["epoch"] == 1


def test_other_labels_are_refused_when_a_run_is_resumed(manifest, tmp_path):
    out = tmp_path / "run"
    run(recipe(manifest), out)
    manifest.write_text(manifest.read_text().replace("7.wav,b", "7.wav,c"))
    with pytest.raises(UserError) as caught:
        run(recipe(manifest), out, resume=True)
    assert str(caught.value) == (
        f"{out}: holds a run of another recipe: data.labels is ['a', 'b'] there and ['a', 'b', "
        "'c'] here. Go on with that run's own recipe "
        f"(auricle train --resume {out}), or choose another --out."
    )


def test_a_run_with_other_clips_is_not_resumed(manifest, tmp_path, monkeypatch):
    out = tmp_path / "run"
    stop_after_one_epoch(recipe(manifest, training=TWO_EPOCHS), out, monkeypatch)
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError) as caught:
        run(recipe(manifest, training=TWO_EPOCHS), out, resume=True)
    assert str(caught.value) == (
        f"{out}: this run trains on 4 clips, but its data now has 3. Bring the data back, or begin "
        "again with --overwrite."
    )


TWO_EPOCHS = {"epochs": 2, "batch_size": 2, "loss": "ce", "optimizer": OPTIMIZER}


def stop_after_one_epoch(small: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot write its second epoch, because the disk is full."""
    plain = checkpoint.save

    def save(trained, folder, **options):
        if trained.config.metrics["epoch"] == 2:
            raise CheckpointError("disk full")
        plain(trained, folder, **options)

    with monkeypatch.context() as patch, pytest.raises(CheckpointError, match="^disk full$"):
        patch.setattr(checkpoint, "save", save)
        run(small, out)


def test_a_run_goes_on_where_its_project_has_moved_to(manifest, tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for path in (manifest, *tmp_path.glob("*.wav")):
        path.rename(old / path.name)
    small = recipe(old / manifest.name, training=TWO_EPOCHS)
    stop_after_one_epoch(small, old / "run", monkeypatch)
    old.rename(new)
    moved = recipe(new / manifest.name, training=TWO_EPOCHS)
    assert run(moved, new / "run", resume=True).last["epoch"] == 2


def test_a_full_disk_leaves_a_run_that_can_go_on(manifest, tmp_path, monkeypatch):
    small = recipe(manifest, training=TWO_EPOCHS)
    whole = run(small, tmp_path / "whole")
    stop_after_one_epoch(small, tmp_path / "run", monkeypatch)
    assert (tmp_path / "run" / "state.ckpt").exists()
    report = run(small, tmp_path / "run", resume=True)
    assert report.last["train_loss"] == whole.last["train_loss"]
    assert not (tmp_path / "run" / "state.ckpt").exists()


def test_epochs_without_a_state_are_not_overwritten_by_resuming(manifest, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(recipe(manifest, training=TWO_EPOCHS), out)
    (out / "result.json").unlink()
    with pytest.raises(UserError) as caught:
        run(recipe(manifest, training=TWO_EPOCHS), out, resume=True)
    assert str(caught.value) == (
        f"{out}: has 2 epochs, but no state.ckpt from which they could go on. Choose another "
        "--out, or begin again with --overwrite."
    )


def test_what_a_killed_process_left_is_mended(manifest, tmp_path, monkeypatch):
    out = tmp_path / "run"
    small = recipe(manifest, training=TWO_EPOCHS)
    stop_after_one_epoch(small, out, monkeypatch)
    (out / "best").rename(out / ".best.previous")
    (out / ".last.abc").mkdir()
    (out / ".state.ckpt.partial").touch()
    run(small, out, resume=True)
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_a_new_head_is_said_in_one_line(manifest, initial, tmp_path, capsys):
    data = {"source": str(manifest), "workers": 0, "labels": ["b", "a", "c"]}
    capsys.readouterr()
    run(recipe(manifest, initial_weights=str(initial), data=data), tmp_path / "tuned")
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{initial}: its labels are not those of the data; the head is new."
    )


def test_partners_of_mixup_from_the_whole_set_are_the_same_when_a_run_is_resumed(
    manifest, tmp_path, interrupted_in_epoch
):
    training = {"epochs": 2, "batch_size": 2, "loss": "ce", "optimizer": OPTIMIZER}
    training["sampling"] = "balanced"
    mixed = recipe(manifest, training=training, mixup={"rate": 0.7, "partners": "set"})
    run(mixed, tmp_path / "whole")
    with interrupted_in_epoch(2):
        run(mixed, tmp_path / "parts")
    run(mixed, tmp_path / "parts", resume=True)
    whole, parts = (checkpoint.load(tmp_path / name / "last").model for name in ("whole", "parts"))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    run(recipe(manifest, training=training, mixup={"rate": 0.7}), tmp_path / "batch")
    batch = checkpoint.load(tmp_path / "batch" / "last").model
    assert not torch.equal(batch.head.linear.weight, whole.head.linear.weight)


def test_the_metric_that_chooses_the_epoch_is_a_setting(manifest, tmp_path):
    training = {"epochs": 1, "batch_size": 2, "loss": "bce", "optimizer": OPTIMIZER}
    training["best_by"] = "accuracy"
    assert recipe(manifest, training=training).training.score == "accuracy"
    run(recipe(manifest, training=training), tmp_path / "run")
    manifest.write_text(manifest.read_text().replace("0.wav,a", "0.wav,a;b"))
    with pytest.raises(UserError) as caught:
        run(recipe(manifest, training=training), tmp_path / "other")
    assert str(caught.value) == (
        f"{manifest}, line 2: 2 labels, but training.best_by is accuracy, which wants exactly one. "
        "Use training.best_by=mAP."
    )
