"""Scenes: who is in them, where and how loud."""

import pytest
import torch

from auricle.config import from_dict
from auricle.data import Overlap, OverlapConfig
from auricle.errors import ConfigError


def clicks(size=6, samples=400):
    """Clips that are one constant each: a scene tells who is in it, and since when."""
    lengths = torch.randint(20, 100, (size,), generator=torch.Generator().manual_seed(0))
    waveforms = torch.zeros(size, samples)
    for index, length in enumerate(lengths.tolist()):
        waveforms[index, :length] = 1.0 + index
    return waveforms, lengths


@pytest.mark.parametrize("seed", range(5))
def test_a_scene_is_a_sum_of_whole_clips_at_their_places(seed):
    torch.manual_seed(seed)
    waveforms, lengths = clicks()
    settings = OverlapConfig(rate=1.0, most=1, level_db=(0.0, 0.0))
    scenes, ends = Overlap(settings, 16_000)(waveforms, lengths)
    for index, scene in enumerate(scenes):
        # Both clips are brought to the power of the first, so each sample is 0, 1 or 2 times it.
        levels = (scene / (1.0 + index)).round(decimals=3).unique().tolist()
        assert set(levels) <= {0.0, 1.0, 2.0}
        energy = (scene / (1.0 + index)).sum()
        others = energy - lengths[index]
        assert others.round().int() in lengths.int()
        sounding = scene.nonzero()[:, 0]
        assert sounding.max() + 1 == ends[index] >= lengths[index]
        assert not scene[ends[index] :].any()


def test_levels_follow_the_settings():
    torch.manual_seed(0)
    waveforms, lengths = clicks(size=2, samples=100_000)  # room enough not to meet
    settings = OverlapConfig(rate=1.0, most=1, level_db=(-20.0, -20.0))
    scenes, _ = Overlap(settings, 16_000)(waveforms, lengths)
    for index, scene in enumerate(scenes):
        found = (scene / (1.0 + index)).round(decimals=3).unique().tolist()
        assert found == pytest.approx([0.0, 0.1, 1.0])


def test_a_silent_clip_is_joined_by_others_as_they_are():
    torch.manual_seed(1)
    waveforms, lengths = clicks(size=2)
    waveforms[0] = 0.0
    scenes, _ = Overlap(OverlapConfig(rate=1.0, most=3), 16_000)(waveforms, lengths)
    assert scenes.isfinite().all()
    assert set(scenes[0].unique().tolist()) <= {0.0, 2.0, 4.0, 6.0}


def test_only_a_share_of_the_clips_becomes_scenes():
    torch.manual_seed(0)
    waveforms, lengths = clicks(size=200)
    scenes, ends = Overlap(OverlapConfig(rate=0.3), 16_000)(waveforms, lengths)
    same = (scenes == waveforms).all(dim=1)
    assert 0.6 < same.float().mean() < 0.8
    assert torch.equal(ends[same], lengths[same])


def test_the_input_and_evaluation_are_left_alone():
    waveforms, lengths = clicks()
    before = waveforms.clone()
    Overlap(OverlapConfig(rate=1.0), 16_000)(waveforms, lengths)
    assert torch.equal(waveforms, before)
    assert Overlap(OverlapConfig(rate=1.0), 16_000).eval()(waveforms, lengths) == (
        waveforms,
        lengths,
    )


def test_levels_out_of_order_are_refused():
    with pytest.raises(ConfigError) as caught:
        from_dict(OverlapConfig, {"level_db": [5, -5]}, "recipe")
    assert str(caught.value) == "recipe: level_db: expected [lowest, highest], got [5, -5]."


def test_spliced_scenes_are_made_of_pieces_of_the_batch_and_no_longer_than_before():
    torch.manual_seed(0)
    levels = torch.arange(1.0, 5.0)[:, None]
    waveforms, lengths = levels.expand(4, 8000).clone(), torch.tensor([8000, 8000, 4000, 8000])
    waveforms[2, 4000:] = 0
    settings = OverlapConfig(splice_rate=1.0, piece_seconds=(0.05, 0.2))
    scenes, ends = Overlap(settings, 16_000)(waveforms, lengths)
    assert torch.equal(ends, lengths)
    assert not scenes[2, 4000:].any()
    plateaus = scenes.round(decimals=4).unique()
    assert set(levels[:, 0].tolist()) <= set(plateaus.tolist())
    assert any(len({1.0, 2.0, 3.0, 4.0} & set(scene.tolist())) > 1 for scene in scenes)


def test_a_share_of_the_clips_is_replaced_by_a_synthesiser():
    torch.manual_seed(0)
    waveforms, lengths = torch.zeros(60, 4000), torch.full((60,), 3000)
    scenes, _ = Overlap(OverlapConfig(synthesis_rate=0.3), 16_000)(waveforms, lengths)
    replaced = scenes.abs().amax(dim=1) > 0
    assert 10 <= replaced.sum() <= 26
    assert not scenes[:, 3000:].any()


def test_other_settings_draw_nothing():
    torch.manual_seed(0)
    waveforms, lengths = torch.randn(4, 100), torch.full((4,), 100)
    before = torch.get_rng_state()
    scenes, _ = Overlap(OverlapConfig(), 16_000)(waveforms, lengths)
    assert scenes is waveforms
    assert torch.equal(torch.get_rng_state(), before)
