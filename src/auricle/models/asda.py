"""ASDA and EAT: transformers made for pretraining without labels.

EAT (Chen et al. 2024, arXiv 2401.03497) reads patches of 16 x 16 column by column (time-major) and
has its norms after the residual sums. ASDA (Wang et al. 2025, arXiv 2507.02666) is EAT with
differential attention and a narrower perceptron. What is as released and what is ours:
docs/asda.md.

Shapes: B clips, T frames, M mel bins, N patch tokens, D width, C classes.
"""

from functools import partial
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.models.ast import READOUTS, Head
from auricle.models.differential_attention import DifferentialConfig, build_attention, check_heads
from auricle.models.encoder import Encoder, PostNormBlock, initialize_linear_layers
from auricle.models.model import Model, ModelConfig, all_whole, check_mels, check_shortest
from auricle.models.packing import TimeMajorLayout
from auricle.models.patches import PatchEmbedding, SinCosPositions, grid_length
from auricle.models.sizes import SIZES

ASDA_SIZES: dict[str, dict[str, Any]] = {
    **SIZES,
    "large": {"width": 1024, "depth": 24, "num_heads": 16},  # EAT-large
}


class ASDAConfig(ModelConfig):
    """Settings of ASDA; the defaults are ASDA-base for AudioSet.

    EAT is `differential: null` with `mlp_ratio: 4`.
    """

    num_classes: int = Field(527, ge=0)  # 0: no head, the model is a start for training
    num_mels: int = Field(128, ge=1)
    max_frames: int = Field(1024, ge=1)  # of a window; the network itself takes any length
    patch: tuple[int, int] = (16, 16)  # mel bins, frames; patches do not overlap
    width: int = Field(768, ge=1)
    depth: int = Field(12, ge=1)
    num_heads: int = Field(12, ge=1)
    mlp_ratio: float = Field(3.5, gt=0)
    norm_epsilon: float = Field(1e-6, gt=0)  # of all norms but the differential attention's
    dropout: float = Field(0.0, ge=0, lt=1)
    # Share of clips that skip a branch in training: 0 in the first block, this in the last.
    drop_path: float = Field(0.0, ge=0, lt=1)
    readout: Literal["cls", "patch_mean"] = "cls"
    differential: DifferentialConfig | None = DifferentialConfig()  # None: softmax attention
    # Columns of a position table that came with the weights and stays with them; 0: the formula.
    stored_columns: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if min(self.patch) < 1:
            raise ValueError(f"patch {self.patch} must be at least 1")
        if self.rows < 1 or self.max_frames < self.patch[1]:
            raise ValueError(
                f"patch {self.patch} does not fit into num_mels ({self.num_mels}) x "
                f"max_frames ({self.max_frames})"
            )
        if self.width % 4:
            raise ValueError(f"width ({self.width}) must be a multiple of 4, for its positions")
        check_heads(self.differential, self.width, self.num_heads)
        return self

    @property
    def shortest_frames(self) -> int:
        """One patch."""
        return self.patch[1]

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        attention = "softmax" if self.differential is None else "differential"
        return (
            f"width {self.width}, depth {self.depth}, heads {self.num_heads}, "
            f"{attention} attention",
            f"{self.patch[0]} x {self.patch[1]} patches, {self.num_mels} mel bins, "
            f"{self.max_frames} frames",
        )

    @property
    def rows(self) -> int:
        """Rows of the patch grid: steps along frequency."""
        return self.num_mels // self.patch[0]


class ASDA(Model):
    """Features `(B, T, M)` to logits `(B, C)`; frames past `frame_counts` have no influence.

    Frames that do not fill a patch are not heard. For pretraining: `patchify`, choose among its
    tokens, then `encode_tokens` or `trace_tokens`.
    """

    before_blocks = ()  # Parity: layer decay slows the blocks alone, as EAT is fine-tuned

    def __init__(self, config: ASDAConfig):
        super().__init__()
        self.config: ASDAConfig = config
        width = config.width
        columns = config.stored_columns or config.max_frames // config.patch[1]
        self.prefix_tokens = nn.Parameter(torch.randn(1, width))
        self.patches = PatchEmbedding(width, config.patch, config.patch)
        self.positions = SinCosPositions(config.rows, columns, width, config.stored_columns > 0)
        self.context_norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.encoder = Encoder(config.depth, partial(_block, config))
        self.head = _head(config)
        initialize_linear_layers(self)
        # Parity: EAT starts its patch projection like a linear layer of all numbers of a patch.
        nn.init.xavier_uniform_(self.patches.projection.weight.data.flatten(1))

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """What the head reads: one vector `(B, D)` for each clip."""
        tokens, layout = self.encode(features, frame_counts)
        return READOUTS[self.config.readout](tokens, layout)

    def encode(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TimeMajorLayout]:
        """All tokens after the last block, `(B, 1 + N, D)` with cls first, and where they stand.

        Raises:
            AudioError: a clip is shorter than one patch.
            ConfigError: the features have other mel bins.
        """
        patches, layout = self.patchify(features, frame_counts)
        return self.encode_tokens(patches, layout.attention_mask(patches.device)), layout

    def patchify(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TimeMajorLayout]:
        """Patch tokens `(B, N, D)` with their positions, and where they stand.

        They come column by column; what lies past a clip's last whole patch is zeros at the end.
        The raises are those of `encode`.
        """
        check_mels(features, self.config)
        check_shortest(features, frame_counts, self.config.patch[1])
        grid = self.patches(features)
        columns, counts = grid.shape[2], None
        if frame_counts is not None and not all_whole(frame_counts, features.shape[1]):
            counts = torch.div(frame_counts, self.config.patch[1], rounding_mode="floor")
        layout = TimeMajorLayout(1, self.config.rows, columns, counts)
        return layout.pack(grid + self.positions(columns)), layout

    def encode_tokens(self, patches: Tensor, mask: Tensor | None = None) -> Tensor:
        """Any of a clip's patch tokens `(B, N, D)` through all blocks: `(B, 1 + N, D)`, cls first.

        Args:
            mask: broadcasts to `(B, H, 1 + N, 1 + N)`, True where a token may look.
        """
        encoded: Tensor = self.encoder(self._with_cls(patches), mask)
        return encoded

    def trace_tokens(
        self, patches: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """What `encode_tokens` gives, and what each block's perceptron said: `(B, 1 + N, D)` all.

        The latter, before residual sum and norm, are the targets of EAT's pretraining.
        """
        return self.encoder.trace(self._with_cls(patches), mask)

    def num_tokens(self, frames: int) -> int:
        """Length of the sequence for a clip of `frames` frames, cls included."""
        patch = self.config.patch[1]
        return 1 + self.config.rows * grid_length(frames, patch, patch)

    def _with_cls(self, patches: Tensor) -> Tensor:
        """Cls, which has no position, before the patches, and the norm before the first block."""
        cls = self.prefix_tokens.expand(len(patches), -1, -1)
        normed: Tensor = self.context_norm(torch.cat([cls, patches], dim=1))
        return normed


def _head(config: ASDAConfig) -> nn.Module:
    if config.num_classes == 0:
        return nn.Identity()
    return Head(config.width, config.num_classes, config.norm_epsilon)


def _block(config: ASDAConfig, index: int) -> PostNormBlock:
    # The rate of stochastic depth grows in a line, from 0 in the first block.
    drop_path = config.drop_path * index / max(1, config.depth - 1)
    attention = build_attention(
        config.differential, config.width, config.num_heads, index, config.dropout
    )
    return PostNormBlock(
        config.width, attention, config.mlp_ratio, config.norm_epsilon, config.dropout, drop_path
    )
