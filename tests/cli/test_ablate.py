"""`auricle ablate` as a user calls it."""

import pytest
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.experiment import grid
from auricle.training.machine import Terminated

RECIPE = """
data: {source: clips.csv, workers: 0, train_split: train, validation_split: test}
front_end: {num_mels: 16}
model: {name: ast, max_frames: 32, width: 8, depth: 1, num_heads: 2}
training: {epochs: 1, batch_size: 4, loss: ce, optimizer: {learning_rate: 1e-3}}
"""
GRID = """
recipe: base.yaml
seeds: 1
cells: [{name: one}, {name: two, overrides: {model.depth: 2}}]
"""


@pytest.fixture
def folder(noise_clips, tmp_path, monkeypatch):
    noise_clips(split=["train"] * 4 + ["test"] * 4)
    (tmp_path / "base.yaml").write_text(RECIPE)
    (tmp_path / "grid.yaml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_grid_is_run_and_its_table_printed_and_written(folder):
    result = CliRunner().invoke(app, ["ablate", "grid.yaml", "--out", "out"])
    assert result.exit_code == 0, result.output
    assert (folder / "out" / "table.md").read_text().strip() in result.stdout
    assert (folder / "out" / "two" / "seed-0" / "best").is_dir()


def test_the_table_alone_trains_nothing(folder):
    result = CliRunner().invoke(app, ["ablate", "grid.yaml", "--table", "--out", "out"])
    assert result.exit_code == 0, result.output
    assert "| one | " in result.stdout
    assert "0 of 1" in result.stdout
    assert not (folder / "out" / "one").exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_who_stops_it_is_told_how_to_go_on(folder, monkeypatch, error, code):
    def stopped(*arguments, **named):
        raise error

    monkeypatch.setattr(grid, "run", stopped)
    result = CliRunner().invoke(app, ["ablate", "grid.yaml", "--out", "out"])
    assert result.exit_code == code
    assert result.stderr.endswith("\nstopped; the same command goes on from here.\n")


def test_an_unknown_grid_is_one_line(folder):
    result = CliRunner().invoke(app, ["ablate", "nothing.yaml", "--out", "out"])
    assert result.exit_code == 2
    assert result.stderr == "error: nothing.yaml: no such grid file.\n"
