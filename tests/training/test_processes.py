"""Two processes on one CPU train as one process does with the whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from auricle.experiment import read_recipe, run
from auricle.training import Machine

# Sums of another order differ in the last bits of float32, and Adam divides small gradients by
# their own size: measured 5e-8 on the losses, and 2e-5 on weights that learn by 1e-2 a step.
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 1e-4
COMMAND = "from auricle.cli.main import main; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Nine clips to train on and three that validate, so that one process has nothing at the ends.

    One of the nine cannot be read. Nothing is random but the order.
    """
    root = tmp_path_factory.mktemp("shared")
    random = np.random.default_rng(0)
    rows = ["path,labels,split"]
    for number in range(12):
        soundfile.write(root / f"{number}.wav", random.normal(0, 0.1, 4000), 16_000)
        rows.append(f"{number}.wav,{'ab'[number % 2]},{'train' if number < 9 else 'validation'}")
    (root / "3.wav").write_text("no sound")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    values = {
        "data": {
            "source": str(root / "clips.csv"),
            "train_split": "train",
            "validation_split": "validation",
            "max_faulty_share": 0.2,
            "workers": 0,
        },
        "front_end": {"num_mels": 16},
        "model": {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2},
        "training": {
            "epochs": 3,
            "batch_size": 4,
            "loss": "ce",
            "optimizer": {"learning_rate": 1e-2},
            "gradient_clip": 1.0,
            "average_decay": 0.9,
            "average_epochs": [2, 3],
        },
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(values))
    return root


def train(
    folder: Path,
    out: str,
    *words: str,
    before: str = "",
    command: str = "train",
    recipe: str = "recipe.yaml",
) -> subprocess.CompletedProcess:
    """`auricle train` with two processes, each of which does `before` first."""
    script = folder / "auricle_command.py"
    script.write_text(
        before + COMMAND
    )  # lightning starts the second process by the name of the script
    options = ["--out", str(folder / out), "--device", "cpu", "--devices", "2"]
    asked = [sys.executable, str(script), command, str(folder / recipe), *words, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(asked, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def shared(folder) -> tuple[Path, subprocess.CompletedProcess]:
    return folder / "shared", train(folder, "shared")


@pytest.fixture(scope="module")
def alone(folder) -> Path:
    with pytest.warns(UserWarning, match="^skipped: "):
        run(read_recipe(folder / "recipe.yaml"), folder / "alone", machine=Machine("cpu"))
    return folder / "alone"


def test_two_processes_learn_what_one_learns(alone, shared):
    run, done = shared
    assert done.returncode == 0, done.stderr
    for name in ("last", "best", "average"):
        expected, found = (load_file(each / name / "model.safetensors") for each in (alone, run))
        assert expected.keys() == found.keys()
        for key in expected:
            torch.testing.assert_close(
                found[key], expected[key], atol=WEIGHT_TOLERANCE, rtol=0, msg=f"{name} {key}"
            )


def test_their_numbers_are_those_of_all_clips_once(alone, shared):
    expected, found = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (alone, shared[0])
    )
    assert len(found) == 3
    for one, other in zip(expected, found, strict=True):
        assert other["accuracy"] == one["accuracy"]
        assert (other["faulty_clips"], one["faulty_clips"]) == (1, 1)
        for name in ("train_loss", "validation_loss", "mAP", "learning_rate"):
            assert other[name] == pytest.approx(one[name], abs=LOSS_TOLERANCE), name


def test_only_the_first_process_speaks_and_writes(shared):
    run, done = shared
    assert done.stdout.count("clips        9 to train, 3 to validate") == 1
    lines = done.stderr.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 3
    assert sum(line.startswith("warning: skipped: ") for line in lines) == 1
    assert (run / "faults.csv").read_text().count("3.wav") >= 1
    assert json.loads((run / "result.json").read_text())["num_train"] == 9


# Masks and noise are drawn by each process for itself; without chance both must learn the same.
WITHOUT_CHANCE = """
import torch
from auricle.models.patch_masks import PADDING, num_visible
from auricle.training import objectives

def first_kept(valid, layout, mask_ratio, block):
    counts = torch.tensor([num_visible(count, mask_ratio) for count in valid.sum(dim=1).tolist()])
    places = torch.arange(int(counts.max()))
    return torch.where(places < counts[:, None], places, PADDING)

objectives.draw_visible = first_kept
objectives.NOISE = 0.0
"""


@pytest.fixture(scope="module")
def pretraining(folder) -> str:
    """The name of a recipe for the same clips, which learns without their labels."""
    values = yaml.safe_load((folder / "recipe.yaml").read_text())
    values["model"] = {**values["model"], "name": "asda", "patch": [8, 8]}
    values["front_end"]["padding"] = {"frames": 16}
    objective = {"clones": 2, "mask_ratio": 0.5, "first_decay": 0.9, "decay_steps": 4}
    values["pretraining"] = {"objective": {**objective, "decoder": {"depth": 1, "groups": 2}}}
    values["training"] = {
        "epochs": 2,
        "batch_size": 4,
        "optimizer": {"learning_rate": 1e-2},
        "gradient_clip": 1.0,
    }
    (folder / "pretraining.yaml").write_text(yaml.safe_dump(values))
    return "pretraining.yaml"


def test_two_processes_pretrain_as_one_does(folder, pretraining, monkeypatch):
    from auricle.training import objectives

    for name in ("draw_visible", "NOISE"):  # put back what the next line changes
        monkeypatch.setattr(objectives, name, getattr(objectives, name))
    exec(WITHOUT_CHANCE, {})
    with pytest.warns(UserWarning, match="^skipped: "):
        run(read_recipe(folder / pretraining), folder / "one", machine=Machine("cpu"))
    words = {"before": WITHOUT_CHANCE, "command": "pretrain", "recipe": pretraining}
    done = train(folder, "two", **words)
    assert done.returncode == 0, done.stderr
    expected, found = (
        load_file(folder / name / "last" / "model.safetensors") for name in ("one", "two")
    )
    for key in expected:
        torch.testing.assert_close(
            found[key], expected[key], atol=WEIGHT_TOLERANCE, rtol=0, msg=key
        )
    expected, found = (
        [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    for one, other in zip(expected, found, strict=True):
        losses = ("train_loss", "train_frame_loss", "train_utterance_loss", "validation_loss")
        for name in (*losses, "frame_loss", "utterance_loss"):
            assert other[name] == pytest.approx(one[name], rel=LOSS_TOLERANCE), name


COLLAPSED_IN_THE_SECOND = """
import os
from auricle.training import pretraining

pretraining.WATCH_EVERY = 1
gather = pretraining.gather
if os.environ.get("LOCAL_RANK") == "1":
    pretraining.gather = lambda own: gather((0.0, 1.0, 1.0))
"""


def test_a_collapse_that_one_process_sees_ends_all_of_them(folder, pretraining):
    words = {"before": COLLAPSED_IN_THE_SECOND, "command": "pretrain", "recipe": pretraining}
    done = train(folder, "collapsed", "pretraining.stop_at_collapse=true", **words)
    assert done.returncode == 2, done.stderr
    errors = {line for line in done.stderr.splitlines() if line.startswith("error: ")}
    assert errors == {
        "error: step 1: the targets are nearly the same for all patches (deviation 0.0000, at "
        "least 0.1 is healthy): pretraining has collapsed. Lower training.optimizer.learning_rate, "
        "or raise pretraining.objective.first_decay, in a new run."
    }
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_collapse_that_one_process_sees_is_reported_once(folder, pretraining):
    words = {"before": COLLAPSED_IN_THE_SECOND, "command": "pretrain", "recipe": pretraining}
    done = train(folder, "reported", **words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: step 1: the targets are nearly the same") == 1
    assert done.stderr.count("have collapsed") + done.stderr.count("has collapsed") == 1


NOTE_SCORES = """
import os, sys
import auricle.experiment
module = sys.modules["auricle.experiment.repeat"]
score = module.score
def noted(recipe, folder):
    print("scored by", os.environ.get("LOCAL_RANK"), file=sys.stderr)
    return score(recipe, folder)
module.score = noted
"""


@pytest.mark.slow
def test_of_several_seeds_every_run_is_scored_by_the_first_process(folder):
    words = ("seeds=2", "training.epochs=1", "training.average_epochs=null")
    done = train(folder, "seeds", *words, before=NOTE_SCORES)
    assert done.returncode == 0, done.stderr
    scored = [line for line in done.stderr.splitlines() if line.startswith("scored by")]
    assert scored == ["scored by 0"] * 2
    assert done.stdout.count("runs         2") == 1
    summary = json.loads((folder / "seeds" / "summary.json").read_text())
    assert list(summary["runs"]) == ["seed-0", "seed-1"]


@pytest.mark.slow
def test_a_run_can_go_on_with_another_number_of_processes(alone, folder):
    recipe, out = read_recipe(folder / "recipe.yaml"), folder / "changed"
    with pytest.warns(UserWarning, match="^skipped: "):
        _stop_after_one_epoch(recipe, out)
    done = train(folder, "changed", "--resume")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/3" not in done.stderr
    expected, found = (load_file(each / "last" / "model.safetensors") for each in (alone, out))
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], atol=WEIGHT_TOLERANCE, rtol=0)


def _stop_after_one_epoch(recipe, out: Path) -> None:
    from auricle.training.checkpoints import CheckpointCallback

    class Enough(Exception):
        pass

    plain = CheckpointCallback.on_train_epoch_end

    def stop(self, trainer, module):
        plain(self, trainer, module)
        raise Enough

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Enough):
        patch.setattr(CheckpointCallback, "on_train_epoch_end", stop)
        run(recipe, out, machine=Machine("cpu"))
