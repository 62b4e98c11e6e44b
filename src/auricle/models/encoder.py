"""The transformer encoder that every model here is a variation of, and its head.

Shapes: B clips, N tokens, D width, H heads, K width of a head (D = H * K), C classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.errors import ConfigError

LONGEST_WIDENED = 512  # tokens; with more, 16 bits are as quick


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention `(B, H, N, K)`; `mask` as `SelfAttention` has it.

    Under autocast on a CPU short sequences are computed in float32: torch's kernel takes up to four
    times as long for their way back in 16 bits (`benchmarks/attention.py`).
    """
    is_narrow = query.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    if not is_narrow or key.shape[2] > LONGEST_WIDENED:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), mask)
    return mixed.to(query.dtype)


class Attention(nn.Module):
    """A mixer of tokens `(B, N, D)`, by a mask, that ends in a linear layer."""

    output: nn.Linear


class SelfAttention(Attention):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2).

    `mask` broadcasts to `(B, H, N, N)`: True where a token may look, or a number that is added to
    the attention score.
    """

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if width % num_heads:
            raise ConfigError(f"width ({width}) must be a multiple of num_heads ({num_heads}).")
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.mix(*self.project(tokens), mask)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of every head, each `(B, H, N, K)`."""
        projected = self.query_key_value(tokens).unflatten(2, (3, self.num_heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        return query, key, value

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """The attended values of every token, projected: `(B, N, D)`."""
        mixed = attend(query, key, value, mask)
        return self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Two linear layers with an activation between: each token on its own."""

    def __init__(self, width: int, hidden: int, activation: nn.Module, dropout: float = 0.0):
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.activation = activation
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.expand(tokens)))
        return self.dropout(self.contract(hidden))


class DropPath(nn.Module):
    """Leave a residual branch `(B, N, D)` out of whole clips at random, in train mode.

    The others are scaled up, so that the mean is as in eval mode. Source: Huang et al. 2016
    (stochastic depth), for each clip instead of each batch.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return branch
        draws = torch.rand(len(branch), 1, 1, device=branch.device, dtype=torch.float32)
        return branch * ((draws >= self.rate) / (1 - self.rate)).to(branch.dtype)


class EncoderBlock(nn.Module):
    """Attention, then an MLP, each behind a norm and in a residual path (pre-LN ViT block).

    Args:
        attention: the token mixer; a paper that changes attention changes only this.
        drop_path: share of clips that skip a branch in training.
    """

    def __init__(
        self,
        width: int,
        attention: Attention,
        mlp_ratio: float,
        norm_epsilon: float,
        dropout: float,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.drop_path = DropPath(drop_path)
        self.attention_norm = nn.LayerNorm(width, eps=norm_epsilon)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(width, eps=norm_epsilon)
        self.mlp = FeedForward(width, int(width * mlp_ratio), nn.GELU(), dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.trace(tokens, mask)[0]

    def residual_outputs(self) -> list[nn.Module]:
        """The last layers of both branches: at zero, the block passes its input on."""
        return [self.attention.output, self.mlp.contract]

    def trace(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output of `forward` and that of the MLP before its sum, both `(B, N, D)`."""
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens), mask))
        change = self.mlp(self.mlp_norm(tokens))
        return tokens + self.drop_path(change), change


class PostNormBlock(EncoderBlock):
    """The same with each norm after its residual sum (post-LN, Vaswani et al. 2017)."""

    def residual_outputs(self) -> list[nn.Module]:
        """None: the norms change what comes in, whatever the branches give."""
        return []

    def trace(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        tokens = self.attention_norm(tokens + self.drop_path(self.attention(tokens, mask)))
        change = self.mlp(tokens)
        return self.mlp_norm(tokens + self.drop_path(change)), change


class Encoder(nn.Module):
    """A stack of blocks from `build_block`, called with the index of each of `depth` blocks."""

    def __init__(self, depth: int, build_block: Callable[[int], nn.Module]):
        super().__init__()
        self.blocks = nn.ModuleList(build_block(index) for index in range(depth))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens

    def residual_outputs(self) -> list[list[nn.Module]]:
        """Those of each block."""
        blocks: Any = self.blocks
        return [block.residual_outputs() for block in blocks]

    def trace(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """The output of `forward`, and each block's MLP output, `(B, N, D)` all."""
        changes = []
        blocks: Any = self.blocks
        for block in blocks:
            tokens, change = block.trace(tokens, mask)
            changes.append(change)
        return tokens, changes


class Head(nn.Module):
    """LayerNorm, then one linear layer: `(B, D)` to `(B, C)`."""

    def __init__(self, width: int, num_classes: int, norm_epsilon: float):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_epsilon)
        self.linear = nn.Linear(width, num_classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.linear(self.norm(embeddings))


def build_head(width: int, num_classes: int, norm_epsilon: float) -> nn.Module:
    """A head for `num_classes` classes; for 0 of them one that passes embeddings on."""
    return Head(width, num_classes, norm_epsilon) if num_classes else nn.Identity()


def initialize_linear_layers(module: nn.Module) -> None:
    """The ViT start: weights from a normal cut at two sigma (0.02), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
