"""The rooms of the package import only from rooms below them, and nothing heavy at the door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import auricle

ROOT = Path(auricle.__file__).parent
LAYERS = [  # lowest first; rooms on one line do not know each other: docs/architecture.md
    {"errors"},
    {"config", "atomic", "padding", "progress", "fetch"},
    {"audio", "features", "models"},
    {"checkpoint", "data"},
    {"convert", "averaging", "catalogue"},
    {"inference"},
    {"evaluation"},
    {"training"},
    {"experiment"},
    {"cli"},
]
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
OPTIONAL = {
    "lightning",
    "torchmetrics",
    "matplotlib",
    "av",
    "onnx",
    "transformers",
    "tensorboard",
    "pyarrow",
    "optuna",
    "sklearn",
}


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Dotted names that the module at `path` imports (`from auricle import audio` counts too)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_imports_point_downwards():
    wrong = []
    for path in modules():
        room = room_of(path)
        if room == "__init__":  # the package's face may import anything
            continue
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("auricle.")}
        for other in rooms - {room, "__version__"}:
            if LAYER_OF[other] >= LAYER_OF[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, "imports that do not point downwards:\n" + "\n".join(wrong)


def test_every_room_has_a_layer():
    code = {room_of(path) for path in modules()} - {"__init__"}
    assert code <= LAYER_OF.keys()


def test_optional_packages_are_imported_only_where_they_are_used():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name} at the top"
        for path in modules()
        for name in imports(path, top_level=True)
        if name.split(".")[0] in OPTIONAL
    ]
    assert not wrong, "\n".join(wrong)


def test_lightning_is_known_to_one_file():
    users = {
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name.split(".")[0] == "lightning" for name in imports(path))
    }
    assert users == {"training/framework.py"}


@pytest.mark.parametrize("module", ["auricle", "auricle.cli.main"])
def test_the_door_does_not_import_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'numpy'}} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def test_the_path_through_ast_is_in_six_files():
    """What a reader has to open for `AST.forward`: the file and all that it needs, but settings."""
    needed, names = set(), {"auricle.models.ast"}
    while names:
        needed |= names
        paths = [ROOT / (name.removeprefix("auricle.").replace(".", "/") + ".py") for name in names]
        found = {name.rpartition(".")[0] for path in paths for name in imports(path)}
        names = {n for n in found if n.startswith(("auricle.models.", "auricle.padding"))} - needed
    assert len(needed) <= 6, sorted(needed)


def test_no_room_is_a_drawer():
    names = {path.stem for path in modules()} | {path.parent.name for path in modules()}
    assert not names & {"utils", "util", "common", "helpers", "core", "misc"}
