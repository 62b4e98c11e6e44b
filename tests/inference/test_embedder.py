"""Embedders: with and without labels, with and without a model."""

import numpy as np
import pytest
import soundfile
import torch

from auricle import checkpoint
from auricle.errors import AudioError, ConfigError
from auricle.features import EfficientATConfig, Fbank, FbankConfig
from auricle.inference import Classifier, Embedder

RATE = 16_000


@pytest.fixture
def noise():
    return torch.rand(7 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5


def test_a_model_embeds_as_its_classifier_does(tiny_model, noise):
    embedder = Embedder.load(tiny_model, device="cpu")
    classifier = Classifier.load(tiny_model, device="cpu")
    clips = [noise[:RATE], noise]  # the second in windows
    expected = classifier.embed(clips, RATE)
    torch.testing.assert_close(embedder.embed_waveforms(clips), expected, atol=1e-5, rtol=0)
    assert embedder.window_seconds == classifier.window_seconds


def test_a_file_and_its_samples_agree(tiny_model, noise, tmp_path):
    soundfile.write(tmp_path / "noise.wav", noise.numpy(), RATE, subtype="FLOAT")
    embedder = Embedder.load(tiny_model, device="cpu")
    expected = embedder.embed_waveforms([noise])[0]
    found = embedder.embed_file(tmp_path / "noise.wav")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_start_for_training_has_embeddings_without_labels(noise):
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    start = checkpoint.create("ast", settings, FbankConfig(num_mels=32), [], "sigmoid")
    assert Embedder.of(start, "cpu").embed_waveforms([noise]).shape == (1, 16)


@pytest.mark.parametrize("name", ["ast", "ham_ast", "asda"])
def test_the_deviation_over_patches_stands_behind_the_embedding(noise, name):
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    model = checkpoint.create(name, settings, FbankConfig(num_mels=32), [], "sigmoid")
    clips = [noise[:RATE], noise[: 2 * RATE]]
    found = Embedder.of(model, "cpu", deviation=True).embed_waveforms(clips)
    own = Embedder.of(model, "cpu").embed_waveforms(clips)
    torch.testing.assert_close(found[:, :16], own)
    for clip, row in zip(clips, found, strict=True):  # alone, so that all its patches are its own
        with torch.no_grad():
            tokens, layout = model.model.encode(*model.fbank(clip[None]))
        deviation = tokens[0, layout.num_prefix :].double().std(dim=0, correction=0)
        torch.testing.assert_close(row[16:].double(), deviation, atol=1e-5, rtol=0)


def test_a_deviation_that_is_not_there_is_refused():
    settings = {"size": "mn04"}
    model = checkpoint.create("mobilenet", settings, EfficientATConfig(), [], "sigmoid")
    with pytest.raises(ConfigError) as caught:
        Embedder.of(model, "cpu", deviation=True)
    assert str(caught.value) == (
        "deviation: it is taken over patches, which an ast, ham_ast or asda keeps to its end and a "
        "mobilenet does not."
    )
    with pytest.raises(ConfigError) as caught:
        Embedder.load("log-mel", "cpu", deviation=True)
    assert str(caught.value) == "deviation: log-mel has it anyway, so leave it out."


def test_a_size_is_a_model_with_random_weights_that_a_seed_gives_again(noise):
    def embed(seed):
        return Embedder.load("ast-tiny", "cpu", seed).embed_waveforms([noise[:RATE]])

    before = torch.random.get_rng_state()
    first = embed(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.shape == (1, 192)
    assert torch.equal(first, embed(0))
    assert not torch.allclose(first, embed(1))


def test_an_unknown_size_is_refused():
    with pytest.raises(ConfigError) as caught:
        Embedder.load("ast-huge", "cpu")
    assert str(caught.value) == "model: unknown size 'huge'. Known: base, small, tiny."


def test_log_mel_is_the_mean_and_deviation_of_each_band(noise):
    embedder = Embedder.load("log-mel", "cpu")
    short, long = noise[:RATE], noise[: 2 * RATE]
    found = embedder.embed_waveforms([short, long])
    for clip, row in zip((short, long), found, strict=True):
        bands = Fbank(FbankConfig()).log_mel(clip[None])[0][0].numpy().astype(np.float64)
        expected = np.concatenate([bands.mean(axis=0), bands.std(axis=0)])
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-4)


def test_a_sound_that_is_too_short_is_refused(noise):
    with pytest.raises(AudioError) as caught:
        Embedder.log_mel("cpu").embed_waveforms([noise[:160]])
    assert str(caught.value) == "the sound lasts 10 ms; an embedding needs at least 25 ms."
