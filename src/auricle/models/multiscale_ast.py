"""Multiscale AST (Zhu and Omar 2023, arXiv 2303.10757): fewer and wider tokens, stage by stage.

The paper pools along time in some stages, along time and frequency in others, and widens the
features as the tokens become fewer. The blocks are those of MViT (Fan et al. 2021, arXiv
2104.11227; Li et al. 2022, arXiv 2112.01526): queries, keys and values are pooled over each clip's
own grid. Beyond a clip's last column a filter sees zeros and a maximum finds nothing, so a clip
gives the same alone and in any batch. What the paper leaves open: `docs/multiscale.md`.

Shapes: B clips, T frames, M mel bins, D width of a stage, F rows (frequency) and C columns (time)
of its grid, N tokens (F * C), H heads, K width of a head.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.models.encoder import (
    DropPath,
    FeedForward,
    attend,
    build_head,
    initialize_linear_layers,
)
from auricle.models.model import READOUTS, Model, Part, PatchConfig, Side, check_clips
from auricle.models.patches import PatchEmbedding, TokenLayout, check_patches
from auricle.padding import inside

GROWTH = 2  # of the width and the number of heads from stage to stage

# The last stage is as wide as the AST of the same name; depths, heads: see `docs/multiscale.md`.
MULTISCALE_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 24},
    "small": {"width": 48},
    "base": {"width": 96},
}


class MultiscaleASTConfig(PatchConfig):
    """Settings of Multiscale AST. The defaults are the base size for AudioSet."""

    patch: Side = (16, 8)
    stride: Side = (8, 4)
    width: int = Field(96, ge=1)  # of the first stage; twice as much in each further one
    num_heads: int = Field(1, ge=1)  # likewise
    depths: tuple[int, ...] = Field((2, 3, 16, 3), min_length=1)  # blocks of each stage
    # Rows and columns that become one at the entry of each stage but the first.
    pooling: tuple[Side, ...] = ((1, 2), (2, 2), (2, 2))
    mlp_ratio: float = Field(4.0, gt=0)
    norm_epsilon: float = Field(1e-6, gt=0)
    head_norm_epsilon: float = Field(1e-5, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    # Share of clips that skip a branch in training: 0 in the first block, this in the last.
    drop_path: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> "MultiscaleASTConfig":
        check_patches(self.patch, self.stride, self.num_mels, self.max_frames)
        if self.width % self.num_heads:
            raise ValueError(
                f"width ({self.width}) must be a multiple of num_heads ({self.num_heads})"
            )
        if min(self.depths) < 1:
            raise ValueError(f"depths {self.depths} must be at least 1: each stage has a block")
        if len(self.pooling) != len(self.depths) - 1:
            raise ValueError(
                f"pooling has {len(self.pooling)} steps, depths {len(self.depths)} stages: give "
                "one step for each stage but the first"
            )
        if any(min(step) < 1 for step in self.pooling):
            raise ValueError(f"pooling {self.pooling} must be at least 1")
        return self

    @property
    def steps(self) -> Side:
        """From one patch to the next."""
        return self.stride

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        growth = GROWTH ** (len(self.depths) - 1)
        sizes = (
            f"width {self.width} to {self.width * growth}, depth {sum(self.depths)} in "
            f"{len(self.depths)} stages, heads {self.num_heads} to {self.num_heads * growth}"
        )
        return sizes, self.reads


class MultiscaleAST(Model):
    """Features `(B, T, M)` to logits `(B, classes)`; frames past `frame_counts` have no influence.

    There is no prefix token: the mean of the last stage's tokens is read.
    """

    def __init__(self, config: MultiscaleASTConfig):
        super().__init__()
        self.config: MultiscaleASTConfig = config
        last_width = config.width * GROWTH ** (len(config.depths) - 1)
        self.patches = PatchEmbedding(config.width, config.patch, config.stride)
        self.positions = GridPositions(config.rows, config.columns, config.width)
        self.encoder = Pyramid(config)
        self.norm = nn.LayerNorm(last_width, eps=config.norm_epsilon)
        self.head = build_head(last_width, config.num_classes, config.head_norm_epsilon)
        initialize_linear_layers(self)

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """Mean of the last stage's tokens: one vector `(B, D)` for each clip.

        Raises:
            AudioError: a clip is shorter than one patch.
            ConfigError: the features are longer than the positions or have other mel bins.
        """
        config = self.config
        check_clips(features, frame_counts, config)
        grid = self.patches(features)[:, :, : config.columns]
        counts = self.patches.column_counts(frame_counts, features.shape[1])
        layout = TokenLayout(0, config.rows, grid.shape[2], counts)
        tokens = layout.pack(grid + self.positions.grid[:, : layout.columns])
        tokens, layout = self.encoder(tokens, layout)
        return READOUTS["patch_mean"](self.norm(tokens), layout)

    def num_tokens(self, frames: int) -> int:
        """Tokens of the last stage, over which the embedding is the mean."""
        layout = TokenLayout(0, self.config.rows, self.config.columns_of(frames), None)
        for step in self.config.pooling:
            layout = pooled_layout(layout, step)
        return layout.num_patches

    def layers(self) -> list[list[Part]]:
        blocks: list[list[Part]] = [[block] for block in self.encoder.blocks]
        return [[self.patches, self.positions], *blocks, [self.norm, self.head]]

    def residual_outputs(self) -> list[list[nn.Module]]:
        blocks: Any = self.encoder.blocks
        return [block.residual_outputs() for block in blocks]


class GridPositions(nn.Module):
    """Learned positions of the first grid `(F, C, D)`; a short clip takes the first columns."""

    def __init__(self, rows: int, columns: int, width: int):
        super().__init__()
        self.grid = nn.Parameter(torch.empty(rows, columns, width))
        nn.init.trunc_normal_(self.grid, std=0.02)


@dataclass(frozen=True)
class BlockShape:
    """Widths and steps of one block; steps are (rows, columns) of its input that become one."""

    inputs: int  # width of what comes in
    width: int  # of what goes out
    num_heads: int
    query_step: Side
    key_step: Side


class Pyramid(nn.Module):
    """The blocks of all stages, one after the other: tokens `(B, N, D)` and their layout."""

    def __init__(self, config: MultiscaleASTConfig):
        super().__init__()
        shapes = block_shapes(config)
        last = max(1, len(shapes) - 1)
        self.blocks = nn.ModuleList(
            PoolingBlock(
                shape,
                config.mlp_ratio,
                config.norm_epsilon,
                config.dropout,
                config.drop_path * index / last,
            )
            for index, shape in enumerate(shapes)
        )

    def forward(self, tokens: Tensor, layout: TokenLayout) -> tuple[Tensor, TokenLayout]:
        for block in self.blocks:
            tokens, layout = block(tokens, layout)
        return tokens, layout


def block_shapes(config: MultiscaleASTConfig) -> list[BlockShape]:
    """Widths and steps of each block of the pyramid.

    All blocks attend to keys and values on the last stage's grid: the finer a stage is, the more it
    pools them (the adaptive strides of Fan et al. 2021).
    """
    shapes = []
    width, num_heads = config.width, config.num_heads
    for stage, depth in enumerate(config.depths):
        rest = _product(config.pooling[stage:])
        inner = BlockShape(width, width, num_heads, (1, 1), rest)
        entry = inner
        if stage > 0:
            step = config.pooling[stage - 1]
            entry = BlockShape(width // GROWTH, width, num_heads, step, _product((step, rest)))
        shapes += [entry] + (depth - 1) * [inner]
        width, num_heads = width * GROWTH, num_heads * GROWTH
    return shapes


def _product(steps: tuple[Side, ...]) -> Side:
    return math.prod(rows for rows, _ in steps), math.prod(columns for _, columns in steps)


class PoolingBlock(nn.Module):
    """A pre-LN transformer block whose attention pools; at a stage's entry its output is wider.

    There the residual path is projected and takes the largest of every window.
    """

    def __init__(
        self,
        shape: BlockShape,
        mlp_ratio: float,
        norm_epsilon: float,
        dropout: float,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.step = shape.query_step
        self.drop_path = DropPath(drop_path)
        self.attention_norm = nn.LayerNorm(shape.inputs, eps=norm_epsilon)
        self.attention = PoolingAttention(shape, norm_epsilon, dropout)
        is_entry = shape.inputs != shape.width
        self.shortcut = nn.Linear(shape.inputs, shape.width) if is_entry else None
        self.mlp_norm = nn.LayerNorm(shape.width, eps=norm_epsilon)
        hidden = int(shape.width * mlp_ratio)
        self.mlp = FeedForward(shape.width, hidden, nn.GELU(), dropout)

    def residual_outputs(self) -> list[nn.Module]:
        """The last layers of both branches; none at a stage's entry, which changes the tokens."""
        return [] if self.shortcut is not None else [self.attention.output, self.mlp.contract]

    def forward(self, tokens: Tensor, layout: TokenLayout) -> tuple[Tensor, TokenLayout]:
        normed = self.attention_norm(tokens)
        branch, pooled = self.attention(normed, layout)
        if self.shortcut is not None:
            tokens = pool_largest(self.shortcut(normed), layout, self.step)
        tokens = tokens + self.drop_path(branch)
        return tokens + self.drop_path(self.mlp(self.mlp_norm(tokens))), pooled


class PoolingAttention(nn.Module):
    """Multi-head self-attention between pooled queries and pooled keys and values.

    The pooled queries are added to the attended values (Li et al. 2022).
    """

    def __init__(self, shape: BlockShape, norm_epsilon: float, dropout: float):
        super().__init__()
        self.num_heads = shape.num_heads
        self.query_key_value = nn.Linear(shape.inputs, 3 * shape.width)
        self.query_pool = Pool(shape.width, shape.query_step, norm_epsilon)
        self.key_pool = Pool(shape.width, shape.key_step, norm_epsilon)
        self.value_pool = Pool(shape.width, shape.key_step, norm_epsilon)
        self.output = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> tuple[Tensor, TokenLayout]:
        query, key, value = self.query_key_value(tokens).chunk(3, dim=2)
        query, query_layout = self.query_pool(query, layout)
        key, key_layout = self.key_pool(key, layout)
        value, _ = self.value_pool(value, layout)
        mask = key_layout.attention_mask(tokens.device)
        mixed = attend(self._heads(query), self._heads(key), self._heads(value), mask)
        mixed = mixed.transpose(1, 2).flatten(2) + query
        return self.dropout(self.output(mixed)), query_layout

    def _heads(self, tokens: Tensor) -> Tensor:
        """`(B, N, D)` to `(B, H, N, K)`."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Pool(nn.Module):
    """`step` rows and columns become one: a filter for each channel, at first a mean, then a norm.

    A step of one row and one column changes nothing and has no weights.
    """

    def __init__(self, width: int, step: Side, norm_epsilon: float):
        super().__init__()
        self.step = step
        self.filter, self.norm = None, None
        if step == (1, 1):
            return
        kernel, padding = _window(step)
        self.filter = nn.Conv2d(width, width, kernel, step, padding, groups=width, bias=False)
        nn.init.constant_(self.filter.weight, 1 / math.prod(kernel))
        self.norm = nn.LayerNorm(width, eps=norm_epsilon)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> tuple[Tensor, TokenLayout]:
        if self.filter is None or self.norm is None:
            return tokens, layout
        maps = layout.unpack(tokens).permute(0, 3, 1, 2)  # (B, D, F, C)
        pooled = pooled_layout(layout, self.step)
        return self.norm(pooled.pack(self.filter(maps).permute(0, 2, 3, 1))), pooled


def pool_largest(tokens: Tensor, layout: TokenLayout, step: Side) -> Tensor:
    """The largest of every channel in each window of the clip's own tokens, `(B, N, D)`."""
    grid = layout.unpack(tokens)
    if layout.column_counts is not None:
        outside = ~inside(layout.column_counts, layout.columns)
        grid = grid.masked_fill(outside[:, None, :, None], -torch.inf)
    kernel, padding = _window(step)
    largest = F.max_pool2d(grid.permute(0, 3, 1, 2), kernel, step, padding)
    return pooled_layout(layout, step).pack(largest.permute(0, 2, 3, 1))


def _window(step: Side) -> tuple[Side, Side]:
    """Kernel and padding: the least odd window that leaves no token out."""
    rows, columns = (length | 1 for length in step)
    return (rows, columns), (rows // 2, columns // 2)


def pooled_layout(layout: TokenLayout, step: Side) -> TokenLayout:
    """The layout after pooling: a last window that is not full counts."""
    rows, columns = -(-layout.rows // step[0]), -(-layout.columns // step[1])
    counts = layout.column_counts
    if counts is not None:
        counts = torch.div(counts - 1, step[1], rounding_mode="floor") + 1
    return TokenLayout(layout.num_prefix, rows, columns, counts)
