"""Splitting a manifest for training on your own sounds: groups stay whole, labels are spread."""

import random
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auricle.data.clips import Clips
from auricle.data.manifest import Manifest
from auricle.errors import ConfigError, DataError, DataWarning


def split_by_group(
    manifest: Manifest, validation_share: float, seed: int
) -> tuple[Manifest, Manifest]:
    """Divide the clips into training and validation.

    Clips of one group never part; a clip without a group is its own. Groups are drawn at random and
    go to validation while that brings the number of validation clips of their labels nearer to
    `validation_share`. A label in two groups or more has at least one on each side, as far as the
    groups allow it; a label in one group only is trained on.

    Raises:
        ConfigError: `validation_share` is not between 0 and 1.
        DataError: nothing can be put aside for validation.

    Warns:
        DataWarning: naming the labels that validation lacks.
    """
    if not 0 < validation_share < 1:
        raise ConfigError(
            f"the validation share must lie between 0 and 1, got {validation_share:g}."
        )
    table = manifest.table
    number_of: dict[str, int] = {}
    numbers = np.array([number_of.setdefault(name, len(number_of)) for name in table.groups()])
    counts = dict(zip(number_of, _count_labels(table, numbers), strict=True))
    order = sorted(counts)
    random.Random(seed).shuffle(order)
    chosen = _choose(order, counts, validation_share)
    if not chosen:
        needs = "every label needs two clips (of two groups) or more"
        if not manifest.labels:
            needs = "two clips (of two groups) are needed, or more"
        raise DataError(
            f"{manifest.source}: too few clips to put some aside for validation; {needs}."
        )
    inside = np.isin(numbers, [number_of[name] for name in chosen])
    train, validation = (replace(manifest, clips=table.where(side)) for side in (~inside, inside))
    unseen = sorted(set(manifest.labels).difference(validation.labels))
    if unseen:
        warnings.warn(
            f"{manifest.source}: too few clips or groups to validate these labels, which are only "
            f"trained on: {', '.join(unseen)}.",
            DataWarning,
            stacklevel=2,
        )
    return train, validation


def _count_labels(table: Clips, groups: NDArray[np.int64]) -> list[Counter[str]]:
    """Clips per label of each group; those with soft targets alone count under an empty name.

    Groups of one clip share their counter with their like: most groups of a long table are such.
    """
    column = table.columns.labels
    of_one = [Counter(labels or ("",)) for labels in column.values]
    counts: list[Counter[str] | None] = [None] * (int(groups.max()) + 1)
    for group, code in zip(groups.tolist(), table.codes(column).tolist(), strict=True):
        before = counts[group]
        counts[group] = of_one[code] if before is None else before + of_one[code]
    return [count for count in counts if count is not None]


def _choose(order: list[str], counts: dict[str, Counter[str]], share: float) -> set[str]:
    total = _total(counts.values())
    in_train = Counter(label for labels in counts.values() for label in labels)  # groups
    target = {label: share * number for label, number in total.items()}
    have: Counter[str] = Counter()
    chosen: set[str] = set()

    def take(group: str) -> None:
        chosen.add(group)
        have.update(counts[group])
        in_train.subtract(counts[group].keys())

    def leaves_train_whole(group: str) -> bool:
        return all(in_train[label] > 1 for label in counts[group])

    for group in order:
        if leaves_train_whole(group) and _comes_nearer(counts[group], have, target):
            take(group)
    for label in sorted(target):
        if have[label]:
            continue
        candidates = [g for g in order if label in counts[g] and leaves_train_whole(g)]
        if candidates:
            take(min(candidates, key=lambda group: counts[group].total()))
    return chosen


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:  # `sum` would copy the total each time
        total.update(count)
    return total


def _comes_nearer(group: Counter[str], have: Counter[str], target: dict[str, float]) -> bool:
    """Return whether the group lessens the sum of squared differences from the target numbers."""
    return (
        sum(
            (have[label] + number - target[label]) ** 2 - (have[label] - target[label]) ** 2
            for label, number in group.items()
        )
        < 0
    )


def draw_from_each(manifest: Manifest, count: int, seed: int) -> Manifest:
    """Of the clips of each set of labels `count`, drawn by `seed`; a smaller draw is part of it.

    Raises:
        DataError: a set of labels has fewer clips.
    """
    table = manifest.table
    labels = table.columns.labels
    codes = table.codes(labels)
    order = np.random.default_rng(seed).permutation(len(table))
    chosen = []
    for code in np.unique(codes):
        rows = order[codes[order] == code]
        if len(rows) < count:
            names = ";".join(labels.values[code]) or "no label"
            raise DataError(
                f"{manifest.source}: {len(rows)} clips to train on have the labels {names}, but "
                f"data.clips_per_class is {count}. Use at most {len(rows)}."
            )
        chosen.append(rows[:count])
    return replace(manifest, clips=table.where(np.sort(np.concatenate(chosen))))


def warn_of_untrained(manifest: Manifest, train: Manifest, labels: list[str]) -> None:
    """Warn of those of `labels` that clips of the manifest have, but none to train on."""
    absent = sorted(set(labels).intersection(manifest.labels).difference(train.labels))
    if absent:
        message = (
            f"{manifest.source}: no clip to train on has these labels, which others have: "
            f"{', '.join(absent)}."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
