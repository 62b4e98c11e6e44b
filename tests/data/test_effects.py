"""Speed, rooms and filters: what each does to sounds whose answer is known."""

import pytest
import torch

from auricle.data import Augmentation, AugmentationConfig, effects

RATE = 8000
LENGTHS = torch.tensor([8000, 5000, 1])


def clips():
    waveforms = torch.randn(3, 8000, generator=torch.Generator().manual_seed(0))
    return waveforms * (torch.arange(8000) < LENGTHS[:, None])


def band_power(waveform, lowest, highest):
    spectrum = torch.fft.rfft(waveform).abs().square()
    frequencies = torch.fft.rfftfreq(len(waveform), 1 / RATE)
    return spectrum[(frequencies >= lowest) & (frequencies < highest)].mean()


@pytest.mark.parametrize("seed", range(1, 5))
def test_speed_changes_pitch_and_length_together(seed):
    torch.manual_seed(seed)
    tone = torch.sin(2 * torch.pi * 500 * torch.arange(8000) / RATE)
    waveforms, lengths = torch.zeros(1, 20_000), torch.tensor([8000])
    waveforms[0, :8000] = tone
    played, [count] = effects.change_speed(waveforms, lengths, 1.8)
    factor = 8000 / int(count)
    assert 1 / 1.8 <= factor <= 1.8
    assert abs(factor - 1) > 0.02  # seeds that show something
    assert not played[0, count:].any()
    heard = torch.fft.rfft(played[0, :count]).abs().argmax() * RATE / int(count)
    assert heard == pytest.approx(500 * factor, rel=0.01)


def test_what_becomes_longer_than_the_batch_is_cut():
    torch.manual_seed(1)
    waveforms = torch.ones(8, 1000)
    played, counts = effects.change_speed(waveforms, torch.full((8,), 1000), 2.0)
    assert played.shape == (8, 1000)
    assert counts.max() == 1000
    assert counts.min() < 900


def test_a_room_sounds_on_after_the_sound():
    torch.manual_seed(0)
    click = torch.zeros(1, 8000)
    click[0, 1000] = 1.0
    heard = effects.reverberate(click, torch.tensor([8000]), RATE)
    assert heard[0, :999].abs().max() < 1e-5  # nothing before its cause
    early, late = (heard[0, start : start + 500].square().mean() for start in (1010, 5000))
    assert early > 100 * late
    assert heard.square().sum() == pytest.approx(1.0, rel=1e-4)


def test_a_filter_changes_the_bands_and_not_the_loudness():
    torch.manual_seed(0)
    waveforms = torch.randn(16, 8000)
    lengths = torch.full((16,), 8000)
    heard = effects.equalise(waveforms, lengths, RATE, 12.0)
    torch.testing.assert_close(
        effects.power(heard, lengths), effects.power(waveforms, lengths), rtol=1e-3, atol=0
    )
    tilts = [band_power(w, 2000, 4000) / band_power(w, 0, 500) for w in heard]
    assert max(tilts) > 4 * min(tilts)


def test_some_filters_are_those_of_a_telephone():
    torch.manual_seed(0)
    waveforms, lengths = torch.randn(64, 8000), torch.full((64,), 8000)
    heard = effects.equalise(waveforms, lengths, RATE, 0.0)
    narrow = [band_power(w, 0, 150) < 0.01 * band_power(w, 500, 3000) for w in heard]
    assert 1 <= sum(narrow) <= 20  # one in twelve, by the table of bands


@pytest.mark.parametrize(
    "effect",
    [
        lambda w, n: effects.reverberate(w, n, RATE),
        lambda w, n: effects.equalise(w, n, RATE, 12.0),
    ],
)
def test_nothing_sounds_beyond_the_end_of_a_clip(effect):
    torch.manual_seed(0)
    heard = effect(clips(), LENGTHS)
    assert heard.isfinite().all()
    assert not heard[torch.arange(8000) >= LENGTHS[:, None]].any()


def test_silence_stays_silent():
    silence, lengths = torch.zeros(2, 8000), torch.tensor([8000, 10])
    settings = AugmentationConfig(
        speed=1.5, reverberation_rate=1.0, filter_rate=1.0, noise_rate=1.0, gain_db=6.0
    )
    heard, _ = Augmentation(settings, RATE)(silence, lengths)
    assert not heard.any()


def test_only_the_share_of_clips_that_the_rate_says_is_changed():
    torch.manual_seed(0)
    waveforms, lengths = torch.randn(200, 400), torch.full((200,), 400)
    settings = AugmentationConfig(reverberation_rate=0.25)
    heard, _ = Augmentation(settings, RATE)(waveforms, lengths)
    changed = (heard != waveforms).any(dim=1).float().mean()
    assert 0.15 < changed < 0.35


def test_the_new_length_reaches_what_follows():
    torch.manual_seed(3)
    waveforms, lengths = torch.randn(8, 1000), torch.full((8,), 500)
    waveforms[:, 500:] = 0
    settings = AugmentationConfig(speed=2.0, shift_seconds=0.05, noise_rate=1.0)
    heard, counts = Augmentation(settings, RATE)(waveforms, lengths)
    assert len(set(counts.tolist())) > 1
    assert not heard[torch.arange(1000) >= counts[:, None]].any()
    for clip, count in zip(heard, counts.tolist(), strict=True):
        assert clip[:count].abs().mean() > 0.3  # noise throughout, to the new end


def test_backwards_twice_is_forwards():
    waveforms = clips()
    once = effects.reverse(waveforms, LENGTHS)
    assert torch.equal(once[1, :5000], waveforms[1, :5000].flip(0))
    assert not once[1, 5000:].any()
    assert torch.equal(effects.reverse(once, LENGTHS), waveforms)


def test_a_texture_is_other_noise_of_the_same_colour_and_loudness():
    torch.manual_seed(1)
    waveforms = clips()
    low = torch.fft.rfft(waveforms[:2])
    low[:, 1000:] = 0  # below 1000 Hz
    waveforms[:2] = torch.fft.irfft(low, 8000) * (torch.arange(8000) < LENGTHS[:2, None])
    textures = effects.as_textures(waveforms, LENGTHS)
    for texture, waveform in zip(textures[:2], waveforms[:2], strict=True):
        torch.testing.assert_close(texture.square().mean(), waveform.square().mean())
        assert band_power(texture, 100, 900) > 30 * band_power(texture, 1500, 4000)
        similarity = torch.nn.functional.cosine_similarity(texture, waveform, dim=0)
        assert abs(similarity) < 0.1
    assert not textures[1, 5000:].any()
    assert effects.as_textures(waveforms[:, :9], torch.full((3,), 9)).isfinite().all()


def test_a_measured_room_is_a_convolution_with_it():
    torch.manual_seed(0)
    waveforms = torch.zeros(2, 8000)
    waveforms[:, 10] = 1.0
    response = torch.zeros(100)
    response[0], response[40] = 1.0, 0.5
    changed = effects.reverberate(waveforms, torch.tensor([8000, 30]), RATE, [response])
    expected = torch.zeros(8000)
    expected[10], expected[50] = 1.0, 0.5
    torch.testing.assert_close(changed[0], expected / 1.25**0.5, atol=1e-6, rtol=0)
    assert changed[1, 10] == pytest.approx(1.0)  # the echo comes after the clip's end
    assert not changed[1, 30:].any()
