"""Channels are mixed, chosen, and not lost where they cancel."""

import io

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.errors import AudioError, AudioWarning

RATE = 16_000


def named(content: bytes) -> io.BytesIO:
    stream = io.BytesIO(content)
    stream.name = "a.wav"
    return stream


def load_with_warning(content: bytes) -> tuple[torch.Tensor, str]:
    with pytest.warns(AudioWarning) as caught:
        waveform = audio.load(named(content), RATE)
    assert len(caught) == 1
    return waveform, str(caught[0].message)


@pytest.mark.parametrize("shares", [(1, -1), (0.5, -0.51), (-1, 0.999), (1, 1, -2)])
def test_channels_that_cancel_give_the_loudest_with_a_warning(sine, encode, shares):
    samples = np.stack([share * sine(RATE) / 2 for share in shares], axis=1)
    waveform, message = load_with_warning(encode(samples, RATE, subtype="FLOAT"))
    loudest = int(np.abs(shares).argmax())
    np.testing.assert_allclose(waveform, samples[:, loudest], atol=1e-6)
    assert message == (
        f"a.wav: has channels that cancel in their mean. Where they do, channel {loudest + 1} is "
        "used alone. Choose one, or the mean, with --channel (in Python: "
        "auricle.audio.Selected(file, channel))."
    )


def test_one_channel_stands_for_cancelling_ones_throughout(encode, monkeypatch):
    """Of two that are about as loud, the louder one changes from piece to piece."""
    monkeypatch.setattr("auricle.audio.libsndfile.PIECE_VALUES", 2000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000)
    gain = 1 + 0.01 * np.sign(np.sin(np.arange(30_000) / 700))
    samples = np.stack([noise * gain, -noise], axis=1)
    waveform, _ = load_with_warning(encode(samples, RATE, subtype="FLOAT"))
    correlation = [
        np.corrcoef(part, whole)[0, 1]
        for part, whole in zip(np.split(waveform.numpy(), 30), np.split(noise, 30), strict=True)
    ]
    assert len(set(np.sign(correlation))) == 1


def test_only_where_channels_cancel_is_one_used(sine, encode, monkeypatch):
    monkeypatch.setattr("auricle.audio.libsndfile.PIECE_VALUES", 2000)
    same, opposite = sine(RATE), np.concatenate([sine(RATE)[:8000], -sine(RATE)[8000:]])
    samples = np.stack([same, 0.5 * opposite], axis=1)
    samples[8000:, 1] *= 2
    waveform, _ = load_with_warning(encode(samples, RATE, subtype="FLOAT"))
    np.testing.assert_allclose(waveform[:8000], 0.75 * same[:8000], atol=1e-6)
    np.testing.assert_allclose(waveform[8000:].abs(), np.abs(same[8000:]), atol=1e-6)


@pytest.mark.parametrize("channels", [2, 6, 64])
def test_channels_that_are_unrelated_silent_or_alone_are_mixed(encode, recwarn, channels):
    rng = np.random.default_rng(0)
    alone = np.zeros((RATE, channels))
    alone[:, -1] = rng.uniform(-0.5, 0.5, RATE)
    dither = np.repeat([[1e-5, -1e-5]], RATE, axis=0)
    for samples in (rng.uniform(-1, 1, (RATE, channels)), alone, np.zeros((RATE, 2)), dither):
        waveform = audio.load(encode(samples, RATE, subtype="FLOAT"), RATE)
        np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=1e-6)
    assert not recwarn.list


@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_a_channel_can_be_chosen(encode, recwarn, rate):
    samples = np.random.default_rng(0).uniform(-1, 1, (rate, 3))
    file = encode(samples, rate, "FLAC")
    for channel in (1, 2, 3):
        expected = audio.load(encode(samples[:, channel - 1], rate, "FLAC"), RATE)
        torch.testing.assert_close(audio.load(audio.Selected(file, channel), RATE), expected)
        blocks = audio.blocks(audio.Selected(file, channel), RATE, 0.3)
        torch.testing.assert_close(torch.cat(list(blocks)), expected)
        part = audio.load_part(audio.Selected(file, channel), RATE, 0.25, 0.5)
        torch.testing.assert_close(part[400:-400], expected[4400:11600], atol=1e-3, rtol=0)


def test_the_mean_can_be_asked_for(sine, encode, recwarn):
    samples = np.stack([sine(RATE), -sine(RATE)], axis=1)
    waveform = audio.load(audio.Selected(encode(samples, RATE, subtype="FLOAT"), "mix"), RATE)
    assert waveform.abs().max() == 0
    assert not recwarn.list


@pytest.mark.parametrize("channel", [0, 3, -1])
def test_a_channel_that_is_not_there_is_refused(encode, channel):
    with pytest.raises(AudioError) as caught:
        audio.load(audio.Selected(named(encode(np.zeros((100, 2)), RATE)), channel), RATE)
    assert str(caught.value) == (
        f"a.wav: has 2 channels, no channel {channel}. Give a number from 1 to 2, or mix."
    )


def test_the_only_channel_can_be_chosen(sine, encode):
    file = encode(sine(RATE), RATE)
    assert torch.equal(audio.load(audio.Selected(file, 1), RATE), audio.load(file, RATE))
    with pytest.raises(AudioError, match="has 1 channel, no channel 2"):
        audio.load(audio.Selected(file, 2), RATE)
