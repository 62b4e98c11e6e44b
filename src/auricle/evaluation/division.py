"""Which clips a probe learns from and which it is judged on: each fold in turn, or two splits.

Shapes: N clips.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.data import Manifest, split_name
from auricle.data.clips import group_of
from auricle.errors import ConfigError, DataError
from auricle.evaluation.bootstrap import number_groups

SPLITS = ("train", "test")
SPLITS_TO_CHOOSE = ("train", "validation")
DRAWN_FOLDS = 5
OPTIONS = "--train-split and --test-split"  # where `auricle probe` is given them


@dataclass(frozen=True)
class Division:
    """Which of N clips to learn from and which to judge on, as indices."""

    name: str  # of the split or fold that is judged
    train: Tensor
    test: Tensor


def splits_to_choose_by(manifest: Manifest, setting: str) -> tuple[str, str] | None:
    """Splits for a probe that chooses among models, so that the test clips have no part in it.

    "train" and "validation"; without the latter None, for each fold in turn.

    Args:
        setting: where splits can be named, for the message.

    Raises:
        DataError: there are neither clips that validate nor folds.
    """
    if SPLITS_TO_CHOOSE[1] in manifest.splits:
        return SPLITS_TO_CHOOSE
    if len(manifest.folds) > 1:
        return None
    raise DataError(
        f"{manifest.source}: no clip has the split 'validation', and there are no folds, so "
        f"nothing says which clips the probe is judged on. {_known(manifest)} Name two splits in "
        f"{setting}: to learn from, and to judge on. The second chooses the best epoch, so test "
        "clips are not for it."
    )


def divide(
    manifest: Manifest, splits: tuple[str, str] | None, setting: str = OPTIONS
) -> list[Division]:
    """Each fold in turn, or one split against another.

    Args:
        splits: to learn from and to judge on; None takes the folds or, where the clips have fewer
            than two, "train" and "test"; clips without any of these are drawn into five folds,
            groups kept together and classes spread.
        setting: where splits can be named, for messages.

    Raises:
        ConfigError: both splits are the same.
        DataError: a split is not there, or all clips to learn from have the same labels.
    """
    if splits is None and len(manifest.folds) > 1:
        divisions = _by_fold(manifest)
    elif splits is None and not manifest.splits:
        divisions = _drawn(manifest)
    else:
        divisions = [_by_split(manifest, *(splits or SPLITS), setting)]
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
    sides = {fold: codes == column.code_of(fold) for fold in manifest.folds}
    # As in training, a clip of no fold belongs to neither side.
    return [_division(f"fold {fold}", ~test & (codes >= 0), test) for fold, test in sides.items()]


def _drawn(manifest: Manifest) -> list[Division]:
    """Folds of a folder, which has none of its own; the same ones each time."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = manifest.table.codes(manifest.table.columns.labels)
    groups = number_groups([group_of(clip) for clip in manifest.clips]).numpy()
    count = min(DRAWN_FOLDS, len(np.unique(groups)))
    if count < 2:
        raise DataError(
            f"{manifest.source}: all clips are of one group, so none can be judged by others. A "
            "probe needs two groups or more."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer clips than folds
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=0)
        sides = list(folds.split(labels, labels, groups))
    return [
        Division(f"fold {number}", *map(torch.from_numpy, side))
        for number, side in enumerate(sides, start=1)
    ]


def _by_split(manifest: Manifest, train: str, test: str, setting: str) -> Division:
    train, test = split_name(train), split_name(test)
    if train == test:
        raise ConfigError(
            f"{setting}: both are {train!r}, so the probe would be judged on the clips that it "
            "learned from. Name two splits."
        )
    for name in (train, test):
        if name not in manifest.splits:
            raise DataError(
                f"{manifest.source}: no clip has the split {name!r}. {_known(manifest)} A probe "
                "takes each fold in turn, or learns from one split and is judged on another: "
                f"{setting}."
            )
    column = manifest.table.columns.splits
    codes = manifest.table.codes(column)
    return _division(test, codes == column.code_of(train), codes == column.code_of(test))


def _known(manifest: Manifest) -> str:
    splits = ", ".join(manifest.splits) or "none"
    return f"Splits: {splits}. Folds: {', '.join(map(str, manifest.folds)) or 'none'}."


def _division(name: str, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Division:
    return Division(name, *(torch.from_numpy(np.flatnonzero(side)) for side in (train, test)))
