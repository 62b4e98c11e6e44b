"""ASDA and EAT: transformers made for pretraining without labels.

EAT (Chen et al. 2024, arXiv 2401.03497) reads patches of 16 x 16 column by column (time-major) and
has its norms after the residual sums. ASDA (Wang et al. 2025, arXiv 2507.02666) is EAT with
differential attention and a narrower MLP. What is as released and what is ours:
docs/asda.md.

Shapes: B clips, T frames, M mel bins, N patch tokens, D width, C classes.
"""

from functools import partial
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.models.differential_attention import DifferentialConfig, check_heads
from auricle.models.encoder import (
    Encoder,
    PostNormBlock,
    build_head,
    initialize_linear_layers,
)
from auricle.models.model import (
    SIZES,
    Part,
    PatchTransformer,
    TransformerConfig,
    build_block,
    check_clips,
)
from auricle.models.patches import (
    PatchEmbedding,
    SinCosPositions,
    TimeMajorLayout,
    check_patches,
)

ASDA_SIZES: dict[str, dict[str, Any]] = {
    **SIZES,
    "large": {"width": 1024, "depth": 24, "num_heads": 16},  # EAT-large
}


class ASDAConfig(TransformerConfig):
    """Settings of ASDA; the defaults are ASDA-base for AudioSet.

    EAT is `differential: null` with `mlp_ratio: 4`.
    """

    mlp_ratio: float = Field(3.5, gt=0)
    readout: Literal["cls", "patch_mean"] = "cls"
    differential: DifferentialConfig | None = DifferentialConfig()
    # Columns of a position table that came with the weights and stays with them; 0: the formula.
    stored_columns: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_patches(self.patch, self.patch, self.num_mels, self.max_frames)
        if self.width % 4:
            raise ValueError(f"width ({self.width}) must be a multiple of 4, for its positions")
        check_heads(self.differential, self.width, self.num_heads)
        return self

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        attention = "softmax" if self.differential is None else "differential"
        return f"{super().summary[0]}, {attention} attention", self.reads


class ASDA(PatchTransformer):
    """Features `(B, T, M)` to logits `(B, C)`; frames past `frame_counts` have no influence.

    Frames that do not fill a patch are left out.
    """

    def __init__(self, config: ASDAConfig):
        super().__init__()
        self.config: ASDAConfig = config
        width = config.width
        columns = config.stored_columns or config.columns
        self.prefix_tokens = nn.Parameter(torch.randn(1, width))
        self.patches = PatchEmbedding(width, config.patch, config.patch)
        self.positions = SinCosPositions(config.rows, columns, width, config.stored_columns > 0)
        self.context_norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.encoder = Encoder(config.depth, partial(build_block, PostNormBlock, config))
        self.head = build_head(width, config.num_classes, config.norm_epsilon)
        initialize_linear_layers(self)
        # Parity: EAT starts its patch projection like a linear layer of all numbers of a patch.
        nn.init.xavier_uniform_(self.patches.projection.weight.data.flatten(1))

    def patchify(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TimeMajorLayout]:
        check_clips(features, frame_counts, self.config, is_limited=False)
        grid = self.patches(features)
        columns = grid.shape[2]
        counts = self.patches.column_counts(frame_counts, features.shape[1])
        layout = TimeMajorLayout(1, self.config.rows, columns, counts)
        return layout.pack(grid + self.positions(columns)), layout

    def with_prefix(self, patches: Tensor) -> Tensor:
        """Cls, which has no position, before the patches, and the norm before the first block."""
        cls = self.prefix_tokens.expand(len(patches), -1, -1)
        normed: Tensor = self.context_norm(torch.cat([cls, patches], dim=1))
        return normed

    def layers(self) -> list[list[Part]]:
        # Parity: layer decay slows the blocks alone, as EAT is fine-tuned.
        others: list[Part] = [self.prefix_tokens, self.patches, self.context_norm, self.head]
        blocks: list[list[Part]] = [[block] for block in self.encoder.blocks]
        return [*blocks, others]
