"""Vision transformers (DeiT, ViT, DINOv2) as a start for an AST.

What an image model gives an AST: its blocks, its prefix tokens, its patch projection summed over
the colour channels, and its square position grid cut or interpolated to the spectrogram's. Its
classifier has other classes and is dropped, so the result is a checkpoint without labels.

Sources: Gong et al. 2021, section 2.2, with the channels summed as in the authors' code (the paper
says averaged); names of timm 1.0 (DeiT, ViT, DINOv2) and of transformers' Dinov2Model.

Shapes: D width, P prefix tokens, G side of the grid of image patches.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import Description, assemble, empty_model, mlp_ratio, number_of_heads
from auricle.convert.layout import (
    TIMM_PARTS,
    Layout,
    check,
    shape_of,
    to_ours,
    to_theirs,
    without_prefix,
)
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import FbankConfig, PaddingConfig
from auricle.models import adapt_positions

KIND = "vision"
DEFAULT_STRIDE = 10
DEFAULT_FRAMES = 1024
NUM_MELS = 128


@dataclass(frozen=True)
class VisionLayout:
    """Names in a vision transformer, and what only vision transformers have."""

    layout: Layout
    distillation_token: str
    layer_scales: dict[str, str]  # our linear layer whose output is scaled: their scale (D,)
    unused: tuple[str, ...]  # modules and tensors that an AST has no use for

    def prefix(self, names: Iterable[str]) -> str | None:
        """The prefix of every name ("backbone."), or None if these are other names."""
        first_norm = self.layout.block.format(0) + self.layout.parts["attention_norm"]
        return without_prefix(names, f"{first_norm}.weight")


TIMM = VisionLayout(
    Layout(
        prefix_tokens=("cls_token",),
        positions="pos_embed",
        projection="patch_embed.proj",
        block="blocks.{}.",
        parts=TIMM_PARTS,
        query_key_value=("attn.qkv",),
        norm="norm",
    ),
    distillation_token="dist_token",
    layer_scales={"attention.output": "ls1.gamma", "mlp.contract": "ls2.gamma"},
    unused=("head", "head_dist", "pre_logits.fc", "mask_token"),
)
DINOV2 = VisionLayout(
    Layout(
        prefix_tokens=("embeddings.cls_token",),
        positions="embeddings.position_embeddings",
        projection="embeddings.patch_embeddings.projection",
        block="encoder.layer.{}.",
        parts={
            "attention_norm": "norm1",
            "attention.output": "attention.output.dense",
            "mlp_norm": "norm2",
            "mlp.expand": "mlp.fc1",
            "mlp.contract": "mlp.fc2",
        },
        query_key_value=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
        norm="layernorm",
    ),
    distillation_token="embeddings.distillation_token",
    layer_scales={
        "attention.output": "layer_scale1.lambda1",
        "mlp.contract": "layer_scale2.lambda1",
    },
    unused=("embeddings.mask_token",),
)
LAYOUTS = (TIMM, DINOV2)


def read(source: Source, options: Options) -> Checkpoint | None:
    """An AST without labels from the vision transformer in `source`; None if it is none.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped, or the grid of positions is
            not square.
    """
    vision = next((each for each in LAYOUTS if each.prefix(source.tensors) is not None), None)
    if vision is None:
        return None
    tensors, dropped = _own_tensors(source, vision)
    if vision.distillation_token in tensors:
        tokens = (*vision.layout.prefix_tokens, vision.distillation_token)
        distilled = dataclasses.replace(vision.layout, prefix_tokens=tokens)
        vision = dataclasses.replace(vision, layout=distilled)
    image = _image_settings(tensors, vision.layout, source.path)
    tensors = _complete_positions(tensors, vision.layout, image)
    state = _image_model(tensors, vision, image, source.path)
    settings = {
        **image,
        "num_mels": NUM_MELS,
        "max_frames": options.frames or DEFAULT_FRAMES,
        "stride": [options.stride or DEFAULT_STRIDE] * 2,
    }
    rows, columns = empty_model(settings, source.path)["positions.grid"].shape[:2]
    image_grid = state["positions.grid"]
    state["positions.grid"] = adapt_positions(image_grid, rows, columns)
    source = Source(source.path, tensors, dropped=source.dropped + dropped)
    # A start for training has seen no padding yet: true lengths, filled up to one patch.
    front_end = FbankConfig(padding=PaddingConfig(frames=image["patch"][1]))
    notes = ["no classifier: a start for training", "statistics of AudioSet assumed"]
    described = Description(settings, front_end, [], "sigmoid", notes)
    result = assemble(source, KIND, described, state)
    positions = result.model.get_submodule("positions")
    positions.register_buffer("image", image_grid, persistent=False)
    return result


def _own_tensors(source: Source, vision: VisionLayout) -> tuple[dict[str, Tensor], list[str]]:
    """The transformer's tensors without a common prefix, and the names of all others."""
    prefix = vision.prefix(source.tensors) or ""
    dropped = [
        name
        for name in source.tensors
        if not name.startswith(prefix)
        or name.removeprefix(prefix).removesuffix(".weight").removesuffix(".bias") in vision.unused
    ]
    weights = {
        name.removeprefix(prefix): value
        for name, value in source.tensors.items()
        if name not in dropped
    }
    return weights, dropped


def _image_settings(tensors: dict[str, Tensor], layout: Layout, path: Path) -> dict[str, Any]:
    """The vision transformer seen as an AST whose spectrogram is the (square) image."""
    width, _, *patch = shape_of(tensors, f"{layout.projection}.weight", 4, path)
    first_block = layout.block.format(0) + layout.parts["mlp.expand"]
    hidden = shape_of(tensors, f"{first_block}.weight", 2, path)[0]
    side = _side(shape_of(tensors, layout.positions, 3, path)[1], layout, path)
    return {
        "num_classes": 0,
        "num_mels": side * patch[0],
        "max_frames": side * patch[1],
        "patch": patch,
        "stride": patch,
        "width": width,
        "depth": layout.depth(tensors),
        "num_heads": number_of_heads(width, path),
        "mlp_ratio": mlp_ratio(width, hidden),
        "num_prefix_tokens": len(layout.prefix_tokens),
    }


def _side(num_positions: int, layout: Layout, path: Path) -> int:
    """Side G of the grid in a table of G * G positions, with or without the prefix tokens'."""
    for num_prefix in (len(layout.prefix_tokens), 0):
        side = math.isqrt(max(0, num_positions - num_prefix))
        if side and side * side == num_positions - num_prefix:
            return side
    raise CheckpointError(
        f"{path}: {layout.positions!r} holds {num_positions} positions, which are no square grid "
        "of image patches; only square images can be converted."
    )


def _complete_positions(
    tensors: dict[str, Tensor], layout: Layout, image: dict[str, Any]
) -> dict[str, Tensor]:
    """Zeros for the prefix tokens of models that add positions to patches alone."""
    positions = tensors[layout.positions]
    side = image["num_mels"] // image["patch"][0]
    missing = side * side + len(layout.prefix_tokens) - positions.shape[1]
    padded = torch.cat([positions.new_zeros(1, missing, positions.shape[2]), positions], dim=1)
    return {**tensors, layout.positions: padded}


def _image_model(
    tensors: dict[str, Tensor], vision: VisionLayout, image: dict[str, Any], path: Path
) -> dict[str, Tensor]:
    """Our state of the vision transformer itself, with its own position grid."""
    layout, projection = vision.layout, f"{vision.layout.projection}.weight"
    empty = empty_model(image, path)
    expected = {name: value.shape for name, value in to_theirs(empty, layout).items()}
    width, _, *patch = expected[projection]
    expected[projection] = torch.Size([width, tensors[projection].shape[1], *patch])
    scales = _layer_scales(tensors, vision, image["depth"])
    check(tensors, expected | {name: torch.Size([width]) for name in scales.values()}, path)
    # Parity: summed over the channels, which is what AST's weights were started from.
    tensors = {**tensors, projection: tensors[projection].sum(dim=1, keepdim=True)}
    rows, columns = empty["positions.grid"].shape[:2]
    state = to_ours(tensors, layout, rows, columns)
    for ours, scale in scales.items():
        # scale * (W x + b) = (scale * W) x + scale * b: no module of its own is needed.
        state[f"{ours}.weight"] = tensors[scale][:, None] * state[f"{ours}.weight"]
        state[f"{ours}.bias"] = tensors[scale] * state[f"{ours}.bias"]
    return state


def _layer_scales(tensors: dict[str, Tensor], vision: VisionLayout, depth: int) -> dict[str, str]:
    """The scale of each of our linear layers, if the model has layer scales at all."""
    scales = {
        f"encoder.blocks.{index}.{ours}": vision.layout.block.format(index) + theirs
        for index in range(depth)
        for ours, theirs in vision.layer_scales.items()
    }
    return scales if any(name in tensors for name in scales.values()) else {}
