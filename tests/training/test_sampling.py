"""Class-balanced sampling: the authors' weights, and draws that follow from seed and epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.data import Clip
from auricle.data.clips import Clips
from auricle.training import sampling
from auricle.training.sampling import (
    Repeated,
    Shuffle,
    SimilarLengths,
    Weighted,
    balanced_weights,
    crops_in,
    shared_weights,
    square_root_weights,
)


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
    draws = torch.tensor(list(Weighted(range(1000), 0, weights)))
    assert len(draws) == 1000
    assert (draws % 1000 >= 900).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert len((draws % 1000).unique()) < 1000  # with replacement
    assert len(draws.unique()) == 1000  # each draw with a crop of its own


def test_draws_follow_from_seed_and_epoch():
    weights = torch.ones(50, dtype=torch.float64)

    def draws(seed, epoch):
        sampler = Weighted(range(50), seed, weights)
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


def test_a_long_recording_is_drawn_as_often_as_crops_fit_into_it():
    counts = crops_in(torch.tensor([0.0, 4.0, 10.0, 61.0]), 10.0)
    assert counts.tolist() == [1, 1, 1, 6]
    sampler = Repeated(range(4), 0, counts)
    first = list(sampler)
    assert len(sampler) == 9
    assert sorted(first) == [0, 1, 2, 3, 7, 11, 15, 19, 23]
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(first) and list(sampler) != first


def test_each_of_several_sets_gets_its_share_whatever_its_size():
    counts = torch.tensor([1] * 10 + [8, 1, 1])
    weights = shared_weights(counts, [10, 3], [0.25, 0.75])
    assert weights[:10].tolist() == pytest.approx([0.025] * 10)
    assert weights[10:].tolist() == pytest.approx([0.6, 0.075, 0.075])
    draws = torch.tensor(list(Weighted(range(13), 0, weights, 2000))) % 13
    assert len(draws) == 2000
    assert (draws < 10).float().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.fixture
def seconds():
    """Of 1003 clips: many short ones, a few long ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1003, generator=generator).square() * 10


def padded(indices, seconds, batch_size=8):
    """Seconds that are computed: of each batch as many times the longest as it has clips."""
    batches = torch.tensor(indices).split(batch_size)
    return sum(len(batch) * seconds[batch % len(seconds)].max().item() for batch in batches)


def test_batches_of_similar_lengths_hold_hardly_any_padding(seconds):
    order = Shuffle(range(1003), 0)
    indices = list(SimilarLengths(order, seconds, 8))
    assert sorted(indices) == list(range(1003))
    assert padded(list(order), seconds) > 2 * seconds.sum()
    assert padded(indices, seconds) < 1.25 * seconds.sum()


def test_batches_of_similar_lengths_come_in_any_order(seconds):
    sampler = SimilarLengths(Shuffle(range(1003), 0), seconds, 8)
    first = list(sampler)
    longest = torch.tensor([seconds[batch].max() for batch in torch.tensor(first[:1000]).split(8)])
    assert abs(torch.corrcoef(torch.stack([longest, torch.arange(125.0)]))[0, 1]) < 0.3
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == sorted(first) and second != first
    assert {frozenset(batch) for batch in zip(*[iter(first)] * 8, strict=False)}.isdisjoint(
        frozenset(batch) for batch in zip(*[iter(second)] * 8, strict=False)
    )


def test_the_rest_of_a_batch_is_no_batch_of_the_longest(seconds):
    rests = []
    sampler = SimilarLengths(Shuffle(range(1003), 0), seconds, 8)
    for epoch in range(20):
        sampler.set_epoch(epoch)
        rests += list(sampler)[1000:]
    assert seconds[rests].mean().item() == pytest.approx(seconds.mean().item(), abs=1.2)


def test_draws_of_one_clip_meet_less_often_than_by_their_length(seconds, monkeypatch):
    weights = 1 / torch.arange(1, 1004, dtype=torch.float64).sqrt()
    sampler = SimilarLengths(Weighted(range(1003), 0, weights, 8000), seconds, 8)

    def meetings():
        batches = torch.tensor(list(sampler)).view(-1, 8) % 1003
        return sum(8 - len(batch.unique()) for batch in batches)

    found = meetings()
    monkeypatch.setattr(sampling, "JITTER", 0.0)
    assert found < 0.5 * meetings()


def test_further_draws_of_a_clip_are_as_long_as_it_is(seconds):
    counts = crops_in(seconds, 2.0)
    sampler = SimilarLengths(Repeated(range(1003), 0, counts), seconds, 8)
    indices = list(sampler)
    assert len(indices) == len(sampler) == int(counts.sum())
    assert padded(indices, seconds) < 1.25 * (seconds * counts).sum()
