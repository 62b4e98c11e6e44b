"""Vision transformers as a start: what they compute as an AST, and what is refused.

The second implementation is a plain vision transformer of 20 lines that reads timm's names.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from auricle import checkpoint, convert, models
from auricle.errors import CheckpointError

WIDTH, DEPTH, HEADS, PATCH, SIDE = 128, 2, 2, 16, 8


def timm_tensors(
    prefix_tokens: int = 1, layer_scale: bool = False, side: int = SIDE, patch: int = PATCH
) -> dict[str, Tensor]:
    """A DeiT (distilled: two prefix tokens) or ViT under timm's names, with random values."""
    tokens = {"cls_token": (1, 1, WIDTH), "dist_token": (1, 1, WIDTH)}
    shapes = dict(list(tokens.items())[:prefix_tokens])
    shapes["pos_embed"] = (1, prefix_tokens + side * side, WIDTH)
    linear = {"patch_embed.proj": (WIDTH, 3, patch, patch), "norm": (WIDTH,), "head": (10, WIDTH)}
    if prefix_tokens == 2:
        linear["head_dist"] = (10, WIDTH)
    for index in range(DEPTH):
        block = f"blocks.{index}."
        linear |= {block + "norm1": (WIDTH,), block + "norm2": (WIDTH,)}
        linear |= {block + "attn.qkv": (3 * WIDTH, WIDTH), block + "attn.proj": (WIDTH, WIDTH)}
        linear |= {block + "mlp.fc1": (4 * WIDTH, WIDTH), block + "mlp.fc2": (WIDTH, 4 * WIDTH)}
        if layer_scale:
            shapes |= {block + "ls1.gamma": (WIDTH,), block + "ls2.gamma": (WIDTH,)}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    generator = torch.Generator().manual_seed(0)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def plain_vit(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """The prefix tokens `(B, P, D)` after the final norm, for images `(B, 3, H, W)`."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(
            x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6
        )

    kernel, bias = tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]
    x = F.conv2d(images, kernel, bias, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
    prefix = [tensors[name] for name in ("cls_token", "dist_token") if name in tensors]
    x = torch.cat([token.expand(len(x), -1, -1) for token in prefix] + [x], dim=1)
    x = x + tensors["pos_embed"]
    for index in range(DEPTH):
        block = f"blocks.{index}."
        qkv = linear(f"{block}attn.qkv", norm(f"{block}norm1", x))
        query, key, value = qkv.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        x = x + linear(f"{block}attn.proj", mixed) * tensors.get(f"{block}ls1.gamma", 1)
        hidden = F.gelu(linear(f"{block}mlp.fc1", norm(f"{block}norm2", x)))
        x = x + linear(f"{block}mlp.fc2", hidden) * tensors.get(f"{block}ls2.gamma", 1)
    return norm("norm", x)[:, : len(prefix)]


def saved(tensors: dict[str, Tensor], folder: Path, name: str = "vit.safetensors") -> Path:
    save = save_file if name.endswith(".safetensors") else torch.save
    save(tensors, folder / name)
    return folder / name


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth"])
@pytest.mark.parametrize("layer_scale", [False, True])
@pytest.mark.parametrize("prefix_tokens", [1, 2])
def test_a_grey_image_gets_the_embedding_of_a_plain_vision_transformer(
    tmp_path, prefix_tokens, layer_scale, name
):
    tensors = timm_tensors(prefix_tokens, layer_scale)
    # 128 mels and 128 frames at stride 16: the grid is the image's own, nothing is adapted.
    ours = convert.read(saved(tensors, tmp_path, name), stride=PATCH, frames=SIDE * PATCH)
    images = torch.randn(2, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        embeddings = ours.model(images.transpose(1, 2))  # features are (frames, mels)
    expected = plain_vit(tensors, images[:, None].expand(-1, 3, -1, -1)).mean(dim=1)
    print(f"\nlargest difference {(embeddings - expected).abs().max():.2e}")
    torch.testing.assert_close(embeddings, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [14, 24])
def test_positions_are_adapted_to_the_grid_of_the_spectrogram(tmp_path, side):
    tensors = timm_tensors(2, side=side)
    state = convert.read(saved(tensors, tmp_path)).model.state_dict()
    grid = tensors["pos_embed"][0, 2:].unflatten(0, (side, side))
    assert torch.equal(state["positions.grid"], models.adapt_positions(grid, 12, 101))
    assert torch.equal(state["positions.prefix"], tensors["pos_embed"][0, :2])
    assert state["positions.grid"].shape == (12, 101, WIDTH)


def test_the_kernel_is_summed_over_the_channels(tmp_path):
    tensors = timm_tensors()
    state = convert.read(saved(tensors, tmp_path)).model.state_dict()
    red, green, blue = tensors["patch_embed.proj.weight"].unbind(1)
    torch.testing.assert_close(state["patches.projection.weight"][:, 0], red + green + blue)


def test_the_result_is_a_start_without_labels_that_is_saved_and_loaded(tmp_path):
    ours = convert.read(saved(timm_tensors(), tmp_path))
    convert.write(ours, tmp_path / "start")
    again = checkpoint.load(tmp_path / "start")
    assert again.labels == []
    assert again.config.provenance == {
        "source": "vit.safetensors",
        "layout": "vision",
        "dropped": ["head.bias", "head.weight"],
        "notes": ["no classifier: a start for training", "statistics of AudioSet assumed"],
    }
    state = ours.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())


def test_every_tensor_of_the_encoder_reaches_a_model_with_a_head(tmp_path):
    source = convert.read(saved(timm_tensors(2), tmp_path))
    target = models.build("ast", {**source.config.model_settings, "num_classes": 5})
    report = models.transfer(source.model, target)
    assert all(name.startswith("head.") for name in report.fresh)
    assert not report.adapted


def test_a_common_prefix_is_removed_and_what_stands_outside_is_dropped(tmp_path):
    tensors = timm_tensors()
    del tensors["head.weight"], tensors["head.bias"]
    named = {f"backbone.{name}": value for name, value in tensors.items()}
    path = saved(named | {"decoder.weight": torch.zeros(2)}, tmp_path)
    ours = convert.read(path)
    assert ours.config.provenance["dropped"] == ["decoder.weight"]
    state = ours.model.state_dict()
    assert torch.equal(state["norm.weight"], tensors["norm.weight"])


def test_another_patch_size_stays(tmp_path):
    ours = convert.read(saved(timm_tensors(patch=14, side=37), tmp_path), stride=14)
    assert (ours.model.config.patch, ours.model.config.stride) == ((14, 14), (14, 14))
    assert ours.model.positions.grid.shape == (9, 73, WIDTH)


def test_positions_of_patches_alone_leave_the_prefix_tokens_without(tmp_path):
    tensors = timm_tensors()
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:].clone()
    state = convert.read(saved(tensors, tmp_path)).model.state_dict()
    assert not state["positions.prefix"].any()
    grid = tensors["pos_embed"][0].unflatten(0, (SIDE, SIDE))
    assert torch.equal(state["positions.grid"], models.adapt_positions(grid, 12, 101))


def test_positions_that_are_no_square_are_refused(tmp_path):
    tensors = timm_tensors()
    tensors["pos_embed"] = torch.zeros(1, 1 + 60, WIDTH)
    path = saved(tensors, tmp_path)
    assert message(path) == (
        f"{path}: 'pos_embed' holds 61 positions, which are no square grid of image patches; only "
        "square images can be converted."
    )


def test_missing_left_over_and_mis_shaped_tensors_are_named(tmp_path):
    tensors = timm_tensors(layer_scale=True)
    del tensors["blocks.1.ls2.gamma"], tensors["norm.bias"]
    tensors |= {"reg_token": torch.zeros(1, 4, WIDTH), "blocks.0.ls1.gamma": torch.zeros(7)}
    path = saved(tensors, tmp_path, "vit.pth")
    assert message(path) == (
        f"{path}: the tensors are not those of this model. "
        "Missing: norm.bias, blocks.1.ls2.gamma. Left over: reg_token. "
        "Mis-shaped: blocks.0.ls1.gamma is (7,) and should be (128,)."
    )
