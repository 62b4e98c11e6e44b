"""Training on one's own table: which clips are trained on, which validate, and what is said."""

import warnings

import pytest
import yaml

from auricle.errors import DataError, DataWarning, UserError
from auricle.experiment import read_recipe, recipe_for_folder, run
from auricle.experiment.own_data import print_splits


@pytest.fixture
def sides(noise_clips, tiny_model):
    """Clips to train on and clips that validate, by number, of a table with these splits."""

    def divide(splits, words=()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # of labels with few clips
            found = recipe_for_folder(noise_clips(split=splits), str(tiny_model), list(words))
        print_splits(found)
        return tuple(
            [int(clip.path.stem) for clip in side.clips] for side in (found.train, found.validation)
        )

    return divide


@pytest.mark.parametrize("test", ["test", "TEST", "eval", "Testing"])
def test_clips_called_test_are_never_trained_on(sides, capsys, test):
    train, validation = sides(["", "", test, test] * 3)
    assert sorted(train + validation) == [0, 1, 4, 5, 8, 9]
    assert capsys.readouterr().err.endswith(
        "clips.csv: clips by split: test 6, no split 6; not used: test.\n"
    )


@pytest.mark.parametrize(
    ("train", "validation"),
    [("train", "val"), ("Train", "Validation"), ("TRAIN", "DEV"), ("training", "valid")],
)
def test_splits_are_used_whatever_their_usual_name(sides, capsys, train, validation):
    assert sides([train] * 4 + [validation] * 2 + ["test", ""]) == ([0, 1, 2, 3], [4, 5])
    assert capsys.readouterr().err.endswith(
        "clips by split: train 4, validation 2, test 1, no split 1; not used: test, no split.\n"
    )


def test_without_clips_called_train_those_of_no_split_are_trained_on(sides, capsys):
    assert sides(["", "", "val", "val", "test", "test"]) == ([0, 1], [2, 3])
    assert capsys.readouterr().err.endswith(
        "clips by split: validation 2, test 2, no split 2; not used: test.\n"
    )


def test_a_table_without_splits_is_not_spoken_of(sides, capsys):
    train, validation = sides([""] * 8)
    assert sorted(train + validation) == list(range(8))
    assert capsys.readouterr().err == ""


def test_a_table_with_nothing_to_train_on_is_refused(noise_clips, tiny_model):
    table = noise_clips(split=["test"] * 4)
    with pytest.raises(DataError) as caught:
        recipe_for_folder(table, str(tiny_model))
    assert str(caught.value) == (
        f"{table}: no clip has a split other than 'test'. Splits: test. Folds: none."
    )


def test_an_unknown_split_is_refused_with_its_line(noise_clips, tiny_model):
    table = noise_clips(split=["train", "holdout"])
    with pytest.raises(UserError) as caught:
        recipe_for_folder(table, str(tiny_model))
    assert str(caught.value).startswith(f"{table}, line 3: unknown split 'holdout'. Known: dev, ")


def test_a_label_that_no_clip_to_train_on_has_is_named(noise_clips, tiny_model):
    table = noise_clips(split=["train"] * 4 + ["val", "test"])
    text = table.read_text().replace("4.wav,a", "4.wav,new").replace("5.wav,b", "5.wav,late")
    table.write_text(text)
    with pytest.warns(DataWarning) as warned:
        assert recipe_for_folder(table, str(tiny_model)).labels == ["a", "b", "late", "new"]
    assert [str(each.message) for each in warned] == [
        f"{table}: no clip to train on has these labels, which others have: late, new."
    ]


def test_a_run_of_any_recipe_says_how_many_clips_each_split_has(noise_clips, tmp_path, capsys):
    table = noise_clips(split=["train"] * 4 + ["val"] * 2 + ["test", ""])
    values = {
        "data": {"source": str(table), "train_split": "train", "workers": 0},
        "front_end": {"num_mels": 16},
        "model": {"name": "ast", "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2},
        "training": {
            "epochs": 1,
            "batch_size": 2,
            "loss": "ce",
            "optimizer": {"learning_rate": 1e-3},
        },
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    run(read_recipe(str(path), []), tmp_path / "run")
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{table}: clips by split: train 4, validation 2, test 1, no split 1; not used: "
        "validation, test, no split."
    )
