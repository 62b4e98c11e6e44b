"""Reading a recipe: every mistake in it is found here, before any sound is opened."""

import os
import re
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from auricle import config, features, models
from auricle.errors import ConfigError, DataWarning, unknown_name
from auricle.experiment.clips import select_clips
from auricle.experiment.recipe import Recipe

BUILTIN = Path(str(resources.files("auricle"))) / "recipes"
VARIABLE = re.compile(r"\$\{(\w+)\}")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def sections_of(source: str | Path, overrides: list[str] | None = None) -> set[str]:
    """The sections that a recipe has, before anything in them is checked.

    Raises:
        ConfigError: the recipe is not there or is no YAML, or an override is no `key=value`.
    """
    values = config.override(config.read_yaml(_find(source)), overrides or [])
    return {name for name, value in values.items() if value is not None}


def read_recipe(source: str | Path, overrides: list[str] | None = None) -> Recipe:
    """The checked recipe at a path, or of a built-in name, with `key=value` overrides.

    `${NAME}` in a text is taken from the environment.

    Args:
        overrides: None where the caller takes none: no message then advises any.

    Raises:
        UserError: anything in the recipe, or in the manifest it names, that cannot be used.
    """
    recipe = parse(source, overrides)
    check(recipe, str(source))
    return recipe


def parse(source: str | Path, overrides: list[str] | None = None) -> Recipe:
    """The same before its parts are checked against each other and against the data.

    Raises:
        UserError: the recipe is not there, or a setting in it is wrong.
    """
    path = _find(source)
    where = str(source)
    values = config.override(config.read_yaml(path), overrides or [])
    values = _expand(values, where, takes_overrides=overrides is not None)
    recipe = config.from_dict(Recipe, values, where)
    return recipe if recipe.name else recipe.model_copy(update={"name": path.stem})


def check(recipe: Recipe, where: str) -> None:
    """Refuse what a recipe's parts, each valid on its own, cannot do together.

    Args:
        where: what the recipe comes from, for messages.

    Raises:
        UserError: naming the position in the recipe.
    """
    settings = model_settings(recipe, where)
    sources = {"data.source": recipe.data.source}
    sources |= {f"data.more[{i}].source": each.source for i, each in enumerate(recipe.data.more)}
    for key, source in sources.items():
        if not Path(source).exists():
            raise ConfigError(f"{where}: {key}: no such file or folder: {source}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the run, which reads it again, warns
        labels = select_clips(recipe).labels
    if "num_classes" in recipe.model and settings["num_classes"] != len(labels):
        raise ConfigError(
            f"{where}: model.num_classes is {settings['num_classes']}, but the data has "
            f"{len(labels)} classes. Leave it out: it follows the data."
        )
    _check_length(recipe, settings["max_frames"], where)


def model_settings(recipe: Recipe, where: str = "recipe") -> dict[str, Any]:
    """All settings of the recipe's model, with defaults; `num_mels` follows the front end.

    Raises:
        ConfigError: unknown model or key, an impossible value, or other mel bins than the front
            end.
    """
    given = {"num_mels": recipe.front_end.num_mels, **recipe.model}
    name = given.pop("name", None)
    if name is None:
        raise ConfigError(f"{where}: model.name: this key is required.")
    settings = models.configure(str(name), given, f"{where}: model").to_dict()
    if settings["num_mels"] != recipe.front_end.num_mels:
        raise ConfigError(
            f"{where}: model.num_mels is {settings['num_mels']}, front_end.num_mels is "
            f"{recipe.front_end.num_mels}. Leave model.num_mels out: it follows the front end."
        )
    return settings


def _check_length(recipe: Recipe, max_frames: int, where: str) -> None:
    front_end = recipe.front_end
    if front_end.padding.frames > max_frames:
        raise ConfigError(
            f"{where}: front_end.padding.frames is {front_end.padding.frames}, more than "
            f"model.max_frames ({max_frames})."
        )
    seconds = recipe.data.crop_seconds
    if seconds is None or front_end.padding.mode == "fixed":
        return
    fbank = features.build(front_end.fbank())
    frames = fbank.num_frames(round(seconds * front_end.sample_rate))
    if frames > max_frames:
        longest = fbank.num_samples(max_frames) / front_end.sample_rate
        raise ConfigError(
            f"{where}: data.crop_seconds is {seconds:g}, which are {frames} frames, more than "
            f"model.max_frames ({max_frames}). Use at most {longest:g} seconds."
        )


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if str(source) in recipe_names():
        return BUILTIN / f"{source}.yaml"
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"{source}: no such recipe file.")
    raise ConfigError(unknown_name("recipe", str(source), recipe_names()))


def _expand(values: Any, where: str, takes_overrides: bool, position: str = "") -> Any:
    """`values` with every `${NAME}` in their texts replaced from the environment."""
    if isinstance(values, dict):
        return {
            key: _expand(value, where, takes_overrides, f"{position}.{key}".removeprefix("."))
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [
            _expand(value, where, takes_overrides, f"{position}[{index}]")
            for index, value in enumerate(values)
        ]
    if not isinstance(values, str):
        return values
    for name in VARIABLE.findall(values):
        if name not in os.environ:
            instead = f", or give {position}=... on the command line" if takes_overrides else ""
            raise ConfigError(
                f"{where}: {position}: the environment variable {name} is not set. Set it{instead}."
            )
    return VARIABLE.sub(lambda match: os.environ[match[1]], values)
