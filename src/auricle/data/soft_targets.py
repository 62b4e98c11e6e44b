"""Soft targets: the scores a teacher gave to clips, stored beforehand in a safetensors file.

The file holds one tensor, `targets` (N, C) in [0, 1], and in its metadata `labels`, a JSON list of
the C names. A manifest names a row of it: `teacher.safetensors:17`.

Shapes: N clips, C classes of the teacher.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from auricle.config import label_text, parse_json, to_json
from auricle.errors import DataError, unknown_name


@dataclass(frozen=True)
class SoftTargets:
    """A file of soft targets, opened: its size and names are known, its values not yet read."""

    path: Path
    labels: tuple[str, ...]
    num_rows: int

    def load(self, labels: list[str]) -> Tensor:
        """The targets `(N, len(labels))`, columns in the order of `labels`, stored precision.

        Raises:
            DataError: the teacher does not know a label, or a value is not in [0, 1].
        """
        for label in labels:
            if label not in self.labels:
                raise DataError(f"{self.path}: {unknown_name('label', label, self.labels)}")
        with safe_open(self.path, framework="pt") as file:
            targets = file.get_tensor("targets")
        if not ((targets >= 0) & (targets <= 1)).all():  # false for NaN, too
            raise DataError(f"{self.path}: soft targets must lie between 0 and 1.")
        return targets[:, [self.labels.index(label) for label in labels]]


def open_soft_targets(path: Path) -> SoftTargets:
    """Read the names and the size of the file at `path`.

    Raises:
        DataError: it is not such a file as the module describes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shape = list(file.get_slice("targets").get_shape())
            labels = parse_json((file.metadata() or {})["labels"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not a file of soft targets. Expected a safetensors file with a tensor "
            "'targets' (clips, classes) and the metadata 'labels', a JSON list of the class names."
        ) from error
    if len(shape) != 2 or not isinstance(labels, list) or len(labels) != shape[1]:
        raise DataError(f"{path}: 'targets' has the shape {shape}, which does not fit its labels.")
    return SoftTargets(path, tuple(label_text(str(label)) for label in labels), shape[0])


def check_rows(named: Iterable[tuple[str, Path, int]]) -> None:
    """Make sure that every row that is named, as `(where, file, row)`, is there.

    Raises:
        DataError: naming where, for a missing file or row.
    """
    opened: dict[Path, SoftTargets] = {}
    for where, path, row in named:
        if path not in opened:
            if not path.is_file():
                raise DataError(f"{where}: no such file of soft targets: {path}.")
            opened[path] = open_soft_targets(path)
        num_rows = opened[path].num_rows
        if row >= num_rows:
            raise DataError(
                f"{where}: {path} has no row {row}; its {num_rows} rows are counted from 0."
            )


def save_soft_targets(path: Path, targets: Tensor, labels: list[str]) -> None:
    """Write `targets` `(N, C)` and the names of their columns to `path`, as 16-bit floats."""
    stored = {"targets": targets.to(torch.float16).contiguous()}
    save_file(stored, path, metadata={"labels": to_json(labels)})
