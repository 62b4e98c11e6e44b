"""CED (Dinkel et al. 2023, arXiv 2308.11957): a small ViT on 64 mels, distilled from an ensemble.

Each mel is normalised by a batch norm, so that the features need no statistics. A patch's position
is the sum of one for its row and one for its column. There is no prefix token: the head reads the
mean of all patches. Sizes and epsilons follow the published weights.

Shapes: B clips, T frames, M mel bins, N patch tokens, D width, C classes.
"""

from functools import partial
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auricle.models.differential_attention import check_heads
from auricle.models.encoder import Encoder, EncoderBlock, build_head, initialize_linear_layers
from auricle.models.mobilenet import BatchNorm, Columns
from auricle.models.model import (
    SIZES,
    Part,
    PatchTransformer,
    TransformerConfig,
    build_block,
    check_clips,
)
from auricle.models.patches import PatchEmbedding, TokenLayout, check_patches
from auricle.padding import no_padding

HEAD_NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.01  # of the batch norm

CED_SIZES: dict[str, dict[str, Any]] = {
    **SIZES,
    "mini": {"width": 256, "depth": 12, "num_heads": 4},
}


class CEDConfig(TransformerConfig):
    """Settings of CED; the defaults are CED-base for AudioSet."""

    num_mels: int = Field(64, ge=1)
    max_frames: int = Field(1012, ge=1)
    readout: Literal["patch_mean"] = "patch_mean"

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_patches(self.patch, self.patch, self.num_mels, self.max_frames)
        check_heads(self.differential, self.width, self.num_heads)
        return self


class CED(PatchTransformer):
    """Features `(B, T, M)` to logits `(B, C)`; frames past `frame_counts` have no influence.

    Frames that do not fill a patch are left out.
    """

    def __init__(self, config: CEDConfig):
        super().__init__()
        self.config: CEDConfig = config
        width = config.width
        self.register_buffer("prefix_tokens", torch.empty(0, width), persistent=False)
        self.input_norm = BatchNorm(config.num_mels, momentum=NORM_MOMENTUM)
        self.patches = PatchEmbedding(width, config.patch, config.patch)
        self.positions = AxialPositions(config.rows, config.columns, width)
        self.encoder = Encoder(config.depth, partial(build_block, EncoderBlock, config))
        self.norm = nn.LayerNorm(width, eps=config.norm_epsilon)
        self.head = build_head(width, config.num_classes, HEAD_NORM_EPSILON)
        initialize_linear_layers(self)

    def patchify(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        check_clips(features, frame_counts, self.config)
        is_whole = no_padding(frame_counts, features.shape[1])
        frames = Columns(None if is_whole else frame_counts)
        maps = self.input_norm(features.transpose(1, 2).unsqueeze(2), frames)  # (B, M, 1, T)
        grid = self.patches(maps.squeeze(2).transpose(1, 2))[:, :, : self.config.columns]
        counts = self.patches.column_counts(frame_counts, features.shape[1])
        layout = TokenLayout(0, self.config.rows, grid.shape[2], counts)
        return layout.pack(grid + self.positions(grid.shape[2])), layout

    def with_prefix(self, patches: Tensor) -> Tensor:
        """The patches alone."""
        return patches

    def finish(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        normed: Tensor = self.norm(tokens)
        return normed

    def layers(self) -> list[list[Part]]:
        blocks: list[list[Part]] = [[block] for block in self.encoder.blocks]
        before: list[Part] = [self.input_norm, self.patches, self.positions]
        return [before, *blocks, [self.norm, self.head]]


class AxialPositions(nn.Module):
    """Learned positions of rows `(F, D)` and of columns `(C, D)`, whose sum is a patch's."""

    def __init__(self, rows: int, columns: int, width: int):
        super().__init__()
        self.rows = nn.Parameter(torch.empty(rows, width))
        self.columns = nn.Parameter(torch.empty(columns, width))
        nn.init.normal_(self.rows, std=0.02)
        nn.init.normal_(self.columns, std=0.02)

    def forward(self, columns: int) -> Tensor:
        """Positions of the first `columns` columns of the grid, `(F, columns, D)`."""
        return self.rows[:, None] + self.columns[:columns]
