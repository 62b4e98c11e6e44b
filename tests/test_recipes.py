"""Every recipe and grid of the package: it parses, its model builds; a recipe takes a step."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle import checkpoint, models
from auricle.experiment import Recipe, grid_names, read_grid, read_recipe, recipe_names, run
from auricle.experiment.grid import GRIDS
from auricle.experiment.read import BUILTIN, VARIABLE
from auricle.features import FbankConfig, PaddingConfig

LABELS = ("one", "two")
HEADER = ("# paper ", "# expected ", "# hardware ", "# hours ", "# command ")
TINY = [
    "folds=null",
    "seeds=1",
    "initial_weights=null",
    "front_end.statistics=given",
    "data.workers=0",
    "training.epochs=1",
    "training.batch_size=4",
    "training.average_epochs=null",
    "training.freeze=none",
    "training.precision=32-true",
    "training.optimizer.new_modules_factor=1",
]
TINY_TRANSFORMER = ["model.width=16", "model.depth=1", "model.num_heads=2"]
TINY_MODELS = {
    "asda": TINY_TRANSFORMER,
    "ast": TINY_TRANSFORMER,
    "ham_ast": [*TINY_TRANSFORMER, "model.conformer.num_blocks=1"],
    "mobilenet": ["model.width=0.1"],
    "multiscale_ast": ["model.width=4", "model.depths=[1,1,1]"],
}
ESC = {"name": "multistep", "start": 5, "every": 1, "factor": 0.85}
BALANCED = {"name": "multistep", "warmup_steps": 1000, "start": 10, "every": 5, "factor": 0.5}
FULL = {"name": "multistep", "warmup_steps": 1000, "start": 2, "every": 1, "factor": 0.5}
# Published values: learning rate, epochs, batch, loss, frames, mixup rate, masks, averaged epochs,
# schedule.
PUBLISHED = {
    "esc50_ast": (1e-5, 25, 48, "ce", 512, 0.0, (24, 96), None, ESC),
    "esc50_ast_s": (1e-4, 25, 48, "ce", 512, 0.0, (24, 96), None, ESC),
    "esc50_ham": (1e-5, 25, 48, "ce", 512, 0.0, (24, 96), None, ESC),
    "speech_commands_ast": (2.5e-4, 30, 128, "bce", 128, 0.6, (48, 48), None, ESC),
    "speech_commands_ast_p": (2.5e-4, 30, 128, "bce", 128, 0.6, (48, 48), None, ESC),
    "speech_commands_ham": (2.5e-4, 30, 128, "bce", 128, 0.6, (48, 48), None, ESC),
    "audioset_balanced_ast": (5e-5, 25, 12, "bce", 1024, 0.5, (48, 192), (6, 25), BALANCED),
    "audioset_balanced_ham": (5e-5, 25, 12, "bce", 1024, 0.5, (48, 192), (6, 25), BALANCED),
    "audioset_full_ast": (1e-5, 5, 12, "bce", 1024, 0.5, (48, 192), (1, 5), FULL),
    "audioset_full_ham": (1e-5, 5, 12, "bce", 1024, 0.5, (48, 192), (1, 5), FULL),
}
# Of ASDA: learning rate, epochs, batch, loss, smoothing, frames, mixup, masks, sampling.
PUBLISHED_ASDA = {
    "audioset_full_asda": (5e-5, 15, 48, "bce", 0.0, 1024, (0.9, 0.8), (26, 205), "balanced"),
    "audioset_balanced_asda": (5e-5, 93, 32, "bce", 0.0, 1024, (0.9, 0.8), (26, 205), "shuffle"),
    "esc50_asda": (5e-5, 120, 48, "ce", 0.1, 512, (0.0, 10.0), (51, 205), "shuffle"),
    "speech_commands_asda": (2e-4, 241, 256, "bce", 0.1, 128, (0.9, 0.8), (26, 26), "shuffle"),
}
# Updates, and clips that are to be had.
UPDATES_ASDA = {
    "audioset_full_asda": (600_000, 1.92e6),
    "audioset_balanced_asda": (60_000, 20_600),
    "esc50_asda": (4_000, 1_600),
    "speech_commands_asda": (80_000, 84_843),
}
PAPER_FIGURES = {
    "ham_table3_esc50": [95.25, 95.33, None, 95.73, None, 96.41, None],
    "ham_table3_speech_commands": [96.32, 96.51, None, 96.90, None, 97.28, None],
    "ast_overlap": [0.336, 0.342, 0.344, 0.347],
    "ast_overlap_full": [0.451, 0.456, 0.455, 0.459],
    "ast_ensemble_m": [0.459, 0.455, 0.456, 0.451],
    "ast_patch_shape": [0.143, 0.154, 0.139],
    "ast_positions": [0.347, 0.346, 0.305],
    "ast_start": [0.347, 0.330, 0.320, 0.148],
}
# Classes and millions of parameters. AST's published counts hold two unused heads (1.538 M) more.
SIZES = {
    "esc50_ast": (50, 85.757),
    "esc50_ham": (50, 167.510),
    "speech_commands_ast": (35, 86.933 - 1.538),
    "speech_commands_ham": (35, 167.075),
    "audioset_full_ast": (527, 88.132 - 1.538),
    "audioset_full_ham": (527, 168.347),
    "audioset_full_asda": (527, 92.771),
    "esc50_asda": (50, 92.404),
    "speech_commands_asda": (35, 92.393),
    "esc10_ast_small": (10, 0.934),
    "esc10_ham_small": (10, 1.439),
    "sc12_ast_small": (12, 0.864),
    "sc12_ham_small": (12, 1.369),
    "sc12_multiscale_small": (12, 0.859),
}


@pytest.fixture
def source(tmp_path, monkeypatch) -> str:
    """The override that makes a manifest with folds and splits the recipe's data."""
    for path in BUILTIN.rglob("*.yaml"):
        for variable in VARIABLE.findall(path.read_text()):
            monkeypatch.setenv(variable, str(tmp_path / "manifest.csv"))
    monkeypatch.setenv("TEACHER", str(small_teacher(tmp_path / "teacher")))
    random = np.random.default_rng(0)
    rows = ["path,labels,split,fold"]
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", random.normal(0, 0.1, 16_000), 16_000)
        split = ("train", "validation", "test", "train")[number // 2]
        rows.append(f"{number}.wav,{LABELS[number % 2]},{split},{number // 2 + 1}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return f"data.source={tmp_path / 'manifest.csv'}"


@pytest.fixture
def long_source(source, tmp_path) -> str:
    """The same with ten training clips of each class, as learning curves draw, which are two."""
    header, *rows = (tmp_path / "manifest.csv").read_text().splitlines()
    lines = [header, *rows[:2] * 9, *rows]
    (tmp_path / "long.csv").write_text("\n".join(lines) + "\n")
    return f"data.source={tmp_path / 'long.csv'}"


def small_teacher(folder: Path) -> Path:
    """A checkpoint that hears the two classes."""
    front_end = FbankConfig(num_mels=16, padding=PaddingConfig(frames=16))
    settings = {"width": 8, "depth": 1, "num_heads": 2, "max_frames": 128}
    checkpoint.save(checkpoint.create("ast", settings, front_end, list(LABELS), "sigmoid"), folder)
    return folder


def test_there_are_recipes():
    assert set(PUBLISHED) <= set(recipe_names())


@pytest.mark.parametrize(
    "path", sorted(BUILTIN.rglob("*.yaml")), ids=lambda path: str(path.relative_to(BUILTIN))
)
def test_a_recipe_or_grid_says_where_it_comes_from(path):
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    missing = [start for start in HEADER if not any(line.startswith(start) for line in header)]
    assert missing == []


def meta_model(recipe: Recipe, **settings) -> torch.nn.Module:
    """The recipe's model in its published size, without memory behind it."""
    with torch.device("meta"):
        return models.build(recipe.model.name, {**recipe.model_settings, **settings})


def tiny(name: str, source: str) -> list[str]:
    """The overrides that make the recipe `name` a run of a second on `source`."""
    recipe = read_recipe(name, [source]).recipe
    words = [source, *TINY, *TINY_MODELS[recipe.model.name]]
    if recipe.command == "pretrain":
        words.append("pretraining.objective.decoder.groups=2")
    if getattr(recipe, "folds", None) is not None:
        words.append("data.fold=1")
    return words


@pytest.mark.parametrize("name", recipe_names())
def test_the_model_of_a_recipe_builds_on_the_meta_device(name, source):
    model = meta_model(read_recipe(name, [source]).recipe)
    frames = model.config.max_frames
    assert model(torch.empty(2, frames, model.config.num_mels, device="meta")).shape[0] == 2


@pytest.mark.parametrize("name", SIZES)
def test_a_recipe_has_the_published_size(name, source):
    classes, millions = SIZES[name]
    model = meta_model(read_recipe(name, [source]).recipe, num_classes=classes)
    found = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_takes_a_step_in_the_small(name, source, tmp_path):
    prepared = read_recipe(name, tiny(name, source))
    report = run(prepared, tmp_path / "run")
    assert report.labels == ([] if prepared.recipe.command == "pretrain" else list(LABELS))
    assert (tmp_path / "run" / "last" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_published_numbers(name, source):
    recipe = read_recipe(name, [source]).recipe
    training, masking = recipe.training, recipe.masking
    *numbers, schedule = PUBLISHED[name]
    assert numbers == [
        training.optimizer.learning_rate,
        training.epochs,
        training.batch_size,
        training.loss,
        recipe.front_end.padding.frames,
        recipe.mixup.rate,
        (masking.frequency_mask, masking.time_mask),
        training.average_epochs,
    ]
    assert training.schedule.to_dict() == {"warmup_steps": 0, "warmup_update_every": 50, **schedule}
    assert training.optimizer.name == "adam"
    assert training.optimizer.betas == (0.95, 0.999)
    assert training.optimizer.weight_decay == 5e-7
    assert recipe.mixup.alpha == 10
    assert recipe.mixup.partners == ("set" if name.startswith("audioset_full") else "batch")
    assert training.score == ("mAP" if name.startswith("audioset") else "accuracy")
    assert recipe.seeds == (4 if name.endswith("_ham") else 3)
    assert recipe.folds == ("all" if name.startswith("esc50") else None)
    noise = (0.1, 10) if name.startswith("speech") else (0.0, 0)
    assert (recipe.feature_noise.amount, recipe.feature_noise.shift_frames) == noise
    assert training.sampling == ("balanced" if "full" in name else "shuffle")


@pytest.mark.parametrize("name", PUBLISHED_ASDA)
def test_fine_tuning_of_asda_has_the_published_numbers(name, source):
    recipe = read_recipe(name, [source]).recipe
    training, masking = recipe.training, recipe.masking
    assert PUBLISHED_ASDA[name] == (
        training.optimizer.learning_rate,
        training.epochs,
        training.batch_size,
        training.loss,
        training.label_smoothing,
        recipe.front_end.padding.frames,
        (recipe.mixup.rate, recipe.mixup.alpha),
        (masking.frequency_mask, masking.time_mask),
        training.sampling,
    )
    optimizer, schedule = training.optimizer, training.schedule
    assert (optimizer.name, optimizer.betas) == ("adamw", (0.9, 0.95))
    assert (optimizer.weight_decay, optimizer.layer_decay) == (0.05, 0.65)
    assert schedule.warmup_fraction == 0.1
    assert schedule.final_fraction * optimizer.learning_rate == pytest.approx(1e-6)
    assert recipe.model.drop_path == 0.1
    assert training.score == ("mAP" if name.startswith("audioset") else "accuracy")
    assert masking.fill == "mean"  # that of AST's recipes is 0 before the normalisation
    updates, clips = UPDATES_ASDA[name]
    assert training.epochs * clips / training.batch_size == pytest.approx(updates, rel=0.01)
    rolled = {1024: 10.0, 512: 5.0, 128: 1.0}[recipe.front_end.padding.frames]
    assert recipe.augmentation.shift_seconds == rolled


@pytest.mark.parametrize(
    "name, utterance, updates",
    [("pretrain_asda_base", 0.5 / 4, 800e3), ("pretrain_eat_base", 1 / 4, 400e3)],
)
def test_pretraining_has_the_published_numbers(name, utterance, updates, source):
    recipe = read_recipe(name, [source]).recipe
    training, objective = recipe.training, recipe.pretraining.objective
    assert (objective.clones, objective.mask_ratio, objective.block) == (16, 0.8, 5)
    assert (objective.first_decay, objective.last_decay) == (0.9998, 0.99999)
    assert (objective.decay_steps, objective.utterance) == (100_000, utterance)
    assert (objective.decoder.depth, objective.decoder.kernel, objective.decoder.groups) == (
        6,
        3,
        16,
    )
    assert (training.batch_size, training.gradient_clip) == (48, 4.0)
    optimizer = training.optimizer
    assert (optimizer.learning_rate, optimizer.betas, optimizer.weight_decay) == (
        5e-4,
        (0.9, 0.95),
        0.05,
    )
    assert training.epochs * 1.92e6 / 48 == pytest.approx(
        updates, rel=0.01
    )  # clips that are to be had
    assert training.schedule.warmup_fraction == pytest.approx(53_333 / 400e3, abs=1e-4)


@pytest.mark.parametrize("name", grid_names())
def test_every_cell_of_a_grid_is_a_recipe_of_its_own_whose_model_builds(name, long_source):
    grid = read_grid(name, [long_source])
    recipes = [cell.prepared.recipe for cell in grid.cells]
    assert all(one != other for i, one in enumerate(recipes) for other in recipes[:i])
    for recipe in recipes:
        meta_model(recipe)


def test_the_grids_have_the_papers_figures(source):
    figures = {
        name: [cell.paper for cell in read_grid(name, [source]).cells] for name in PAPER_FIGURES
    }
    assert figures == PAPER_FIGURES


def test_ensemble_m_has_six_members(source):
    cells = read_grid("ast_ensemble_m", [source]).cells
    assert [len(cell.parts) for cell in cells] == [3, 1, 1, 1]
    strides = [cell.prepared.recipe.model.stride for cell in cells]
    assert strides == [(10, 10), (12, 12), (14, 14), (16, 16)]


@pytest.mark.parametrize("path", sorted(GRIDS.glob("ham_table3_*.yaml")), ids=lambda p: p.stem)
def test_cells_of_hams_table_have_four_seeds(path, source):
    for cell in read_grid(path.stem, [source]).cells:  # the paper: more than three runs
        assert len({part.prepared.recipe.seed for part in cell.parts}) == 4


@pytest.mark.parametrize("path", sorted(GRIDS.glob("ham_table3_*.yaml")), ids=lambda p: p.stem)
def test_the_deeper_ast_has_the_size_of_ham(path, source):
    cells = {cell.name: cell.prepared.recipe for cell in read_grid(path.stem, [source]).cells}
    ham, deeper = (
        sum(parameter.numel() for parameter in meta_model(cells[name]).parameters())
        for name in ("6 / on", "AST, deeper")
    )
    assert 1 <= deeper / ham < 1.03
    assert cells["AST, deeper"].model.conformer is None


HAM_GRIDS = [name for name in grid_names() if "ham" in name]


@pytest.mark.parametrize("name", HAM_GRIDS)
def test_all_of_every_cell_of_hams_grids_learns(name, long_source):
    """No Conformer's convolution is left without a gradient, whatever is read."""
    narrow = {"width": 8, "depth": 1, "num_heads": 2, "num_classes": 3, "max_frames": 128}
    for cell in read_grid(name, [long_source]).cells:
        recipe = cell.prepared.recipe
        kind, settings = recipe.model.name, {**recipe.model_settings, **narrow}
        if settings.get("channel_attention", {}) is not None:
            settings["channel_attention"] = {"reduction": 1}  # one unit alone may be dead
        if settings.get("conformer") is not None:
            settings["conformer"] = {**settings["conformer"], "num_blocks": 1}
        torch.manual_seed(0)
        model = models.build(kind, settings)
        for parameter in model.parameters():  # at the start, branches end in zeros
            torch.nn.init.normal_(parameter, std=0.5)
        model(torch.randn(2, 128, 128)).square().sum().backward()
        without = [
            parameter
            for parameter, values in model.named_parameters()
            if values.grad is None or not values.grad.any()
        ]
        assert without == [], cell.name


def test_every_recipe_and_grid_is_in_the_docs():
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert [name for name in (*recipe_names(), *grid_names()) if f"`{name}`" not in text] == []
