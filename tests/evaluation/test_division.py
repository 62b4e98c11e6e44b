"""Which clips a probe learns from and which it is judged on."""

from pathlib import Path

import pytest

from auricle.data import Clip, Manifest
from auricle.errors import ConfigError, DataError
from auricle.evaluation.division import divide, in_use, splits_to_choose_by


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
        "fold in turn, or learns from one split and is judged on another: --train-split and "
        "--test-split."
    )
    with pytest.raises(DataError) as caught:
        divide(manifest, ("train", "tset"), "pretraining.probe.splits")
    assert str(caught.value) == (
        "clips.csv: no clip has the split 'tset'. Splits: train. Folds: none. A probe takes each "
        "fold in turn, or learns from one split and is judged on another: "
        "pretraining.probe.splits."
    )


def test_a_split_does_not_judge_what_was_learned_from_it():
    manifest = manifest_of(("a", "train", None), ("b", "train", None))
    with pytest.raises(ConfigError) as caught:
        divide(manifest, ("train", "train"))
    assert str(caught.value) == (
        "--train-split and --test-split: both are 'train', so the probe would be judged on the "
        "clips that it learned from. Name two splits."
    )


def test_test_clips_do_not_choose_an_epoch():
    names = ("train", "validation", "test")
    with_all = manifest_of(*(("a", name, fold) for fold, name in enumerate(names)))
    assert splits_to_choose_by(with_all, "here") == ("train", "validation")
    assert splits_to_choose_by(manifest_of(("a", None, 1), ("b", None, 2)), "here") is None
    with pytest.raises(DataError) as caught:
        splits_to_choose_by(manifest_of(("a", "train", None), ("b", "test", None)), "here")
    assert str(caught.value) == (
        "clips.csv: no clip has the split 'validation', and there are no folds, so nothing says "
        "which clips the probe is judged on. Splits: test, train. Folds: none. Name two splits in "
        "here: to learn from, and to judge on. The second chooses the best epoch, so test clips "
        "are not for it."
    )


def test_one_class_is_too_few_to_learn_from():
    manifest = manifest_of(("a", None, 1), ("b", None, 2), ("a", None, 1))
    assert refusal(manifest) == (
        "clips.csv: the clips to learn from for fold 1 all have the same labels. A probe needs "
        "clips of two kinds or more."
    )
