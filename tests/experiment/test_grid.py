"""Grids: cells, what is run and left, several processes, and the table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.errors import ConfigError
from auricle.evaluation.paired import paired_difference
from auricle.experiment import Scores, read_grid, run_grid, scores_of, write_table
from auricle.experiment import grid as grid_module
from auricle.experiment import table as table_module
from auricle.experiment.speed import device_name
from auricle.experiment.table import rows_of
from auricle.training.settings import Diverged

RECIPE = """
data: {source: clips.csv, workers: 0}
front_end: {num_mels: 16}
model: {name: ham_ast, max_frames: 32, width: 8, depth: 1, num_heads: 2}
training: {epochs: 1, batch_size: 4, loss: ce, optimizer: {learning_rate: 1e-3}}
"""
GRID = """
recipe: base.yaml
overrides: {folds: all, model.conformer: {num_blocks: 1, kernel_size: 3}}
seeds: 2
cells:
  - name: "0 / off"
    overrides: {model.conformer: null, model.channel_attention: null}
    paper: 95.25
  - {name: "1 / on", paper: 96.41}
"""
SEED_0 = ("seed-0-fold-1", "seed-0-fold-2")
ALL = (*SEED_0, "seed-1-fold-1", "seed-1-fold-2")


@pytest.fixture
def grid_file(noise_clips, tmp_path, monkeypatch) -> Path:
    """A grid of two cells on eight clips in two folds."""
    noise_clips(fold=[1] * 4 + [2] * 4, group="xxyyzzww")
    (tmp_path / "base.yaml").write_text(RECIPE)
    (tmp_path / "grid.yaml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "grid.yaml"


def test_cells_are_the_recipe_with_the_overrides_of_all_and_their_own(grid_file):
    grid = read_grid(grid_file, ["training.epochs=3"])
    plain, ham = grid.cells
    assert (grid.name, grid.score) == ("grid", "accuracy")
    assert (plain.name, plain.paper) == ("0 / off", 95.25)
    assert plain.prepared.recipe.model.conformer is None
    assert plain.prepared.recipe.model.channel_attention is None
    assert ham.prepared.recipe.model.conformer.num_blocks == 1
    assert {cell.prepared.recipe.training.epochs for cell in grid.cells} == {3}
    assert [part.name for part in ham.parts] == list(ALL)


def test_a_mistake_in_a_cell_names_it(grid_file):
    text = GRID.replace("paper: 96.41", "overrides: {training.epoch: 3}")
    grid_file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_grid(grid_file)
    start = f"{grid_file}: cell '1 / on': {grid_file.parent / 'base.yaml'}: training: unknown key "
    assert str(error.value).startswith(f"{start}'epoch'. Did you mean 'epochs'? Known: ")


def test_two_cells_with_one_folder_are_refused(grid_file):
    grid_file.write_text(GRID.replace("1 / on", "0 - off"))
    with pytest.raises(ConfigError) as error:
        read_grid(grid_file)
    assert str(error.value) == (
        f"{grid_file}: cells: two cells would share the folder '0-off'; rename one."
    )


def test_a_recipe_is_no_grid():
    with pytest.raises(ConfigError) as error:
        read_grid("builtin_keywords")
    assert str(error.value) == (
        "builtin_keywords is a recipe, not a grid. Use auricle train builtin_keywords."
    )


def test_a_missing_grid_file_is_named():
    with pytest.raises(ConfigError) as error:
        read_grid("grids/none.yaml")
    assert str(error.value) == "grids/none.yaml: no such grid file."


def finished(out: Path) -> set[str]:
    return {str(path.parent.relative_to(out)) for path in out.rglob("scores.json")}


def test_a_grid_is_run_and_a_second_call_runs_nothing(grid_file, tmp_path):
    grid, out = read_grid(grid_file), tmp_path / "out"
    run_grid(grid, out)
    assert finished(out) == {f"{cell}/{part}" for cell in ("0-off", "1-on") for part in ALL}
    weights = [path for path in out.rglob("model.safetensors")]
    before = [path.stat().st_mtime_ns for path in weights]
    run_grid(grid, out)
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_run_that_diverges_is_reported_and_the_others_go_on(
    grid_file, tmp_path, monkeypatch, capsys
):
    real = grid_module.run

    def run(recipe, folder, **named):
        if folder == tmp_path / "out" / "0-off" / "seed-0-fold-2":
            raise Diverged("epoch 1: the training loss is nan.")
        return real(recipe, folder, **named)

    monkeypatch.setattr(grid_module, "run", run)
    grid, out = read_grid(grid_file), tmp_path / "out"
    run_grid(grid, out)
    assert len(finished(out)) == 7
    assert (
        "0 / off: seed-0-fold-2: epoch 1: the training loss is nan. Lower "
        "training.optimizer.learning_rate, set training.gradient_clip, or use "
        "training.precision=32-true. The other runs go on.\n" in capsys.readouterr().err
    )
    assert [row.runs for row in rows_of(grid, scores_of(grid, out), out)] == ["3 of 4", "4 of 4"]


def test_a_run_that_another_process_holds_is_left_to_it(
    grid_file, tmp_path, held_by_another_process
):
    grid, out = read_grid(grid_file), tmp_path / "out"
    with held_by_another_process(out / "0-off" / "seed-0-fold-1"):
        run_grid(grid, out)
    assert "0-off/seed-0-fold-1" not in finished(out)
    assert len(finished(out)) == 7
    run_grid(grid, out)
    assert len(finished(out)) == 8


def test_the_table_of_an_unfinished_grid_says_what_is_missing(
    grid_file, tmp_path, held_by_another_process
):
    grid, out = read_grid(grid_file), tmp_path / "out"
    with held_by_another_process(out / "1-on" / "seed-1-fold-2"):
        run_grid(grid, out)
    plain, ham = rows_of(grid, scores_of(grid, out), out)
    assert (plain.runs, ham.runs) == ("4 of 4", "3 of 4")
    assert (len(plain.seeds), len(ham.seeds)) == (2, 1)


def test_the_table_holds_scores_differences_and_costs(grid_file, tmp_path):
    grid, out = read_grid(grid_file), tmp_path / "out"
    run_grid(grid, out)
    found = scores_of(grid, out)
    plain, ham = rows_of(grid, found, out)
    correct = {
        name: torch.tensor(
            [[right for fold in seed for right in fold.correct] for seed in (runs[:2], runs[2:])]
        )
        for name, runs in found.items()
    }
    assert plain.seeds == pytest.approx(correct["0 / off"].double().mean(dim=1).tolist())
    assert plain.mean == pytest.approx(np.mean(plain.seeds))
    assert plain.std == pytest.approx(np.std(plain.seeds, ddof=1))
    assert plain.difference is None
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])  # two clips of each recording
    expected = paired_difference(correct["1 / on"], correct["0 / off"], seed=0, groups=groups)
    assert ham.difference == expected
    assert ham.parameters > plain.parameters
    assert ham.multiply_adds > plain.multiply_adds
    assert ham.clips_per_second > 0


def scores_in_two_folds(right):
    """Of each cell, for one seed: which of four clips were named correctly, the same in both."""
    return {name: [scores(["1", "2", "3", "4"], each)] * 2 for name, each in right.items()}


def test_cells_are_compared_with_the_one_that_matches_them_in_size_as_well(grid_file, tmp_path):
    grid_file.write_text(
        GRID + "  - {name: deeper, overrides: {model.depth: 2}}\nmatched: deeper\n"
    )
    grid = read_grid(grid_file, ["seeds=1"])
    right = {
        "0 / off": [True, False, False, False],
        "1 / on": [True, True, True, False],
        "deeper": [False, True, False, False],
    }
    found = scores_in_two_folds(right)
    rows = rows_of(grid, found, tmp_path)
    assert [row.matched and row.matched.mean for row in rows] == [0.0, 0.5, None]
    assert [row.difference and row.difference.mean for row in rows] == [None, 0.5, 0.0]
    text = write_table(grid, found, tmp_path)
    head = text.splitlines()[0]
    assert "difference from 0 / off (95 % interval, p) | difference from deeper (95 %" in head
    columns = {line.count(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert columns == {8}
    with (tmp_path / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["matched_difference"] for row in table] == ["0.0", "0.5", ""]


def test_a_cell_may_name_what_it_is_compared_with(grid_file, tmp_path):
    further = '  - {name: deeper, overrides: {model.depth: 2}, against: "1 / on"}\n'
    grid_file.write_text(GRID + further)
    grid = read_grid(grid_file, ["seeds=1"])
    right = {
        "0 / off": [True, False, False, False],
        "1 / on": [True, True, True, False],
        "deeper": [True, True, True, True],
    }
    found = scores_in_two_folds(right)
    rows = rows_of(grid, found, tmp_path)
    assert [row.difference and row.difference.mean for row in rows] == [None, 0.5, 0.25]
    lines = write_table(grid, found, tmp_path).splitlines()
    assert lines[3].split(" | ")[6].startswith("+50.00 (") and " from " not in lines[3]
    assert lines[4].split(" | ")[6].startswith("+25.00 (")
    assert lines[4].split(" | ")[6].endswith(" from 1 / on")
    with (tmp_path / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["compared_with"] for row in table] == ["", "0 / off", "1 / on"]


@pytest.mark.parametrize("name", ["deeper", "1 / on"])
def test_a_cell_is_compared_with_another_one_that_is_there(grid_file, name):
    grid_file.write_text(GRID.replace("paper: 96.41}", f'against: "{name}"}}'))
    with pytest.raises(ConfigError) as error:
        read_grid(grid_file)
    assert str(error.value) == (
        f"{grid_file}: against must be the name of another cell: ['0 / off']."
    )


def test_a_matched_cell_that_is_not_there_is_refused(grid_file):
    grid_file.write_text(GRID + "matched: deeper\n")
    with pytest.raises(ConfigError) as error:
        read_grid(grid_file)
    assert str(error.value) == (
        f"{grid_file}: matched must be the name of a cell after the first: ['1 / on']."
    )


def test_the_table_is_written_for_people_and_machines(grid_file, tmp_path):
    grid, out = read_grid(grid_file), tmp_path / "out"
    run_grid(grid, out)
    text = write_table(grid, scores_of(grid, out), out)
    assert (out / "table.md").read_text() == text
    assert f"\nClips/s: on the CPU, {device_name()}.\n" in text
    assert set(json.loads((out / "speeds.json").read_text())["models"]) == {"0 / off", "1 / on"}
    lines = text.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| 0 / off", "| 1 / on"]
    assert [line.rsplit(" | ", 1)[1] for line in lines[2:4]] == ["95.25 |", "96.41 |"]
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == ["0 / off", "1 / on"]
    assert tuple(rows[0]) == table_module.COLUMNS
    assert (out / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_run_of_another_recipe_is_not_taken_for_a_cells_own(grid_file, tmp_path):
    out = tmp_path / "out"
    run_grid(read_grid(grid_file), out)
    with pytest.raises(ConfigError) as error:
        run_grid(read_grid(grid_file, ["training.epochs=2"]), out)
    folder = out / "0-off" / "seed-0-fold-1"
    assert str(error.value) == (
        f"{folder}: holds a run of another recipe: training.epochs is 1 there and 2 here. Go on "
        f"with that run's own recipe (auricle train --resume {folder}), or choose another --out."
    )


def test_a_table_is_not_made_of_runs_of_another_recipe(grid_file, tmp_path):
    out = tmp_path / "out"
    run_grid(read_grid(grid_file, ["seeds=1"]), out)
    grid_file.write_text(GRID.replace("num_blocks: 1", "num_blocks: 2"))
    with pytest.raises(ConfigError) as error:
        scores_of(read_grid(grid_file, ["seeds=1"]), out)
    folder = out / "1-on" / "seed-0-fold-1"
    assert str(error.value) == (
        f"{folder}: holds a run of another recipe: model.conformer.num_blocks is 1 there and 2 "
        f"here. Go on with that run's own recipe (auricle train --resume {folder}), or choose "
        "another --out."
    )


def scores(clips: list[str], right: list[bool]) -> Scores:
    metrics = {"accuracy": sum(right) / len(right), "mAP": 0.5}
    return Scores("last", "fold 1", metrics, clips, clips, ["a"] * len(clips), right)


@pytest.mark.parametrize(
    "score, second_seed, is_compared",
    [("accuracy", ["1", "2"], True), ("accuracy", ["3", "4"], False), ("mAP", ["1", "2"], False)],
)
def test_differences_are_of_accuracy_on_the_same_clips(
    grid_file, tmp_path, score, second_seed, is_compared
):
    grid_file.write_text(GRID.replace("folds: all", "data.fold: 1") + f"score: {score}\n")
    grid = read_grid(grid_file)
    seeds = [scores(["1", "2"], [True, False]), scores(second_seed, [True, True])]
    _, other = rows_of(grid, {cell.name: seeds for cell in grid.cells}, tmp_path)
    assert (other.difference is not None) == is_compared


def test_every_run_of_a_grid_is_named_before_it_begins(grid_file, tmp_path, capsys):
    run_grid(read_grid(grid_file, ["folds=[1]", "seeds=1"]), tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "seed" in line] == [
        "0 / off: seed-0-fold-1",
        "1 / on: seed-0-fold-1",
    ]
