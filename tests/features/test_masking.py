"""SpecAugment: what is hidden, how much, where, and what never is."""

import pytest
import torch
from torch import Tensor

from auricle import config
from auricle.errors import ConfigError
from auricle.features import SpecAugment, SpecAugmentConfig

FILL = -7.0


def hidden(
    frequency_mask: int, time_mask: int, frame_counts: list[int], shape: tuple[int, int]
) -> Tensor:
    """Which of all-ones features `(B, *shape)` a fresh SpecAugment hides."""
    masking = SpecAugment(
        SpecAugmentConfig(frequency_mask=frequency_mask, time_mask=time_mask), FILL
    )
    features = torch.ones(len(frame_counts), *shape)
    result = masking(features, torch.tensor(frame_counts))
    assert (features == 1).all(), "the input was changed"
    assert ((result == 1) | (result == FILL)).all()
    return result == FILL


def lengths_of_runs(rows: Tensor) -> list[int]:
    """How long each row's run of True is, after a check that there is only one."""
    starts = rows.int().diff(dim=1, prepend=torch.zeros(len(rows), 1, dtype=torch.int)) == 1
    assert (starts.sum(dim=1) <= 1).all()
    return rows.sum(dim=1).tolist()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_a_frequency_mask_is_one_band_narrower_than_asked():
    rows = hidden(8, 0, [50] * 2000, (50, 32))
    bands = rows.all(dim=1)
    assert torch.equal(rows, bands[:, None].expand_as(rows))
    assert set(lengths_of_runs(bands)) == set(range(8))


def test_a_time_mask_is_one_stretch_narrower_than_asked():
    rows = hidden(0, 8, [50] * 2000, (50, 32))
    stretches = rows.all(dim=2)
    assert torch.equal(rows, stretches[:, :, None].expand_as(rows))
    assert set(lengths_of_runs(stretches)) == set(range(8))


def test_widths_are_uniform_and_places_reach_both_ends():
    bands = hidden(8, 0, [4] * 8000, (4, 32)).all(dim=1)
    widths = torch.tensor(lengths_of_runs(bands))
    shares = widths.bincount(minlength=8) / len(widths)
    assert shares.tolist() == pytest.approx([1 / 8] * 8, abs=0.02)
    assert bands[:, 0].any()
    assert bands[:, -1].any()


def test_a_mask_wider_than_the_features_is_as_wide_as_they_are():
    bands = hidden(500, 0, [4] * 500, (4, 16)).all(dim=1)
    assert set(lengths_of_runs(bands)) == set(range(16))


def test_a_time_mask_hides_less_than_half_of_a_short_clip():
    frame_counts = [1, 2, 3, 10, 40] * 400
    stretches = hidden(0, 192, frame_counts, (40, 4)).all(dim=2)
    widths = torch.tensor(lengths_of_runs(stretches)).view(-1, 5).amax(dim=0)
    assert widths.tolist() == [0, 0, 0, 4, 19]


def test_a_time_mask_stays_among_the_true_frames():
    stretches = hidden(0, 20, [25] * 2000, (40, 4)).all(dim=2)
    assert stretches[:, 24].any()
    assert not stretches[:, 25:].any()


def test_clips_of_a_batch_get_masks_of_their_own():
    rows = hidden(16, 20, [40] * 8, (40, 32))
    assert len({row.numpy().tobytes() for row in rows}) == 8


def test_the_same_seed_gives_the_same_masks():
    first = hidden(16, 20, [40] * 8, (40, 32))
    torch.manual_seed(0)
    assert torch.equal(hidden(16, 20, [40] * 8, (40, 32)), first)


def test_masks_are_filled_as_padding_or_with_the_mean():
    for fill, value in (("padding", FILL), ("mean", 0.0)):
        masking = SpecAugment(SpecAugmentConfig(time_mask=40, fill=fill), FILL)
        result = masking(torch.ones(8, 100, 16), torch.full((8,), 100))
        assert set(result.unique().tolist()) == {1.0, value}


def test_nothing_is_hidden_by_default_or_in_eval_mode():
    assert not hidden(0, 0, [40] * 8, (40, 32)).any()
    features = torch.ones(2, 40, 32)
    masking = SpecAugment(SpecAugmentConfig(frequency_mask=16, time_mask=20), FILL).eval()
    assert masking(features, torch.tensor([40, 40])) is features


def test_the_gradient_passes_where_nothing_is_hidden():
    features = torch.ones(4, 40, 32, requires_grad=True)
    masking = SpecAugment(SpecAugmentConfig(frequency_mask=16, time_mask=20), FILL)
    result = masking(features, torch.full((4,), 40))
    result.sum().backward()
    assert torch.equal(features.grad, (result != FILL).float())


@pytest.mark.parametrize("key", ["frequency_mask", "time_mask"])
def test_a_negative_mask_is_refused(key):
    with pytest.raises(ConfigError) as error:
        config.from_dict(SpecAugmentConfig, {key: -1}, "recipe.yaml")
    expected = f"recipe.yaml: {key}: Input should be greater than or equal to 0, got -1."
    assert str(error.value) == expected
