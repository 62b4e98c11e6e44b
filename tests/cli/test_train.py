"""`auricle train`: what is refused, what Ctrl-C leaves, what is reported."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from auricle import experiment
from auricle.cli.main import app
from auricle.training import Machine
from auricle.training.machine import Terminated


def run(*words: str):
    return CliRunner().invoke(app, ["train", *words])


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "give a recipe, or --data FOLDER --from MODEL. See auricle train --help."),
        (("--data", "sounds"), "--data needs a model to start from: --from MODEL."),
        (
            ("x.yaml", "--from", "esc10"),
            "--from goes with --data; with a recipe write initial_weights=MODEL.",
        ),
        (
            ("x.yaml", "--data", "sounds", "--from", "esc10"),
            "--data takes the place of a recipe, but 'x.yaml' was given, too. Recipes that need no "
            "labels take it: auricle pretrain, auricle distill.",
        ),
        (
            ("x.yaml", "--many"),
            "--add, --many, --background and --keep-validation go with --data FOLDER --from MODEL.",
        ),
        (
            ("--data", "x", "--from", "esc10", "--resume"),
            "--resume goes on in the folder of --out; name it, without --overwrite.",
        ),
        (
            ("--data", "x", "--from", "esc10", "--speed", "quick", "training.epochs=2"),
            "'training.epochs=2' is a setting of fine-tuning, which --speed quick leaves out.",
        ),
        (
            ("--data", "x", "--from", "esc10", "--add", "training.epochs=2"),
            "'training.epochs=2' is a setting of fine-tuning, which --add leaves out.",
        ),
        (
            ("--data", "x", "--from", "esc10", "--add", "--keep-validation"),
            "--add learns from all clips; leave out --keep-validation.",
        ),
        (
            ("--data", "x", "--from", "esc10", "--devices", "2"),
            "own sounds are learned on one device. Several take a recipe: auricle train RECIPE.",
        ),
        (("x.yaml",), "x.yaml: no such recipe file."),
        (
            ("x.yaml", "--resume", "--overwrite"),
            "--resume goes on with a run, --overwrite replaces it; choose one.",
        ),
        (
            ("--resume",),
            "--resume needs the folder of a run: auricle train --resume FOLDER, or --out FOLDER "
            "beside a recipe.",
        ),
        (
            ("--resume", "x.yaml"),
            "--resume needs the folder of a run, not 'x.yaml': auricle train --resume FOLDER, or "
            "--out FOLDER beside a recipe.",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(words, message):
    result = run(*words)
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")


@pytest.mark.parametrize("command", ["train", "distill", "pretrain", "tune", "ablate"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_loaded(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr("auricle.config.read_yaml", lambda path: pytest.fail("loaded"))
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "run"
    result = CliRunner().invoke(app, [command, "x.yaml", "--out", str(out)])
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {out}: cannot be written (Not a directory). Choose another --out.\n",
    )


class FakeRecipe:
    name = "pets"


class FakePrepared:
    recipe = FakeRecipe()
    validation: object = object()


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A run that is interrupted after it has saved the given folders."""

    def prepare(*saved: str, error: type = KeyboardInterrupt) -> Path:
        def stop(recipe, out, *others):
            for name in saved:
                (out / name).mkdir(parents=True)
            raise error

        monkeypatch.setattr(experiment, "read_recipe", lambda *_: FakePrepared())
        monkeypatch.setattr(experiment, "is_repeated", lambda recipe: False)
        monkeypatch.setattr(experiment, "test_split", lambda recipe: None)
        monkeypatch.setattr(experiment, "run", stop)
        monkeypatch.chdir(tmp_path)
        return Path("runs/pets-1")

    return prepare


def test_after_an_interruption_the_weights_are_named(interrupted):
    folder = interrupted("last", "best", "state.ckpt")
    result = run("pets")
    assert result.exit_code == 130
    assert result.stderr == (
        f"\nstopped, and saved what was done. {folder / 'last'} is the last finished epoch, "
        f"{folder / 'best'} the best. Go on with: auricle train --resume {folder}\n"
    )


def test_without_validation_no_epoch_is_the_best(interrupted, monkeypatch):
    folder = interrupted("last", "best", "state.ckpt")
    monkeypatch.setattr(FakePrepared, "validation", None)
    assert run("pets").stderr == (
        f"\nstopped, and saved what was done. {folder / 'last'} is the last finished epoch. "
        f"Go on with: auricle train --resume {folder}\n"
    )


def test_within_the_first_epoch_there_is_a_state_but_no_model(interrupted):
    folder = interrupted("state.ckpt", error=Terminated)
    result = run("pets")
    assert result.exit_code == 143
    assert result.stderr == (
        f"\nstopped, and saved what was done. Go on with: auricle train --resume {folder}\n"
    )


def test_interrupted_own_sounds_say_how_to_go_on(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("auricle.experiment.own_sounds.train_own_sounds", stop)
    result = run("--data", "sounds", "--from", "tagger", "--out", str(tmp_path / "mine"))
    assert (result.exit_code, result.stderr) == (
        130,
        f"\nstopped; the same command with --out {tmp_path / 'mine'} --resume goes on.\n",
    )


def test_other_processes_of_an_interrupted_training_say_nothing(interrupted, monkeypatch):
    interrupted("last")
    monkeypatch.setattr("auricle.training.fit.is_first_process", lambda: False)
    result = run("pets")
    assert (result.exit_code, result.output) == (0, "")


def test_an_interruption_in_the_first_epoch_leaves_no_weights(interrupted):
    interrupted()
    result = run("pets")
    assert result.exit_code == 130
    assert result.stderr == (
        "\nstopped before the first epoch was finished; no weights were saved.\n"
    )


def test_a_report_without_validation_and_with_many_classes(tmp_path, monkeypatch):
    labels = [f"class {number}" for number in range(14)]
    average = {"epochs": [2, 3], "accuracy": 0.5, "mAP": 0.25}
    numbers = {"num_train": 30, "num_validation": 0, "labels": labels, "parameters": 1}
    best = {"epoch": 3}
    report = experiment.Report(
        tmp_path, best, best, average, seconds=1.0, peak_memory_gb=0.5, **numbers
    )
    monkeypatch.setattr(experiment, "read_recipe", lambda *_: FakePrepared())
    monkeypatch.setattr(experiment, "is_repeated", lambda recipe: False)
    monkeypatch.setattr(experiment, "test_split", lambda recipe: None)
    monkeypatch.setattr(experiment, "run", lambda *_: report)
    result = run("pets", "--out", str(tmp_path))
    assert result.stdout.splitlines() == [
        "clips        30 to train, 0 to validate",
        f"classes      14: {', '.join(labels[:12])}, ...",
        f"average      weights of epochs 2 to 3, accuracy 50.0%, mAP 0.250: {tmp_path / 'average'}",
        "peak memory  0.50 GB",
        f"model        {tmp_path / 'best'}",
        f"next         auricle predict SOUND --model {tmp_path / 'best'}",
    ]


def test_the_folder_of_a_repeated_recipe_names_how_it_goes_on(tmp_path):
    (tmp_path / "seed-0-fold-1").mkdir()
    (tmp_path / "seed-0-fold-1" / "recipe.yaml").touch()
    result = run("--resume", str(tmp_path))
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {tmp_path}: holds the runs of several folds or seeds. The command that began "
        f"them goes on with them, given --out {tmp_path}\n",
    )


def test_a_folder_without_a_run_is_not_resumed(tmp_path):
    result = run("--resume", str(tmp_path))
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {tmp_path}: holds no recipe.yaml, so no run to go on with. To begin one there: "
        f"auricle train RECIPE --out {tmp_path}\n",
    )


def test_options_reach_the_run(tmp_path, monkeypatch):
    asked = {}

    def note(recipe, out, overwrite, resume, machine):
        asked.update(out=out, overwrite=overwrite, resume=resume, machine=machine)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "read_recipe", lambda *words: FakePrepared())
    monkeypatch.setattr(experiment, "is_repeated", lambda recipe: False)
    monkeypatch.setattr(experiment, "test_split", lambda recipe: None)
    monkeypatch.setattr(experiment, "run", note)
    (tmp_path / "recipe.yaml").touch()
    machine = ("--device", "cpu", "--devices", "2", "--nodes", "3", "--strategy", "ddp")
    run("--resume", str(tmp_path), *machine, "--save-every", "5")
    assert asked == {
        "out": tmp_path,
        "overwrite": False,
        "resume": True,
        "machine": Machine("cpu", 2, 3, "ddp", 5.0),
    }


def test_a_recipe_with_seeds_is_repeated(tmp_path, monkeypatch):
    summary = {
        "runs": {"seed-0": {}, "seed-1": {}},
        "accuracy": {"mean": 0.5, "std": 0.01},
        "mAP": {"mean": 0.25, "std": None},
    }
    monkeypatch.setattr(experiment, "read_recipe", lambda *_: FakePrepared())
    monkeypatch.setattr(experiment, "is_repeated", lambda recipe: True)
    monkeypatch.setattr(experiment, "repeat", lambda *_: summary)
    assert run("pets", "--out", str(tmp_path)).stdout.splitlines() == [
        "runs         2",
        "accuracy     0.5000 +- 0.0100",
        "mAP          0.2500",
        f"folder       {tmp_path}",
    ]


def test_an_interrupted_repeated_recipe_names_the_folder_to_go_on_in(tmp_path, monkeypatch):
    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "read_recipe", lambda *words: FakePrepared())
    monkeypatch.setattr(experiment, "is_repeated", lambda recipe: True)
    monkeypatch.setattr(experiment, "repeat", stopped)
    result = run("small", "--out", str(tmp_path))
    assert result.exit_code == 130
    assert result.stderr == (
        f"\nstopped; the same command with --out {tmp_path} goes on from here.\n"
    )
