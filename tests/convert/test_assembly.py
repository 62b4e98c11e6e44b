"""The rules that all readers share."""

import pytest

from auricle import models
from auricle.convert.assembly import mlp_ratio

ROUNDED_DOWN = [(49, 8), (103, 15), (161, 16)]  # int(width * (hidden / width)) is hidden - 1


@pytest.mark.parametrize("width", [1, 3, 7, 48, 49, 97, 103, 161, 192, 767, 768])
def test_a_ratio_gives_exactly_the_units_it_was_made_of(width):
    for hidden in range(1, 5 * width + 2):
        assert int(width * mlp_ratio(width, hidden)) == hidden


@pytest.mark.parametrize(("width", "hidden"), ROUNDED_DOWN)
def test_an_odd_width_gives_the_model_its_units(width, hidden):
    assert int(width * (hidden / width)) == hidden - 1  # so a plain quotient would lose one
    settings = {"width": width, "depth": 1, "num_heads": 1, "mlp_ratio": mlp_ratio(width, hidden)}
    model = models.build("ast", {**settings, "num_classes": 0, "max_frames": 16})
    assert model.encoder.blocks[0].mlp.expand.out_features == hidden
