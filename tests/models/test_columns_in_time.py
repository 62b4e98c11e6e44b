"""Embeddings over time: each model's columns, of which its embedding is the mean."""

import pytest
import torch

from auricle import models

SMALL = {"num_classes": 3, "num_mels": 32, "max_frames": 200}
TRANSFORMER = {**SMALL, "width": 16, "depth": 1, "num_heads": 2, "readout": "patch_mean"}
WITH_COLUMNS = {
    "ast": {**TRANSFORMER, "patch": (16, 8), "stride": (8, 4)},
    "asda": {**TRANSFORMER, "patch": (16, 8)},
    "ced": {**TRANSFORMER, "patch": (16, 8)},
    "ham_ast": {**TRANSFORMER, "patch": (32, 8), "stride": (32, 8), "stem": (4, 8)},
    "mobilenet": {**SMALL, "width": 0.1},
}


@pytest.fixture(params=WITH_COLUMNS)
def model(request):
    torch.manual_seed(0)
    return models.build(request.param, WITH_COLUMNS[request.param]).eval()


def test_the_embedding_is_the_mean_of_the_columns_of_each_clip(model):
    features, counts = torch.randn(3, 150, 32), torch.tensor([150, 97, 40])
    columns = model.embed_columns(features, counts)
    assert columns.valid().sum(dim=1).tolist() == columns.counts.tolist()
    torch.testing.assert_close(columns.mean(), model.embed(features, counts), atol=1e-5, rtol=1e-5)
    whole = model.embed_columns(features)
    torch.testing.assert_close(whole.mean(), model.embed(features), atol=1e-5, rtol=1e-5)
    assert model.classify(whole.values).shape == (*whole.values.shape[:2], 3)


def test_columns_are_where_the_grid_says(model):
    """The frames that a column in the middle depends on lie around its place, on average."""
    first, step = model.column_grid
    features = torch.randn(8, 193, 32, requires_grad=True)
    columns = model.embed_columns(features).values
    middle = columns.shape[1] // 2
    columns[:, middle].square().sum().backward()
    influence = features.grad.square().sum(dim=(0, 2))
    centre = (influence * torch.arange(193)).sum() / influence.sum()
    assert abs(centre - (first + step * middle)) < 6


def test_a_model_that_does_not_average_its_columns_has_none():
    settings = {**TRANSFORMER, "readout": "cls"}
    assert models.build("ast", settings).column_grid is None
    assert models.build("ast", {**TRANSFORMER, "patchout": 0.5}).column_grid is None
    multiscale = {**SMALL, "num_mels": 128, "width": 8, "depths": [1, 1, 1, 1]}
    assert models.build("multiscale_ast", multiscale).column_grid is None
