"""The split into training and validation."""

import random
import warnings
from collections import Counter
from pathlib import Path

import pytest

from auricle.data import Clip, Manifest, draw_from_each, leaks, split_by_group
from auricle.data.prepare import prepare
from auricle.errors import ConfigError, DataError, DataWarning


def manifest_of(*clips):
    """Clips from `(labels, group)`."""
    numbered = (Clip(Path(f"{i}.wav"), tuple(x), group=g) for i, (x, g) in enumerate(clips))
    return Manifest(Path("own"), tuple(numbered))


def counts(manifest):
    return Counter(label for clip in manifest.clips for label in clip.labels)


def test_every_clip_lands_on_one_side_in_its_order():
    manifest = manifest_of(*[(["a"], None), (["b"], None)] * 20)
    train, validation = split_by_group(manifest, 0.25, seed=0)
    assert sorted([*train.clips, *validation.clips], key=manifest.clips.index) == list(
        manifest.clips
    )
    for side in (train, validation):
        assert list(side.clips) == sorted(side.clips, key=manifest.clips.index)


def test_labels_are_spread_evenly():
    manifest = manifest_of(*[(["a"], None)] * 40, *[(["b"], None)] * 8, *[(["c"], None)] * 2)
    for seed in range(5):
        _, validation = split_by_group(manifest, 0.25, seed)
        assert counts(validation) == {"a": 10, "b": 2, "c": 1}


def test_groups_stay_together_whatever_their_sizes():
    draw = random.Random(1)
    clips = [
        (draw.sample("abcd", draw.randint(1, 2)), f"group {draw.randint(0, 40)}")
        for _ in range(400)
    ]
    manifest = manifest_of(*clips)
    train, validation = split_by_group(manifest, 0.2, seed=3)
    assert not {clip.group for clip in train.clips} & {clip.group for clip in validation.clips}
    for label, number in counts(manifest).items():
        assert 0.15 < counts(validation)[label] / number < 0.25


def test_the_seed_decides():
    manifest = manifest_of(*[(["a"], None)] * 50)
    splits = [split_by_group(manifest, 0.2, seed)[1].clips for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_a_label_in_two_groups_has_one_on_each_side():
    manifest = manifest_of(*[(["a"], "big")] * 30, *[(["a"], "small")] * 5)
    train, validation = split_by_group(manifest, 0.01, seed=0)
    assert {clip.group for clip in train.clips} == {"big"}
    assert {clip.group for clip in validation.clips} == {"small"}


def test_a_label_in_one_group_is_only_trained_on_and_said_so():
    manifest = manifest_of((["a"], None), (["a"], None), (["b"], "x"), (["b"], "x"), (["c"], None))
    with pytest.warns(DataWarning) as warned:
        train, _ = split_by_group(manifest, 0.9, seed=0)
    assert counts(train) == {"a": 1, "b": 2, "c": 1}
    assert str(warned[0].message) == (
        "own: too few clips or groups to validate these labels, which are only trained on: b, c."
    )


def test_nothing_to_put_aside_is_refused():
    with pytest.raises(DataError) as caught:
        split_by_group(manifest_of((["a"], None), (["b"], None)), 0.2, seed=0)
    assert str(caught.value) == (
        "own: too few clips to put some aside for validation; "
        "every label needs two clips (of two groups) or more."
    )


def test_of_clips_without_labels_none_are_spoken_of():
    with pytest.raises(DataError) as caught:
        split_by_group(manifest_of(([], None)), 0.2, seed=0)
    assert str(caught.value) == (
        "own: too few clips to put some aside for validation; "
        "two clips (of two groups) are needed, or more."
    )


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0"), (1.0, "1"), (-0.2, "-0.2")])
def test_the_share_lies_between_zero_and_one(share, shown):
    with pytest.raises(ConfigError) as caught:
        split_by_group(manifest_of((["a"], None)), share, seed=0)
    assert str(caught.value) == f"the validation share must lie between 0 and 1, got {shown}."


def test_speakers_who_say_every_word_are_split_evenly(shared_data, tmp_path):
    folder = shared_data / "speech_commands_12"
    listing = prepare("speech_commands_12", folder, tmp_path / "m.csv")
    manifest = listing.manifest.select(split="train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, validation = split_by_group(manifest, 0.2, seed=0)
    assert not {c.group for c in train.clips if c.group} & {c.group for c in validation.clips}
    assert leaks(manifest) == []
    for label, number in counts(manifest).items():
        assert 0.15 < counts(validation)[label] / number < 0.26


def test_as_many_clips_are_drawn_of_each_set_of_labels():
    manifest = manifest_of(*[(["a"], None), (["b"], None), (["a", "b"], None)] * 20)
    few, more = (draw_from_each(manifest, count, seed=3) for count in (4, 9))
    assert Counter(clip.labels for clip in few.clips) == {("a",): 4, ("b",): 4, ("a", "b"): 4}
    assert set(few.clips) < set(more.clips) < set(manifest.clips)
    others = draw_from_each(manifest, 4, seed=4)
    assert list(few.clips) == list(draw_from_each(manifest, 4, seed=3).clips) != list(others.clips)


def test_more_clips_than_there_are_cannot_be_drawn():
    with pytest.raises(DataError) as caught:
        draw_from_each(manifest_of((["a"], None), (["a"], None), (["b"], None)), 2, seed=0)
    assert str(caught.value) == (
        "own: 1 clips to train on have the labels b, but data.clips_per_class is 2. Use at most 1."
    )
