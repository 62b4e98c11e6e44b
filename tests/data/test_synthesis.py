"""Sound from random synthesisers."""

import pytest
import torch

from auricle.data.synthesis import ENVELOPES, SOURCES, synthesise


@pytest.mark.parametrize("samples", [1, 7, 800, 32_000])
def test_any_length_gives_a_finite_sound_of_moderate_level(samples):
    for seed in range(20):
        torch.manual_seed(seed)
        sound = synthesise(samples, 32_000)
        assert sound.shape == (samples,)
        assert sound.isfinite().all()
        assert sound.square().mean().sqrt() <= 10 ** (-10 / 20) + 1e-6


def test_the_seed_gives_the_sound_and_another_one_another():
    sounds = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        sounds.append(synthesise(8000, 16_000))
    assert torch.equal(sounds[0], sounds[1])
    assert not torch.allclose(sounds[0], sounds[2])


def test_sounds_are_of_many_kinds():
    """Their spectral centroids and the share of time in which they sound are spread widely."""
    torch.manual_seed(0)
    centroids, crests = [], []
    for _ in range(60):
        sound = synthesise(16_000, 16_000)
        power = torch.fft.rfft(sound).abs().square()
        centroids.append((power * torch.arange(len(power))).sum() / power.sum())
        crests.append(sound.abs().max() / sound.square().mean().sqrt())
    assert torch.stack(centroids).quantile(0.9) > 5 * torch.stack(centroids).quantile(0.1)
    assert torch.stack(crests).quantile(0.9) > 3 * torch.stack(crests).quantile(0.1)


@pytest.mark.parametrize("part", [*dict.fromkeys(SOURCES), *dict.fromkeys(ENVELOPES)])
def test_every_part_works_at_every_rate_and_length(part):
    torch.manual_seed(0)
    for samples, rate in ((1, 8000), (50, 16_000), (5000, 48_000)):
        assert part(samples, rate).isfinite().all()
