"""Augmentation: each kind alone, and what all of them must leave alone."""

import pytest
import soundfile
import torch

from auricle.config import from_dict
from auricle.data import Augmentation, AugmentationConfig
from auricle.data.augmentation import pink
from auricle.errors import ConfigError

SAMPLE_RATE = 1000
LENGTHS = torch.tensor([400, 1000, 1, 700])
ALL = AugmentationConfig(gain_db=6.0, shift_seconds=0.2, noise_rate=1.0)


def noise_clips(size=4, samples=1000):
    return torch.randn(size, samples, generator=torch.Generator().manual_seed(0))


def apply(waveforms, lengths, seed=0, **settings):
    torch.manual_seed(seed)
    changed, new_lengths = Augmentation(AugmentationConfig(**settings), SAMPLE_RATE)(
        waveforms, lengths
    )
    assert torch.equal(new_lengths, lengths)
    return changed


def full(waveforms):
    return torch.full((len(waveforms),), waveforms.shape[1])


@pytest.mark.parametrize(
    "settings", [{"gain_db": 6.0}, {"shift_seconds": 0.2}, {"noise_rate": 1.0}, ALL.to_dict()]
)
def test_padding_is_not_touched(settings):
    settings = dict(settings, noise_snr_db=(0.0, 10.0))
    waveforms = noise_clips()  # not zero beyond the lengths, so that any change would show
    changed = apply(waveforms, LENGTHS, **settings)
    beyond = torch.arange(1000) >= LENGTHS[:, None]
    assert torch.equal(changed[beyond], waveforms[beyond])
    assert not torch.equal(changed[0, :400], waveforms[0, :400])


def test_padding_does_not_reach_into_a_clip():
    """Nothing that stands beyond a clip's length may change what stands within."""
    waveforms = noise_clips()
    silent = waveforms * (torch.arange(1000) < LENGTHS[:, None])
    changed, from_silent = (
        apply(w, LENGTHS, **ALL.to_dict() | {"noise_snr_db": (0.0, 10.0)})
        for w in (waveforms, silent)
    )
    inside = torch.arange(1000) < LENGTHS[:, None]
    torch.testing.assert_close(changed[inside], from_silent[inside])


def test_evaluation_and_default_settings_change_nothing():
    waveforms = noise_clips()
    assert Augmentation(ALL, SAMPLE_RATE).eval()(waveforms, LENGTHS) == (waveforms, LENGTHS)
    assert apply(waveforms, LENGTHS) is waveforms


def test_the_input_is_left_as_it_was():
    waveforms = noise_clips()
    before = waveforms.clone()
    apply(waveforms, LENGTHS, gain_db=6.0, shift_seconds=0.2, noise_rate=1.0)
    assert torch.equal(waveforms, before)


def test_gain_is_one_factor_a_clip_within_bounds():
    waveforms = noise_clips(size=500, samples=10)
    factors = apply(waveforms, full(waveforms), gain_db=6.0) / waveforms
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    gain_db = 20 * factors[:, 0].log10()
    assert gain_db.min() < -5.5 and gain_db.max() > 5.5
    assert gain_db.abs().max() <= 6.0 + 1e-4


def test_gain_is_the_same_for_a_number_and_both_its_bounds():
    waveforms = noise_clips(size=3, samples=10)
    found = [apply(waveforms, full(waveforms), gain_db=gain) for gain in (6.0, 6, [-6.0, 6.0])]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0)


def test_gain_may_be_for_softer_clips_alone():
    waveforms = noise_clips(size=500, samples=10)
    factors = apply(waveforms, full(waveforms), gain_db=[-40.0, -20.0]) / waveforms
    gain_db = 20 * factors[:, 0].log10()
    assert -40 - 1e-4 <= gain_db.min() < -39 and -21 < gain_db.max() <= -20 + 1e-4


def test_shift_rolls_within_the_true_length():
    waveforms = torch.arange(1000.0).expand(200, 1000)
    lengths = torch.full((200,), 400)
    shifted = apply(waveforms, lengths, shift_seconds=0.05)
    shifts = (-shifted[:, 0]).long() % 400
    shifts = torch.where(shifts >= 200, shifts - 400, shifts)
    for row, shift in zip(shifted, shifts.tolist(), strict=True):
        assert torch.equal(row[:400], torch.arange(400.0).roll(shift))
    assert shifts.min() < -40 and shifts.max() > 40
    assert shifts.abs().max() <= 50


@pytest.mark.parametrize("snr_db", [0.0, 20.0])
def test_noise_has_the_wanted_level(snr_db):
    waveforms = noise_clips(size=8) * torch.logspace(-3, 0, 8)[:, None]
    lengths = torch.full((8,), 600)
    added = apply(waveforms, lengths, noise_rate=1.0, noise_snr_db=(snr_db, snr_db)) - waveforms
    ratio = waveforms[:, :600].square().mean(1) / added[:, :600].square().mean(1)
    torch.testing.assert_close(10 * ratio.log10(), torch.full((8,), snr_db), atol=0.02, rtol=0)


def test_the_noise_rate_is_the_share_of_noisy_clips():
    waveforms = noise_clips(size=500, samples=10)
    noisy = (apply(waveforms, full(waveforms), noise_rate=0.2) != waveforms).any(dim=1)
    assert 0.15 < noisy.float().mean() < 0.25


def test_silence_stays_silent():
    assert not apply(torch.zeros(4, 1000), LENGTHS, noise_rate=1.0, gain_db=6.0).any()


def test_pink_noise_loses_three_decibels_an_octave():
    power = torch.fft.rfft(pink(noise_clips(size=50, samples=4096))).abs().square().mean(dim=0)
    octaves = torch.stack([power[2**k : 2 ** (k + 1)].mean() for k in range(4, 11)])
    falls = 10 * (octaves[1:] / octaves[:-1]).log10()
    torch.testing.assert_close(falls, torch.full((6,), -3.01), atol=0.6, rtol=0)


def test_noise_is_white_in_some_clips_and_pink_in_others():
    waveforms = torch.zeros(100, 4096)
    waveforms[:, ::2], waveforms[:, 1::2] = 1, -1  # at half the sample rate alone
    added = apply(waveforms, full(waveforms), noise_rate=1.0) - waveforms
    power = torch.fft.rfft(added).abs().square()
    lowest = power[:, :100].sum(dim=1) / power.sum(dim=1)  # white: 5 %, pink: 60 %
    assert 35 < (lowest > 0.3).sum() < 65


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gain_db": -1}, "gain_db: Input should be greater than or equal to 0, got -1."),
        ({"gain_db": [10, -30]}, "gain_db: expected [lowest, highest], got [10, -30]."),
        (
            {"shift_seconds": -0.1},
            "shift_seconds: Input should be greater than or equal to 0, got -0.1.",
        ),
        ({"noise_rate": 1.5}, "noise_rate: Input should be less than or equal to 1, got 1.5."),
        (
            {"noise_snr_db": [30, 10]},
            "noise_snr_db: expected [lowest, highest], got [30, 10].",
        ),
        (
            {"noise": 1},
            "unknown key 'noise'. Did you mean 'noise_rate'? "
            "Known: filter_db, filter_rate, gain_db, impulse_responses, noise_rate, noise_snr_db, "
            "reverberation_rate, reversal_rate, shift_seconds, speed, texture_rate.",
        ),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(AugmentationConfig, values, "augmentation")
    assert str(caught.value) == f"augmentation: {message}"


def test_measured_rooms_are_read_from_their_folder(tmp_path):
    response = torch.zeros(300)
    response[100], response[150] = 1.0, 0.5
    soundfile.write(tmp_path / "hall.wav", response.numpy(), SAMPLE_RATE)
    settings = {"reverberation_rate": 1.0, "impulse_responses": str(tmp_path)}
    augmentation = Augmentation(AugmentationConfig(**settings), SAMPLE_RATE)
    [room] = augmentation.rooms
    assert room[0] == pytest.approx(1.0, abs=1e-3) and room[50] == pytest.approx(0.5, abs=1e-3)
    waveforms = noise_clips()
    changed = [augmentation(waveforms, full(waveforms))[0] for _ in range(4)]
    assert all(not torch.allclose(each, waveforms) for each in changed)


def test_rooms_that_are_not_there_are_named():
    with pytest.raises(ConfigError) as caught:
        Augmentation(AugmentationConfig(impulse_responses="nowhere"), SAMPLE_RATE)
    assert str(caught.value) == (
        "augmentation.impulse_responses: nowhere: does not exist. Check the path."
    )
