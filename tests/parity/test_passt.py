"""PaSST against a second implementation: its parts written out with torch's own functions.

The weights are random, under the names of the published files: those cannot be fetched here.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from auricle import convert
from auricle.errors import CheckpointError

WIDTH, DEPTH, CLASSES = 128, 2, 7


def released(stride: int = 10, frames: int = 998) -> dict[str, Tensor]:
    """Lively random tensors; as many positions as steps fit into mels and frames, as released."""
    rows, columns = 128 // stride, frames // stride
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "dist_token": (1, 1, WIDTH),
        "new_pos_embed": (1, 2, WIDTH),
        "freq_new_pos_embed": (1, WIDTH, rows, 1),
        "time_new_pos_embed": (1, WIDTH, 1, columns),
        "patch_embed.proj.weight": (WIDTH, 1, 16, 16),
    }
    linear = {"head.1": (CLASSES, WIDTH), "head_dist": (CLASSES, WIDTH)}
    norms = ["norm", "head.0"]
    for index in range(DEPTH):
        block = f"blocks.{index}."
        linear |= {f"{block}attn.qkv": (3 * WIDTH, WIDTH), f"{block}attn.proj": (WIDTH, WIDTH)}
        linear |= {f"{block}mlp.fc1": (512, WIDTH), f"{block}mlp.fc2": (WIDTH, 512)}
        norms += [f"{block}norm1", f"{block}norm2"]
    shapes |= {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    shapes |= {f"{name}.{kind}": (WIDTH,) for name in norms for kind in ("weight", "bias")}
    shapes["patch_embed.proj.bias"] = (WIDTH,)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def logits(features: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The network on features `(B, T, 128)` of whole clips, in eval mode."""
    stride = 128 // tensors["freq_new_pos_embed"].shape[2]

    def of(name: str) -> tuple[Tensor, Tensor]:
        return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    def norm(name: str, inputs: Tensor, epsilon: float) -> Tensor:
        return F.layer_norm(inputs, (WIDTH,), *of(name), epsilon)

    maps = F.conv2d(features.transpose(1, 2)[:, None], *of("patch_embed.proj"), stride)
    maps = maps + tensors["time_new_pos_embed"][..., : maps.shape[3]]
    maps = maps + tensors["freq_new_pos_embed"]
    tokens = torch.cat([tensors["cls_token"], tensors["dist_token"]], dim=1)
    tokens = (tokens + tensors["new_pos_embed"]).expand(len(maps), -1, -1)
    tokens = torch.cat([tokens, maps.flatten(2).transpose(1, 2)], dim=1)
    for index in range(DEPTH):
        block = f"blocks.{index}."
        rows = F.linear(norm(f"{block}norm1", tokens, 1e-6), *of(f"{block}attn.qkv"))
        query, key, value = rows.unflatten(2, (3, 2, 64)).permute(2, 0, 3, 1, 4)
        mixed = (query @ key.transpose(2, 3) / 8).softmax(dim=3) @ value
        mixed = mixed.transpose(1, 2).flatten(2)
        tokens = tokens + F.linear(mixed, *of(f"{block}attn.proj"))
        hidden = F.linear(norm(f"{block}norm2", tokens, 1e-6), *of(f"{block}mlp.fc1"))
        tokens = tokens + F.linear(F.gelu(hidden), *of(f"{block}mlp.fc2"))
    tokens = norm("norm", tokens, 1e-6)
    both = (tokens[:, 0] + tokens[:, 1]) / 2
    return F.linear(norm("head.0", both, 1e-5), *of("head.1"))


def save(tensors: dict[str, Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "passt.pt")
    return folder / "passt.pt"


@pytest.mark.parametrize(("stride", "seconds"), [(10, 0.2), (10, 10), (12, 3), (14, 0.2), (16, 10)])
@torch.no_grad()
def test_random_weights_give_the_same_logits(tmp_path, stride, seconds):
    tensors = released(stride)
    ours = convert.read(save(tensors, tmp_path)).double()
    clips = 0.1 * torch.randn(2, round(seconds * 32_000), dtype=torch.float64)
    clips[1] = clips[1].cumsum(0) / 10
    features, counts = ours.fbank(clips)
    columns = tensors["time_new_pos_embed"].shape[3]
    features = features[:, : columns * stride + 6]  # what is beyond the last position is cut
    expected = logits(features, {name: value.double() for name, value in tensors.items()})
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    found = ours.model(features)
    # Ours keeps the sum of two positions in float32.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(ours.logits(clips), expected, rtol=0, atol=1e-7)


def test_what_is_read_of_a_file(tmp_path):
    read = convert.read(save(released(), tmp_path))
    assert read.model.config.stride == (10, 10)
    assert read.model.config.columns == 99
    assert (read.config.front_end.name, read.config.activation) == ("efficientat", "sigmoid")
    assert read.config.provenance == {
        "source": "passt.pt",
        "layout": "passt",
        "dropped": ["head_dist.weight", "head_dist.bias"],
        "notes": [
            "a hop of 10 ms assumed: the tensors do not show it",
            "unknown classes: sigmoid and numbered labels assumed",
        ],
    }


def test_what_does_not_fit_is_named(tmp_path):
    tensors = released()
    tensors["freq_new_pos_embed"] = torch.zeros(1, 3, 12, 1)
    path = save(tensors, tmp_path)
    with pytest.raises(CheckpointError) as caught:
        convert.read(path)
    assert str(caught.value) == (
        f"{path}: the tensors are not those of this model. Mis-shaped: freq_new_pos_embed is "
        "(1, 3, 12, 1) and should be (1, 128, 12, 1)."
    )
    with pytest.raises(CheckpointError) as caught:
        convert.read(save(released(), tmp_path), stride=10)
    assert str(caught.value) == (
        f"{path}: PaSST's positions show stride and length; leave out --stride and --frames."
    )
