"""A run that is killed, at any moment, and resumed ends as one that was never stopped.

One process loads everything once, and makes the runs in copies of itself that it kills.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file

from auricle.errors import CheckpointError
from auricle.training.checkpoints import StateFile

EPOCHS = 3
SCRIPT = '''
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import auricle.training.fit
from auricle import checkpoint
from auricle.cli import main, train
from auricle.experiment import read_recipe, run
from auricle.training import Machine

ROOT, ALWAYS, NEVER = Path(sys.argv[1]), 1e-9, 1e9  # minutes between two states
RANDOM = random.Random(0)

def start(out, workers=0, save_every=NEVER, writes=0):
    """A process that goes on with a run, and kills itself while it writes the n-th file."""
    child = os.fork()
    if child:
        return child
    plain, left = os.fsync, [writes]
    def sync(file):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(file)
    os.fsync = sync
    recipe = read_recipe(ROOT / "recipe.yaml", [f"data.workers={workers}"])
    run(recipe, ROOT / out, resume=True, machine=Machine("cpu", save_every=save_every))
    os._exit(0)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def finish(out, **options):
    assert ended(start(out, **options)) == 0

def killed_while_writing(out, numbers, **options):
    for number in numbers:
        assert ended(start(out, writes=number, **options)) == -signal.SIGKILL, number
    finish(out, **options)

def killed_at_any_time(out, times, **options):
    for _ in range(times):
        child = start(out, **options)
        time.sleep(RANDOM.uniform(0.1, 1.0))
        os.kill(child, signal.SIGKILL)
        ended(child)
    finish(out, **options)

def command(out, number):
    """`auricle train`, ended by a signal once it has a state; then `auricle train --resume`."""
    child = os.fork()
    if not child:
        log = os.open(ROOT / f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        words = ["--out", str(ROOT / out), "--device", "cpu", "--save-every", str(NEVER)]
        sys.argv = ["auricle", "train", str(ROOT / "recipe.yaml"), *words]
        main.main()
    while not (ROOT / out / "state.ckpt").exists():
        time.sleep(0.01)
    os.kill(child, number)
    (ROOT / f"{out}.code").write_text(str(ended(child)))
    finish(out)

finish("whole")
# A run that begins writes its recipe. An epoch of 4 steps writes a state after each of the first 3,
# the 3 files of last/ and perhaps those of best/, the metrics, and a state.
killed_while_writing("written", [1, 2, 4, 6, 9, 11, 3, 8, 11], save_every=ALWAYS)
killed_while_writing("workers", [4, 8, 11, 2], workers=2, save_every=ALWAYS)
killed_while_writing("epochs", [3, 9, 10, 3], workers=2)
killed_at_any_time("timed", 6, workers=2, save_every=ALWAYS)
command("terminated", signal.SIGTERM)
command("interrupted", signal.SIGINT)
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The runs of the script, of sixteen clips, all that is random switched on."""
    root = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    rows = ["path,labels,fold"]
    for number in range(22):
        soundfile.write(root / f"{number}.wav", random.normal(0, 0.1, 8000), 16_000)
        rows.append(f"{number}.wav,{'ab'[number % 2]},{number % 4}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe(root)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = [sys.executable, "-c", SCRIPT, str(root)]
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return root


def recipe(root: Path) -> dict:
    return {
        "data": {"source": str(root / "clips.csv"), "fold": 0, "workers": 0, "crop_seconds": 0.3},
        "front_end": {"num_mels": 16},
        "model": {"name": "ast", "max_frames": 48, "width": 8, "depth": 1, "num_heads": 2},
        "augmentation": {"gain_db": 3.0},
        "mixup": {"rate": 0.5},
        "masking": {"frequency_mask": 4, "time_mask": 4},
        "training": {
            "epochs": EPOCHS,
            "batch_size": 4,
            "accumulate": 2,
            "loss": "ce",
            "optimizer": {"learning_rate": 1e-2},
            "gradient_clip": 1.0,
            "average_decay": 0.9,
            "average_epochs": [2, 3],
        },
    }


def numbers(run: Path) -> list[dict]:
    """The epochs, without what depends on the time of day."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [
        {
            name: value
            for name, value in record.items()
            if name not in ("seconds", "clips_per_second")
        }
        for record in records
    ]


@pytest.mark.parametrize(
    "name", ["written", "workers", "epochs", "timed", "terminated", "interrupted"]
)
def test_a_resumed_run_is_the_run_that_was_never_stopped_bit_for_bit(runs, name):
    whole, resumed = runs / "whole", runs / name
    assert numbers(resumed) == numbers(whole)
    assert [record["epoch"] for record in numbers(whole)] == list(range(1, EPOCHS + 1))
    for folder in ("last", "best", "average"):
        expected, found = (
            load_file(run / folder / "model.safetensors") for run in (whole, resumed)
        )
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), folder
    left = {path.name for path in resumed.iterdir()}
    assert left == {
        "average",
        "best",
        "last",
        "logs",
        "metrics.jsonl",
        "recipe.yaml",
        "result.json",
    }


@pytest.mark.parametrize("name, code", [("terminated", "143"), ("interrupted", "130")])
def test_a_signal_saves_the_run_and_says_how_to_go_on(runs, name, code):
    assert (runs / f"{name}.code").read_text() == code
    folder = runs / name
    assert (runs / f"{name}.log").read_text().splitlines()[-1] == (
        f"stopped, and saved what was done. {folder / 'last'} is the last finished epoch, "
        f"{folder / 'best'} the best. Go on with: auricle train --resume {folder}"
    )


def test_the_logs_of_every_part_are_kept(runs):
    parts = sorted(path.name for path in (runs / "terminated" / "logs").iterdir())
    assert parts == ["csv", "csv-2", "tensorboard"]


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "state.ckpt"
    StateFile().save_checkpoint({"epoch": 1, "auricle": {}}, path)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError) as caught:
        StateFile().save_checkpoint({"epoch": 2}, path)
    assert str(caught.value) == (
        f"{path}: the state of the run could not be written ([Errno 28] No space left on device). "
        f"Free some space and go on with: auricle train --resume {tmp_path}"
    )
    assert StateFile().load_checkpoint(path) == {"epoch": 1, "auricle": {}}
    assert [each.name for each in tmp_path.iterdir()] == ["state.ckpt"]


def cut_short(state: bytes) -> bytes:
    return state[:100]


def emptied(state: bytes) -> bytes:
    return b""


def flipped(state: bytes) -> bytes:
    """With another byte among the weights, which the format itself does not notice."""
    place = state.index(b"\x00\x00\x80?" * 64)
    return state[:place] + b"\x01" + state[place + 1 :]


@pytest.mark.parametrize("damage", [cut_short, emptied, flipped])
def test_a_damaged_state_is_refused(tmp_path, damage):
    path = tmp_path / "state.ckpt"
    StateFile().save_checkpoint({"auricle": {}, "weights": torch.ones(500)}, path)
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(path) == (
        f"{path}: damaged or cut short (...). The weights in {tmp_path / 'last'} are those of the "
        "last finished epoch: give them as initial_weights to a new run, or begin again with "
        "--overwrite."
    )


def test_another_file_is_no_state(tmp_path):
    path = tmp_path / "state.ckpt"
    torch.save({"epoch": 1}, path)
    assert refusal(path).startswith(f"{path}: damaged or cut short (...).")


def refusal(path: Path) -> str:
    """The one line in which a state is refused, without the library's reason."""
    with pytest.raises(CheckpointError) as caught:
        StateFile().load_checkpoint(path)
    assert "\n" not in str(caught.value)
    return re.sub(r"\(.*\)", "(...)", str(caught.value))


def test_a_state_never_runs_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch evil",)

    torch.save({"epoch": Evil()}, tmp_path / "state.ckpt")
    with pytest.raises(CheckpointError):
        StateFile().load_checkpoint(tmp_path / "state.ckpt")
