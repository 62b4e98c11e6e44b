"""Positions of initial weights: interpolated in either way, or new (AST's ablation)."""

import torch
from torch.nn import functional as F

from auricle import models

SMALL = {"num_classes": 3, "num_mels": 64, "width": 8, "depth": 1, "num_heads": 2}


def pair(source_frames=100, target_frames=200):
    torch.manual_seed(0)
    source = models.build("ast", {**SMALL, "max_frames": source_frames})
    return source, models.build("ast", {**SMALL, "max_frames": target_frames})


def test_nearest_repeats_positions_where_bilinear_mixes_them():
    source, target = pair()
    report = models.transfer(source, target, positions="nearest")
    old, new = source.positions.grid, target.positions.grid
    image = old.permute(2, 0, 1)[None]
    expected = F.interpolate(image, size=new.shape[:2], mode="nearest")[0].permute(1, 2, 0)
    assert torch.equal(new, expected)
    assert report.adapted == ("positions.grid",)
    bilinear = pair()[1]
    models.transfer(source, bilinear)
    assert not torch.equal(bilinear.positions.grid, new)


def test_reinitialised_positions_are_new_even_where_they_would_fit():
    source, target = pair(100, 100)
    before = [parameter.clone() for parameter in target.positions.parameters()]
    report = models.transfer(source, target, positions="reinitialised")
    after = list(target.positions.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert {"positions.grid", "positions.prefix"} <= set(report.fresh)
    assert torch.equal(target.patches.projection.weight, source.patches.projection.weight)


def test_what_is_cut_does_not_depend_on_the_interpolation():
    source, target = pair(200, 100)
    models.transfer(source, target)
    cut = target.positions.grid.clone()
    models.transfer(source, target, positions="nearest")
    assert torch.equal(target.positions.grid, cut)


def test_the_grid_of_an_image_is_adapted_once_to_the_model_that_starts_from_it():
    source, target = pair(200, 100)
    image = torch.randn(14, 14, 8)
    source.positions.register_buffer("image", image, persistent=False)
    models.transfer(source, target)
    rows, columns = target.positions.grid.shape[:2]
    assert torch.equal(target.positions.grid, models.adapt_positions(image, rows, columns))


def test_the_grid_of_an_image_is_taken_for_nearest_positions_of_the_same_size():
    source, target = pair(200, 200)
    image = torch.randn(4, 4, 8)
    source.positions.register_buffer("image", image, persistent=False)
    assert models.transfer(source, target).adapted == ()
    models.transfer(source, target, positions="nearest")
    rows, columns = target.positions.grid.shape[:2]
    nearest = models.adapt_positions(image, rows, columns, "nearest")
    assert torch.equal(target.positions.grid, nearest)
