"""Engines: with and without labels, with and without a model, and on which device."""

import numpy as np
import pytest
import torch

from auricle import checkpoint
from auricle.errors import ConfigError
from auricle.features import EfficientATConfig, Fbank, FbankConfig, PaddingConfig
from auricle.inference import Classifier, TorchEngine, load_embedder, windows
from auricle.inference.engine import (
    LogMel,
    OneDnnLinear,
    choose_device,
    cores_at_once,
    longest_samples,
    shortest_samples,
    with_onednn,
)

RATE = 16_000


@pytest.fixture
def noise():
    return torch.rand(7 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5


def embeddings(engine, waveforms):
    found = windows.run(engine, engine.embed, [[waveform] for waveform in waveforms])
    return torch.stack([windows.join(segments).values for segments in windows.grouped(found)])


def test_a_model_embeds_as_its_classifier_does(tiny_model, noise):
    engine = load_embedder(tiny_model, device="cpu")
    clips = [noise[:RATE], noise]  # the second in windows
    expected = Classifier(engine).embed(clips, RATE)
    torch.testing.assert_close(embeddings(engine, clips), expected, atol=1e-5, rtol=0)


def test_a_start_for_training_has_embeddings_without_labels(noise):
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    start = checkpoint.create("ast", settings, FbankConfig(num_mels=32), [], "sigmoid")
    assert embeddings(TorchEngine(start, "cpu"), [noise]).shape == (1, 16)


@pytest.mark.parametrize("name", ["ast", "ham_ast", "asda"])
def test_the_deviation_over_patches_stands_behind_the_embedding(noise, name):
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    model = checkpoint.create(name, settings, FbankConfig(num_mels=32), [], "sigmoid")
    clips = [noise[:RATE], noise[: 2 * RATE]]
    found = embeddings(TorchEngine(model, "cpu", deviation=True), clips)
    own = embeddings(TorchEngine(model, "cpu"), clips)
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
        TorchEngine(model, "cpu", deviation=True)
    assert str(caught.value) == (
        "deviation: it is taken over patches, which an ast, ham_ast or asda keeps to its end and a "
        "mobilenet does not."
    )
    with pytest.raises(ConfigError) as caught:
        load_embedder("log-mel", "cpu", deviation=True)
    assert str(caught.value) == "deviation: log-mel has it anyway, so leave it out."


def test_a_size_is_a_model_with_random_weights_that_a_seed_gives_again(noise):
    def embed(seed):
        return embeddings(load_embedder("ast-tiny", "cpu", seed), [noise[:RATE]])

    before = torch.random.get_rng_state()
    first = embed(0)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.shape == (1, 192)
    assert torch.equal(first, embed(0))
    assert not torch.allclose(first, embed(1))


def test_an_unknown_size_is_refused():
    with pytest.raises(ConfigError) as caught:
        load_embedder("ast-huge", "cpu")
    assert str(caught.value) == "model: unknown size 'huge'. Known: base, small, tiny."


def test_log_mel_is_the_mean_and_deviation_of_each_band(noise):
    engine = load_embedder("log-mel", "cpu")
    short, long = noise[:RATE], noise[: 2 * RATE]
    found = embeddings(engine, [short, long])
    for clip, row in zip((short, long), found, strict=True):
        bands = Fbank(FbankConfig()).log_mel(clip[None])[0][0].numpy().astype(np.float64)
        expected = np.concatenate([bands.mean(axis=0), bands.std(axis=0)])
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-4)


def test_a_sound_that_is_too_short_is_refused(noise):
    engine = LogMel("cpu")
    [(_, found)] = windows.run(engine, engine.embed, [[noise[:160]]])
    assert str(found) == "the sound lasts 10 ms; this model needs at least 25 ms."


@pytest.mark.parametrize(
    "padding, longest, shortest",
    [
        # 100 frames are 400 + 99 x 160 samples and up to 159 more; a patch is 16 frames
        (PaddingConfig(), 16_399, 2800),
        (PaddingConfig(frames=16), 16_399, 400),
        (PaddingConfig(mode="fixed", frames=80), 13_199, 400),
    ],
)
def test_a_window_is_what_the_model_takes_at_once(padding, longest, shortest):
    settings = {"width": 8, "depth": 1, "num_heads": 1, "max_frames": 100}
    front_end = FbankConfig(num_mels=32, padding=padding)
    small = checkpoint.create("ast", settings, front_end, ["a"], "sigmoid")
    assert longest_samples(small) == longest
    assert shortest_samples(small) == shortest


# --- how it is computed


def test_a_batch_for_each_core_is_computed_at_once_on_a_cpu(monkeypatch, tiny_model):
    engine = load_embedder(tiny_model, device="cpu")
    for cores, batches in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        assert engine.batches_at_once == LogMel("cpu").batches_at_once == batches
    with torch.autocast("cpu"):  # which threads do not inherit
        assert engine.batches_at_once == 1
    assert cores_at_once(torch.device("cuda")) == cores_at_once(torch.device("mps")) == 1


def test_scores_do_not_depend_on_the_cores(noise):
    clips = [noise[: 4000 + 97 * number] for number in range(60)]
    cores = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            engine = load_embedder("ast-tiny", "cpu")
            recordings = [[clip] for clip in clips]
            limits = windows.Limits(samples=30_000)
            outcomes = windows.run(engine, engine.embed, recordings, limits)
            found.append(torch.stack([segment.values for _, segment in outcomes]))
    finally:
        torch.set_num_threads(cores)
    torch.testing.assert_close(*found, atol=1e-6, rtol=0)


def test_linear_layers_give_the_same_by_onednn(noise):
    settings = {"width": 64, "depth": 2, "num_heads": 2, "max_frames": 200}
    plain = checkpoint.create("ast", settings, FbankConfig(num_mels=32), list("abc"), "sigmoid")
    plain.eval()
    twin = with_onednn(plain)
    assert isinstance(twin.model.head.linear, OneDnnLinear)
    features = plain.fbank(noise[None, : 2 * RATE])
    with torch.no_grad():
        torch.testing.assert_close(twin.model(*features), plain.model(*features), atol=1e-6, rtol=0)
        with torch.autocast("cpu"):
            assert torch.equal(twin.model(*features), plain.model(*features))
    twin.model(*features).sum().backward()  # where gradients are wanted it is a plain layer


def test_scoring_leaves_a_model_in_training_as_it_is(noise, monkeypatch):
    monkeypatch.setattr("auricle.inference.engine.prefers_onednn", lambda: True)
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    trained = checkpoint.create("ast", settings, FbankConfig(num_mels=32), list("abc"), "sigmoid")
    engine = TorchEngine(trained, "cpu")
    waveforms, lengths = noise[None, :RATE], torch.tensor([RATE])
    before = engine.score(waveforms, lengths)
    assert type(trained.model.head.linear) is torch.nn.Linear
    with torch.no_grad():
        trained.model.head.linear.bias += 1  # a step of training
    assert (engine.score(waveforms, lengths) > before).all()


# --- devices


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many graphics cards, and maybe Apple's."""

    def have(num_cuda: int, has_mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)

    return have


@pytest.mark.parametrize(
    "num_cuda, has_mps, fastest", [(0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps")]
)
def test_auto_is_the_fastest_present(machine, num_cuda, has_mps, fastest):
    machine(num_cuda, has_mps)
    assert choose_device("auto") == torch.device(fastest)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_present_is_taken(machine, name):
    machine(2, False)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["mps", "mps:0"])  # a tensor there says the second of itself
def test_an_apple_device_is_taken_by_either_name(machine, name):
    machine(0, True)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize(
    "num_cuda, name, message",
    [
        (0, "gpu", "unknown device 'gpu'. Did you mean 'cpu'? Known: auto, cpu, cuda, mps."),
        (0, "cuda", "device 'cuda' is not available on this machine. Available: cpu."),
        (1, "cuda:3", "device 'cuda:3' is not available on this machine. Available: cuda:0, cpu."),
        (1, "mps", "device 'mps' is not available on this machine. Available: cuda:0, cpu."),
        (1, "cuda:x", "device 'cuda:x' is not available on this machine. Available: cuda:0, cpu."),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine, num_cuda, name, message):
    machine(num_cuda, False)
    with pytest.raises(ConfigError) as caught:
        choose_device(name)
    assert str(caught.value) == message
