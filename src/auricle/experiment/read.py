"""Reading a recipe's YAML: which of the three kinds it is, and whether its settings can be."""

import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from auricle import config
from auricle.config import Settings
from auricle.errors import ConfigError, unknown_name
from auricle.experiment.recipe import (
    FRONT_ENDS,
    DistillRecipe,
    FbankFrontEnd,
    PretrainRecipe,
    Recipe,
    TrainRecipe,
)
from auricle.models import with_size

BUILTIN = Path(str(resources.files("auricle"))) / "recipes"
VARIABLE = re.compile(r"\$\{(\w+)\}")
KINDS: tuple[type[Recipe], ...] = (TrainRecipe, DistillRecipe, PretrainRecipe)
SECTIONS: dict[str, type[Recipe]] = {"distillation": DistillRecipe, "pretraining": PretrainRecipe}
NESTED = (
    "data",
    "mixup",
    "training",
    "optimizer",
)  # sections whose settings differ between the kinds


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def parse(
    source: str | Path,
    overrides: list[str] | None = None,
    command: str | None = None,
) -> Recipe:
    """The recipe at a path, or of a built-in name, with `key=value` overrides.

    `${NAME}` in a text is taken from the environment. Nothing that it names is read yet.

    Args:
        overrides: None where the caller takes none: no message then advises any.
        command: that it has to be for; None: any.

    Raises:
        UserError: the recipe is not there, a setting in it is wrong, or it is of another kind.
    """
    path, where = find("recipe", source, BUILTIN), str(source)
    values = config.override(config.read_yaml(path), overrides or [], KINDS, where)
    kind = kind_of(values, where)
    if command not in (None, kind.command):
        raise ConfigError(
            f"{where}: is a recipe for auricle {kind.command}, not for auricle {command}. "
            f"Use: auricle {kind.command} {where}"
        )
    recipe = recipe_from(_expand(values, where, takes_overrides=overrides is not None), where)
    return recipe if recipe.name else recipe.model_copy(update={"name": path.stem})


def recipe_from(values: dict[str, Any], where: str) -> Recipe:
    """The recipe in `values`, as YAML gives them, of the kind that its section names.

    Settings of other kinds are passed over at their defaults: the recipes that earlier versions
    left in the folders of runs hold them all.

    Raises:
        ConfigError: a setting is unknown, of another kind, missing or impossible.
    """
    kind = kind_of(values, where)
    settings: dict[str, type[Settings]] = {each.command: each for each in KINDS}
    own = _own_settings(values, kind.command, settings, where)
    return config.from_dict(kind, _with_whole_model(own, where), where)


def kind_of(values: dict[str, Any], where: str) -> type[Recipe]:
    """The kind of the recipe in `values`; ConfigError: it has the sections of two kinds."""
    sections = [name for name in SECTIONS if values.get(name) is not None]
    if len(sections) > 1:
        raise ConfigError(
            f"{where}: {' and '.join(sections)} cannot be given together; choose one."
        )
    return SECTIONS[sections[0]] if sections else TrainRecipe


def _own_settings(
    values: dict[str, Any],
    command: str,
    settings: dict[str, type[Settings]],
    where: str,
    position: str = "",
) -> dict[str, Any]:
    """The `values` without those of other kinds that are at their defaults.

    Args:
        settings: of this position in recipes of each kind, by its command.
    """
    own, remaining = settings[command].model_fields, {}
    for key, value in values.items():
        owners = {name: kind for name, kind in settings.items() if key in kind.model_fields}
        if key in own or not owners:  # what nobody knows is refused with the nearest name
            if key in NESTED and isinstance(value, dict) and key in own:
                nested: dict[str, Any] = {
                    name: kind.model_fields[key].annotation for name, kind in owners.items()
                }
                value = _own_settings(value, command, nested, where, f"{position}{key}.")
            remaining[key] = value
            continue
        if not _is_default(next(iter(owners.values())).model_fields[key], value):
            raise ConfigError(
                f"{where}: {position}{key} is a setting of recipes for auricle "
                f"{' and '.join(owners)}; this one is for auricle {command}. Leave it out."
            )
    return remaining


def _is_default(field: FieldInfo, value: Any) -> bool:
    if value is None:
        return True
    try:
        kind: Any = field.annotation
        read = TypeAdapter(kind).validate_json(json.dumps(value))
    except ValidationError:
        return False
    return bool(read == field.default)


def _with_whole_model(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The `values` with the model's published size written out, and its mel bins."""
    given = values.get("model")
    if not isinstance(given, dict):
        return values
    if given.get("name") is None:
        raise ConfigError(f"{where}: model.name: this key is required.")
    settings = with_size(str(given["name"]), given, f"{where}: model")
    front_end = values.get("front_end")
    front_end = front_end if isinstance(front_end, dict) else {}
    kind = FRONT_ENDS.get(str(front_end.get("name", "fbank")), FbankFrontEnd)
    num_mels = front_end.get("num_mels", kind.model_fields["num_mels"].default)
    return {**values, "model": {"num_mels": num_mels, **settings}}


def find(kind: str, source: str | Path, builtin: Path) -> Path:
    """The file `source`, or the one of this name in the folder `builtin` (or ConfigError)."""
    path, names = Path(source), sorted(path.stem for path in builtin.glob("*.yaml"))
    if path.is_file():
        return path
    if str(source) in names:
        return builtin / f"{source}.yaml"
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"{source}: no such {kind} file.")
    raise ConfigError(unknown_name(kind, str(source), names))


def as_words(overrides: dict[str, Any]) -> list[str]:
    """Settings by dotted key as the words of a command line."""
    return [f"{key}={json.dumps(value)}" for key, value in overrides.items()]


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
