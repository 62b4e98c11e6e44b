"""The filterbank: what sound does to it, what padding and neighbours do not, what it refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auricle import config, features
from auricle.errors import AudioError, ConfigError
from auricle.features import (
    EfficientATConfig,
    Fbank,
    FbankConfig,
    PaddingConfig,
    SpecAugment,
    SpecAugmentConfig,
)
from auricle.features.filterbank import bands, mel_filters

SILENCE = -15.9424  # ln of the float32 epsilon
MEANS_AND_STDS = {
    "audioset": (-4.2677393, 4.5689974),
    "esc50": (-6.6268077, 5.358466),
    "speech_commands": (-6.845978, 5.5654526),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def fixed(frames: int, **settings) -> Fbank:
    return Fbank(FbankConfig(padding=PaddingConfig(mode="fixed", frames=frames), **settings))


def masked(frames: int = 0, **settings) -> Fbank:
    return Fbank(FbankConfig(padding=PaddingConfig(mode="mask", frames=frames), **settings))


# Frames


@pytest.mark.parametrize("seconds, frames", [(10, 998), (5, 498), (1, 98)])
def test_a_clip_has_the_frames_that_kaldi_gives_it(seconds, frames):
    features, frame_counts = Fbank(FbankConfig())(noise(1, seconds * 16000))
    assert features.shape == (1, frames, 128)
    assert frame_counts.tolist() == [frames]
    assert frame_counts.dtype == torch.int64


@pytest.mark.parametrize("num_samples, frames", [(399, 0), (400, 1), (559, 1), (560, 2), (10, 0)])
def test_a_frame_that_runs_past_the_end_is_dropped(num_samples, frames):
    assert Fbank(FbankConfig()).num_frames(num_samples) == frames


@pytest.mark.parametrize("frames", [1, 2, 98])
def test_num_samples_is_the_smallest_number_that_gives_the_frames(frames):
    fbank = Fbank(FbankConfig())
    assert fbank.num_frames(fbank.num_samples(frames)) == frames
    assert fbank.num_frames(fbank.num_samples(frames) - 1) == frames - 1


@pytest.mark.parametrize(
    "sample_rate, window, hop, fft",
    [
        (8000, 200, 80, 256),
        (22050, 551, 220, 1024),
        (32000, 800, 320, 1024),
        (384000, 9600, 3840, 16384),
    ],
)
def test_sizes_follow_the_sample_rate_as_in_kaldi(sample_rate, window, hop, fft):
    fbank = Fbank(FbankConfig(sample_rate=sample_rate))
    assert (fbank.window_size, fbank.hop_size, fbank.fft_size) == (window, hop, fft)
    assert fbank(noise(1, sample_rate))[0].shape == (1, 98, 128)


def test_the_window_may_be_shorter_than_the_hop():
    features, _ = Fbank(FbankConfig(window_ms=5.0, hop_ms=20.0))(noise(1, 16000))
    assert features.shape == (1, 50, 128)
    assert features.isfinite().all()


# A clip that is repeated


@pytest.mark.parametrize("kind", [FbankConfig, EfficientATConfig])
def test_a_short_clip_is_repeated_and_a_long_one_left_alone(kind):
    """Alone and in any batch, as the same samples written one after the other."""
    fbank = features.build(kind(padding=PaddingConfig(mode="repeat", frames=90)))
    plain = features.build(kind())
    clips = [noise(700, seed=1), noise(5001, seed=2), noise(48_000, seed=3)]
    for count in (1, 2, 3):
        lengths = torch.tensor([len(clip) for clip in clips[:count]])
        waveforms = nn.utils.rnn.pad_sequence(clips[:count], batch_first=True)
        values, frame_counts = fbank(waveforms, lengths)
        for index, clip in enumerate(clips[:count]):
            whole = clip.repeat(99)[: max(len(clip), fbank.num_samples(90))]
            expected, [num_frames] = plain(whole[None])
            assert frame_counts[index] == num_frames
            torch.testing.assert_close(values[index, :num_frames], expected[0])
    assert fbank(clips[0][None])[0].shape[1] == 90


# Physics


@pytest.mark.parametrize("frequency", [300, 1000, 3000, 7000])
@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_tone_is_loudest_in_the_mel_at_its_frequency(frequency, sample_rate):
    fbank = Fbank(FbankConfig(sample_rate=sample_rate, num_mels=64))
    time = torch.arange(sample_rate) / sample_rate
    log_mel, _ = fbank.log_mel(0.5 * torch.sin(2 * math.pi * frequency * time)[None])
    step = (mel(sample_rate / 2) - mel(20)) / 65
    nearest = round((mel(frequency) - mel(20)) / step) - 1
    assert abs(log_mel[0, 50].argmax().item() - nearest) <= 1


def mel(frequency: float) -> float:
    return 1127 * math.log(1 + frequency / 700)


def test_twice_the_amplitude_is_four_times_the_power(tone):
    fbank = Fbank(FbankConfig())
    loud, _ = fbank.log_mel(tone[None])
    quiet, _ = fbank.log_mel(tone[None] / 2)
    heard = quiet > SILENCE + 5
    torch.testing.assert_close((loud - quiet)[heard], torch.full_like(loud, math.log(4))[heard])


def test_a_constant_offset_is_not_heard():
    waveforms = noise(1, 16000)
    plain, _ = Fbank(FbankConfig()).log_mel(waveforms)
    shifted, _ = Fbank(FbankConfig()).log_mel(waveforms + 0.3)
    torch.testing.assert_close(shifted, plain, atol=1e-4, rtol=0)


def test_removing_the_mean_of_the_waveform_first_changes_nothing():
    waveforms = noise(1, 16000).double() + 0.3
    fbank = Fbank(FbankConfig()).double()
    plain, _ = fbank.log_mel(waveforms)
    centred, _ = fbank.log_mel(waveforms - waveforms.mean())
    torch.testing.assert_close(centred, plain, atol=1e-9, rtol=0)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_digital_silence_is_finite_and_the_floor(level):
    log_mel, _ = Fbank(FbankConfig()).log_mel(torch.full((1, 16000), level))
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, SILENCE), atol=1e-4, rtol=0)


# Normalisation and padding


@pytest.mark.parametrize(
    "data, silent, padded",
    [
        ("audioset", -1.278, 0.467),
        ("esc50", -0.869, 0.618),
        ("speech_commands", -0.817, 0.615),
    ],
)
def test_silence_and_fixed_padding_are_what_ast_was_trained_with(data, silent, padded):
    mean, std = MEANS_AND_STDS[data]
    fbank = fixed(128, mean=mean, std=std)
    features, frame_counts = fbank(torch.zeros(1, 16000))
    assert frame_counts.tolist() == [128]
    assert features[0, :98].numpy() == pytest.approx(silent, abs=6e-4)
    assert features[0, 98:].numpy() == pytest.approx(padded, abs=6e-4)
    assert features[0, -1, -1].item() == pytest.approx(fbank.padding_value, abs=1e-6)


def test_fixed_padding_keeps_the_front_of_a_longer_clip():
    waveforms = noise(2, 16000)
    whole, _ = masked()(waveforms)
    cut, frame_counts = fixed(50)(waveforms)
    assert torch.equal(cut, whole[:, :50])
    assert frame_counts.tolist() == [50, 50]


def test_fixed_padding_begins_where_each_clip_ends():
    fbank = fixed(60)
    features, frame_counts = fbank(noise(2, 16000), torch.tensor([16000, 8000]))
    assert frame_counts.tolist() == [60, 60]
    assert (features[0] != fbank.padding_value).any(dim=1).all()
    padded = features[1] == torch.tensor(fbank.padding_value)
    assert padded.all(dim=1).tolist() == [False] * 48 + [True] * 12


def test_masked_padding_is_zero_beyond_each_clip():
    fbank = masked()
    features, frame_counts = fbank(noise(2, 16000), torch.tensor([16000, 8000]))
    assert frame_counts.tolist() == [98, 48]
    assert fbank.padding_value == 0.0
    assert (features[1, 48:] == 0).all()
    assert (features[1, :48] != 0).any(dim=1).all()


def test_a_clip_of_50_ms_is_filled_with_silence_up_to_one_patch():
    features, frame_counts = masked(16)(noise(2, 8000), torch.tensor([800, 8000]))
    assert frame_counts.tolist() == [16, 48]
    assert features[0, 3:16].numpy() == pytest.approx(-1.278, abs=6e-4)
    assert (features[0, 16:] == 0).all()
    alone, frame_counts = masked(16)(noise(2, 8000)[:1, :800])
    assert frame_counts.tolist() == [16]
    torch.testing.assert_close(alone[0], features[0, :16], atol=1e-6, rtol=0)


def test_log_mel_is_normalised_by_twice_the_standard_deviation():
    fbank = Fbank(FbankConfig(mean=-5.0, std=2.0))
    assert fbank.normalize(torch.tensor([-5.0, -1.0, 3.0])).tolist() == [0.0, 1.0, 2.0]
    features, _ = fbank(noise(1, 16000))
    assert torch.equal(features, fbank.normalize(fbank.log_mel(noise(1, 16000))[0]))


# Batches


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("garbage", [0.0, 1e3, math.inf, math.nan])
def test_a_clip_does_not_depend_on_its_neighbours_or_on_what_lies_beyond_it(
    dtype, tolerance, garbage
):
    fbank = Fbank(FbankConfig()).to(dtype)
    lengths = torch.tensor([400, 9000, 16000, 23456, *[32000] * 20])
    waveforms = noise(len(lengths), 32000).to(dtype)
    for waveform, length in zip(waveforms, lengths, strict=True):
        waveform[length:] = garbage
    together, frame_counts = fbank(waveforms, lengths)
    for index, length in enumerate(lengths.tolist()):
        alone, counts = fbank(waveforms[index : index + 1, :length])
        assert counts.item() == frame_counts[index]
        inside = together[index, : counts.item()]
        torch.testing.assert_close(inside, alone[0], atol=tolerance, rtol=0)


def test_lengths_of_whole_clips_change_nothing():
    waveforms = noise(3, 16000)
    with_lengths, counts = Fbank(FbankConfig())(waveforms, torch.full((3,), 16000))
    without, other_counts = Fbank(FbankConfig())(waveforms)
    assert torch.equal(with_lengths, without)
    assert torch.equal(counts, other_counts)


def test_the_waveforms_are_left_as_they_were():
    waveforms = noise(2, 16000)
    before = waveforms.clone()
    fixed(60)(waveforms, torch.tensor([16000, 900]))
    assert torch.equal(waveforms, before)


# Gradients, precision, devices, export


def test_the_gradient_is_the_slope():
    fbank = masked(8, sample_rate=1000, num_mels=6).double()
    waveforms = noise(2, 60).double().requires_grad_()
    lengths = torch.tensor([60, 40])
    assert torch.autograd.gradcheck(lambda x: fbank(x, lengths)[0], waveforms)


def test_the_gradient_reaches_every_true_sample_and_no_other():
    waveforms = noise(2, 2000)
    waveforms[1, 1000:] = math.inf
    waveforms.requires_grad_()
    features, _ = Fbank(FbankConfig())(waveforms, torch.tensor([2000, 1000]))
    features.sum().backward()
    assert waveforms.grad.isfinite().all()
    assert (waveforms.grad[1, 1000:] == 0).all()
    assert (waveforms.grad[0, 1:1999] != 0).float().mean() > 0.99


def test_autocast_does_not_touch_the_filterbank(tone):
    fbank = Fbank(FbankConfig())
    expected, _ = fbank(tone[None])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, _ = fbank(tone[None])
    assert torch.equal(features, expected)


def test_single_precision_hears_what_is_far_below_the_loudest():
    time = torch.arange(16000, dtype=torch.float64) / 16000
    waveforms = torch.sin(2 * math.pi * 7000 * time)[None] + 1e-5 * noise(1, 16000).double()
    exact, _ = Fbank(FbankConfig()).double().log_mel(waveforms.float())
    log_mel, _ = Fbank(FbankConfig()).log_mel(waveforms.float())
    assert log_mel.dtype == torch.float32
    torch.testing.assert_close(log_mel.double(), exact, atol=2e-6, rtol=0)


def test_tables_are_exact_in_double_precision_whatever_came_before():
    expected = torch.from_numpy(mel_filters(128, 257, 20.0, 8000.0))
    assert torch.equal(Fbank(FbankConfig()).half().double().filters, expected)


def test_tables_are_never_less_than_single_precision():
    fbank = Fbank(FbankConfig())
    expected, _ = fbank(noise(1, 16000))
    features, _ = copy.deepcopy(fbank).bfloat16()(noise(1, 16000))
    assert torch.equal(features, expected)


def test_an_fbank_from_the_meta_device_gets_its_tables_when_it_gets_memory():
    with torch.device("meta"):
        fbank = Fbank(FbankConfig())
    assert fbank(torch.empty(2, 16000, device="meta"))[0].shape == (2, 98, 128)
    features, _ = fbank.to_empty(device="cpu")(noise(1, 16000))
    assert torch.equal(features, Fbank(FbankConfig())(noise(1, 16000))[0])


def test_an_fbank_has_no_weights_to_store():
    assert Fbank(FbankConfig()).state_dict() == {}


@pytest.mark.parametrize("min_level_dbfs", [None, -30.0])
def test_an_exported_fbank_takes_any_batch_and_length(min_level_dbfs):
    fbank = masked(16, min_level_dbfs=min_level_dbfs)
    batch = torch.export.Dim("batch")
    dynamic = ({0: batch, 1: torch.export.Dim("samples", min=560)}, {0: batch})
    exported = torch.export.export(
        fbank, (noise(2, 16000), torch.tensor([16000, 9000])), dynamic_shapes=dynamic
    ).module()
    inputs = 0.01 * noise(3, 20000), torch.tensor([400, 20000, 5000])
    torch.testing.assert_close(exported(*inputs), fbank(*inputs), atol=1e-5, rtol=0)


# Soft clips


def at_level(waveforms: Tensor, dbfs: float) -> Tensor:
    """Clips `(B, S)`, each at this level."""
    return 10 ** (dbfs / 20) * waveforms / waveforms.std(dim=1, correction=0, keepdim=True)


@pytest.mark.parametrize("dbfs", [-30.1, -45.0, -69.9])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_soft_clip_is_heard_as_if_it_were_the_softest(dbfs, offset):
    waveforms = noise(2, 16000, seed=3).double()
    fbank = masked(min_level_dbfs=-30.0).double()
    heard, _ = fbank(at_level(waveforms, dbfs) + offset)
    expected, _ = masked().double()(at_level(waveforms, -30.0))
    torch.testing.assert_close(heard, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("dbfs", [-29.9, 0.0, -70.1, -math.inf])
def test_louder_clips_and_silence_stay_as_they_are(dbfs):
    waveforms = at_level(noise(2, 16000), dbfs)
    assert torch.equal(masked(min_level_dbfs=-30.0)(waveforms)[0], masked()(waveforms)[0])


def test_how_soft_a_clip_is_follows_from_its_own_samples():
    fbank, lengths = masked(min_level_dbfs=-30.0), torch.tensor([16000, 4000])
    waveforms = at_level(noise(2, 16000), -50.0)
    waveforms[1, 4000:] = 0.9  # beyond its end
    together, _ = fbank(waveforms, lengths)
    alone, counts = fbank(waveforms[1:, :4000])
    torch.testing.assert_close(together[1, : counts.item()], alone[0], atol=1e-5, rtol=0)


def test_the_gradient_of_a_raised_clip_and_of_silence_is_a_number():
    waveforms = torch.cat([at_level(noise(1, 4000), -50.0), torch.zeros(1, 4000)])
    waveforms.requires_grad_()
    masked(min_level_dbfs=-30.0)(waveforms)[0].sum().backward()
    assert waveforms.grad.isfinite().all()


# Filters


@pytest.mark.parametrize("num_mels, num_bins", [(1, 257), (3, 129), (128, 257), (600, 65)])
def test_bands_hold_every_weight_once(num_mels, num_bins):
    filters = mel_filters(num_mels, num_bins, 20.0, 8000.0)
    covered = np.zeros_like(filters)
    for bins, band in bands(filters):
        covered[bins, band] += filters[bins, band]
    assert np.array_equal(covered, filters)


def test_neighbouring_filters_share_the_power_between_their_centres():
    filters = mel_filters(40, 257, 20.0, 8000.0)
    frequencies = np.linspace(0, 8000, 257)
    inner = (frequencies > 100) & (frequencies < 7500)
    assert filters[inner].sum(axis=1) == pytest.approx(1.0)


# Refusals


@pytest.mark.parametrize(
    "lengths, index, num_samples",
    [(None, 0, 399), (torch.tensor([399, 399]), 0, 399), (torch.tensor([16000, 12]), 1, 12)],
)
def test_a_clip_shorter_than_one_frame_is_refused(lengths, index, num_samples):
    waveforms = noise(2, 399 if lengths is None else 16000)
    with pytest.raises(AudioError) as error:
        Fbank(FbankConfig())(waveforms, lengths)
    assert str(error.value) == (
        f"clip {index} has {num_samples} samples, but one frame needs 400 (25 ms at 16000 Hz). "
        "Leave it out or give a longer clip."
    )


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_mels": 0}, "num_mels: Input should be greater than or equal to 1, got 0."),
        ({"sample_rate": 0}, "sample_rate: Input should be greater than or equal to 1, got 0."),
        ({"std": 0.0}, "std: Input should be greater than 0, got 0.0."),
        ({"std": -1.0}, "std: Input should be greater than 0, got -1.0."),
        ({"hop_ms": 0.0}, "hop_ms: Input should be greater than 0, got 0.0."),
        ({"lowest_hz": -1.0}, "lowest_hz: Input should be greater than or equal to 0, got -1.0."),
        (
            {"lowest_hz": 8000.0},
            "lowest_hz (8000) must be below the highest frequency of the mels (8000 Hz at a "
            "sample rate of 16000 Hz).",
        ),
        ({"window_ms": 0.1}, "window_ms (0.1) must last at least 3 samples at 16000 Hz."),
        ({"hop_ms": 0.01}, "hop_ms (0.01) must last at least 1 samples at 16000 Hz."),
        (
            {"min_level_dbfs": 1.0},
            "min_level_dbfs: Input should be less than or equal to 0, got 1.0.",
        ),
        ({"min_level_dbfs": -70.0}, "min_level_dbfs: Input should be greater than -70, got -70.0."),
        (
            {"padding": {"mode": "fixed"}},
            "padding: mode fixed needs frames, the length of every clip (AST: 1024).",
        ),
        (
            {"padding": {"frames": -1}},
            "padding.frames: Input should be greater than or equal to 0, got -1.",
        ),
        (
            {"padding": {"mode": "reflect"}},
            "padding.mode: Input should be 'fixed', 'mask' or 'repeat', got 'reflect'.",
        ),
        (
            {"padding": {"mode": "repeat"}},
            "padding: mode repeat needs frames, the length up to which clips are repeated.",
        ),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError) as error:
        config.from_dict(FbankConfig, values, "recipe.yaml")
    assert str(error.value) == f"recipe.yaml: {message}"


@pytest.mark.parametrize("settings", [FbankConfig(), EfficientATConfig()])
def test_the_default_precision_of_torch_changes_nothing(settings, request):
    waveforms = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([16_000, 9_000])
    modules = features.build(settings), SpecAugment(SpecAugmentConfig(time_mask=30), 0.0)
    torch.manual_seed(0)
    single = modules[1](*modules[0](waveforms, counts))
    request.getfixturevalue("double_by_default")
    fbank = features.build(settings)
    assert fbank.filters.dtype is torch.float32
    torch.manual_seed(0)
    torch.testing.assert_close(modules[1](*fbank(waveforms, counts)), single, rtol=0, atol=0)


def plain_frame(samples: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Kaldi's feature-window.cc: offset removed, emphasised from the first sample on, windowed."""
    frame = samples - samples.mean()
    before = np.concatenate([frame[:1], frame[:-1]])
    return (frame - 0.97 * before) * window


@pytest.mark.parametrize(("name", "share"), [("hanning", 0.5), ("hamming", 0.54)])
def test_the_window_is_kaldis(name, share):
    fbank = Fbank(FbankConfig(window=name)).double()
    waveform = 0.3 + 0.1 * np.random.default_rng(0).standard_normal(1200)
    window = share - (1 - share) * np.cos(2 * np.pi * np.arange(400) / 399)
    lengths = torch.tensor([1200])
    frames = fbank._windowed_frames(torch.from_numpy(waveform)[None], lengths)[0]
    assert frames.shape == (6, 512)
    for index, frame in enumerate(frames):
        expected = plain_frame(waveform[160 * index : 160 * index + 400], window)
        np.testing.assert_allclose(frame[:400].numpy(), expected, atol=1e-12, rtol=0)
        assert (frame[400:] == 0).all()


def test_a_hamming_window_exports_and_has_gradients():
    fbank = Fbank(FbankConfig(window="hamming")).double()
    waveform = 0.1 * torch.randn(1, 560, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: fbank(x)[0].sum(), waveform, fast_mode=True)
    exported = torch.export.export(fbank, (torch.zeros(1, 800, dtype=torch.float64),))
    again = torch.randn(1, 800, dtype=torch.float64)
    torch.testing.assert_close(exported.module()(again)[0], fbank(again)[0])
