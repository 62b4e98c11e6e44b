"""The folder of a run: whether it is free, and whether a run in it may go on.

recipe.yaml     resolved: with every default, and the mean and std that were used
metrics.jsonl   one object an epoch
last/, best/    checkpoints; average/ too, if training.average_epochs
logs/           CSV and TensorBoard
faults.csv      clips that could not be read, if any
state.ckpt      from which an unfinished run goes on
result.json     written last
scores.json     of held-out clips, if the run is one of several or has a test split
.lock, .holder  while a process works in the folder: a lock of the system, and which process it is
"""

import contextlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from auricle import config
from auricle.errors import ConfigError, refused
from auricle.experiment.prepared import Prepared
from auricle.experiment.read import recipe_from
from auricle.experiment.recipe import Recipe, TrainRecipe
from auricle.training.history import FAULTS_FILE, METRICS_FILE, STATE_FILE

RECIPE_FILE = "recipe.yaml"
RESULT_FILE, SCORES_FILE = "result.json", "scores.json"
LOCK_FILE, HOLDER_FILE = ".lock", ".holder"
HELD: set[Path] = set()  # folders that this process holds
CHECKPOINTS = ("last", "best", "average")
# In the order in which they are removed: the recipe, by which a run is known, last.
RESULTS = (
    SCORES_FILE,
    RESULT_FILE,
    STATE_FILE,
    METRICS_FILE,
    FAULTS_FILE,
    *CHECKPOINTS,
    "logs",
    RECIPE_FILE,
)
DIFFERENCES_SHOWN = 3
# Settings that change nothing of what a run gives.
FREE = ("name", "data.workers")
# Settings that may be paths; other values of theirs are names, of models for instance.
PATHS = ("data.source", "initial_weights", "distillation.teacher", "pretraining.probe.source")
MORE_SOURCE = re.compile(r"data\.more\[\d+\]\.source")


class HeldError(ConfigError):
    """Another process works in the folder of a run."""


@contextmanager
def hold(out: Path) -> Iterator[None]:
    """Keep other processes out of the folder of a run, which is made if it is not there.

    The system lets go of it when the process ends, however it ends. A block within a block of the
    same process goes on.

    Raises:
        HeldError: another process has it.
        ConfigError: it is a file, or cannot be written.
    """
    resolved = out.absolute()
    if resolved in HELD:
        yield
        return
    with _made(out):
        lock = FileLock(out / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise HeldError(
                f"{out}: {_holder(out)} is at work in this folder. Wait until it has ended, or "
                "choose another --out."
            ) from None
        HELD.add(resolved)
        holder = out / HOLDER_FILE
        try:
            holder.write_text(_this_process(), encoding="utf-8")
            yield
        finally:
            HELD.discard(resolved)
            with contextlib.suppress(OSError):  # Windows removes no open file
                holder.unlink()
                (out / LOCK_FILE).unlink()
            lock.release()


def check_writable(out: Path) -> None:
    """Refuse a folder that a run cannot be written to, before anything is loaded (ConfigError)."""
    with _made(out):
        pass


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """Make the folder `out`; what is empty after the block of what was made goes again."""
    with refused(ConfigError, f"{out}: cannot be written", " Choose another --out."):
        check_folder(out)
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty, or another process's by now
            for folder in made:
                folder.rmdir()


def _this_process() -> str:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    text = f"process {os.getpid()} on {platform.node()} ({command})"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _holder(out: Path) -> str:
    with contextlib.suppress(OSError):
        return (out / HOLDER_FILE).read_text(
            encoding="utf-8", errors="replace"
        ).strip() or "another process"
    return "another process"


def check_free(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a run; other files in it are not ours.

    Raises:
        ConfigError: it holds one and is not to be overwritten, or is a file.
    """
    check_folder(out)
    if any((out / name).exists() for name in RESULTS) and not overwrite:
        raise ConfigError(
            f"{out}: holds a run already. Choose another --out, replace it with --overwrite, or "
            "go on with it by --resume."
        )


def check_folder(out: Path) -> None:
    """Refuse a file in the place of a folder (ConfigError)."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file, not a folder. Choose another --out.")


def clear(out: Path) -> None:
    """Remove what a run has left."""
    for path in [out / name for name in RESULTS]:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


def mend(out: Path) -> None:
    """Put right what a killed process left half done: checkpoints between two renames, remains."""
    for name in CHECKPOINTS:
        previous = out / f".{name}.previous"
        if previous.exists() and not (out / name).exists():
            previous.rename(out / name)
        for remains in out.glob(f".{name}.*"):
            shutil.rmtree(remains, ignore_errors=True)
    for name in RESULTS:
        (out / f".{name}.partial").unlink(missing_ok=True)


def check_state(out: Path) -> bool:
    """Whether a run that was begun has a state to go on from; without, it is begun again.

    Raises:
        ConfigError: it has epochs that would be lost.
    """
    metrics = out / METRICS_FILE
    if (out / STATE_FILE).exists():
        return True
    num_epochs = len(metrics.read_text(encoding="utf-8").splitlines()) if metrics.exists() else 0
    if num_epochs > 1:  # the first state is written right after the first epoch's numbers
        raise ConfigError(
            f"{out}: has {num_epochs} epochs, but no {STATE_FILE} from which they could go on. "
            "Choose another --out, or begin again with --overwrite."
        )
    return False


def stored_recipe(out: Path) -> Recipe | None:
    """The recipe of the run in `out`; None if there is none; ConfigError: it cannot be read."""
    path = out / RECIPE_FILE
    if not path.exists():
        return None
    return recipe_from(config.read_yaml(path), str(path))


def check_same(prepared: Prepared, stored: Recipe, out: Path) -> None:
    """Refuse to go on with another recipe than the run began with.

    One file may be named by two paths, and may have moved together with the run.

    Raises:
        ConfigError: naming the first differences, with both values.
    """
    there, here = _comparable(stored), _comparable(prepared.recipe)
    if isinstance(stored, TrainRecipe):
        there["data.labels"] = list(stored.data.labels or ())
    if prepared.are_labelled:
        here["data.labels"] = prepared.labels
    if prepared.recipe.statistics != "given":  # they were measured, or taken from the weights
        for key in ("front_end.mean", "front_end.std"):
            there[key] = here[key]
    for key in [key for key in there if key in PATHS or MORE_SOURCE.fullmatch(key)]:
        if key in here and _is_same_place(there[key], here[key], out):
            there[key] = here[key]
    different = [key for key in there | here if there.get(key) != here.get(key)]
    if different:
        raise ConfigError(
            f"{out}: holds a run of another recipe: {_shown(different, there, here)}. Go on with "
            f"that run's own recipe (auricle {stored.command} --resume {out}), or choose another "
            "--out."
        )


def _shown(different: list[str], there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first of the `different` keys with both their values, and how many more there are."""
    # What a part is called says most: other settings may follow from it.
    ordered = sorted(different, key=lambda key: (not key.endswith(".name"), key))
    shown = [
        f"{key} is {there.get(key)} there and {here.get(key)} here"
        for key in ordered[:DIFFERENCES_SHOWN]
    ]
    more = len(different) - len(shown)
    return f"{'; '.join(shown)}{f'; and {more} more' if more else ''}"


def _is_same_place(there: str | None, here: str | None, out: Path) -> bool:
    """Whether two paths are of one file, which may have moved together with `out`."""
    if there is None or here is None or not Path(here).exists():
        return there == here
    if Path(there).exists():
        return Path(there).samefile(here)
    before, now = Path(there).parts, Path(here).resolve().parts
    pairs = zip(reversed(before), reversed(now), strict=False)
    num_shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    moved = Path(*now[: len(now) - num_shared])  # the folder that moved, or one within
    return num_shared > 0 and out.resolve().is_relative_to(moved)


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """All settings by dotted key, without those that follow from others or change nothing."""
    flat = _flat(recipe.to_dict())
    for key in (*FREE, "front_end.statistics", "model.num_classes", "data.labels"):
        flat.pop(key, None)
    return flat


def _flat(values: dict[str, Any], position: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{position}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            numbered = {f"{key}[{i}]": each for i, each in enumerate(value)}
            result |= _flat(numbered, position)
        else:
            result[f"{position}{key}"] = value
    return result
