"""HAM-AST, the hybrid attention module on AST (Liu, Zhang, Makino 2025, NCSP'25).

Transformer blocks, then Conformer blocks (`conformer.py`), then a channel attention over max- and
mean-pooled features weighs what the head reads. The paper pools in parallel, combines, normalises
and weights the channels (section 3.2); what it leaves open is a table here, and discussed in
`docs/ham.md`. The idea goes back to squeeze-and-excitation (Hu et al. 2018) and to context-aware
masking in CAM++ (Wang et al. 2023).

Shapes: B clips, P prefix tokens, N patch tokens, D width.
"""

from collections.abc import Callable
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models.ast import AST, ASTConfig
from auricle.models.conformer import ConformerConfig, ConformerStack
from auricle.models.patches import TokenLayout


class ChannelAttentionConfig(Settings):
    """Settings of the channel attention; `docs/ham.md` says what the paper leaves open."""

    place: Literal["after_norm", "before_norm"] = "after_norm"  # of the encoder's final norm
    pooling: Literal["patches", "with_prefix", "segments"] = "patches"
    combination: Literal["sum", "concatenation", "learned"] = "sum"
    normalization: Literal["layer_norm", "none", "l2", "softmax"] = "layer_norm"
    scoring: Literal["mlp", "direct"] = "mlp"  # of the channels, from the normalised descriptor
    gate: Literal["multiply", "residual", "residual_sigmoid"] = "multiply"
    reduction: int = Field(16, ge=1)  # of the width, inside the MLP
    segment_columns: int = Field(10, ge=1)  # CAM++ has 100 frames: 10 columns at AST's stride 10

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scoring == "direct" and self.combination == "concatenation":
            raise ValueError(
                "scoring direct needs one number for each channel, combination concatenation gives "
                "two; choose another"
            )
        return self


class HAMASTConfig(ASTConfig):
    """AST's settings and those of the two additions; None leaves one out (table 3 of the paper)."""

    conformer: ConformerConfig | None = ConformerConfig()
    channel_attention: ChannelAttentionConfig | None = ChannelAttentionConfig()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        heads = self.conformer.num_heads if self.conformer else None
        if heads is not None and self.width % heads:
            raise ValueError(
                f"width ({self.width}) must be a multiple of conformer.num_heads ({heads})"
            )
        if self.conformer and self.channel_attention:
            order = (self.conformer.place, self.channel_attention.place)
            if order == ("after_norm", "before_norm"):
                raise ValueError(
                    "conformer.place after_norm with channel_attention.place before_norm would "
                    "turn the paper's order round: the Conformers come first"
                )
        return self


def build_ham_ast(config: HAMASTConfig) -> AST:
    """AST with the two stages of HAM around its final norm, Conformers first."""
    stages: dict[str, dict[str, nn.Module]] = {"before_norm": {}, "after_norm": {}}
    if config.conformer is not None:
        # The rate of stochastic depth goes on as the encoder's last block has it.
        stack = ConformerStack(config.conformer, config.width, config.num_heads, config.drop_path)
        stages[config.conformer.place]["conformers"] = stack
    if config.channel_attention is not None:
        attention = ChannelAttention(config.channel_attention, config.width)
        stages[config.channel_attention.place]["channel_attention"] = attention
    return AST(config, **stages)


class ChannelAttention(nn.Module):
    """Weight the channels of all tokens by the clip's pooled features: `(B, P + N, D)` to the same.

    An MLP ends at zero, so that every gate starts at sigmoid(0) = 0.5, which the LayerNorm of the
    head takes out again; the residual gate starts at exactly no change. Direct scores, the paper's
    wording, have no such start.
    """

    def __init__(self, config: ChannelAttentionConfig, width: int):
        super().__init__()
        self.config = config
        self.combine = COMBINATIONS[config.combination]()
        combined = 2 * width if config.combination == "concatenation" else width
        self.normalize = NORMALIZATIONS[config.normalization](combined)
        if config.scoring == "mlp":
            self.squeeze = nn.Linear(combined, max(1, width // config.reduction))
            self.excite = nn.Linear(max(1, width // config.reduction), width)
            nn.init.zeros_(self.excite.weight)
            nn.init.zeros_(self.excite.bias)

    def forward(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        largest, mean = POOLINGS[self.config.pooling](tokens, layout, self.config)
        descriptor = self.normalize(self.combine(largest, mean))
        return GATES[self.config.gate](tokens, SCORINGS[self.config.scoring](self, descriptor))

    def mlp(self, descriptor: Tensor) -> Tensor:
        """Scores of the channels from all of the descriptor."""
        scores: Tensor = self.excite(F.relu(self.squeeze(descriptor)))
        return scores


def _pool_patches(
    tokens: Tensor, layout: TokenLayout, config: ChannelAttentionConfig
) -> tuple[Tensor, Tensor]:
    """Max and mean over the clip's patches, each `(B, 1, D)`."""
    return _pool(tokens[:, layout.num_prefix :], layout.valid(tokens.device))


def _pool_all_tokens(
    tokens: Tensor, layout: TokenLayout, config: ChannelAttentionConfig
) -> tuple[Tensor, Tensor]:
    valid = F.pad(layout.valid(tokens.device), (layout.num_prefix, 0), value=True)
    return _pool(tokens, valid)


def _pool_segments(
    tokens: Tensor, layout: TokenLayout, config: ChannelAttentionConfig
) -> tuple[Tensor, Tensor]:
    """The clip's max and mean plus those of each token's segment of time, `(B, P + N, D)`.

    Source: Wang et al. 2023 (CAM++), section 2.3. Prefix tokens have no segment: clip twice.
    """
    largest, mean = _pool_patches(tokens, layout, config)
    patches = tokens[:, layout.num_prefix :]
    segments = layout.coordinates(tokens.device)[1] // config.segment_columns
    largest_near, mean_near = torch.zeros_like(patches), torch.zeros_like(patches)
    for segment in range(-(-layout.columns // config.segment_columns)):
        inside = (segments == segment) & layout.valid(tokens.device)
        pooled = _pool(patches, inside)
        largest_near = torch.where(inside[..., None], pooled[0], largest_near)
        mean_near = torch.where(inside[..., None], pooled[1], mean_near)
    prefix = (-1, layout.num_prefix, -1)
    largest_near = torch.cat([largest.expand(prefix), largest_near], dim=1)
    mean_near = torch.cat([mean.expand(prefix), mean_near], dim=1)
    return largest + largest_near, mean + mean_near


def _pool(tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    chosen = valid[..., None]
    largest = tokens.masked_fill(~chosen, -torch.inf).amax(dim=1, keepdim=True)
    count = chosen.sum(dim=1, keepdim=True).clamp(min=1)
    return largest, (tokens * chosen).sum(dim=1, keepdim=True) / count


class SumCombination(nn.Module):
    """Max plus mean."""

    def forward(self, largest: Tensor, mean: Tensor) -> Tensor:
        return largest + mean


class Concatenation(nn.Module):
    """Max and mean side by side: the MLP reads both."""

    def forward(self, largest: Tensor, mean: Tensor) -> Tensor:
        return torch.cat([largest, mean], dim=-1)


class LearnedMix(nn.Module):
    """A learned share of each, equal at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.preference = nn.Parameter(torch.zeros(2))

    def forward(self, largest: Tensor, mean: Tensor) -> Tensor:
        share = self.preference.softmax(dim=0)
        return share[0] * largest + share[1] * mean


class RootMeanSquare(nn.Module):
    """Divide by the Euclidean length over the root of the width: a mean square of 1.

    With a length of 1, entries near 0.04 would vanish beside the biases of the MLP, and in a
    sigmoid: every clip would get the same weights.
    """

    def forward(self, descriptor: Tensor) -> Tensor:
        return F.normalize(descriptor, dim=-1) * descriptor.shape[-1] ** 0.5


class ScaledSoftmax(nn.Module):
    """Softmax over the channels times the width: a mean of 1, for the same reason."""

    def forward(self, descriptor: Tensor) -> Tensor:
        return descriptor.softmax(dim=-1) * descriptor.shape[-1]


POOLINGS = {
    "patches": _pool_patches,
    "with_prefix": _pool_all_tokens,
    "segments": _pool_segments,
}

COMBINATIONS: dict[str, Callable[[], nn.Module]] = {
    "sum": SumCombination,
    "concatenation": Concatenation,
    "learned": LearnedMix,
}

# Before the MLP: after it, a LayerNorm would blow up the zero vector that it starts from.
NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": nn.LayerNorm,
    "none": lambda width: nn.Identity(),
    "l2": lambda width: RootMeanSquare(),
    "softmax": lambda width: ScaledSoftmax(),
}

SCORINGS: dict[str, Callable[[ChannelAttention, Tensor], Tensor]] = {
    "mlp": ChannelAttention.mlp,
    "direct": lambda attention, descriptor: descriptor,
}

GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiply": lambda tokens, scores: tokens * scores.sigmoid(),
    # Fig. 1b draws a residual path: scores of zero change nothing at all.
    "residual": lambda tokens, scores: tokens + tokens * scores,
    "residual_sigmoid": lambda tokens, scores: tokens + tokens * scores.sigmoid(),
}
