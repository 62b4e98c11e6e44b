"""Inverse block masks: how many, where, how much they cling together; and the way back."""

import dataclasses

import pytest
import torch

from auricle.errors import ConfigError
from auricle.models.patch_masks import (
    PADDING,
    draw_visible,
    is_masked,
    num_visible,
    repeat_clips,
    scatter_tokens,
)
from auricle.models.patches import TimeMajorLayout, gather_tokens

ROWS = 8


def draw(columns, share=0.8, block=5, chunk=None):
    """Visible patches of clips with so many columns, and which patches they have."""
    counts = torch.as_tensor(columns)
    layout = TimeMajorLayout(1, ROWS, int(counts.max()), counts)
    valid = layout.valid(torch.device("cpu"))
    return draw_visible(valid, layout, share, block, chunk), valid, layout


def test_eats_number_is_kept():
    assert num_visible(512, 0.8) == 102
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
        assert len(own) == num_visible(ROWS * count, share)
        assert own.max() < ROWS * count
        assert torch.equal(own, own.unique())  # each once, in order
        assert (places[len(own) :] == PADDING).all()
    hidden = is_masked(valid, kept)
    assert (hidden.sum(dim=1) + (kept >= 0).sum(dim=1)).tolist() == valid.sum(dim=1).tolist()


def neighbours(places):
    """Share of the kept patches whose neighbour in time is kept, too."""
    own = set(places[places != PADDING].tolist())
    return sum(place + ROWS in own for place in own) / len(own)


def test_kept_patches_stand_in_blocks():
    torch.manual_seed(0)
    assert sum(map(neighbours, draw([64] * 64)[0])) / 64 > 0.65
    assert sum(map(neighbours, draw([64] * 64, block=1)[0])) / 64 < 0.3


def whole_squares(grid, side):
    """Where masked squares of `side` patches begin, on grids `(B, 1, F, C)`."""
    return torch.nn.functional.avg_pool2d(grid, side, stride=1) > 0.999


@pytest.mark.parametrize(("columns", "blocks"), [(64, 5), (32, 2), (8, 1)])
def test_as_many_blocks_are_kept_as_the_authors_have(columns, blocks, monkeypatch):
    """EAT's int(patches * (1 - 0.8 + 0.07) / 25), and one at least."""
    drawn = []
    topk = torch.Tensor.topk
    monkeypatch.setattr(
        torch.Tensor, "topk", lambda self, count: drawn.append(count) or topk(self, count)
    )
    draw([columns])
    assert drawn == [blocks]


@pytest.mark.parametrize(("chunk", "least", "most"), [((3, 5), 0.9, 1), (None, 0, 0.05)])
def test_masked_patches_are_in_squares(chunk, least, most):
    torch.manual_seed(0)
    kept, valid, layout = draw([64, 40] * 16, share=0.5, block=1, chunk=chunk)
    masked = is_masked(valid, kept)
    assert masked.sum(dim=1).tolist() == [256, 160] * 16
    grid = layout.unpack(masked[..., None].float()).permute(0, 3, 1, 2)
    begins = torch.nn.functional.pad(whole_squares(grid, 3).float(), (2, 2, 2, 2))
    in_squares = grid * torch.nn.functional.max_pool2d(begins, 3, stride=1)
    inner = (..., slice(2, -2), slice(2, 38))  # at the edges squares are cut
    assert least <= in_squares[inner].sum() / grid[inner].sum() <= most


@pytest.mark.parametrize("side", [3, 4, 5])
def test_a_clip_whose_share_is_one_square_masks_that_square(side):
    torch.manual_seed(side)
    share = side * side / (ROWS * 64)
    kept, valid, layout = draw([64] * 200, share=share, block=1, chunk=(side, side))
    grid = layout.unpack(is_masked(valid, kept)[..., None].float()).permute(0, 3, 1, 2)
    whole = whole_squares(grid, side).flatten(1).any(dim=1).float().mean()
    uncut = (ROWS - side + 1) / ROWS * (64 - side + 1) / 64  # share of the starts
    assert whole == pytest.approx(uncut, abs=0.1)


def test_squares_go_down_and_to_the_right():
    """So that the first patch is in one square alone, and the last in many."""
    torch.manual_seed(0)
    kept, valid, _ = draw([64] * 500, share=0.3, block=1, chunk=(4, 4))
    often = is_masked(valid, kept).float().mean(dim=0)
    assert often[0] < 0.1
    assert often[-1] > 0.2


def test_the_side_of_the_squares_differs_from_clip_to_clip():
    torch.manual_seed(0)
    kept, valid, layout = draw([64] * 256, share=0.05, block=1, chunk=(3, 5))
    grid = layout.unpack(is_masked(valid, kept)[..., None].float()).permute(0, 3, 1, 2)
    shares = [whole_squares(grid, side).flatten(1).any(dim=1).float().mean() for side in (3, 4, 5)]
    assert shares[0] > shares[1] + 0.1 > shares[2] + 0.2 > 0.3
    assert shares[2] < 0.3  # one in three, of which some are cut at the edges


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
        num_visible(patches, share)
    assert str(caught.value) == (
        f"mask_ratio {share:g} of a clip of {patches} patches leaves {left} to see: a student "
        "must see one at least, and one must be hidden. Use longer clips, or another share."
    )


def test_tokens_of_clones_are_taken_from_their_clip_and_go_back():
    torch.manual_seed(0)
    counts = torch.tensor([4, 2])
    layout = TimeMajorLayout(1, ROWS, 4, counts)
    clones = repeat_clips(layout, 3)
    assert clones.column_counts.tolist() == [4, 4, 4, 2, 2, 2]
    kept = draw_visible(clones.valid(torch.device("cpu")), clones, 0.5, 2)
    patches = torch.randn(2, ROWS * 4, 5)
    taken, places = gather_tokens(patches, layout, kept)
    assert torch.equal(places.visible_ids, kept)
    for row in range(6):
        own = kept[row][kept[row] >= 0]
        assert torch.equal(taken[row, : len(own)], patches[row // 3, own])
    others = torch.full((6, ROWS * 4, 5), 7.0)
    back = scatter_tokens(taken, kept, others)
    for row in range(6):
        own = kept[row][kept[row] >= 0]
        assert torch.equal(back[row, own], patches[row // 3, own])
        assert (back[row].sum() - patches[row // 3, own].sum()).item() == pytest.approx(
            7.0 * 5 * (ROWS * 4 - len(own)), abs=1e-3
        )
    assert dataclasses.replace(places, visible_ids=None) == dataclasses.replace(
        layout, visible_ids=None
    )


@pytest.mark.parametrize("chunk", [None, (3, 5)])
def test_the_seed_alone_chooses_the_patches_whatever_the_default_dtype(chunk, request):
    torch.manual_seed(0)
    kept, _, _ = draw([64, 17], chunk=chunk)
    request.getfixturevalue("double_by_default")
    torch.manual_seed(0)
    assert torch.equal(draw([64, 17], chunk=chunk)[0], kept)
