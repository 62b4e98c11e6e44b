"""Settings: YAML and `key=value` words to frozen, validated objects; knows no audio.

Every component declares its own settings as a subclass of `Settings`, beside its code. A recipe
composes them; this file only reads, overrides, checks and writes. What it reads may be anybody's:
whatever its depth, its size and its numbers, it is read or refused, soon.
"""

import json
import math
import re
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, ValidationError
from pydantic_core import ErrorDetails

from auricle.errors import ConfigError, RenamedWarning, printable, quoted, unknown_name

# By terminals, in what JSON leaves as it is: see `printable`.
OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
MOST_BYTES = 2**21  # of a YAML file; it takes some 20 s
MOST_NODES = 1_000_000  # of what it holds, each alias counted as what it stands for
MOST_LEVELS = 40  # of what stands within what
MOST_DIGITS = 300  # of a whole number; floats end there


class Settings(BaseModel):
    """Base of all settings: frozen, strict about types, and unknown keys are errors.

    Attributes:
        renamed: present names of keys by their former ones, which `from_dict` still reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    renamed: ClassVar[dict[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values."""
        return self.model_dump(mode="json")


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"expected [lowest, highest], got [{bounds[0]:g}, {bounds[1]:g}]")
    return bounds


def symmetric_range(value: Any) -> Any:
    """The bounds -x, x for a number x; of a list, the tuple that strict settings want."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"Input should be greater than or equal to 0, got {value:g}")
        return (-value, value)
    return tuple(value) if isinstance(value, list) else value


def label_text(text: str) -> str:
    """A label with composed accents (NFC), however they are written, and nothing unprintable."""
    return printable(unicodedata.normalize("NFC", text))


Label = Annotated[str, AfterValidator(label_text)]
Bounds = Annotated[tuple[float, float], AfterValidator(_in_order)]  # lowest, highest

SettingsType = TypeVar("SettingsType", bound=Settings)


def discriminated_by_name(default: str) -> Discriminator:
    """For a union of settings that have a key `name`, by which one of them is chosen.

    Args:
        default: the name where none is given.
    """

    def name_of(values: Any) -> str:
        found = values.get("name") if isinstance(values, dict) else getattr(values, "name", None)
        return default if found is None else str(found)

    return Discriminator(name_of)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-4` as text; people who write recipes mean a number.

    Few bytes can stand for deep or for billions of values, by aliases for instance: each node is
    measured when it is composed, out of those that it holds.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.level = 0
        self.measures: dict[yaml.Node, tuple[int, int]] = {}  # nodes and levels of each

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.level += 1
        if self.level > MOST_LEVELS:
            raise yaml.YAMLError(f"nested deeper than {MOST_LEVELS} levels")
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self.level -= 1
        if is_alias and node not in self.measures:  # it is not composed to its end yet
            raise yaml.YAMLError("an alias stands within what it stands for")
        if node is not None and not is_alias:
            self.measures[node] = self._measure(node)
        return node

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        measures = [self.measures[part] for part in parts]
        size = 1 + sum(size for size, _ in measures)
        levels = 1 + max((levels for _, levels in measures), default=0)
        if size > MOST_NODES or levels > MOST_LEVELS:
            raise yaml.YAMLError("its aliases stand for too much, or too deep")
        return size, levels

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > MOST_DIGITS:
            raise yaml.YAMLError(f"a whole number of {len(node.value)} digits")
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
# Nor does any setting take a date: `name: 2026-11-22` is text.
_Loader.yaml_implicit_resolvers = {
    start: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at `path`.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not hold a mapping.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{path}: more than {MOST_BYTES // 2**20} MB, too long for settings.")
    values = _parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected `key: value` lines, got {type(values).__name__}.")
    return values


def _parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{where}: not valid YAML: {detail}") from error
    except (LookupError, AttributeError) as error:  # `!!bool x`, `!!timestamp x`, `!!int ''`
        raise ConfigError(f"{where}: not valid YAML: a value that its tag does not fit") from error


def override(
    values: dict[str, Any],
    assignments: list[str],
    kinds: Sequence[type[BaseModel]] = (),
    where: str = "settings",
) -> dict[str, Any]:
    """A copy of `values` with every `dotted.key=value` of `assignments` set, values read as YAML.

    Args:
        kinds: of the settings that the values are for: keys may have the former names of theirs.
        where: what the values come from, for messages.

    Raises:
        ConfigError: a word without `=`, or a key that leads through something without keys.
    """
    result: dict[str, Any] = with_present_names(kinds, _plain(values, where), where)
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key:
            raise ConfigError(
                f"expected key=value (for example training.epochs=5), got {assignment!r}."
            )
        given = _plain(_parse_yaml(text, assignment), assignment)
        for name in reversed(key.split(".")):
            given = {name: given}
        given = with_present_names(kinds, given, repr(assignment))
        target = result
        for _ in range(key.count(".")):
            [(parent, given)] = given.items()
            if target.get(parent) is None:
                target[parent] = {}
            target = target[parent]
            if not isinstance(target, dict):
                raise ConfigError(f"{assignment!r}: {parent!r} holds a value, not further keys.")
        target.update(given)
    return result


def _plain(values: Any, where: str) -> Any:
    """A copy in JSON's kinds of values, which settings are read from."""
    try:
        return json.loads(json.dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: holds what is neither text nor number ({error}).") from error


def parse_json(content: str | bytes) -> Any:
    """Read JSON text.

    Raises:
        ValueError: it is not JSON, is nested too deep, or holds a number of too many digits.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON text; numbers that are none (NaN, infinite) become null, as JSON has none."""
    text = json.dumps(finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def finite(value: Any) -> Any:
    """A copy of lists and dictionaries with None for each number that is NaN or infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def with_present_names(
    kinds: Sequence[type[BaseModel]], values: Any, where: str, hint: bool = True, position: str = ""
) -> Any:
    """A copy of plain `values` for settings of one of `kinds`, former names of keys replaced.

    Args:
        where: as for `from_dict`.
        hint: whether each former name is warned about, once (`RenamedWarning`).
        position: of the values, as dotted keys that end with a dot.

    Raises:
        ConfigError: a key is given by its former and by its present name.
    """
    if isinstance(values, list):
        return [with_present_names(kinds, each, where, hint, position) for each in values]
    if not isinstance(values, dict) or not kinds:
        return values
    fields, renamed = _fields_and_renamed(kinds)
    result = {}
    for key, value in values.items():
        name: str = renamed[key] if key in renamed and key not in fields else key
        if name != key:
            names = f"{position}{key} is called {position}{name} now"
            if name in values:
                raise ConfigError(f"{where}: {names}, which is given too; choose one.")
            if hint:
                _hint(f"{where}: {names}; use that name.")
        inner = fields.get(name, [])
        result[name] = with_present_names(inner, value, where, hint, f"{position}{name}.")
    return result


def _fields_and_renamed(
    kinds: Sequence[type[BaseModel]],
) -> tuple[dict[str, list[type[BaseModel]]], dict[str, str]]:
    """The settings that each field of `kinds` may hold, and present names by former ones."""
    fields: dict[str, list[type[BaseModel]]] = {}
    renamed: dict[str, str] = {}
    for kind in kinds:
        renamed |= getattr(kind, "renamed", {})
        for key, field in kind.model_fields.items():
            fields.setdefault(key, []).extend(_nested(field.annotation))
    return fields, renamed


@cache  # one recipe may be read many times, as by a grid
def _hint(text: str) -> None:
    warnings.warn(text, RenamedWarning, stacklevel=2)


def from_dict(
    kind: type[SettingsType], values: dict[str, Any], where: str, hint: bool = True
) -> SettingsType:
    """Build the settings `kind` from plain values; former names of keys are read too.

    Args:
        where: what the values come from, for messages ("recipe.yaml", "config.json").
        hint: whether former names are warned about.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, or an impossible value; the message
            names the dotted position and, for an unknown key, the nearest known one.
    """
    try:
        values = with_present_names([kind], values, where, hint)
        # JSON mode keeps types strict, yet takes a list for a tuple and text for a path.
        return kind.model_validate_json(json.dumps(values))
    except (TypeError, RecursionError) as error:
        raise ConfigError(f"{where}: holds what is neither text nor number ({error}).") from error
    except ArithmeticError as error:
        raise ConfigError(f"{where}: holds a number that is too large ({error}).") from error
    except ValidationError as error:
        # A misspelt key comes before the required one that is missing because of it.
        fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise ConfigError(f"{where}: {_message(fault, kind)}") from error


def _message(error: ErrorDetails, kind: type[BaseModel]) -> str:
    keys, fields = _walk(kind, error["loc"])
    position = ".".join(keys)
    if error["type"] == "extra_forbidden":
        *parents, name = keys
        message = unknown_name("key", name, fields)
        return f"{'.'.join(parents)}: {message}" if parents else message
    if error["type"] == "union_tag_invalid":
        known = [name.strip(" '") for name in error["ctx"]["expected_tags"].split(",")]
        return f"{position}.name: {unknown_name('name', error['ctx']['tag'], known)}"
    if error["type"] == "missing":
        return f"{position}: this key is required."
    detail = error["msg"].removeprefix("Value error, ").rstrip(".")
    if error["type"] == "value_error":
        return f"{position}: {detail}." if position else f"{detail}."
    return f"{position}: {detail}, got {quoted(error['input'])}."


def _walk(kind: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The keys that lead to an error, and the fields of the settings that hold the last of them.

    pydantic's `location` also holds the name of the member of a discriminated union.
    """
    keys: list[str] = []
    fields: list[str] = []
    kinds = [kind]  # what may stand at this position
    for part in location:
        if len(kinds) > 1:  # a union; its members have names
            chosen = [each for each in kinds if each.model_fields["name"].default == part]
            kinds = chosen or kinds
            if chosen:
                continue
        keys.append(str(part))
        fields = list(kinds[0].model_fields) if kinds else []
        field = kinds[0].model_fields.get(str(part)) if kinds else None
        kinds = _nested(field.annotation) if field else []
    return keys, fields


def _nested(annotation: Any) -> list[type[BaseModel]]:
    """The settings among an annotation's alternatives."""
    alternatives = [annotation, *get_args(annotation)]
    plain = [getattr(each, "__origin__", each) for each in alternatives]  # out of Annotated
    return [each for each in plain if isinstance(each, type) and issubclass(each, BaseModel)]


def write_yaml(values: dict[str, Any], path: Path) -> None:
    """Write plain values to `path` as YAML, in their own order."""
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)
    path.write_text(text, encoding="utf-8")
