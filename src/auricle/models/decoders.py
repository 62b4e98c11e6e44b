"""Decoders of masked pretraining: from the visible patches to the masked ones.

Shapes: B clips, F rows (frequency), C columns (time), N patches, D width.
"""

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models.encoder import EncoderBlock, SelfAttention, initialize_linear_layers
from auricle.models.patches import TokenLayout, sin_cos_positions
from auricle.padding import inside


class ConvDecoderConfig(Settings):
    """Settings of EAT's decoder; the defaults are those of its base model."""

    depth: int = Field(6, ge=1)
    kernel: int = Field(3, ge=1)
    groups: int = Field(16, ge=1)  # a divisor of the width

    @field_validator("kernel")
    @classmethod
    def _check(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"kernel ({kernel}) must be odd")
        return kernel


class ConvDecoder(nn.Module):
    """Convolutions over the patch grid, each in a residual path, then one linear layer.

    Tokens `(B, N, D)` of all patches of a clip to the same shape; padding has no influence.

    Source: EAT (Chen et al. 2024, section 2.3), as released: LayerNorm over channels without
    weights, exact GELU.
    """

    def __init__(self, config: ConvDecoderConfig, width: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, config.kernel, padding=config.kernel // 2, groups=config.groups)
            for _ in range(config.depth)
        )
        self.output = nn.Linear(width, width)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        maps = layout.unpack(tokens).permute(0, 3, 1, 2)  # (B, D, F, C)
        counts = layout.column_counts
        outside = None if counts is None else ~inside(counts, layout.columns)[:, None, None]
        for convolution in self.convolutions:
            inputs = maps if outside is None else maps.masked_fill(outside, 0)
            outputs = convolution(inputs).movedim(1, 3)
            maps = maps + F.gelu(F.layer_norm(outputs, outputs.shape[-1:])).movedim(3, 1)
        decoded: Tensor = self.output(layout.pack(maps.permute(0, 2, 3, 1)))
        return decoded


class TransformerDecoderConfig(Settings):
    """Settings of a decoder of transformer blocks; the defaults are MAE-AST's."""

    depth: int = Field(2, ge=1)
    num_heads: int = Field(12, ge=1)  # a divisor of the width
    mlp_ratio: float = Field(4.0, gt=0)


class TransformerDecoder(nn.Module):
    """Transformer blocks over visible and masked tokens: `(B, N, D)` to the same shape.

    Fixed sines give a token its position. Source: Baade et al. 2022 (MAE-AST), section 3.1.
    """

    def __init__(self, config: TransformerDecoderConfig, width: int):
        super().__init__()
        self.blocks = nn.ModuleList(
            EncoderBlock(width, SelfAttention(width, config.num_heads), config.mlp_ratio, 1e-6, 0.0)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        initialize_linear_layers(self)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        positions = sin_cos_positions(layout.rows, layout.columns, tokens.shape[2]).to(tokens)
        grid = positions.expand(len(tokens), -1, -1, -1)
        tokens = tokens + layout.pack(grid)
        mask = layout.valid(tokens.device)[:, None, None]
        for block in self.blocks:
            tokens = block(tokens, None if layout.column_counts is None else mask)
        decoded: Tensor = self.norm(tokens)
        return decoded


def fresh_token(width: int) -> nn.Parameter:
    """The learned token in place of masked patches."""
    token = nn.Parameter(torch.empty(width))
    nn.init.normal_(token, std=0.02)
    return token
