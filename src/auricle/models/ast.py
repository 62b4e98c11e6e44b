"""AST, the Audio Spectrogram Transformer (Gong, Chung, Glass 2021, arXiv 2104.01778).

Where paper and published weights differ, the weights are followed: both prefix tokens are kept and
their outputs averaged after the final norm.

Shapes: B clips, T frames, M mel bins, N tokens, P prefix tokens, D width, C classes.
"""

from functools import partial
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.models.differential_attention import check_heads
from auricle.models.encoder import (
    Encoder,
    EncoderBlock,
    build_head,
    initialize_linear_layers,
)
from auricle.models.model import (
    ColumnGrid,
    Part,
    PatchTransformer,
    Readout,
    Side,
    TransformerConfig,
    build_block,
    check_clips,
)
from auricle.models.patches import (
    PatchEmbedding,
    Positions,
    TokenLayout,
    check_patches,
    leave_out,
    stem_factor,
)


class ASTConfig(TransformerConfig):
    """Settings of AST; the defaults are AST-base for AudioSet."""

    stride: Side = (10, 10)
    # Channels of 3x3 convolutions before the patches, each of which halves both axes; (): none.
    stem: tuple[Annotated[int, Field(ge=1)], ...] = ()
    stem_depth: int = Field(1, ge=1)  # convolutions at each size, but one at the first
    head_norm_epsilon: float = Field(1e-5, gt=0)  # the authors' head keeps torch's default
    num_prefix_tokens: int = Field(2, ge=1, le=2)  # cls, and the distillation token of DeiT
    patchout: float = Field(0.0, ge=0, lt=1)  # share of a clip's patches that training leaves out
    readout: Readout = "prefix_mean"

    @model_validator(mode="after")
    def _check(self) -> "ASTConfig":
        check_patches(self.patch, self.stride, self.num_mels, self.max_frames)
        halved = stem_factor(self.stem)
        if any(side % halved for side in (*self.patch, *self.stride, self.num_mels)):
            raise ValueError(
                f"patch {self.patch}, stride {self.stride} and num_mels ({self.num_mels}) must be "
                f"multiples of {halved} behind a stem of {len(self.stem)} convolutions"
            )
        check_heads(self.differential, self.width, self.num_heads)
        return self

    @property
    def steps(self) -> Side:
        """From one patch to the next."""
        return self.stride


class AST(PatchTransformer):
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
        self.patches = PatchEmbedding(
            width, config.patch, config.stride, config.stem, config.stem_depth
        )
        self.positions = Positions(config.num_prefix_tokens, config.rows, config.columns, width)
        self.encoder = Encoder(config.depth, partial(build_block, EncoderBlock, config))
        self.norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.head = build_head(width, config.num_classes, config.head_norm_epsilon)
        initialize_linear_layers(self)
        # After the line above: a stage chooses its own start.
        self.before_norm = nn.ModuleDict(before_norm or {})
        self.after_norm = nn.ModuleDict(after_norm or {})

    @property
    def column_grid(self) -> ColumnGrid | None:
        """As in `PatchTransformer`; none with patchout, which leaves holes in them."""
        return None if self.config.patchout else super().column_grid

    def encode(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        patches, layout = self.patchify(features, frame_counts)
        if self.training and self.config.patchout:
            patches, layout = leave_out(patches, layout, self.config.patchout)
        return self.encode_patches(patches, layout), layout

    def patchify(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        config = self.config
        check_clips(features, frame_counts, config)
        grid = self.patches(features)[:, :, : config.columns]
        counts = self.patches.column_counts(frame_counts, features.shape[1])
        layout = TokenLayout(config.num_prefix_tokens, config.rows, grid.shape[2], counts)
        return layout.pack(grid + self.positions.grid[:, : layout.columns]), layout

    def with_prefix(self, patches: Tensor) -> Tensor:
        prefix = (self.prefix_tokens + self.positions.prefix).expand(len(patches), -1, -1)
        return torch.cat([prefix, patches], dim=1)

    def finish(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        for stage in self.before_norm.values():
            tokens = stage(tokens, layout)
        tokens = self.norm(tokens)
        for stage in self.after_norm.values():
            tokens = stage(tokens, layout)
        return tokens

    def layers(self) -> list[list[Part]]:
        before: list[Part] = [self.patches, self.prefix_tokens, self.positions]
        after: list[Part] = [self.before_norm, self.norm, self.after_norm, self.head]
        blocks: list[list[Part]] = [[block] for block in self.encoder.blocks]
        return [before, *blocks, after]
