"""A search for settings: ranges, trials, going on after a stop, and what it leaves."""

import csv

import pytest

from auricle.config import read_yaml
from auricle.errors import ConfigError
from auricle.experiment import read_recipe, read_search, tune
from auricle.experiment import search as search_module
from auricle.training.settings import Diverged

optuna = pytest.importorskip("optuna")

RECIPE = """
data: {source: clips.csv, workers: 0, train_split: train, validation_split: test}
front_end: {num_mels: 16}
model: {name: ast, max_frames: 32, width: 8, depth: 1, num_heads: 2}
training: {epochs: 1, batch_size: 4, loss: ce, optimizer: {learning_rate: 1e-3}}
"""
SEARCH = """
recipe: base.yaml
trials: 3
ranges:
  training.optimizer.learning_rate: {low: 1e-5, high: 1e-2, log: true}
  model.depth: {low: 1, high: 3}
  training.loss: {choices: [ce, bce]}
"""


@pytest.fixture
def search_file(noise_clips, tmp_path, monkeypatch):
    noise_clips(split=["train"] * 4 + ["test"] * 4)
    (tmp_path / "base.yaml").write_text(RECIPE)
    (tmp_path / "search.yaml").write_text(SEARCH)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "search.yaml"


def test_trials_lie_within_their_ranges_and_the_best_comes_first(search_file, tmp_path):
    out = tmp_path / "out"
    trials = tune(read_search(search_file), out)
    assert len(trials) == 3
    assert [trial.score for trial in trials] == sorted((t.score for t in trials), reverse=True)
    for trial in trials:
        recipe = read_recipe(out / f"trial-{trial.number}" / "recipe.yaml").recipe
        rate = recipe.training.optimizer.learning_rate
        assert 1e-5 <= rate <= 1e-2
        assert rate == trial.settings["training.optimizer.learning_rate"]
        assert recipe.model.depth == trial.settings["model.depth"] in (1, 2, 3)
        assert f'"{recipe.training.loss}"' == trial.settings["training.loss"]
    assert len({trial.settings["training.optimizer.learning_rate"] for trial in trials}) == 3


def test_the_best_recipe_and_a_table_are_left(search_file, tmp_path):
    out = tmp_path / "out"
    best, *_ = tune(read_search(search_file), out)
    assert read_yaml(out / "best.yaml") == read_yaml(out / f"trial-{best.number}" / "recipe.yaml")
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows][0] == best.number
    assert list(rows[0]) == ["trial", "score", *sorted(best.settings)]


def test_a_search_goes_on_where_it_stopped(search_file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    real, calls = search_module._run, []

    def stopped(prepared, folder, machine):
        calls.append(prepared.recipe.training.optimizer.learning_rate)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(prepared, folder, machine)

    monkeypatch.setattr(search_module, "_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune(read_search(search_file), out)
    trials = tune(read_search(search_file), out)
    assert len(trials) == 3
    assert len(calls) == 4  # one before, the one that was cut off again, and one more
    assert calls[2] == calls[1]
    assert len({trial.settings["training.optimizer.learning_rate"] for trial in trials}) == 3


def test_another_search_in_the_folder_is_refused(search_file, tmp_path):
    out = tmp_path / "out"
    tune(read_search(search_file, ["training.batch_size=2"]), out)
    with pytest.raises(ConfigError) as error:
        tune(read_search(search_file), out)
    assert str(error.value) == (
        f"{out}: holds another search than {search_file}. Choose another --out; only `trials` may "
        "differ."
    )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("{low: 3, high: 1}", "low (3) must be below high (1)"),
        ("{low: 0, high: 1, log: true}", "log needs low above 0, got 0"),
        ("{choices: [1], low: 0}", "choices stands alone, without low, high and log"),
        ("{choices: []}", "choices is empty"),
        ("{low: 1}", "give low and high, or choices"),
    ],
)
def test_an_impossible_range_is_refused(search_file, limits, message):
    search_file.write_text(f"recipe: base.yaml\ntrials: 1\nranges: {{model.depth: {limits}}}\n")
    with pytest.raises(ConfigError) as error:
        read_search(search_file)
    assert str(error.value) == f"{search_file}: ranges.model.depth: {message}."


def test_a_range_that_the_recipe_refuses_is_named_before_any_trial(search_file):
    text = SEARCH.replace("{low: 1, high: 3}", "{low: 0, high: 3}")
    search_file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_search(search_file)
    assert str(error.value).startswith(
        f"{search_file}: with training.optimizer.learning_rate=1e-05, model.depth=0, "
    )
    assert "depth: Input should be greater than or equal to 1, got 0." in str(error.value)


def test_a_search_without_validation_is_refused(search_file):
    search_file.write_text(
        f"{SEARCH}overrides: {{data.train_split: null, data.validation_split: null}}\n"
    )
    with pytest.raises(ConfigError) as error:
        read_search(search_file)
    assert str(error.value) == (
        f"{search_file}: nothing validates, so no trial is better than another. Give "
        "data.validation_split, data.validation_share or data.fold."
    )


def test_a_recipe_of_many_runs_is_refused(search_file):
    search_file.write_text(f"{SEARCH}overrides: {{seeds: 2}}\n")
    with pytest.raises(ConfigError) as error:
        read_search(search_file)
    assert str(error.value) == (
        f"{search_file}: a trial is one run, but the recipe asks for folds or seeds. Add "
        "overrides: {folds: null, seeds: 1} and data.validation_share or data.fold."
    )


def test_a_trial_that_diverges_is_an_answer_and_the_search_goes_on(
    search_file, tmp_path, monkeypatch, capsys
):
    real, calls = search_module._run, []

    def diverging(prepared, folder, machine):
        calls.append(folder.name)
        if len(calls) == 1:
            raise Diverged("epoch 1: the training loss is nan.")
        return real(prepared, folder, machine)

    monkeypatch.setattr(search_module, "_run", diverging)
    trials = tune(read_search(search_file), tmp_path / "out")
    assert sorted(trial.number for trial in trials) == [1, 2]
    assert capsys.readouterr().err.startswith("trial 0: epoch 1: the training loss is nan. Lower ")
    tune(read_search(search_file), tmp_path / "out")
    assert calls == ["trial-0", "trial-1", "trial-2"]


def test_a_search_whose_trials_all_diverge_says_so(search_file, tmp_path, monkeypatch):
    def diverging(prepared, folder, machine):
        raise Diverged("the training loss is nan.")

    monkeypatch.setattr(search_module, "_run", diverging)
    with pytest.raises(ConfigError) as error:
        tune(read_search(search_file), tmp_path / "out")
    assert str(error.value) == (
        f"{search_file}: the weights of all 3 trials diverged. Search lower learning rates, in "
        "another --out."
    )


def test_fold_zero_validates_a_search(search_file, tmp_path):
    rows = (tmp_path / "clips.csv").read_text().replace("split", "fold")
    (tmp_path / "clips.csv").write_text(rows.replace("train", "0").replace("test", "1"))
    base = RECIPE.replace("train_split: train, validation_split: test", "fold: 0")
    (tmp_path / "base.yaml").write_text(base)
    assert read_search(search_file).config.trials == 3


def test_a_damaged_journal_is_one_line(search_file, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "study.log").write_text('{"op_code": 0, \n{}\n')
    with pytest.raises(ConfigError) as caught:
        tune(read_search(search_file), out)
    assert str(caught.value).startswith(f"{out / 'study.log'}: not readable as the journal of a ")
    assert "\n" not in str(caught.value)
