"""The batched resampler, against soxr and against what it must not hear."""

import pytest
import soxr
import torch

from auricle.data import Resampler

RATES = [(32_000, 16_000), (16_000, 32_000), (44_100, 16_000), (32_000, 8_000)]


def tones(rate, seconds=1.0):
    """Tones up to 3 kHz, which every rate here holds."""
    time = torch.arange(int(rate * seconds)) / rate
    return sum(torch.sin(2 * torch.pi * hz * time + hz) for hz in (100.0, 440.0, 3000.0)) / 3


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_it_agrees_with_soxr(from_rate, to_rate):
    waveform = tones(from_rate)
    [ours], [length] = Resampler(from_rate, to_rate)(waveform[None], torch.tensor([len(waveform)]))
    theirs = torch.from_numpy(soxr.resample(waveform.double().numpy(), from_rate, to_rate)).float()
    assert len(ours) == length == len(theirs)
    edge = to_rate // 50  # where either ends the clip in its own way
    torch.testing.assert_close(ours[edge:-edge], theirs[edge:-edge], atol=1e-3, rtol=0)


def test_what_the_new_rate_cannot_hold_is_gone():
    time = torch.arange(32_000, dtype=torch.float64) / 32_000
    waveform = torch.sin(2 * torch.pi * 10_000 * time).float()
    [heard], _ = Resampler(32_000, 16_000)(waveform[None], torch.tensor([32_000]))
    assert heard[500:-500].abs().max() < 3e-4


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_clip_does_not_depend_on_its_batch(from_rate, to_rate):
    waveforms = torch.stack([tones(from_rate), torch.randn(from_rate)])
    lengths = torch.tensor([from_rate // 3 + 1, from_rate])
    resampler = Resampler(from_rate, to_rate)
    together, counts = resampler(waveforms, lengths)
    alone, [count] = resampler(waveforms[:1, : lengths[0]], lengths[:1])
    assert count == counts[0] == -(-int(lengths[0]) * to_rate // from_rate)
    torch.testing.assert_close(together[:1, :count], alone)
    assert not together[0, count:].any()


def test_the_same_rate_changes_nothing():
    waveforms, lengths = torch.randn(2, 50), torch.tensor([20, 50])
    assert Resampler(16_000, 16_000)(waveforms, lengths) == (waveforms, lengths)
