"""Patches and positions: the exact grids, cuts and interpolations of the spec."""

import pytest
import torch
from torch.nn import functional as F

from auricle.models import adapt_positions
from auricle.models.patches import PatchEmbedding, grid_length


@pytest.mark.parametrize(
    ("stride", "frames", "expected"),
    [
        (10, 1024, (12, 101)),
        (10, 512, (12, 50)),
        (10, 128, (12, 12)),
        (12, 1024, (10, 85)),
        (14, 1024, (9, 73)),
        (16, 1024, (8, 64)),
        (16, 128, (8, 8)),
    ],
)
def test_the_grid_has_the_published_size(stride, frames, expected):
    assert (grid_length(128, 16, stride), grid_length(frames, 16, stride)) == expected


def test_a_length_below_one_patch_holds_none():
    assert grid_length(15, 16, 10) == 0


@pytest.mark.parametrize("stem_depth", [1, 2])
@pytest.mark.parametrize("frames", [16, 17, 22, 24])
def test_a_stem_leaves_the_grid_as_it_is(frames, stem_depth):
    plain = PatchEmbedding(2, patch=(16, 8), stride=(8, 4))
    behind_stem = PatchEmbedding(
        2, patch=(16, 8), stride=(8, 4), stem=(3, 5), stem_depth=stem_depth
    )
    features = torch.randn(1, frames, 32)
    assert behind_stem(features).shape == plain(features).shape


@pytest.mark.parametrize(("stem_depth", "first"), [(1, 13), (2, 5)])
def test_a_patch_behind_a_stem_depends_on_its_own_time_and_a_little_before_it(stem_depth, first):
    """Each convolution reaches one cell back beyond the two that it makes one: 1 + 2 frames.

    A further one at the second size reaches two cells of four frames back.
    """
    embedding = PatchEmbedding(1, patch=(16, 8), stride=(16, 8), stem=(3, 5), stem_depth=stem_depth)
    features = torch.randn(1, 40, 16, requires_grad=True)
    embedding(features)[0, 0, 2, 0].backward()  # frames 16 to 23
    read = features.grad[0].abs().sum(dim=1).nonzero().flatten().tolist()
    assert read == list(range(first, 24))


def test_rows_run_over_frequency_and_columns_over_time():
    embedding = PatchEmbedding(1, patch=(2, 3), stride=(2, 3))
    torch.nn.init.ones_(embedding.projection.weight)
    torch.nn.init.zeros_(embedding.projection.bias)
    features = torch.zeros(1, 9, 8)  # (B, T, M)
    features[0, 3:6, 6:8] = 1.0  # second step in time, last in frequency
    grid = embedding(features)[0, :, :, 0]
    assert grid.shape == (4, 3)
    assert grid[3, 1] == 6
    assert grid.sum() == 6


def numbered_grid(rows, columns):
    """A grid whose vector holds its own row and column."""
    row, column = torch.meshgrid(
        torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij"
    )
    return torch.stack([row, column], dim=-1)


@pytest.mark.parametrize(
    ("source", "target", "first_row", "first_column"),
    [
        ((24, 24), (12, 12), 6, 6),  # ImageNet at 384 to Speech Commands
        ((24, 24), (8, 24), 8, 0),
        ((14, 14), (12, 12), 1, 1),  # ImageNet at 224
        ((12, 101), (12, 50), 0, 25),  # AudioSet to ESC-50
        ((12, 101), (12, 12), 0, 44),  # AudioSet to Speech Commands
        ((12, 101), (8, 101), 2, 0),
    ],
)
def test_shorter_axes_are_cut_out_of_the_middle(source, target, first_row, first_column):
    adapted = adapt_positions(numbered_grid(*source), *target)
    assert adapted.shape == (*target, 2)
    assert adapted[0, 0].tolist() == [first_row, first_column]
    assert adapted[-1, -1].tolist() == [first_row + target[0] - 1, first_column + target[1] - 1]


def test_imagenet_to_audioset_interpolates_time_and_then_cuts_rows():
    grid = torch.randn(24, 24, 5, generator=torch.Generator().manual_seed(0))
    image = grid.permute(2, 0, 1)[None]
    expected = F.interpolate(image, size=(24, 101), mode="bilinear")[0, :, 6:18].permute(1, 2, 0)
    torch.testing.assert_close(adapt_positions(grid, 12, 101), expected, rtol=0, atol=0)


def test_more_rows_are_interpolated():
    grid = torch.randn(12, 10, 3, generator=torch.Generator().manual_seed(0))
    image = grid.permute(2, 0, 1)[None]
    expected = F.interpolate(image, size=(16, 10), mode="bilinear")[0].permute(1, 2, 0)
    torch.testing.assert_close(adapt_positions(grid, 16, 10), expected, rtol=0, atol=0)


def test_the_same_grid_stays_as_it_is():
    grid = torch.randn(12, 101, 4)
    assert torch.equal(adapt_positions(grid, 12, 101), grid)
