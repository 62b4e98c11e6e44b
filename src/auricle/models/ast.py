"""AST, the Audio Spectrogram Transformer (Gong, Chung, Glass 2021, arXiv 2104.01778).

Where paper and published weights differ, the weights are followed: both prefix tokens are kept and
their outputs averaged after the final norm.

Shapes: B clips, T frames, M mel bins, N tokens, P prefix tokens, D width, C classes.
"""

from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.models.differential_attention import DifferentialConfig, build_attention, check_heads
from auricle.models.encoder import Encoder, EncoderBlock, initialize_linear_layers
from auricle.models.model import Model, ModelConfig, all_whole
from auricle.models.packing import TokenLayout
from auricle.models.patches import (
    PatchEmbedding,
    Positions,
    check_clips,
    grid_length,
    stem_factor,
)
from auricle.models.patchout import leave_out

Side = tuple[int, int]


class ASTConfig(ModelConfig):
    """Settings of AST. Pairs are (mel bins, frames). The defaults are AST-base for AudioSet."""

    num_classes: int = Field(527, ge=0)  # 0: no head, the model is a start for training
    num_mels: int = Field(128, ge=1)
    max_frames: int = Field(1024, ge=1)  # longest clip that has positions
    patch: Side = (16, 16)
    stride: Side = (10, 10)
    # Channels of 3x3 convolutions before the patches, each of which halves both axes; (): none.
    stem: tuple[Annotated[int, Field(ge=1)], ...] = ()
    width: int = Field(768, ge=1)
    depth: int = Field(12, ge=1)
    num_heads: int = Field(12, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    norm_epsilon: float = Field(1e-6, gt=0)
    head_norm_epsilon: float = Field(1e-5, gt=0)  # the authors' head keeps torch's default
    num_prefix_tokens: int = Field(2, ge=1, le=2)  # cls, and the distillation token of DeiT
    dropout: float = Field(0.0, ge=0, lt=1)
    # Share of clips that skip a branch in training: 0 in the first block, this in the last.
    drop_path: float = Field(0.0, ge=0, lt=1)
    patchout: float = Field(0.0, ge=0, lt=1)  # share of a clip's patches that training leaves out
    readout: Literal["prefix_mean", "cls", "patch_mean"] = "prefix_mean"
    differential: DifferentialConfig | None = None  # None: softmax attention

    @model_validator(mode="after")
    def _check(self) -> "ASTConfig":
        if min(*self.patch, *self.stride) < 1:
            raise ValueError(f"patch {self.patch} and stride {self.stride} must be at least 1")
        if self.rows < 1 or self.columns < 1:
            raise ValueError(
                f"patch {self.patch} does not fit into num_mels ({self.num_mels}) x "
                f"max_frames ({self.max_frames})"
            )
        halved = stem_factor(self.stem)
        if any(side % halved for side in (*self.patch, *self.stride, self.num_mels)):
            raise ValueError(
                f"patch {self.patch}, stride {self.stride} and num_mels ({self.num_mels}) must be "
                f"multiples of {halved} behind a stem of {len(self.stem)} convolutions"
            )
        check_heads(self.differential, self.width, self.num_heads)
        return self

    @property
    def shortest_frames(self) -> int:
        """One patch."""
        return self.patch[1]

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        (high, long), (down, along) = self.patch, self.stride
        return (
            f"width {self.width}, depth {self.depth}, heads {self.num_heads}",
            f"{high} x {long} patches, stride {down} x {along}, {self.num_mels} mel bins, "
            f"{self.max_frames} frames",
        )

    @property
    def rows(self) -> int:
        """Rows of the patch grid: steps along frequency."""
        return grid_length(self.num_mels, self.patch[0], self.stride[0])

    @property
    def columns(self) -> int:
        """Columns of the position grid: steps along time in the longest clip."""
        return grid_length(self.max_frames, self.patch[1], self.stride[1])


class AST(Model):
    """Features `(B, T, M)` to logits `(B, C)`; frames past `frame_counts` have no influence.

    Args:
        before_norm, after_norm: further stages `(tokens, layout) -> tokens` around the final norm,
            by name, in order. A variant of AST is made of these, not of flags in this file.
    """

    def __init__(
        self,
        config: ASTConfig,
        before_norm: dict[str, nn.Module] | None = None,
        after_norm: dict[str, nn.Module] | None = None,
    ):
        super().__init__()
        self.config: ASTConfig = config
        width = config.width
        self.prefix_tokens = nn.Parameter(torch.empty(config.num_prefix_tokens, width))
        nn.init.trunc_normal_(self.prefix_tokens, std=0.02)
        self.patches = PatchEmbedding(width, config.patch, config.stride, config.stem)
        self.positions = Positions(config.num_prefix_tokens, config.rows, config.columns, width)
        self.encoder = Encoder(config.depth, partial(_block, config))
        self.norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.head = _head(config)
        initialize_linear_layers(self)
        # After the line above: a stage chooses its own start.
        self.before_norm = nn.ModuleDict(before_norm or {})
        self.after_norm = nn.ModuleDict(after_norm or {})

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """What the head reads: one vector `(B, D)` for each clip."""
        tokens, layout = self.encode(features, frame_counts)
        return READOUTS[self.config.readout](tokens, layout)

    def encode(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        """All tokens after the last stage, `(B, P + N, D)`, and where they stand.

        Raises:
            AudioError: a clip is shorter than one patch.
            ConfigError: the features are longer than the positions or have other mel bins.
        """
        config = self.config
        check_clips(features, frame_counts, config, config.patch[1], config.stride[1])
        grid = self.patches(features)[:, :, : config.columns]
        layout = self._layout(grid, frame_counts, features.shape[1])
        patches = layout.pack(grid + self.positions.grid[:, : layout.columns])
        if self.training and config.patchout:
            patches, layout = leave_out(patches, layout, config.patchout)
        prefix = (self.prefix_tokens + self.positions.prefix).expand(len(features), -1, -1)
        tokens = torch.cat([prefix, patches], dim=1)
        tokens = self.encoder(tokens, layout.attention_mask(tokens.device))
        for stage in self.before_norm.values():
            tokens = stage(tokens, layout)
        tokens = self.norm(tokens)
        for stage in self.after_norm.values():
            tokens = stage(tokens, layout)
        return tokens, layout

    def num_tokens(self, frames: int) -> int:
        """Length of the sequence for a clip of `frames` frames, prefix tokens included."""
        columns = grid_length(frames, self.config.patch[1], self.config.stride[1])
        return self.config.num_prefix_tokens + self.config.rows * columns

    def _layout(self, grid: Tensor, frame_counts: Tensor | None, frames: int) -> TokenLayout:
        rows, columns = grid.shape[1:3]
        counts = None
        if frame_counts is not None and not all_whole(frame_counts, frames):
            patch, stride = self.config.patch[1], self.config.stride[1]
            counts = torch.div(frame_counts - patch, stride, rounding_mode="floor") + 1
        return TokenLayout(self.config.num_prefix_tokens, rows, columns, counts)


class Head(nn.Module):
    """LayerNorm, then one linear layer: `(B, D)` to `(B, C)`."""

    def __init__(self, width: int, num_classes: int, norm_epsilon: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_epsilon)
        self.linear = nn.Linear(width, num_classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.linear(self.norm(embeddings))


def _head(config: ASTConfig) -> nn.Module:
    if config.num_classes == 0:
        return nn.Identity()
    return Head(config.width, config.num_classes, config.head_norm_epsilon)


def _block(config: ASTConfig, index: int) -> EncoderBlock:
    # The rate of stochastic depth grows in a line, from 0 in the first block.
    drop_path = config.drop_path * index / max(1, config.depth - 1)
    attention = build_attention(
        config.differential, config.width, config.num_heads, index, config.dropout
    )
    return EncoderBlock(
        config.width, attention, config.mlp_ratio, config.norm_epsilon, config.dropout, drop_path
    )


def _prefix_mean(tokens: Tensor, layout: TokenLayout) -> Tensor:
    return tokens[:, : layout.num_prefix].mean(dim=1)


def _cls(tokens: Tensor, layout: TokenLayout) -> Tensor:
    return tokens[:, 0]


def _patch_mean(tokens: Tensor, layout: TokenLayout) -> Tensor:
    valid = layout.valid(tokens.device)[..., None]
    patches = tokens[:, layout.num_prefix :] * valid
    return patches.sum(dim=1) / valid.sum(dim=1)


READOUTS = {"prefix_mean": _prefix_mean, "cls": _cls, "patch_mean": _patch_mean}
