"""Recipes for one's own sounds, without writing one."""

import math
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from auricle import config
from auricle.data import TEST, TRAIN, VALIDATION, Manifest
from auricle.errors import printable
from auricle.experiment.prepared import Prepared, Sources, prepare
from auricle.experiment.read import KINDS, parse, recipe_from
from auricle.experiment.recipe import Recipe
from auricle.experiment.results import test_split
from auricle.training.sampling import WEIGHTS

# Enough for a pretrained model to learn new classes, and few enough to wait for.
CLIPS_TO_DRAW = 6000  # over all epochs
FEWEST_EPOCHS, MOST_EPOCHS = 5, 30
LARGEST_BATCH = 16
STEPS_PER_EPOCH = 8  # at least, so that few clips still give steps enough
VALIDATION_SHARE = 0.2
UNLABELLED_VALIDATION_SHARE = 0.1  # there are many, and none is dear


def recipe_for_folder(source: Path, model: str, overrides: list[str] | None = None) -> Prepared:
    """A recipe that trains `model` on a manifest or class folders, with sensible defaults.

    Clips of the splits train and validation are used as such. Without the first, clips of no split
    are trained on; without the second, a fifth of these, by whole groups, is put aside. Clips of
    the split test have no part in it.

    Raises:
        UserError: the data or the model cannot be used, or an override is wrong.
    """
    sources = Sources()
    initial, manifest = sources.model(model), sources.manifest(source)
    settings = dict(initial.config.model_settings)
    del settings["num_classes"]
    num_mels = initial.config.front_end.num_mels
    values: dict[str, Any] = {
        "name": source.resolve().stem,
        "data": {"source": str(source), **_sides(manifest, VALIDATION_SHARE)},
        "front_end": {**initial.config.front_end.to_dict(), "statistics": "initial"},
        "model": {"name": initial.config.model, **settings},
        "initial_weights": model,
        "augmentation": {"gain_db": 6.0, "shift_seconds": 0.2},
        "mixup": {"rate": 0.5},
        "masking": {"frequency_mask": num_mels // 8, "time_mask": 24},
        "training": _training(manifest),
    }
    where = f"--data {source}"
    values = config.override(values, overrides or [], KINDS, where)
    recipe = recipe_from(values, where)
    return prepare(recipe, where, sources)


def recipe_for_sounds(
    name: str, source: Path, overrides: list[str] | None = None, command: str | None = None
) -> Prepared:
    """The recipe `name`, which learns without labels, for any sounds; prints what it changes.

    Where they lack its splits, clips are divided as for `recipe_for_folder`, but that a tenth
    validates; where they lack the labels by which it draws clips, all are drawn alike.

    Raises:
        UserError: the recipe, the sounds or an override cannot be used.
    """
    recipe, sources = parse(name, [f"data.source={source}", *(overrides or [])], command), Sources()
    if source.exists():
        recipe = _adapted(recipe, sources.manifest(source, labelled=False))
    return prepare(recipe, name, sources)


def _adapted(recipe: Recipe, manifest: Manifest) -> Recipe:
    settings, training = recipe.data, recipe.training
    missing = {settings.train_split, settings.validation_split} - {None, *manifest.splits}
    if missing:
        settings = settings.model_copy(update=_sides(manifest, UNLABELLED_VALIDATION_SHARE))
        validates = "a tenth of the clips" if settings.validation_share else "that split"
        _tell(
            recipe.data.source, f"no split {min(filter(None, missing))!r}: {validates} validates."
        )
    if training.sampling in WEIGHTS and not all(manifest.label_sets):
        _tell(
            recipe.data.source,
            f"clips without labels: all are drawn alike, not by {training.sampling}.",
        )
        training = training.model_copy(update={"sampling": "shuffle"})
    return recipe.model_copy(update={"data": settings, "training": training})


def _tell(source: str, text: str) -> None:
    print(printable(f"{source}: {text}"), file=sys.stderr)


def print_splits(prepared: Prepared) -> None:
    """Print how many clips each split has, if there are any, and which the recipe leaves out."""
    recipe, manifest = prepared.recipe, prepared.manifest
    settings = recipe.data
    used = {settings.train_split, settings.validation_split, test_split(recipe)} - {None}
    if settings.train_split is None:
        used |= manifest.split_counts.keys() - {TEST}
    tell_splits(manifest, used, str(settings.source))


def tell_splits(manifest: Manifest, used: Collection[str | None], source: str = "") -> None:
    """Print how many clips each split has, if there are any, and which are not `used`.

    Args:
        source: what the manifest is called.
    """
    counts = manifest.split_counts
    shown = [f"{name or 'no split'} {count}" for name, count in counts.items()]
    unused = [name or "no split" for name in counts if name not in used]
    rest = f"; not used: {', '.join(unused)}" if unused else ""
    if manifest.splits:
        _tell(source or str(manifest.source), f"clips by split: {', '.join(shown)}{rest}.")


def _sides(manifest: Manifest, share: float) -> dict[str, Any]:
    """The settings that divide the clips by their splits, and by `share` where these do not."""
    splits = manifest.splits
    train = TRAIN if TRAIN in splits else None
    if VALIDATION in splits:
        return {"train_split": train, "validation_split": VALIDATION, "validation_share": None}
    return {"train_split": train, "validation_split": None, "validation_share": share}


def _training(manifest: Manifest) -> dict[str, Any]:
    num_clips = len(manifest.clips)
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(CLIPS_TO_DRAW / num_clips)))
    sets = manifest.label_sets
    one_label = bool(sets) and all(len(labels) == 1 for labels in sets)
    return {
        "epochs": epochs,
        "batch_size": min(LARGEST_BATCH, max(1, num_clips // STEPS_PER_EPOCH)),
        "loss": "ce" if one_label else "bce",
        "optimizer": {
            "learning_rate": 1e-4,
            "weight_decay": 0.01,
            "new_modules_factor": 10.0,  # the head starts at random, the rest knows a lot
        },
        "schedule": {"name": "warmup_cosine", "warmup_fraction": 0.1},
        "gradient_clip": 1.0,
    }
