"""The folder of a run: who may write to it, and whether a run in it may go on."""

import json
import platform
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from auricle import experiment
from auricle.errors import ConfigError
from auricle.experiment import Recipe, check_writable, prepare, read_search, recipe_from, tune
from auricle.experiment.folder import check_same, hold


def repeat(recipe, out, **options):
    return experiment.repeat(prepare(recipe), out, **options)


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


def recipe(source, **sections) -> Recipe:
    values = {
        "data": {"source": str(source)},
        "model": {"name": "ast", "width": 8, "depth": 1, "num_heads": 2},
        "training": {"epochs": 1, "batch_size": 2, "loss": "ce", "optimizer": {}},
    }
    values["training"]["optimizer"]["learning_rate"] = 1e-3
    return recipe_from({**values, **sections}, "test")


def prepared(recipe: Recipe) -> SimpleNamespace:
    """The recipe with the labels of a table that lists no clips."""
    return SimpleNamespace(recipe=recipe, are_labelled=True, labels=[])


def is_same(here: Recipe, stored: Recipe, out: Path) -> bool:
    try:
        check_same(prepared(here), stored, out)
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
        check_same(prepared(recipe(other)), recipe(clips), out)
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


@pytest.fixture
def small(noise_clips) -> Recipe:
    """A recipe for eight clips, of which four validate."""
    data = {"source": str(noise_clips(fold=[1, 2] * 4)), "validation_share": 0.5, "workers": 0}
    return recipe("", data=data, front_end={"num_mels": 16})


def test_a_second_training_in_a_folder_is_refused_and_leaves_the_first_alone(
    small, tmp_path, held_by_another_process
):
    out = tmp_path / "run"
    run(small, out)
    files = {path.name for path in out.iterdir()}
    with held_by_another_process(out) as number:
        for options in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(ConfigError) as caught:
                run(small, out, **options)
            message = re.sub(r"\(-c .*\)", "(...)", str(caught.value))
            assert message == (
                f"{out}: process {number} on {platform.node()} (...) is at work in this folder. "
                "Wait until it has ended, or choose another --out."
            )
    assert {path.name for path in out.iterdir()} == files | {".lock", ".holder"}
    run(small, out, overwrite=True)  # nobody holds what a dead process has left
    assert {path.name for path in out.iterdir()} == files


def test_a_repeated_recipe_and_a_search_are_alone_in_their_folder(
    small, tmp_path, held_by_another_process
):
    out = tmp_path / "out"
    file = tmp_path / "search.yaml"
    (tmp_path / "recipe.yaml").write_text(json.dumps(small.to_dict()))
    file.write_text(
        "{recipe: recipe.yaml, trials: 1, ranges: "
        "{training.optimizer.learning_rate: {low: 1e-4, high: 1e-3}}}"
    )
    repeated = small.model_copy(update={"seeds": 2})
    search = read_search(file)
    with held_by_another_process(out):
        for begin in (lambda: repeat(repeated, out, overwrite=True), lambda: tune(search, out)):
            with pytest.raises(ConfigError, match="is at work in this folder"):
                begin()
    assert {path.name for path in out.iterdir()} == {".lock", ".holder"}


def test_a_run_at_work_is_not_cleared_with_those_that_are_replaced(
    small, tmp_path, held_by_another_process
):
    repeated, part = small.model_copy(update={"seeds": 2}), tmp_path / "out" / "seed-0"
    with held_by_another_process(part):
        (part / "last").mkdir()
        with pytest.raises(ConfigError, match="is at work in this folder"):
            repeat(repeated, tmp_path / "out", overwrite=True)
        assert (part / "last").exists()


def test_a_block_within_a_block_of_one_process_goes_on(tmp_path):
    out = tmp_path / "run"
    with hold(out), hold(out):
        assert (out / ".lock").exists()
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_refused(open_folder, ordinary_user):
    out = open_folder / "closed" / "run"
    out.parent.mkdir()
    out.parent.chmod(0o555)
    for refuse in (check_writable, lambda out: hold(out).__enter__()):
        with ordinary_user(), pytest.raises(ConfigError) as caught:
            refuse(out)
        assert str(caught.value) == (
            f"{out}: cannot be written (Permission denied). Choose another --out."
        )


def test_a_file_on_the_way_to_a_folder_is_refused(clips):
    with pytest.raises(ConfigError) as caught:
        check_writable(clips / "run")
    assert str(caught.value) == (
        f"{clips / 'run'}: cannot be written (Not a directory). Choose another --out."
    )


def test_a_folder_that_was_only_asked_about_is_not_left_behind(tmp_path):
    check_writable(tmp_path / "runs" / "one")
    assert list(tmp_path.iterdir()) == []
