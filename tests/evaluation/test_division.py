"""Which clips a probe learns from and which it is judged on."""

from pathlib import Path

import pytest

from auricle.data import Clip, Manifest
from auricle.errors import DataError
from auricle.evaluation.division import divide, in_use


def manifest_of(*rows):
    """Clips of (label, split, fold)."""
    clips = [
        Clip(Path(f"{place}.wav"), (label,), split=split, fold=fold)
        for place, (label, split, fold) in enumerate(rows)
    ]
    return Manifest(Path("clips.csv"), clips)


def sides(manifest, splits=None):
    return [(d.name, d.train.tolist(), d.test.tolist()) for d in divide(manifest, splits)]


def refusal(manifest, splits=None):
    with pytest.raises(DataError) as caught:
        divide(manifest, splits)
    return str(caught.value)


def test_each_fold_is_judged_in_turn_and_a_clip_of_no_fold_never():
    manifest = manifest_of(("a", None, 1), ("b", None, 2), ("a", None, 2), ("b", None, None))
    manifest = Manifest(manifest.source, [*manifest.clips, *manifest_of(("b", None, 1)).clips])
    assert sides(manifest) == [("fold 1", [1, 2], [0, 4]), ("fold 2", [0, 4], [1, 2])]
    assert in_use(divide(manifest, None), 5).tolist() == [True, True, True, False, True]


def test_without_folds_train_is_learned_from_and_test_judged():
    manifest = manifest_of(("a", "train", None), ("b", "train", None), ("a", "test", None))
    assert sides(manifest) == [("test", [0, 1], [2])]


def test_splits_that_are_named_come_before_folds():
    rows = [("a", "train", 1), ("b", "train", 2), ("a", "test", 1), ("b", "validation", 2)]
    assert sides(manifest_of(*rows), ("train", "validation")) == [("validation", [0, 1], [3])]


def test_a_split_that_is_not_there_is_refused():
    manifest = manifest_of(("a", "train", None), ("b", "train", None))
    assert refusal(manifest) == (
        "clips.csv: no clip has the split 'test'. Splits: train. Folds: none. A probe takes each "
        "fold in turn, or learns from one split and is judged on another: --train-split, "
        "--test-split."
    )


def test_one_class_is_too_few_to_learn_from():
    manifest = manifest_of(("a", None, 1), ("b", None, 2), ("a", None, 1))
    assert refusal(manifest) == (
        "clips.csv: the clips to learn from for fold 1 all have the same labels. A probe needs "
        "clips of two kinds or more."
    )
