"""EfficientAT's filterbank: against torch's own spectrum, and what it shares with every other."""

import math

import pytest
import torch
from torch import Tensor

from auricle import config, features
from auricle.config import Settings
from auricle.errors import AudioError, ConfigError
from auricle.features import AnyFilterbankConfig, EfficientATConfig, Fbank, FbankConfig
from auricle.features.filterbank import mel_filters

SILENCE = math.log(1e-5)


class Holder(Settings):
    """Settings with a filterbank of any kind among them."""

    front_end: AnyFilterbankConfig = FbankConfig()


def noise(*shape: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def filterbank():
    return features.build(EfficientATConfig())


@pytest.mark.parametrize(
    "num_samples, frames", [(401, 0), (402, 2), (640, 2), (641, 3), (160_000, 500), (320_000, 1000)]
)
def test_a_frame_stands_at_every_hop_that_the_clip_reaches(filterbank, num_samples, frames):
    assert filterbank.num_frames(num_samples) == frames
    if frames:
        log_mel, counts = filterbank.log_mel(noise(1, num_samples))
        assert log_mel.shape == (1, frames, 128)
        assert counts.tolist() == [frames]


@pytest.mark.parametrize("frames", [3, 4, 1000])
def test_num_samples_is_the_smallest_number_that_gives_the_frames(filterbank, frames):
    assert filterbank.num_frames(filterbank.num_samples(frames)) == frames
    assert filterbank.num_frames(filterbank.num_samples(frames) - 1) == frames - 1


@pytest.mark.parametrize("num_samples", [514, 5000, 16_001])
def test_it_equals_the_spectrum_that_torch_makes(filterbank, num_samples):
    waveforms = noise(2, num_samples).double()
    emphasised = waveforms[:, 1:] - 0.97 * waveforms[:, :-1]
    window = torch.hann_window(800, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, return_complex=True)  # reflects
    filters = torch.from_numpy(mel_filters(128, 513, 0.0, 15_000.0, 16_000.0))
    expected = (spectrum.abs().square().transpose(1, 2) @ filters + 1e-5).log()
    found, _ = filterbank.double().log_mel(waveforms)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    normalised, _ = filterbank(waveforms)
    torch.testing.assert_close(normalised, (expected + 4.5) / 5, rtol=0, atol=1e-9)


@pytest.mark.parametrize("frequency", [300, 1000, 3000, 12_000])
def test_a_tone_is_loudest_in_the_mel_at_its_frequency(filterbank, frequency):
    time = torch.arange(32_000) / 32_000
    log_mel, _ = filterbank.log_mel(0.5 * torch.sin(2 * math.pi * frequency * time)[None])
    mel = torch.tensor([frequency, 15_000.0]).div(700).log1p()
    nearest = round((mel[0] / mel[1]).item() * 129) - 1
    assert abs(log_mel[0, 50].argmax().item() - nearest) <= 1


def test_silence_is_the_floor(filterbank):
    normalised, _ = filterbank(torch.zeros(1, 3200))
    assert normalised.flatten().tolist() == pytest.approx([(SILENCE + 4.5) / 5] * 1280, abs=1e-6)
    assert filterbank.padding_value == 0.0


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("garbage", [0.0, 1e3, math.nan])
def test_a_clip_is_reflected_at_its_own_end_in_any_batch(filterbank, dtype, tolerance, garbage):
    filterbank = filterbank.to(dtype)
    lengths = torch.tensor([402, 9000, 16_000, 640, *[32_000] * 12])
    waveforms = noise(len(lengths), 32_000).to(dtype)
    for waveform, length in zip(waveforms, lengths, strict=True):
        waveform[length:] = garbage
    together, frame_counts = filterbank(waveforms, lengths)
    for index, length in enumerate(lengths.tolist()):
        alone, counts = filterbank(waveforms[index : index + 1, :length])
        assert counts.item() == frame_counts[index]
        inside = together[index, : counts.item()]
        torch.testing.assert_close(inside, alone[0], atol=tolerance, rtol=0)
        assert (together[index, counts.item() :] == 0).all()


def test_the_gradient_is_the_slope():
    settings = EfficientATConfig(sample_rate=3000, num_mels=6, window_ms=8.0, padding={"frames": 8})
    filterbank = features.build(settings).double()
    waveforms, lengths = noise(2, 90).double().requires_grad_(), torch.tensor([90, 40])
    assert torch.autograd.gradcheck(lambda x: filterbank(x, lengths)[0], waveforms)


def test_it_has_no_weights_and_gets_its_tables_when_it_gets_memory(filterbank):
    assert filterbank.state_dict() == {}
    with torch.device("meta"):
        empty = features.build(EfficientATConfig())
    assert empty(torch.empty(2, 16_000, device="meta"))[0].shape == (2, 50, 128)
    expected, _ = filterbank(noise(1, 16_000))
    assert torch.equal(empty.to_empty(device="cpu")(noise(1, 16_000))[0], expected)


def test_an_exported_filterbank_takes_any_batch_and_length(filterbank):
    batch = torch.export.Dim("batch")
    dynamic = ({0: batch, 1: torch.export.Dim("samples", min=700)}, {0: batch})
    exported = torch.export.export(
        filterbank, (noise(2, 16_000), torch.tensor([16_000, 9000])), dynamic_shapes=dynamic
    )
    inputs = noise(3, 7000), torch.tensor([7000, 5000, 6999])
    for found, expected in zip(exported.module()(*inputs), filterbank(*inputs), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_a_clip_too_short_to_be_reflected_is_refused(filterbank):
    with pytest.raises(AudioError) as error:
        filterbank(noise(2, 5000), torch.tensor([5000, 401]))
    assert str(error.value) == (
        "clip 1 has 401 samples, but one frame needs 402 (12.5625 ms at 32000 Hz). "
        "Leave it out or give a longer clip."
    )


def test_the_kind_of_filterbank_follows_from_its_name():
    made = config.from_dict(Holder, {"front_end": {"name": "efficientat", "num_mels": 64}}, "x")
    assert made.front_end == EfficientATConfig(num_mels=64)
    assert config.from_dict(Holder, made.to_dict(), "x") == made
    older = config.from_dict(Holder, {"front_end": {"num_mels": 64}}, "x")
    assert older.front_end == FbankConfig(num_mels=64)
    assert isinstance(features.build(older.front_end), Fbank)


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"name": "efficientatt"},
            "front_end.name: unknown name 'efficientatt'. Did you mean 'efficientat'? Known: "
            "ced, efficientat, fbank.",
        ),
        (
            {"name": "efficientat", "num_mell": 3},
            "front_end: unknown key 'num_mell'. Did you mean 'num_mels'? Known: hop_ms, lowest_hz, "
            "mean, min_level_dbfs, name, num_mels, padding, sample_rate, std, window_ms.",
        ),
        (
            {"name": "efficientat", "padding": {"frame": 3}},
            "front_end.padding: unknown key 'frame'. Did you mean 'frames'? Known: frames, mode.",
        ),
        ({"std": -1.0}, "front_end.std: Input should be greater than 0, got -1.0."),
        (
            {"name": "efficientat", "sample_rate": 2000},
            "front_end: lowest_hz (0) must be below the highest frequency of the mels (0 Hz at a "
            "sample rate of 2000 Hz).",
        ),
    ],
)
def test_impossible_settings_are_refused_at_their_place(values, message):
    with pytest.raises(ConfigError) as error:
        config.from_dict(Holder, {"front_end": values}, "recipe.yaml")
    assert str(error.value) == f"recipe.yaml: {message}"
