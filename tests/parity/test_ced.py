"""CED against a second implementation: its parts written out with torch's own functions.

The weights are random, under the names of the published files: those cannot be fetched here.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from auricle import convert, models
from auricle.convert.ced import to_theirs
from auricle.models.ced import CED_SIZES

SAMPLE_RATE = 16_000


def released(size: str = "tiny", num_classes: int = 7, **settings: int) -> dict[str, Tensor]:
    """Lively random tensors under the names of `model.safetensors` on the hub."""
    generator = torch.Generator().manual_seed(0)
    settings = {**CED_SIZES[size], "num_classes": num_classes, **settings}
    state = models.build("ced", settings).state_dict()
    for name, tensor in state.items():
        if tensor.ndim > 1:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
        elif name.endswith("running_mean"):
            tensor.uniform_(-60, -20, generator=generator)  # decibels
        elif name.endswith("running_var"):
            tensor.uniform_(100, 400, generator=generator)
        elif tensor.is_floating_point():
            middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            tensor.normal_(middle, 0.2, generator=generator)
    prefixed = {
        name if name.startswith("outputlayer.") else f"encoder.{name}": value.contiguous()
        for name, value in to_theirs(state).items()
    }
    return prefixed


def decibels(waveforms: Tensor) -> Tensor:
    """What torchaudio's MelSpectrogram and AmplitudeToDB make of clips `(B, S)`: `(B, T, 64)`."""
    window = torch.hann_window(512, dtype=waveforms.dtype)
    spectrum = torch.stft(waveforms, 512, 160, 512, window, return_complex=True)  # reflects
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)  # HTK's mel of the highest frequency
    edges = [700 * (10 ** (top * index / 65 / 2595) - 1) for index in range(66)]
    hertz = torch.arange(257, dtype=waveforms.dtype) * SAMPLE_RATE / 512
    mels = []
    for left, middle, right in zip(edges, edges[1:], edges[2:], strict=False):
        rising, falling = (hertz - left) / (middle - left), (right - hertz) / (right - middle)
        mels.append(rising.minimum(falling).clamp(min=0))
    power = spectrum.abs().square().transpose(1, 2) @ torch.stack(mels, dim=1)
    loudness = 10 * power.clamp(min=1e-10).log10()
    return loudness.maximum(loudness.amax(dim=(1, 2), keepdim=True) - 120)


def logits(features: Tensor, tensors: dict[str, Tensor], num_heads: int) -> Tensor:
    """The network, step by step, on features `(B, T, 64)` of whole clips."""

    def linear(name: str, inputs: Tensor) -> Tensor:
        return inputs @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name: str, inputs: Tensor, epsilon: float = 1e-6) -> Tensor:
        centred = inputs - inputs.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    batch = {key: tensors[f"encoder.init_bn.{key}"] for key in ("running_mean", "running_var")}
    scale = tensors["encoder.init_bn.weight"] / (batch["running_var"] + 1e-5).sqrt()
    features = (features - batch["running_mean"]) * scale + tensors["encoder.init_bn.bias"]
    kernel, bias = (tensors[f"encoder.patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    tokens = []
    for row in range(4):
        for column in range(features.shape[1] // 16):
            patch = features[:, 16 * column : 16 * column + 16, 16 * row : 16 * row + 16]
            token = torch.einsum("btf,dft->bd", patch, kernel[:, 0]) + bias
            token = token + tensors["encoder.time_pos_embed"][0, :, 0, column]
            tokens.append(token + tensors["encoder.freq_pos_embed"][0, :, row, 0])
    stream = torch.stack(tokens, dim=1)
    block = 0
    while f"encoder.blocks.{block}.norm1.weight" in tensors:
        name = f"encoder.blocks.{block}."
        rows = linear(f"{name}attn.qkv", norm(f"{name}norm1", stream))
        query, key, value = (
            part.unflatten(2, (num_heads, -1)).transpose(1, 2) for part in rows.chunk(3, dim=2)
        )
        weights = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).softmax(dim=3)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        stream = stream + linear(f"{name}attn.proj", mixed)
        hidden = F.gelu(linear(f"{name}mlp.fc1", norm(f"{name}norm2", stream)))
        stream = stream + linear(f"{name}mlp.fc2", hidden)
        block += 1
    pooled = norm("encoder.norm", stream).mean(dim=1)
    return linear("outputlayer.1", norm("outputlayer.0", pooled, 1e-5))


@pytest.fixture
def double(tmp_path: Path) -> Callable[..., tuple]:
    """Our model and the tensors of a file in float64, where rounding hides no mistake."""

    def read(size: str) -> tuple:
        tensors = released(size)
        save_file(tensors, tmp_path / "model.safetensors")
        ours = convert.read(tmp_path / "model.safetensors").double()
        return ours, {name: value.double() for name, value in tensors.items()}

    return read


@pytest.mark.parametrize(("size", "seconds"), [("tiny", 0.155), ("mini", 1.003), ("tiny", 10)])
@torch.no_grad()
def test_random_weights_give_the_same_logits(double, size, seconds):
    ours, tensors = double(size)
    clips = 0.1 * torch.randn(2, round(seconds * SAMPLE_RATE), dtype=torch.float64)
    clips[1] = clips[1].cumsum(0) / 10  # brown, the other is white
    expected = logits(decibels(clips), tensors, CED_SIZES[size]["num_heads"])
    found = ours.logits(clips)
    print(f"\n{size}, {seconds} s: {(found - expected).abs().max():.2e} of {expected.std():.2f}")
    assert (expected[0] - expected[1]).abs().max() > 1e-4  # of two clips
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@torch.no_grad()
def test_float32_gives_the_same_logits_on_real_recordings(tmp_path, shared_data):
    from auricle import audio

    tensors = released()
    save_file(tensors, tmp_path / "model.safetensors")
    ours = convert.read(tmp_path / "model.safetensors")
    paths = sorted((shared_data / "esc10" / "audio").glob("*.flac"))[::67]
    clips = torch.stack([audio.load(path, SAMPLE_RATE) for path in paths])
    expected = logits(decibels(clips.double()), {k: v.double() for k, v in tensors.items()}, 3)
    difference = (ours.logits(clips) - expected).abs().max()
    print(f"\n{len(clips)} clips: {difference:.2e} of {expected.std():.2f}")
    assert difference < 1e-4


@pytest.mark.parametrize("level", [1.0, 1e-3, 0.0])
@torch.no_grad()
def test_the_features_are_the_same_down_to_120_db_below_the_loudest(double, level):
    ours, _ = double("tiny")
    time = torch.arange(16_000, dtype=torch.float64) / SAMPLE_RATE
    tone = level * torch.sin(2 * math.pi * 440 * time)[None]
    features, counts = ours.fbank(tone)
    assert counts.tolist() == [101]
    assert features.min() == pytest.approx(max(-100.0, features.max().item() - 120))
    torch.testing.assert_close(features, decibels(tone), rtol=0, atol=1e-6)
