"""Whether a run in a folder may go on: recipes that name the same files by other paths."""

from pathlib import Path

import pytest

from auricle.config import from_dict
from auricle.errors import ConfigError
from auricle.experiment import Recipe
from auricle.experiment.folder import check_same


def recipe(source, **sections) -> Recipe:
    values = {
        "data": {"source": str(source)},
        "model": {"name": "ast", "width": 8, "depth": 1, "num_heads": 2},
        "training": {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": {}},
    }
    values["training"]["optimizer"]["learning_rate"] = 1e-3
    return from_dict(Recipe, {**values, **sections}, "test")


def is_same(here: Recipe, stored: Recipe, out: Path) -> bool:
    try:
        check_same(here, stored, [], out)
    except ConfigError:
        return False
    return True


@pytest.fixture
def clips(noise_clips) -> Path:
    return noise_clips()


def test_a_relative_path_and_an_absolute_one_may_be_of_one_file(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    assert is_same(recipe("clips.csv"), recipe(clips), out)
    assert is_same(recipe(clips), recipe("clips.csv"), out)


def test_another_file_is_another_recipe(clips, tmp_path):
    other = tmp_path / "others" / "clips.csv"
    other.parent.mkdir()
    other.write_text(clips.read_text())
    out = tmp_path / "run"
    with pytest.raises(ConfigError) as error:
        check_same(recipe(other), recipe(clips), [], out)
    assert str(error.value) == (
        f"{out}: holds a run of another recipe: data.source is {clips} there and {other} here. "
        f"Go on with that run's own recipe (auricle train --resume {out}), or choose another --out."
    )


def test_a_project_may_have_moved_with_its_runs(clips, tmp_path):
    out = tmp_path / "runs" / "one"
    assert is_same(recipe(clips), recipe(Path("/gone") / tmp_path.name / "clips.csv"), out)
    assert is_same(recipe(clips), recipe(Path("/gone/clips.csv")), out)


def test_data_that_moved_away_from_a_run_are_not_taken_for_its_own(clips, tmp_path):
    elsewhere = tmp_path.parent / "runs" / "one"
    assert not is_same(recipe(clips), recipe(Path("/gone/clips.csv")), elsewhere)
    assert not is_same(recipe(clips), recipe(Path("/gone/other.csv")), tmp_path / "run")


def test_initial_weights_are_paths_or_names(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = tmp_path / "start" / "last"
    start.mkdir(parents=True)
    out = tmp_path / "run"

    def weights(name) -> Recipe:
        return recipe(clips, initial_weights=str(name))

    assert is_same(weights("start/last"), weights(start), out)
    assert is_same(weights("esc10"), weights("esc10"), out)
    assert not is_same(weights("esc10"), weights("keywords"), out)
    assert not is_same(weights(start), weights("esc10"), out)
    assert not is_same(weights(start), recipe(clips), out)
