"""Merging collections: whole sources are held out, and nothing of them is trained on."""

import importlib
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def merge(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("merge_sounds")


@pytest.fixture
def collection(merge):
    """Sixty sources of one to four clips of 10 s; every third one holds animals, the rest tools."""
    generator = np.random.default_rng(0)
    sounds, kinds = [], []
    for number in range(60):
        for clip in range(int(generator.integers(1, 5))):
            path = Path(f"{number}/{clip}.flac")
            sounds.append(merge.Sound(path, f"{number}/{clip}", f"debian:p{number}", 10.0))
            kinds.append([number % 3 == 0, number % 3 != 0])
    return sounds, np.array(kinds, dtype=np.float32)


def test_sources_are_held_out_whole_a_tenth_each_with_every_kind(merge, collection):
    sounds, kinds = collection
    splits = merge.divide(sounds, kinds, seed=0)
    assert splits == merge.divide(sounds, kinds, seed=0)
    assert set(splits) == {sound.source for sound in sounds}
    of_clip = np.array([splits[sound.source] for sound in sounds])
    for part in ("validation", "test"):
        shares = (kinds * (of_clip == part)[:, None]).sum(axis=0) / kinds.sum(axis=0)
        assert ((shares > 0.06) & (shares < 0.14)).all()


def test_synthetic_and_large_sources_are_always_trained_on(merge, collection):
    sounds, kinds = collection
    large = [merge.Sound(Path(f"l{n}"), "l", "debian:large", 10.0) for n in range(30)]
    made = [merge.Sound(Path(f"s{n}"), "s", f"synthesis:{n}", 10.0) for n in range(5)]
    more = np.ones((35, 2), dtype=np.float32)
    for seed in range(3):
        splits = merge.divide([*sounds, *large, *made], np.concatenate([kinds, more]), seed)
        assert {splits[sound.source] for sound in (*large, *made)} == {"train"}


def test_too_few_sources_cannot_be_divided(merge):
    sounds = [merge.Sound(Path("a"), "a", "debian:only", 10.0)]
    with pytest.raises(SystemExit) as caught:
        merge.divide(sounds, np.ones((1, 1), dtype=np.float32), 0)
    assert str(caught.value) == (
        "Too few sources to hold some of them out: validation would be like training."
    )


def test_held_out_clips_that_share_a_recording_with_another_part_are_left_out(merge):
    split_of = {0: "train", 1: "validation", 2: "test", 3: "validation", 4: "test", 5: "train"}
    pairs = [(0, 1), (1, 2), (3, 3), (0, 5), (4, 9)]  # 9 was left out before
    assert merge.across(pairs, split_of) == {1, 2}


def test_kinds_are_the_branches_below_the_roots(merge):
    labels = ["Speech", "Bark", "Music"]
    probabilities = np.array([[0.9, 0.0, 0.0], [0.0, 0.5, 0.3], [0.1, 0.1, 0.1]], dtype=np.float32)
    kinds = merge.kinds_of(probabilities, labels)
    assert kinds.shape[0] == 3 and not kinds[2].any()
    assert kinds[0].any() and not (kinds[0] * kinds[1]).any()
