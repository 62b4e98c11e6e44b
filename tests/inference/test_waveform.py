"""Waveforms in any form people hold them."""

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.errors import AudioError, AudioWarning
from auricle.inference.waveform import to_mono

RATE = 16_000


@pytest.mark.parametrize(
    "form",
    [
        lambda tone: tone,
        lambda tone: tone.double(),
        lambda tone: tone.clone().requires_grad_(),
        lambda tone: tone.numpy(),
        lambda tone: tone.numpy().astype(">f8"),
        lambda tone: tone.numpy()[::-1][::-1],
        lambda tone: torch.stack([1.5 * tone, 0.5 * tone]),  # channels are averaged
        lambda tone: tone.numpy()[None],
    ],
)
def test_every_form_gives_the_same_samples(tone, form):
    torch.testing.assert_close(to_mono(form(tone), RATE, RATE), tone)


@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_int16_is_scaled_to_full_scale_1(dtype):
    samples = np.array([-32_768, 0, 16_384], dtype=dtype)
    assert to_mono(samples, RATE, RATE).tolist() == [-1.0, 0.0, 0.5]


def test_bfloat16_is_taken(tone):
    torch.testing.assert_close(to_mono(tone.bfloat16(), RATE, RATE), tone, atol=2e-3, rtol=0)


def test_other_rates_are_resampled_as_files_are(tone):
    resampled = to_mono(tone, RATE, 8000)
    assert torch.equal(resampled, audio.resample(tone, RATE, 8000))
    assert len(resampled) == 8000


def test_the_caller_keeps_the_array(tone):
    prepared = to_mono(tone, RATE, RATE)
    prepared.zero_()
    assert tone.abs().max() > 0.4


@pytest.mark.parametrize(
    "waveform, rate, message",
    [
        (
            [0.0, 0.1],
            RATE,
            "expected a waveform as a numpy array or a torch tensor, got list. Samples are "
            "passed as numpy.array(samples), several waveforms as a list of these.",
        ),
        (
            np.zeros((2, 3, 4)),
            RATE,
            "expected a waveform of shape (samples,), (channels, samples) or (samples, channels), "
            "got (2, 3, 4).",
        ),
        (
            torch.tensor(0.5),
            RATE,
            "expected a waveform of shape (samples,), (channels, samples) or (samples, channels), "
            "got ().",
        ),
        (np.zeros(0), RATE, "the waveform is empty: its shape is (0,)."),
        (
            torch.zeros(160, 200),
            RATE,
            "the waveform has the shape (160, 200), of which neither is a number of channels "
            "(up to 64). Pass (channels, samples) or (samples, channels); several waveforms as a "
            "list.",
        ),
        (
            np.zeros(9, dtype=np.int32),
            RATE,
            "the waveform holds int32 values, whose full scale is not known. Pass floating point "
            "with full scale at +-1, or int16.",
        ),
        (
            np.array([0.0, np.nan]),
            RATE,
            "the waveform holds NaN or infinite samples. Export it again without them.",
        ),
        (
            torch.tensor([[0.0, -torch.inf]]),
            RATE,
            "the waveform holds NaN or infinite samples. Export it again without them.",
        ),
        (
            np.array([0.0, 1e20]),
            RATE,
            "the waveform holds samples of up to 1.0e+20 times full scale; beyond 1e+06 there is "
            "no recording. If they were integers, divide them by their full scale (32768 for 16 "
            "bits, 8388608 for 24 bits).",
        ),
        (
            np.zeros(9),
            0,
            "a sample rate of 0 Hz is outside the range of 1000 to 1000000 Hz.",
        ),
        (
            np.zeros(9),
            None,
            "the sample rate has to be a number of Hz, got None. It is that of the waveform, not "
            "of the model.",
        ),
        (
            np.zeros(9),
            1_000_000,
            "the waveform is too short to give one sample at 16000 Hz.",
        ),
    ],
)
def test_what_is_no_waveform_is_refused(waveform, rate, message):
    with pytest.raises(AudioError) as caught:
        to_mono(waveform, rate, RATE)
    assert str(caught.value) == message


def warning_of(waveform) -> tuple[torch.Tensor, str]:
    with pytest.warns(AudioWarning) as caught:
        prepared = to_mono(waveform, RATE, RATE)
    assert len(caught) == 1
    return prepared, str(caught[0].message)


def test_floats_at_the_scale_of_integers_are_warned_of(tone):
    prepared, message = warning_of(tone * 32767)
    assert prepared.max() > 16000
    assert message == (
        "the waveform holds samples beyond 100 times full scale, as 16-bit integers taken for "
        "floats are. Divide them by 32768, or export it with integers."
    )


@pytest.mark.parametrize("form", [torch.Tensor.numpy, torch.Tensor.half, torch.Tensor.double])
def test_channels_that_cancel_give_the_loudest(tone, form):
    prepared, message = warning_of(form(torch.stack([-0.99 * tone, tone])))
    torch.testing.assert_close(prepared, tone, atol=1e-3, rtol=0)
    assert message == (
        "the waveform has channels that cancel in their mean. Where they do, channel 2 is used "
        "alone. Pass one channel, or the mean, to choose."
    )


@pytest.mark.parametrize("form", [torch.clone, torch.Tensor.numpy])
def test_half_precision_does_not_overflow(form):
    noise = 0.3 * torch.randn(2, 400_000, generator=torch.Generator().manual_seed(0))
    assert len(to_mono(form(noise.half()), RATE, RATE)) == 400_000  # without a warning


def test_channels_may_come_first_or_last(tone):
    stereo = torch.stack([tone, 0.5 * tone])
    expected = to_mono(stereo, RATE, RATE)
    assert torch.equal(to_mono(stereo.T, RATE, RATE), expected)
    assert torch.equal(to_mono(stereo.T.numpy(), RATE, RATE), expected)
    assert torch.equal(to_mono(tone[:, None], RATE, RATE), tone)
