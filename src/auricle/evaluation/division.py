"""Which clips a probe learns from and which it is judged on: each fold in turn, or two splits.

Shapes: N clips.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.data import Manifest
from auricle.errors import DataError

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Division:
    """Which of N clips to learn from and which to judge on, as indices."""

    name: str  # of the split or fold that is judged
    train: Tensor
    test: Tensor


def divide(manifest: Manifest, splits: tuple[str, str] | None) -> list[Division]:
    """Each fold in turn, or one split against another.

    Args:
        splits: to learn from and to judge on; None takes the folds or, where the clips have fewer
            than two, "train" and "test".

    Raises:
        DataError: a split is not there, or all clips to learn from have the same labels.
    """
    if splits is None and len(manifest.folds) > 1:
        divisions = _by_fold(manifest)
    else:
        divisions = [_by_split(manifest, *(splits or SPLITS))]
    labels = manifest.table.codes(manifest.table.columns.labels)
    for division in divisions:
        if len(np.unique(labels[division.train.numpy()])) < 2:
            raise DataError(
                f"{manifest.source}: the clips to learn from for {division.name} all have the same "
                "labels. A probe needs clips of two kinds or more."
            )
    return divisions


def in_use(divisions: list[Division], num_clips: int) -> NDArray[np.bool_]:
    """Whether each clip `(N,)` stands on a side of any division."""
    used = np.zeros(num_clips, dtype=bool)
    for division in divisions:
        used[division.train.numpy()] = used[division.test.numpy()] = True
    return used


def _by_fold(manifest: Manifest) -> list[Division]:
    column = manifest.table.columns.folds
    codes = manifest.table.codes(column)
    divisions = []
    for fold in manifest.folds:
        is_test = codes == column.code_of(fold)
        # As in training, a clip of no fold belongs to neither side.
        divisions.append(_division(f"fold {fold}", ~is_test & (codes >= 0), is_test))
    return divisions


def _by_split(manifest: Manifest, train: str, test: str) -> Division:
    for name in (train, test):
        if name not in manifest.splits:
            raise DataError(
                f"{manifest.source}: no clip has the split {name!r}. "
                f"Splits: {', '.join(manifest.splits) or 'none'}. "
                f"Folds: {', '.join(map(str, manifest.folds)) or 'none'}. A probe takes each fold "
                "in turn, or learns from one split and is judged on another: --train-split, "
                "--test-split."
            )
    column = manifest.table.columns.splits
    codes = manifest.table.codes(column)
    return _division(test, codes == column.code_of(train), codes == column.code_of(test))


def _division(name: str, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Division:
    return Division(name, *(torch.from_numpy(np.flatnonzero(side)) for side in (train, test)))
