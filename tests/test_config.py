"""Settings: strict reading, overrides, and messages that name the place and the nearest key."""

import itertools
import math
import time
import warnings
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import pytest
from pydantic import Field, Tag, model_validator

from auricle import config
from auricle.config import Settings
from auricle.errors import (
    ConfigError,
    MissingExtraError,
    RenamedWarning,
    missing_extra,
    printable,
    require,
    unknown_name,
)


class Inner(Settings):
    width: int = Field(4, ge=1)
    patch: tuple[int, int] = (16, 16)


class Outer(Settings):
    name: str
    rate: float = 1e-3
    inner: Inner = Inner()
    other: Inner | None = None
    folder: Path | None = None


def test_values_become_settings_and_go_back():
    values = {"name": "a", "rate": 1, "inner": {"patch": [8, 4]}, "folder": "x/y"}
    settings = config.from_dict(Outer, values, "recipe.yaml")
    assert settings.inner.patch == (8, 4)
    assert settings.folder == Path("x/y")
    assert config.from_dict(Outer, settings.to_dict(), "again") == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "a", "inner": {"widht": 3}},
            "r.yaml: inner: unknown key 'widht'. Did you mean 'width'? Known: patch, width.",
        ),
        (
            {"name": "a", "other": {"widht": 3}},
            "r.yaml: other: unknown key 'widht'. Did you mean 'width'? Known: patch, width.",
        ),
        (
            {"name": "a", "rat": 1},
            "r.yaml: unknown key 'rat'. Did you mean 'rate'? "
            "Known: folder, inner, name, other, rate.",
        ),
        ({}, "r.yaml: name: this key is required."),
        (
            {"nam": "a"},
            "r.yaml: unknown key 'nam'. Did you mean 'name'? "
            "Known: folder, inner, name, other, rate.",
        ),
        ({"name": 3}, "r.yaml: name: Input should be a valid string, got 3."),
        ({"name": "a", "rate": "x"}, "r.yaml: rate: Input should be a valid number, got 'x'."),
        ({"name": "a", "rate": True}, "r.yaml: rate: Input should be a valid number, got True."),
        (
            {"name": "a", "inner": {"width": 0}},
            "r.yaml: inner.width: Input should be greater than or equal to 1, got 0.",
        ),
        (
            {"name": "a", "inner": {"width": 1.5}},
            "r.yaml: inner.width: Input should be a valid integer, got 1.5.",
        ),
    ],
)
def test_wrong_values_are_refused_with_their_place(values, message):
    with pytest.raises(ConfigError) as error:
        config.from_dict(Outer, values, "r.yaml")
    assert str(error.value) == message


def test_overrides_are_yaml_and_leave_the_original_alone():
    values = {"inner": {"width": 1}}
    changed = config.override(values, ["inner.width=2", "rate=1e-4", "a.b=[1, 2]", "other=null"])
    assert changed == {"inner": {"width": 2}, "rate": 1e-4, "a": {"b": [1, 2]}, "other": None}
    assert values == {"inner": {"width": 1}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epochs", "expected key=value (for example training.epochs=5), got 'epochs'."),
        ("name.b=1", "'name.b=1': 'name' holds a value, not further keys."),
    ],
)
def test_wrong_overrides_are_refused(assignment, message):
    with pytest.raises(ConfigError) as error:
        config.override({"name": "a"}, [assignment])
    assert str(error.value) == message


class Renamed(Settings):
    renamed: ClassVar = {"old": "new"}

    name: Literal["renamed"] = "renamed"
    new: tuple[int, int] = (0, 0)


class Holder(Settings):
    several: tuple[Renamed, ...] = ()
    one: Annotated[
        Annotated[Inner, Tag("inner")] | Annotated[Renamed, Tag("renamed")],
        config.discriminated_by_name("renamed"),
    ] = Renamed()


def test_former_names_of_keys_are_read_with_a_hint_each_once():
    values = {"several": [{"new": [1, 2]}, {"old": [3, 4]}], "one": {"old": [5, 6]}}
    with pytest.warns(RenamedWarning) as caught:
        read = config.from_dict(Holder, values, "former.yaml")
    assert [str(each.message) for each in caught] == [
        "former.yaml: several.old is called several.new now; use that name.",
        "former.yaml: one.old is called one.new now; use that name.",
    ]
    assert [each.new for each in (*read.several, read.one)] == [(1, 2), (3, 4), (5, 6)]
    assert config.from_dict(Holder, values, "former.yaml") == read  # any warning is an error here
    assert config.from_dict(Holder, values, "stored.json", hint=False) == read
    assert values["one"] == {"old": [5, 6]}


def test_an_override_by_either_name_replaces_a_value_of_either_name():
    for given, word in itertools.product(("old", "new"), repeat=2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RenamedWarning)
            words = [f"one.{word}=[1, 2]", f"several=[{{{word}: [3, 4]}}]"]
            changed = config.override({"one": {given: [7, 8]}}, words, [Holder], "r.yaml")
        assert changed == {"one": {"new": [1, 2]}, "several": [{"new": [3, 4]}]}


def test_an_override_by_a_former_name_is_hinted_at():
    with pytest.warns(RenamedWarning) as caught:
        config.override({}, ["one.old=[1, 1]"], [Holder])
    [warning] = caught
    assert str(warning.message) == (
        "'one.old=[1, 1]': one.old is called one.new now; use that name."
    )


def test_both_names_of_a_key_are_refused():
    values = {"one": {"old": [1, 2], "new": [1, 2]}}
    with pytest.raises(ConfigError) as error:
        config.from_dict(Holder, values, "r.yaml")
    assert str(error.value) == (
        "r.yaml: one.old is called one.new now, which is given too; choose one."
    )


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001"])
def test_numbers_with_an_exponent_are_numbers(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(f"rate: {text}\n")
    assert config.read_yaml(path) == {"rate": 1e-4}


@pytest.mark.parametrize("text", ["2026-11-22", "2026-13-45"])
def test_a_date_stays_text(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: {text}\n")
    assert config.override(config.read_yaml(path), []) == {"name": text}


def test_a_missing_file_a_list_and_broken_yaml_are_refused(tmp_path):
    path = tmp_path / "r.yaml"
    with pytest.raises(ConfigError, match=r"r\.yaml: cannot be read \(.*No such file.*\)\.$"):
        config.read_yaml(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(ConfigError) as error:
        config.read_yaml(path)
    assert str(error.value) == f"{path}: expected `key: value` lines, got list."
    path.write_text("a: [1, 2\nb: 3\n")
    with pytest.raises(ConfigError, match=r"r\.yaml: not valid YAML: .*line 2, column 2"):
        config.read_yaml(path)


DEEP = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 60))])
LAUGHS = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 30))]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 100_000, "nested deeper than 40 levels"),
        (DEEP, "its aliases stand for too much, or too deep"),
        (LAUGHS, "its aliases stand for too much, or too deep"),
        (MERGES, "its aliases stand for too much, or too deep"),
        ("a: &a [*a]", "an alias stands within what it stands for"),
        ("a: " + "9" * 5000, "a whole number of 5000 digits"),
        ("a: 0x" + "f" * 100_000, "a whole number of 100002 digits"),
        ("a: !!int abc", "invalid literal for int() with base 10: 'abc'"),
        ("a: !!int ''", "a value that its tag does not fit"),
        ("a: !!bool x", "a value that its tag does not fit"),
        ("a: !!timestamp x", "a value that its tag does not fit"),
    ],
)
def test_yaml_that_stands_for_more_than_it_is_is_refused_at_once(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError) as error:
        config.read_yaml(path)
    assert str(error.value) == f"{path}: not valid YAML: {message}"
    assert time.process_time() - start < 20  # of the processor, however busy it is


def test_aliases_of_ordinary_size_are_read(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a: &a {x: 1}\nb: [*a, *a]\nc: {<<: *a, y: 2}\n")
    assert config.read_yaml(path) == {"a": {"x": 1}, "b": [{"x": 1}] * 2, "c": {"x": 1, "y": 2}}


def test_a_long_file_is_no_settings(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a: " + "x" * 2**21)
    with pytest.raises(ConfigError) as error:
        config.read_yaml(path)
    assert str(error.value) == f"{path}: more than 2 MB, too long for settings."


@pytest.mark.parametrize(
    ("text", "kind"),
    [("!!set {x}", "set"), ("!!binary aGk=", "bytes"), ("!!timestamp 2001-01-01", "date")],
)
def test_values_that_settings_do_not_have_are_refused(text, kind):
    with pytest.raises(ConfigError) as error:
        config.override({}, [f"a={text}"])
    assert str(error.value) == (
        f"a={text}: holds what is neither text nor number (Object of type {kind} is not JSON "
        "serializable)."
    )


def _within_itself() -> dict:
    values: dict = {}
    values["a"] = values
    return values


def _deep(levels: int = 100_000) -> dict:
    values: dict = {}
    for _ in range(levels):
        values = {"a": values}
    return values


@pytest.mark.parametrize("values", [{"a": {1}}, {"a": 10**5000}, _within_itself(), _deep()])
def test_values_of_python_that_are_no_settings_are_refused(values):
    with pytest.raises(ConfigError, match=r"^settings: holds what is neither text nor number \("):
        config.override(values, [])


@pytest.mark.parametrize("name", [{1}, _deep()])
def test_settings_are_not_built_of_them_either(name):
    with pytest.raises(ConfigError, match=r"^r\.yaml: holds what is neither text nor number \("):
        config.from_dict(Outer, {"name": name}, "r.yaml")


def test_a_number_that_no_calculation_holds_is_refused():
    class Rated(Settings):
        width: int

        @model_validator(mode="after")
        def _halve(self) -> Self:
            assert self.width / 2 > 0
            return self

    with pytest.raises(ConfigError) as error:
        config.from_dict(Rated, {"width": 10**400}, "r.yaml")
    assert str(error.value) == (
        "r.yaml: holds a number that is too large (integer division result too large for a float)."
    )


def test_a_long_value_is_cut_in_a_message():
    with pytest.raises(ConfigError) as error:
        config.from_dict(Inner, {"width": "9" * 4000}, "r.yaml")
    assert len(str(error.value)) < 200
    with pytest.raises(ConfigError) as error:
        config.from_dict(Inner, {"w" * 4000: 1}, "r.yaml")
    assert len(str(error.value)) < 200


def test_json_of_any_kind_is_read_or_a_value_error():
    assert config.parse_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    for content in ("[" * 100_000, "1" * 5000, "{", b"\xff"):
        with pytest.raises(ValueError):
            config.parse_json(content)


def test_json_has_no_numbers_that_are_none():
    values = {"a": math.nan, "b": [math.inf, (1, -math.inf)], "c": "\u00e9", "d": True}
    assert config.to_json("\x9b\u202e \u00e9 \x1b") == '"\\u009b\\u202e \u00e9 \\u001b"'
    assert config.to_json(values) == '{"a": null, "b": [null, [1, null]], "c": "\u00e9", "d": true}'


def test_all_json_is_written_by_one_function():
    """Elsewhere `json.dumps` makes keys to compare, and words of YAML."""
    root = Path(config.__file__).parent
    with_dumps = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "json.dump" in path.read_text(encoding="utf-8")
    }
    words = {f"experiment/{name}.py" for name in ("speed", "search", "grid", "read")}
    assert with_dumps <= {"config.py", *words}


def test_errors_hold_nothing_that_a_terminal_obeys():
    error = ConfigError("\x1b[2J\x07a\nb\x9b\u202e\u2028c: caf\u00e9 \u200d\u6f22\U0001f436")
    assert str(error) == (
        "\\x1b[2J\\x07a\\nb\\x9b\\u202e\\u2028c: caf\u00e9 \u200d\u6f22\U0001f436"
    )
    assert printable("plain text, \u6f22") == "plain text, \u6f22"


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "r.yaml"
    values = {"name": "b", "list": [1, 2], "inner": {"rate": 1e-05, "none": None}}
    config.write_yaml(values, path)
    assert config.read_yaml(path) == values


def test_a_long_list_of_known_names_is_cut():
    names = [f"label{index:02d}" for index in range(20)]
    assert unknown_name("label", "label1O", names) == (
        "unknown label 'label1O'. Did you mean 'label19'? "
        f"Known: {', '.join(names[:12])} and 8 more."
    )


def test_a_name_where_none_is_known():
    assert unknown_name("model", "esc10", []) == "unknown model 'esc10'. Known: none."


def test_a_missing_extra_says_how_to_install_it():
    assert str(missing_extra("av", "media", "reading m4a")) == (
        "reading m4a needs the package 'av', which is not installed. "
        "Install it with: pip install 'auricle[media]'"
    )


def test_a_package_that_is_required_is_imported_or_named_with_its_extra():
    assert require("json.decoder", "media", "reading").__name__ == "json.decoder"
    with pytest.raises(MissingExtraError) as error:
        require("no_such_package.part", "media", "reading")
    assert str(error.value) == (
        "reading needs the package 'no_such_package', which is not installed. "
        "Install it with: pip install 'auricle[media]'"
    )
