"""What pyproject.toml promises: bounds that are tested, extras that code uses."""

import re
import tomllib
from pathlib import Path

import pytest

from auricle import errors

PROJECT = Path(__file__).parents[1]
MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml", "huggingface-hub": "huggingface_hub"}
BY_LIGHTNING = {"tensorboard"}  # its logger imports it
FOR_PEOPLE = {"dev", "all"}  # extras made of others, and of tools


def project() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pinned(name: str) -> dict[str, str]:
    lines = (PROJECT / name).read_text(encoding="utf-8").split()
    return dict(line.lower().replace("_", "-").split("==") for line in lines)


def source() -> str:
    files = sorted((PROJECT / "src").rglob("*.py"))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def numbers(version: str) -> list[int]:
    return [int(part) for part in (version + ".0.0").split(".")[:3]]


def test_every_lower_bound_is_what_test_oldest_installs():
    oldest = pinned("constraints-oldest.txt")
    bounds = dict(requirement.split(">=") for requirement in project()["dependencies"])
    assert oldest.keys() == bounds.keys() | {"pytest"}
    differing = [name for name, low in bounds.items() if numbers(low) != numbers(oldest[name])]
    assert differing == []


@pytest.mark.parametrize("name", sorted(project()["optional-dependencies"].keys() - FOR_PEOPLE))
def test_every_package_of_an_extra_is_imported_somewhere(name):
    code = source()
    for requirement in project()["optional-dependencies"][name]:
        package = requirement.split(">=")[0]
        module = MODULES.get(package, package)
        used = re.search(rf'(import|from|require\(\s*") ?{module}\b|"{module}": "', code)
        assert used or package in BY_LIGHTNING, f"nothing imports {package} of the extra {name}"


def test_every_extra_that_a_message_names_exists():
    extras = project()["optional-dependencies"].keys()
    named = re.findall(r'require\(\s*"[\w.]+", "(\w+)"', source())
    named += re.findall(r'missing_extra\(\s*"\w+", "(\w+)"', source())
    named += re.findall(r"auricle\[([\w,]+)\]", (PROJECT / "README.md").read_text("utf-8"))
    assert named
    assert {extra for names in named for extra in names.split(",")} <= extras
    assert "pip install 'auricle[plot]'" in str(errors.missing_extra("matplotlib", "plot", "x"))
