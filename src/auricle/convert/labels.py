"""The label lists of the public data sets that weights without names were trained on.

Sources: AudioSet's class_labels_indices.csv; the targets of ESC-50's esc50.csv; the order of
Speech Commands v2 in the class list of the AST authors' recipe.
"""

import csv
from importlib import resources


def read(name: str) -> list[str]:
    """Labels of the data set `name` ("audioset", "esc50", "speech_commands"), in order."""
    return [row["display_name"] for row in _rows(name)]


def audioset_names() -> dict[str, str]:
    """The labels of AudioSet by the identifiers that its files use ("/m/09x0r": "Speech")."""
    return {row["mid"]: row["display_name"] for row in _rows("audioset")}


def numbered(num_classes: int) -> list[str]:
    """Names for classes that nothing is known of: "class 0", "class 1", ..."""
    return [f"class {index}" for index in range(num_classes)]


def _rows(name: str) -> list[dict[str, str]]:
    path = resources.files("auricle.convert") / "label_lists" / f"{name}.csv"
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
