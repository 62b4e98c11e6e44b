"""Conformer blocks (Gulati et al. 2020) over packed patch tokens, as HAM-AST uses them.

The HAM paper leaves open how a sequence model for speech frames is put on a two-dimensional patch
grid after a pretrained encoder. Every choice is an entry of a table at the end of this file; the
defaults keep the function of the encoder at the start. Norms inside the convolution and positions
inside the attention are not disturbed by padding.

Shapes: B clips, P prefix tokens, N patch tokens, D width, H heads, K head width; the grid of
patches has F rows (frequency) and C columns (time); `valid` `(B, N)` or `(1, N)` is True where a
token belongs to its clip.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models.encoder import DropPath, FeedForward, SelfAttention, initialize_linear_layers
from auricle.models.patches import TokenLayout

FARTHEST = 64  # rows or columns; tokens farther from each other share one relative position
ROTARY_BASE = 10_000.0  # Su et al. 2021 (RoFormer), section 3.2.2
LAYER_SCALE = 1e-4  # Touvron et al. 2021 (CaiT), section 2.1, for 24 layers and more


class ConformerConfig(Settings):
    """Settings of the Conformer stack; `docs/ham.md` says what the paper leaves open."""

    num_blocks: int = Field(6, ge=1)
    place: Literal["before_norm", "after_norm"] = "before_norm"  # of the encoder's final norm
    block_norm: Literal["auto", "on", "off"] = "auto"  # auto: on before the final norm only
    start: Literal["zero", "layer_scale", "standard"] = "zero"
    prefix_tokens: Literal["bypass", "through"] = "bypass"  # of the convolution
    convolution_axis: Literal["sequence", "grid", "rows"] = "sequence"
    kernel_size: int = Field(31, ge=1)
    convolution_norm: Literal["layer_norm", "batch_norm", "group_norm"] = "layer_norm"
    positions: Literal["none", "relative", "rotary"] = "none"
    feedforward_ratio: float = Field(4.0, gt=0)
    num_heads: int | None = Field(None, ge=1)  # None: as the encoder
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> "ConformerConfig":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size ({self.kernel_size}) must be odd")
        if self.prefix_tokens == "through" and self.convolution_axis != "sequence":
            raise ValueError(
                f"prefix_tokens 'through' needs convolution_axis 'sequence': prefix tokens have "
                f"no place on the axis {self.convolution_axis!r}"
            )
        return self

    @property
    def has_block_norm(self) -> bool:
        """Whether blocks end with a LayerNorm: after the encoder's norm it would change weights."""
        if self.block_norm == "auto":
            return self.place == "before_norm"
        return self.block_norm == "on"


class ConformerStack(nn.Module):
    """Conformer blocks in a row: `(B, P + N, D)` to the same.

    Args:
        drop_path: share of clips that skip a branch in training, the same in all blocks.
    """

    def __init__(self, config: ConformerConfig, width: int, num_heads: int, drop_path: float = 0):
        super().__init__()
        heads = config.num_heads or num_heads
        self.blocks = nn.ModuleList(
            ConformerBlock(config, width, heads, drop_path) for _ in range(config.num_blocks)
        )

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        mask = layout.attention_mask(tokens.device)
        for block in self.blocks:
            tokens = block(tokens, mask, layout)
        return tokens


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, LayerNorm.

    Source: Gulati et al. 2020, section 2.4. Each branch stands behind a LayerNorm and a residual.
    """

    def __init__(self, config: ConformerConfig, width: int, num_heads: int, drop_path: float = 0):
        super().__init__()
        hidden = int(width * config.feedforward_ratio)
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in BRANCHES})
        self.feedforward_in = FeedForward(width, hidden, nn.SiLU(), config.dropout)
        self.attention = SelfAttention(width, num_heads, config.dropout)
        build_positions = TOKEN_POSITIONS[config.positions]
        self.positions = build_positions and build_positions(num_heads, width // num_heads)
        self.convolution = ConvolutionModule(config, width)
        self.feedforward_out = FeedForward(width, hidden, nn.SiLU(), config.dropout)
        self.norm = nn.LayerNorm(width) if config.has_block_norm else nn.Identity()
        self.scales = nn.ParameterDict()
        self.drop_path = DropPath(drop_path)
        initialize_linear_layers(self)
        STARTS[config.start](self, width)

    def forward(self, tokens: Tensor, mask: Tensor | None, layout: TokenLayout) -> Tensor:
        tokens = tokens + 0.5 * self._branch("feedforward_in", tokens)
        tokens = tokens + self._branch("attention", tokens, mask, layout)
        tokens = tokens + self._branch("convolution", tokens, layout)
        tokens = tokens + 0.5 * self._branch("feedforward_out", tokens)
        return self.norm(tokens)

    def residual_outputs(self) -> list[nn.Linear]:
        """The last layer of each branch: at zero, the block passes its input on."""
        return [
            self.feedforward_in.contract,
            self.attention.output,
            self.convolution.contract,
            self.feedforward_out.contract,
        ]

    def _branch(self, name: str, tokens: Tensor, *context: Any) -> Tensor:
        inputs = self.norms[name](tokens)
        branch = self._attend if name == "attention" else getattr(self, name)
        outputs = branch(inputs, *context)
        return self.drop_path(outputs * self.scales[name] if name in self.scales else outputs)

    def _attend(self, tokens: Tensor, mask: Tensor | None, layout: TokenLayout) -> Tensor:
        query, key, value = self.attention.project(tokens)
        if self.positions is not None:
            query, key, mask = self.positions(query, key, mask, layout)
        return self.attention.mix(query, key, value, mask)


class ConvolutionModule(nn.Module):
    """Pointwise and GLU, depthwise convolution, norm, SiLU, pointwise (Gulati et al., 2.2).

    Padding never enters: it is zero before the convolution, like the edge of a clip on its own.
    """

    def __init__(self, config: ConformerConfig, width: int):
        super().__init__()
        self.has_prefix = config.prefix_tokens == "through"
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = AXES[config.convolution_axis](width, config.kernel_size)
        self.norm = CONVOLUTION_NORMS[config.convolution_norm](width)
        self.contract = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        skipped = 0 if self.has_prefix else layout.num_prefix
        valid = layout.valid(tokens.device)
        if self.has_prefix:
            valid = F.pad(valid, (layout.num_prefix, 0), value=True)
        hidden = F.glu(self.expand(tokens[:, skipped:]), dim=-1) * valid[..., None]
        hidden = self.norm(self.depthwise(hidden, layout), valid)
        hidden = self.dropout(self.contract(F.silu(hidden)))
        return F.pad(hidden, (0, 0, skipped, 0))  # prefix tokens that bypass receive nothing


class SequenceConvolution(nn.Module):
    """Along the flattened sequence, the paper's wording.

    Neighbours are adjacent in time within a row; at its ends the filter reaches into the next one.
    """

    def __init__(self, width: int, kernel_size: int):
        super().__init__()
        self.padding = kernel_size // 2
        self.filters = nn.Conv1d(width, width, kernel_size, padding=self.padding, groups=width)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        # Speed: as a 2-D convolution in channels_last (a view of the tokens), depthwise filters
        # run about 2.4 times faster on a CPU than nn.Conv1d, forward and backward.
        image = tokens.transpose(1, 2).unsqueeze(2)  # (B, D, 1, N), channels last in memory
        weight, bias = self.filters.weight.unsqueeze(2), self.filters.bias
        groups = self.filters.groups
        filtered = F.conv2d(image, weight, bias, padding=(0, self.padding), groups=groups)
        return filtered.squeeze(2).transpose(1, 2)


class GridConvolution(nn.Module):
    """On the grid of patches: over frequency and time, or along time in each row on its own."""

    def __init__(self, width: int, kernel: tuple[int, int]):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.filters = nn.Conv2d(width, width, kernel, padding=padding, groups=width)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        image = layout.unpack(tokens).permute(0, 3, 1, 2)  # (B, D, F, C)
        return layout.pack(self.filters(image).permute(0, 2, 3, 1))


class TokenNorm(nn.Module):
    """LayerNorm over the channels of each token: independent of batch and padding."""

    def __init__(self, width: int):
        super().__init__()
        self.affine = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        return self.affine(tokens)


class BatchNorm(nn.Module):
    """Over all valid tokens of the batch, channel by channel (Gulati et al. 2020)."""

    def __init__(self, width: int):
        super().__init__()
        self.affine = nn.BatchNorm1d(width)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        chosen = valid.expand(tokens.shape[:2])
        normalised = tokens.new_zeros(tokens.shape)
        normalised[chosen] = self.affine(tokens[chosen])
        return normalised


class ClipNorm(nn.Module):
    """Over all valid tokens and channels of each clip: GroupNorm with one group."""

    def __init__(self, width: int, epsilon: float = 1e-5):
        super().__init__()
        self.epsilon = epsilon
        self.affine = nn.GroupNorm(1, width)  # holds weight and bias under their usual names

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        weights = valid[..., None].to(tokens.dtype)
        count = weights.sum(dim=(1, 2), keepdim=True) * tokens.shape[2]
        mean = (tokens * weights).sum(dim=(1, 2), keepdim=True) / count
        centred = (tokens - mean) * weights
        variance = centred.square().sum(dim=(1, 2), keepdim=True) / count
        normalised = centred * (variance + self.epsilon).rsqrt()
        return normalised * self.affine.weight + self.affine.bias


Attended = tuple[Tensor, Tensor, Tensor | None]  # query, key, mask


class RelativePositions(nn.Module):
    """A learned number for every distance in rows and in columns, added to the score (T5 style).

    Source: Raffel et al. 2020, section 2.1, one table an axis; distances beyond 64 share an entry.
    """

    def __init__(self, num_heads: int, head_width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(num_heads, 2 * FARTHEST + 1))
        self.columns = nn.Parameter(torch.zeros(num_heads, 2 * FARTHEST + 1))

    def forward(
        self, query: Tensor, key: Tensor, mask: Tensor | None, layout: TokenLayout
    ) -> Attended:
        rows, columns = layout.coordinates(query.device)
        bias = self.rows[:, _distances(rows)] + self.columns[:, _distances(columns)]
        bias = bias.transpose(0, 1)  # (B or 1, H, N, N)
        bias = F.pad(bias, (layout.num_prefix, 0, layout.num_prefix, 0)).to(query.dtype)
        if mask is not None:
            bias = bias.masked_fill(~mask, -torch.inf)
        return query, key, bias


class RotaryPositions(nn.Module):
    """Rotate query and key: half of the channels by a token's row, half by its column."""

    def __init__(self, num_heads: int, head_width: int):
        super().__init__()
        self.pairs = head_width // 4  # an axis turns this many pairs of channels

    def forward(
        self, query: Tensor, key: Tensor, mask: Tensor | None, layout: TokenLayout
    ) -> Attended:
        # Not in 16 bits: the angle of the hundredth column would be off by more than 0.1.
        dtype = torch.promote_types(query.dtype, torch.float32)
        steps = torch.arange(self.pairs, device=query.device, dtype=dtype)
        speeds = ROTARY_BASE ** (-steps / self.pairs)
        coordinates = torch.stack(layout.coordinates(query.device), dim=-1).to(dtype)
        angles = (coordinates[..., None] * speeds).flatten(2)  # (B or 1, N, 2 * pairs)
        angles = F.pad(angles, (0, 0, layout.num_prefix, 0))[:, None]
        return self._rotate(query, angles), self._rotate(key, angles), mask

    def _rotate(self, heads: Tensor, angles: Tensor) -> Tensor:
        size = 2 * self.pairs
        first, second, rest = heads.split([size, size, heads.shape[-1] - 2 * size], dim=-1)
        cosine, sine = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
        turned = [first * cosine - second * sine, first * sine + second * cosine, rest]
        return torch.cat(turned, dim=-1)


def _distances(coordinates: Tensor) -> Tensor:
    """Index of the distance between every two coordinates `(B, N)`: `(B, N, N)`."""
    distances = coordinates[:, None, :] - coordinates[:, :, None]
    return distances.clamp(-FARTHEST, FARTHEST) + FARTHEST


def _start_at_zero(block: ConformerBlock, width: int) -> None:
    for layer in block.residual_outputs():
        nn.init.zeros_(layer.weight)


def _start_with_layer_scale(block: ConformerBlock, width: int) -> None:
    for name in BRANCHES:
        block.scales[name] = nn.Parameter(torch.full((width,), LAYER_SCALE))


def _start_as_built(block: ConformerBlock, width: int) -> None:
    """Gulati et al.: nothing special."""


BRANCHES = ("feedforward_in", "attention", "convolution", "feedforward_out")

AXES: dict[str, Callable[[int, int], nn.Module]] = {
    "sequence": SequenceConvolution,
    "grid": lambda width, size: GridConvolution(width, (size, size)),
    "rows": lambda width, size: GridConvolution(width, (1, size)),
}

STARTS: dict[str, Callable[[ConformerBlock, int], None]] = {
    "zero": _start_at_zero,
    "layer_scale": _start_with_layer_scale,
    "standard": _start_as_built,
}

CONVOLUTION_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": TokenNorm,
    "batch_norm": BatchNorm,
    "group_norm": ClipNorm,
}

TOKEN_POSITIONS: dict[str, Callable[[int, int], nn.Module] | None] = {
    "none": None,  # those added to the patches are all there are
    "relative": RelativePositions,
    "rotary": RotaryPositions,
}
