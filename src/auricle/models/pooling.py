"""Attention whose queries, keys and values are pooled over the patch grid, and its block.

Source: MViT (Fan et al. 2021, arXiv 2104.11227; Li et al. 2022, arXiv 2112.01526). Pooling works on
each clip's own grid: what is beyond its last column is silence to a filter and never the largest,
so a clip gives the same alone and in any batch.

Shapes: B clips, N tokens, D width, F rows (frequency) and C columns (time) of a grid, H heads, K
width of a head.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.models.encoder import DropPath, FeedForward, attend
from auricle.models.packing import TokenLayout

Side = tuple[int, int]  # (rows, columns)


@dataclass(frozen=True)
class BlockShape:
    """Widths and steps of one block; steps are (rows, columns) of its input that become one."""

    inputs: int  # width of what comes in
    width: int  # of what goes out
    num_heads: int
    query_step: Side
    key_step: Side


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

    The pooled queries are added to what they find (Li et al. 2022).
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
        found = mixed.transpose(1, 2).flatten(2) + query
        return self.dropout(self.output(found)), query_layout

    def _heads(self, tokens: Tensor) -> Tensor:
        """`(B, N, D)` to `(B, H, N, K)`."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Pool(nn.Module):
    """`step` rows and columns become one: a filter for each channel, at first a mean, then a norm.

    A step of one row and one column changes nothing and has no weights. Beyond the edges of a clip
    the filter hears zeros, in a batch as alone.
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
        columns = torch.arange(layout.columns, device=tokens.device)
        outside = columns >= layout.column_counts[:, None]
        grid = grid.masked_fill(outside[:, None, :, None], -torch.inf)
    kernel, padding = _window(step)
    largest = F.max_pool2d(grid.permute(0, 3, 1, 2), kernel, step, padding)
    return pooled_layout(layout, step).pack(largest.permute(0, 2, 3, 1))


def _window(step: Side) -> tuple[Side, Side]:
    """Kernel and padding: the least odd window that leaves no token out."""
    rows, columns = (length | 1 for length in step)
    return (rows, columns), (rows // 2, columns // 2)


def pooled_layout(layout: TokenLayout, step: Side) -> TokenLayout:
    """Where tokens stand after pooling: a last window that is not full counts."""
    rows, columns = -(-layout.rows // step[0]), -(-layout.columns // step[1])
    counts = layout.column_counts
    if counts is not None:
        counts = torch.div(counts - 1, step[1], rounding_mode="floor") + 1
    return TokenLayout(layout.num_prefix, rows, columns, counts)
