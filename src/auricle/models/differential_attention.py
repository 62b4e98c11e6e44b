"""Differential attention: the difference of two attention maps, which cancels what both share.

Three published forms, chosen by settings:

- ASDA (as released; the default): two maps a head with a fixed lambda, the heads joined and
  normalised together, times 0.95.
- Diff-Transformer v1 (Ye et al. 2024, arXiv 2410.05258): half the heads, whose values are twice as
  wide; a lambda that is learned, the same for all heads; each head normalised on its own.
- Diff-Transformer v2 (Ye et al. 2026, as released): two query heads share key and value, lambda is
  a sigmoid of the token, one for each head; no norm.

All go through scaled dot-product attention: (A1 - lambda A2) V = A1 V - lambda (A2 V).

Shapes: B clips, N tokens, D width, H heads, K width of a head, V width of a head's values.
"""

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.config import Settings
from auricle.errors import ConfigError, unknown_name
from auricle.models.encoder import Attention, SelfAttention, attend

LambdaKind = Literal["fixed", "learned", "token"]
NormKind = Literal["full", "head", "none"]
HEAD_NORM_EPSILON = 1e-5
FULL_NORM_EPSILON = 1e-5  # ASDA's own; its other norms have 1e-6
LAMBDA_SPREAD = 0.1  # standard deviation of the vectors that a learned lambda starts from


FORMS: dict[str, dict[str, Any]] = {
    "asda": {},
    "diff_v1": {
        "lambda_kind": "learned",
        "lambda_value": None,
        "norm": "head",
        "scale": None,
        "halved_heads": True,
    },
    "diff_v2": {"lambda_kind": "token", "norm": "none", "scale": 1.0, "shared_keys": True},
}


class DifferentialConfig(Settings):
    """Settings of differential attention; the defaults are those of ASDA as released.

    The key `form` expands to those of a published form: asda, diff_v1 or diff_v2.
    """

    # fixed: a number; learned: one number a layer, from four vectors; token: one for each token
    # and head.
    lambda_kind: LambdaKind = "fixed"
    # Of fixed: the number; of learned: where it starts, None: 0.8 - 0.6 exp(-0.3 layer); token
    # has none.
    lambda_value: float | None = 0.1
    norm: NormKind = "full"  # over all heads joined (LayerNorm), over each (RMSNorm), or none
    # Of what is normalised, before the last projection; None: 1 - where lambda starts.
    scale: float | None = Field(default=0.95, gt=0)
    halved_heads: bool = False  # H / 2 heads, whose values are twice as wide
    shared_keys: bool = False  # both maps of a head look for the same keys

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "form" in values:
            form = str(values["form"])
            if form not in FORMS:
                raise ValueError(unknown_name("form", form, FORMS).rstrip("."))
            values = {**FORMS[form], **{key: values[key] for key in values if key != "form"}}
        if values.get("lambda_kind") == "token":
            return {"lambda_value": None, **values}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lambda_kind == "fixed" and self.lambda_value is None:
            raise ValueError("lambda_kind fixed needs lambda_value")
        if self.scale is None and self.lambda_value is not None and self.lambda_value >= 1:
            raise ValueError(
                f"lambda_value {self.lambda_value:g} leaves a scale of 1 - lambda of nothing: give "
                "scale, or a lambda_value below 1"
            )
        if self.lambda_kind == "token" and self.lambda_value is not None:
            raise ValueError("lambda_kind token finds its own lambda: leave out lambda_value")
        if self.lambda_kind == "token" and self.scale is None:
            raise ValueError("lambda_kind token starts nowhere that scale could follow: give scale")
        return self


class DifferentialAttention(Attention):
    """Multi-head differential attention.

    `mask` broadcasts to `(B, H, N, N)`: True where a token may look, or a number that is added to
    both maps' attention scores.

    Args:
        layer: number of the block, from 0: a learned lambda starts at a value of its own in each.

    Raises:
        ConfigError: `width` cannot be divided among the heads.
    """

    def __init__(
        self,
        config: DifferentialConfig,
        width: int,
        num_heads: int,
        layer: int = 0,
        dropout: float = 0.0,
    ):
        super().__init__()
        if width % num_heads:
            raise ConfigError(f"width ({width}) must be a multiple of num_heads ({num_heads}).")
        if config.halved_heads and num_heads % 2:
            raise ConfigError(f"num_heads ({num_heads}) must be even where heads are halved.")
        self.config = config
        self.head_width = width // num_heads
        self.num_heads = num_heads // 2 if config.halved_heads else num_heads
        one_map = self.num_heads * self.head_width
        self.query = nn.Linear(width, 2 * one_map)  # all first maps, then all second ones
        self.key = nn.Linear(width, one_map if config.shared_keys else 2 * one_map)
        self.value = nn.Linear(width, width)
        self.weight = _LAMBDAS[config.lambda_kind](config, width, self.num_heads, one_map, layer)
        self.norm = _norm(config, width, width // self.num_heads)
        start = _start(config, layer)
        self.scale = 1 - start if config.scale is None else config.scale
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        query = self._heads(self.query(tokens), 2)
        key = self._heads(self.key(tokens), 1 if self.config.shared_keys else 2)
        [value] = self._heads(self.value(tokens), 1)
        first, second = (
            attend(query[index], key[index % len(key)], value, mask) for index in (0, 1)
        )
        mixed = (first - self.weight(tokens) * second).transpose(1, 2)  # (B, N, H, V)
        return self.dropout(self.output(self.norm(mixed) * self.scale))

    def _heads(self, projected: Tensor, maps: int) -> Tensor:
        """`(B, N, maps * H * K)` to `(maps, B, H, N, K)`."""
        return projected.unflatten(2, (maps, self.num_heads, -1)).permute(2, 0, 3, 1, 4)


def build_attention(
    config: DifferentialConfig | None, width: int, num_heads: int, layer: int, dropout: float
) -> Attention:
    """The attention of block `layer`: differential, or softmax attention where `config` is None."""
    if config is None:
        return SelfAttention(width, num_heads, dropout)
    return DifferentialAttention(config, width, num_heads, layer, dropout)


def check_heads(config: DifferentialConfig | None, width: int, num_heads: int) -> None:
    """Refuse settings of a model whose width cannot be divided among its heads (ValueError)."""
    if width % num_heads:
        raise ValueError(f"width ({width}) must be a multiple of num_heads ({num_heads})")
    if config and config.halved_heads and num_heads % 2:
        raise ValueError(f"num_heads ({num_heads}) must be even where heads are halved")


class FixedLambda(nn.Module):
    """The same number always."""

    def __init__(self, config: DifferentialConfig, *_: int):
        super().__init__()
        self.number = config.lambda_value

    def forward(self, tokens: Tensor) -> float | None:
        return self.number


class LearnedLambda(nn.Module):
    """exp(q1 . k1) - exp(q2 . k2) + start, from four vectors as wide as a head (v1, equation 2)."""

    def __init__(
        self, config: DifferentialConfig, width: int, num_heads: int, one_map: int, layer: int
    ):
        super().__init__()
        # Vectors each, and no matrices: the optimizer does not decay them.
        self.queries, self.keys = (
            nn.ParameterList(LAMBDA_SPREAD * torch.randn(one_map // num_heads) for _ in range(2))
            for _ in range(2)
        )
        self.start = _start(config, layer)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.value()

    def value(self) -> Tensor:
        """Lambda as it is now, a scalar."""
        first, second = (
            (query @ key).exp() for query, key in zip(self.queries, self.keys, strict=True)
        )
        return first - second + self.start


def learned_lambdas(model: nn.Module) -> list[float]:
    """Lambda of each block that learned its own, first block first."""
    learned = (module for module in model.modules() if isinstance(module, LearnedLambda))
    return [module.value().item() for module in learned]


class TokenLambda(nn.Module):
    """A sigmoid of every token for every head, `(B, H, N, 1)` (v2)."""

    def __init__(self, config: DifferentialConfig, width: int, num_heads: int, *_: int):
        super().__init__()
        self.projection = nn.Linear(width, num_heads, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.projection(tokens).sigmoid().transpose(1, 2)[..., None]


class FullNorm(nn.Module):
    """Joins the heads, then LayerNorm over all of them: `(B, N, H, V)` to `(B, N, D)`."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=FULL_NORM_EPSILON)

    def forward(self, mixed: Tensor) -> Tensor:
        return self.norm(mixed.flatten(2))


class HeadNorm(nn.Module):
    """RMSNorm of each head on its own, with one weight for all, then joins them."""

    def __init__(self, value_width: int):
        super().__init__()
        self.norm = nn.RMSNorm(value_width, eps=HEAD_NORM_EPSILON)

    def forward(self, mixed: Tensor) -> Tensor:
        # In the precision of its weight: torch has no fused norm of 16 bits by 32.
        return self.norm(mixed.to(self.norm.weight.dtype)).flatten(2)


def _norm(config: DifferentialConfig, width: int, value_width: int) -> nn.Module:
    if config.norm == "full":
        return FullNorm(width)
    return HeadNorm(value_width) if config.norm == "head" else nn.Flatten(2)


def _start(config: DifferentialConfig, layer: int) -> float:
    """Start of lambda: deeper layers subtract more (v1, section 2.1)."""
    if config.lambda_value is None:
        return 0.8 - 0.6 * math.exp(-0.3 * layer)
    return config.lambda_value


_LAMBDAS = {"fixed": FixedLambda, "learned": LearnedLambda, "token": TokenLambda}
