"""Class-balanced sampling: the authors' weights, and draws that follow from seed and epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.data import Clip
from auricle.data.clips import Clips
from auricle.training.sampling import Balanced, balanced_weights, square_root_weights


def weights_of(labels):
    return balanced_weights(Clips.of([Clip(Path("a.wav"), names) for names in labels]))


def test_a_clip_weighs_what_its_labels_weigh_together():
    weights = weights_of([("dog",), ("dog", "rain"), ("dog",)])
    dog, rain = 1000 / 3.01, 1000 / 1.01
    assert weights.tolist() == pytest.approx([dog, dog + rain, dog])


def test_weights_of_many_clips_ask_for_none_of_them(monkeypatch):
    labels = [("dog",), ("dog", "rain"), ("rain", "dog"), ()]
    clips = Clips.of([Clip(Path("a.wav"), names) for names in labels]).where(np.array([3, 2, 1, 1]))

    def asked(self, row):
        raise AssertionError("a Python object for each of millions")

    monkeypatch.setattr(Clips, "__getitem__", asked)
    both = 1000 / 3.01 + 1000 / 3.01  # three of the chosen clips have these labels
    assert balanced_weights(clips).tolist() == [0.0, both, both, both]


def test_rare_clips_are_drawn_by_their_weight():
    weights = weights_of([("common",)] * 900 + [("rare",)] * 100)
    draws = torch.tensor(list(Balanced(range(1000), 0, weights)))
    assert len(draws) == 1000
    assert (draws >= 900).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert len(draws.unique()) < 1000  # with replacement


def test_draws_follow_from_seed_and_epoch():
    weights = torch.ones(50, dtype=torch.float64)

    def draws(seed, epoch):
        sampler = Balanced(range(50), seed, weights)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draws(0, 1) == draws(0, 1)
    assert len({tuple(draws(*numbers)) for numbers in [(0, 0), (0, 1), (1, 0)]}) == 3


def test_by_the_square_root_labels_are_drawn_as_the_root_of_their_clips():
    sets = [("common",)] * 900 + [("rare",)] * 100
    weights = square_root_weights(Clips.of([Clip(Path("a.wav"), names) for names in sets]))
    assert (weights[:900].sum() / weights[900:].sum()).item() == pytest.approx(3)


def test_labels_of_another_split_weigh_nothing():
    clips = Clips.of([Clip(Path("a.wav"), (name,)) for name in ["dog", "dog", "rain"]])
    assert square_root_weights(clips.where(np.array([0, 1]))).tolist() == [0.5**0.5] * 2
