"""Inverse block masks: how many, where, how much they cling together; and the way back."""

import dataclasses

import pytest
import torch

from auricle.errors import ConfigError
from auricle.models.patch_masks import (
    PADDING,
    clones_of,
    draw_kept,
    hidden_places,
    num_kept,
    put_back,
)
from auricle.models.patches import TimeMajorLayout, take

ROWS = 8


def draw(columns, share=0.8, block=5):
    """Kept places of clips with so many columns, and which places they have."""
    counts = torch.as_tensor(columns)
    layout = TimeMajorLayout(1, ROWS, int(counts.max()), counts)
    valid = layout.valid(torch.device("cpu"))
    return draw_kept(valid, layout, share, block), valid, layout


def test_eats_number_is_kept():
    assert num_kept(512, 0.8) == 102
    torch.manual_seed(0)
    kept, _, _ = draw([64] * 16)
    assert kept.shape == (16, 102)
    assert kept.min() >= 0


@pytest.mark.parametrize("share", [0.5, 0.75, 0.8, 0.9])
def test_every_clip_keeps_exactly_its_share_of_its_own_patches(share):
    torch.manual_seed(0)
    columns = [64, 3, 17, 40] * 8
    kept, valid, _ = draw(columns, share)
    for places, count in zip(kept, columns, strict=True):
        own = places[places != PADDING]
        assert len(own) == num_kept(ROWS * count, share)
        assert own.max() < ROWS * count
        assert torch.equal(own, own.unique())  # each once, in order
        assert (places[len(own) :] == PADDING).all()
    hidden = hidden_places(valid, kept)
    assert (hidden.sum(dim=1) + (kept >= 0).sum(dim=1)).tolist() == valid.sum(dim=1).tolist()


def neighbours(places):
    """Share of the kept patches whose neighbour in time is kept, too."""
    own = set(places[places != PADDING].tolist())
    return sum(place + ROWS in own for place in own) / len(own)


def test_kept_patches_stand_in_blocks():
    torch.manual_seed(0)
    assert sum(map(neighbours, draw([64] * 64)[0])) / 64 > 0.65
    assert sum(map(neighbours, draw([64] * 64, block=1)[0])) / 64 < 0.3


def test_every_place_is_kept_about_as_often():
    torch.manual_seed(0)
    kept, _, _ = draw([32] * 4000)
    often = torch.bincount(kept.flatten(), minlength=ROWS * 32).float() / 4000
    assert often.min() > 0.08  # corners, which fewer blocks reach
    assert often.max() < 0.3
    assert often.mean() == pytest.approx(0.2, abs=0.002)


def test_the_seed_decides():
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(draw([20, 30])[0])
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], draw([20, 30])[0])


@pytest.mark.parametrize(
    ("patches", "share", "left"), [(4, 0.8, 0), (512, 1.0, 0), (512, 0.0, 512)]
)
def test_a_share_that_leaves_nothing_is_refused(patches, share, left):
    with pytest.raises(ConfigError) as caught:
        num_kept(patches, share)
    assert str(caught.value) == (
        f"hidden_share {share:g} of a clip of {patches} patches leaves {left} to see: a student "
        "must see one at least, and one must be hidden. Use longer clips, or another share."
    )


def test_tokens_of_clones_are_taken_from_their_clip_and_go_back():
    torch.manual_seed(0)
    counts = torch.tensor([4, 2])
    layout = TimeMajorLayout(1, ROWS, 4, counts)
    clones = clones_of(layout, 3)
    assert clones.column_counts.tolist() == [4, 4, 4, 2, 2, 2]
    kept = draw_kept(clones.valid(torch.device("cpu")), clones, 0.5, 2)
    patches = torch.randn(2, ROWS * 4, 5)
    taken, places = take(patches, layout, kept)
    assert torch.equal(places.kept, kept)
    for row in range(6):
        own = kept[row][kept[row] >= 0]
        assert torch.equal(taken[row, : len(own)], patches[row // 3, own])
    others = torch.full((6, ROWS * 4, 5), 7.0)
    back = put_back(taken, kept, others)
    for row in range(6):
        own = kept[row][kept[row] >= 0]
        assert torch.equal(back[row, own], patches[row // 3, own])
        assert (back[row].sum() - patches[row // 3, own].sum()).item() == pytest.approx(
            7.0 * 5 * (ROWS * 4 - len(own)), abs=1e-3
        )
    assert dataclasses.replace(places, kept=None) == dataclasses.replace(layout, kept=None)
