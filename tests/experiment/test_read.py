"""Reading a recipe: what it holds, and every mistake in it, before any sound is opened."""

from pathlib import Path

import pytest
import yaml

from auricle.config import from_dict
from auricle.errors import ConfigError, RenamedWarning, UserError
from auricle.experiment import read_recipe
from auricle.experiment.read import parse
from auricle.training.objectives import MaskedReconstructionConfig, SelfDistillationConfig

STORED = sorted((Path(__file__).parents[2] / "docs" / "results").rglob("recipe.yaml"))

GOOD = {
    "data": {"source": "${SOUNDS}/clips.csv", "train_split": "train"},
    "front_end": {"num_mels": 32},
    "model": {"name": "ast", "max_frames": 64, "width": 8, "depth": 1, "num_heads": 2},
    "training": {
        "epochs": 2,
        "batch_size": 4,
        "loss": "ce",
        "optimizer": {"learning_rate": "1e-3"},
    },
}
CLIPS = """path,labels,split,fold
0.wav,cat,train,1
1.wav,dog,train,2
2.wav,cat,test,1
3.wav,dog;cat,validation,
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A manifest whose sounds are empty files: nobody may open them."""
    (tmp_path / "clips.csv").write_text(CLIPS)
    for number in range(4):
        (tmp_path / f"{number}.wav").touch()
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump(GOOD).replace("'1e-3'", "1e-3"))
    monkeypatch.setenv("SOUNDS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_read_with_overrides_and_variables(folder):
    recipe = read_recipe("pets.yaml", ["training.epochs=7", "model.depth=2"]).recipe
    assert recipe.name == "pets"
    assert recipe.training.epochs == 7
    assert recipe.training.optimizer.learning_rate == 1e-3
    assert recipe.model.depth == 2
    assert recipe.data.source == f"{folder}/clips.csv"
    assert recipe.training.schedule.warmup_fraction == 0.1


@pytest.mark.parametrize("kind", [SelfDistillationConfig, MaskedReconstructionConfig])
def test_the_former_name_of_an_objectives_share_is_read_with_a_hint(kind):
    with pytest.warns(RenamedWarning, match="hidden_share is called mask_ratio now; use that"):
        assert from_dict(kind, {"hidden_share": 0.5}, kind.__name__).mask_ratio == 0.5


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
@pytest.mark.filterwarnings("ignore::auricle.errors.RenamedWarning")
def test_stored_recipes_can_still_be_read(path):
    assert parse(path).training.epochs > 0


def test_former_names_in_a_recipe_are_read_with_a_hint(folder):
    training = {**GOOD["training"], "optimizer": {"learning_rate": 1e-3}}
    front_end = {"num_mels": 32, "softest_dbfs": -30}
    path = folder / "former.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "front_end": front_end, "training": training}))
    with pytest.warns(RenamedWarning) as caught:
        recipe = read_recipe(path).recipe
    assert [str(each.message) for each in caught] == [
        f"{path}: front_end.softest_dbfs is called front_end.min_level_dbfs now; use that name."
    ]
    assert recipe.front_end.min_level_dbfs == -30
    with pytest.warns(RenamedWarning) as caught:
        recipe = read_recipe(path, ["front_end.softest_dbfs=-20"]).recipe
    assert [str(each.message) for each in caught] == [
        "'front_end.softest_dbfs=-20': front_end.softest_dbfs is called front_end.min_level_dbfs "
        "now; use that name."
    ]
    assert recipe.front_end.min_level_dbfs == -20
    assert (
        read_recipe(path, ["front_end.min_level_dbfs=null"]).recipe.front_end.min_level_dbfs is None
    )
    path.write_text(path.read_text().replace("softest", "min_level_dbfs: -30\n  softest"))
    with pytest.raises(ConfigError) as error:
        read_recipe(path)
    assert str(error.value) == (
        f"{path}: front_end.softest_dbfs is called front_end.min_level_dbfs now, which is given "
        "too; choose one."
    )


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], "given"),
        (["initial_weights=x"], "initial"),
        (["initial_weights=x", "front_end.statistics=dataset"], "dataset"),
    ],
)
def test_statistics_follow_the_initial_weights_unless_said(folder, words, expected):
    assert read_recipe("pets.yaml", words).recipe.statistics == expected


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["training.epoch=3"],
            "training: unknown key 'epoch'. Did you mean 'epochs'? Known: accumulate, "
            "average_decay, average_epochs, batch_size, best_by, early_stop, epochs, freeze, "
            "gradient_clip, label_smoothing, loggers, loss and 6 more.",
        ),
        (
            ["sead=3"],
            "unknown key 'sead'. Did you mean 'seed'? Known: augmentation, data, feature_noise, "
            "folds, front_end, initial_positions, initial_weights, masking, mixup, model, name, "
            "seed and 2 more.",
        ),
        (
            ["training.epochs=many"],
            "training.epochs: Input should be a valid integer, got 'many'.",
        ),
        (
            ["training.epochs=-1"],
            "training.epochs: Input should be greater than or equal to 1, got -1.",
        ),
        (["mixup.rate=2"], "mixup.rate: Input should be less than or equal to 1, got 2."),
        (["training.loss=mse"], "training.loss: Input should be 'bce' or 'ce', got 'mse'."),
        (
            ["training.average_epochs=[2, 3]"],
            "training: average_epochs [2, 3] must lie in 1 to 2, the first not after the last.",
        ),
        (
            ["training.accumulate=3"],
            "training: accumulate 3 does not divide batch_size 4.",
        ),
        (
            ["training.early_stop=0"],
            "training.early_stop: Input should be greater than or equal to 1, got 0.",
        ),
        (
            ["training.early_stop=2"],
            "training.early_stop needs clips that validate: data.fold, data.validation_split or "
            "data.validation_share.",
        ),
        (
            ["training.early_stop=2", "folds=all"],
            "folds and training.early_stop cannot be given together: the fold that is scored "
            "would choose the epoch.",
        ),
        (["folds=[]"], "folds wants all, or one fold and more, each once."),
        (["folds=[1, 2, 1]"], "folds wants all, or one fold and more, each once."),
        (
            ["training.loggers=[comet]"],
            "training.loggers.0: Input should be 'wandb' or 'mlflow', got 'comet'.",
        ),
        (
            ["data.max_faulty_share=2"],
            "data.max_faulty_share: Input should be less than or equal to 1, got 2.",
        ),
        (
            ["training.schedule.name=multistpe"],
            "training.schedule.name: unknown name 'multistpe'. Did you mean 'multistep'? "
            "Known: multistep, warmup_cosine.",
        ),
        (
            ["data.fold=1", "data.validation_share=0.2"],
            "data: fold and validation_share cannot be given together; choose one.",
        ),
        (
            ["data.validation_split=train"],
            "data: validation_split needs a train_split, and another one.",
        ),
        (
            ["front_end.statistics=initial"],
            "front_end.statistics 'initial' needs initial_weights.",
        ),
        (
            ["training.optimizer.new_modules_factor=10"],
            "training.optimizer.new_modules_factor needs initial_weights.",
        ),
        (
            ["model.name=asst"],
            "model: unknown model 'asst'. Did you mean 'ast'? Known: asda, ast, ced, ham_ast, "
            "mobilenet, multiscale_ast.",
        ),
        (["model={}"], "model.name: this key is required."),
        (
            ["model.num_mels=64"],
            "model.num_mels is 64, front_end.num_mels is 32. Leave model.num_mels out: it follows "
            "the front end.",
        ),
        (
            ["model.num_classes=3"],
            "model.num_classes is 3, but the data has 2 classes. Leave it out: it follows the "
            "data.",
        ),
        (
            ["front_end.padding={mode: fixed, frames: 65}"],
            "front_end.padding.frames is 65, more than model.max_frames (64).",
        ),
        (
            ["data.crop_seconds=1"],
            "data.crop_seconds is 1, which are 98 frames, more than model.max_frames (64). "
            "Use at most 0.655 seconds.",
        ),
        (
            ["data.source=nowhere.csv"],
            "data.source: no such file or folder: nowhere.csv.",
        ),
        (
            ["data.source=${ABSENT}/clips.csv"],
            "data.source: the environment variable ABSENT is not set. Set it, or give "
            "data.source=... on the command line.",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_its_place(folder, words, message):
    with pytest.raises(UserError) as caught:
        read_recipe("pets.yaml", words)
    assert str(caught.value) == f"pets.yaml: {message}"


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["data.fold=3"],
            "{0}: no clip has split 'train' and fold 3. Splits: test, train, validation. "
            "Folds: 1, 2.",
        ),
        (
            ["data.train_split=all"],
            "{0}: no clip has split 'all'. Splits: test, train, validation. Folds: 1, 2.",
        ),
        (
            ["data.train_split=validation"],
            "{0}, line 5: 2 labels, but training.loss is ce, which wants exactly one. "
            "Use training.loss=bce.",
        ),
        (
            ["data.validation_split=validation"],
            "{0}, line 5: 2 labels, but training.loss is ce, which wants exactly one. "
            "Use training.loss=bce.",
        ),
        (
            ["data.labels=[cat]", "data.train_split=test"],
            "{0}, line 3: unknown label 'dog'. Known: cat.",
        ),
    ],
)
def test_a_mistake_about_the_clips_is_named_with_its_line(folder, words, message):
    with pytest.raises(UserError) as caught:
        read_recipe("pets.yaml", words)
    assert str(caught.value) == message.format(folder / "clips.csv")


def test_one_class_is_not_enough(folder):
    (folder / "clips.csv").write_text("path,labels,split\n0.wav,cat,train\n")
    with pytest.raises(UserError) as caught:
        read_recipe("pets.yaml")
    assert str(caught.value) == (f"{folder}/clips.csv: 1 class (cat); training needs two or more.")


def test_a_missing_recipe_file_is_named(folder):
    with pytest.raises(UserError) as caught:
        read_recipe("cats.yaml")
    assert str(caught.value) == "cats.yaml: no such recipe file."


def test_a_variable_can_only_be_set_where_a_command_takes_no_settings(folder, monkeypatch):
    monkeypatch.delenv("SOUNDS")
    with pytest.raises(ConfigError) as caught:
        read_recipe("pets.yaml")
    assert str(caught.value) == (
        "pets.yaml: data.source: the environment variable SOUNDS is not set. Set it."
    )


def test_the_nearest_built_in_recipe_is_offered(folder, monkeypatch):
    (folder / "built_in").mkdir()
    for name in ("esc50_ast", "esc50_ham"):
        (folder / "built_in" / f"{name}.yaml").touch()
    monkeypatch.setattr("auricle.experiment.read.BUILTIN", folder / "built_in")
    with pytest.raises(UserError) as caught:
        read_recipe("esc50_asd")
    assert str(caught.value) == (
        "unknown recipe 'esc50_asd'. Did you mean 'esc50_ast'? Known: esc50_ast, esc50_ham."
    )


def test_a_padding_that_cuts_makes_any_crop_fit(folder):
    words = ["front_end.padding={mode: fixed, frames: 64}", "data.crop_seconds=5"]
    assert read_recipe("pets.yaml", words).recipe.data.crop_seconds == 5


def test_labels_of_the_recipe_give_the_order(folder):

    prepared = read_recipe("pets.yaml", ["data.labels=[dog, cat]", "data.train_split=train"])
    assert prepared.labels == ["dog", "cat"]
