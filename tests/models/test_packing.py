"""Packing: every clip's own tokens to the front, and back."""

import dataclasses

import torch

from auricle.models.patches import TimeMajorLayout, TokenLayout


def numbered(batch, rows, columns):
    """Tokens `(B, F, T, 1)` that hold 100 * row + column."""
    grid = 100 * torch.arange(rows)[:, None] + torch.arange(columns)
    return grid.float().expand(batch, -1, -1)[..., None]


def test_a_short_clip_is_packed_row_by_row_without_its_padding():
    layout = TokenLayout(num_prefix=2, rows=2, columns=4, column_counts=torch.tensor([2, 4]))
    packed = layout.pack(numbered(2, 2, 4))[..., 0]
    assert packed[0].tolist() == [0, 1, 100, 101, 0, 0, 0, 0]
    assert packed[1].tolist() == [0, 1, 2, 3, 100, 101, 102, 103]


def test_unpack_is_the_inverse_of_pack():
    layout = TokenLayout(num_prefix=0, rows=3, columns=5, column_counts=torch.tensor([1, 5, 3]))
    grid = torch.randn(3, 3, 5, 4)
    expected = grid.clone()
    expected[0, :, 1:] = 0
    expected[2, :, 3:] = 0
    assert torch.equal(layout.unpack(layout.pack(grid)), expected)


def test_without_counts_every_token_is_valid_and_nothing_moves():
    layout = TokenLayout(num_prefix=1, rows=2, columns=3, column_counts=None)
    grid = numbered(1, 2, 3)
    assert torch.equal(layout.pack(grid)[0, :, 0], grid.flatten())
    assert layout.attention_mask(grid.device) is None
    assert layout.valid(grid.device).all()


def test_the_mask_covers_prefix_and_valid_patches():
    layout = TokenLayout(num_prefix=1, rows=2, columns=2, column_counts=torch.tensor([1, 2]))
    mask = layout.attention_mask(torch.device("cpu"))
    assert mask.shape == (2, 1, 1, 5)
    assert mask[0, 0, 0].tolist() == [True, True, True, False, False]
    assert mask[1].all()


def test_coordinates_follow_the_clips_own_columns():
    layout = TokenLayout(num_prefix=0, rows=2, columns=3, column_counts=torch.tensor([2]))
    rows, columns = layout.coordinates(torch.device("cpu"))
    assert rows[0, :4].tolist() == [0, 0, 1, 1]
    assert columns[0, :4].tolist() == [0, 1, 0, 1]


def test_time_major_tokens_come_column_by_column_with_their_padding_at_the_end():
    layout = TimeMajorLayout(num_prefix=1, rows=2, columns=3, column_counts=torch.tensor([2, 3]))
    packed = layout.pack(numbered(2, 2, 3))[..., 0]
    assert packed[0].tolist() == [0, 100, 1, 101, 0, 0]
    assert packed[1].tolist() == [0, 100, 1, 101, 2, 102]
    rows, columns = layout.coordinates(torch.device("cpu"))
    assert (100 * rows + columns)[0].tolist() == packed[1].tolist()
    mask = layout.attention_mask(torch.device("cpu"))
    assert mask[0, 0, 0].tolist() == [True] * 5 + [False] * 2


def test_time_major_unpack_is_the_inverse_of_pack():
    layout = TimeMajorLayout(num_prefix=0, rows=3, columns=5, column_counts=torch.tensor([1, 5]))
    grid = torch.randn(2, 3, 5, 4)
    expected = grid.clone()
    expected[0, :, 1:] = 0
    assert torch.equal(layout.unpack(layout.pack(grid)), expected)
    assert torch.equal(layout.unpack(torch.ones(2, 15, 4)), (expected != 0).float())
    whole = dataclasses.replace(layout, column_counts=None)
    assert torch.equal(whole.unpack(whole.pack(grid)), grid)


def test_some_time_major_tokens_find_their_places():
    layout = TimeMajorLayout(num_prefix=0, rows=2, columns=3, column_counts=None)
    some = dataclasses.replace(layout, visible_ids=torch.tensor([[1, 4, -1]]))
    grid = numbered(1, 2, 3) + 7
    tokens = some.pack(grid)
    assert tokens[0, :, 0].tolist() == [107, 9, 0]
    assert some.unpack(tokens)[0, ..., 0].tolist() == [[0, 0, 9], [107, 0, 0]]
