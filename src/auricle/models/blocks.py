"""What AST and ASDA share: settings, blocks, heads, and the way from patches to an embedding.

Shapes: B clips, T frames, M mel bins, N patch tokens, P prefix tokens, D width, C classes.
"""

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.models.differential_attention import DifferentialConfig, build_attention
from auricle.models.encoder import EncoderBlock
from auricle.models.masked_statistics import deviation_over, mean_over
from auricle.models.model import ColumnEmbeddings, ColumnGrid, Model, ModelConfig
from auricle.models.packing import TokenLayout
from auricle.models.patches import PatchEmbedding

Readout = Literal["prefix_mean", "cls", "patch_mean"]


class TransformerConfig(ModelConfig):
    """Settings of an encoder. The defaults are those of ViT-base."""

    num_classes: int = Field(527, ge=0)  # 0: no head, the model is a start for training
    num_mels: int = Field(128, ge=1)
    max_frames: int = Field(1024, ge=1)  # of the longest clip that is heard in one piece
    width: int = Field(768, ge=1)
    depth: int = Field(12, ge=1)
    num_heads: int = Field(12, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    norm_epsilon: float = Field(1e-6, gt=0)  # of all norms but the differential attention's
    dropout: float = Field(0.0, ge=0, lt=1)
    # Share of clips that skip a branch in training: 0 in the first block, this in the last.
    drop_path: float = Field(0.0, ge=0, lt=1)
    readout: Readout = "cls"
    differential: DifferentialConfig | None = None  # None: softmax attention


class PatchTransformer(Model):
    """A model whose tokens are prefix tokens and patches, of which any may be left out.

    Pretraining takes `patchify`, chooses among its tokens, and then `encode_patches`.
    """

    config: TransformerConfig
    patches: PatchEmbedding
    prefix_tokens: nn.Parameter  # (P, D)

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """What the head reads: one vector `(B, D)` for each clip."""
        tokens, layout = self.encode(features, frame_counts)
        return READOUTS[self.config.readout](tokens, layout)

    @property
    def column_grid(self) -> ColumnGrid | None:
        """The columns of the patch grid, where the head reads the mean of all patches."""
        if self.config.readout != "patch_mean":
            return None
        return ColumnGrid((self.patches.patch[1] - 1) / 2, self.patches.stride[1])

    def embed_columns(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> ColumnEmbeddings:
        """Mean over the patches of each column, `(B, N, D)`; the raises are those of `encode`."""
        tokens, layout = self.encode(features, frame_counts)
        grid = layout.unpack(tokens[:, layout.num_prefix :])
        return ColumnEmbeddings(grid.mean(dim=1), layout.column_counts)

    def embed_with_deviation(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """What `embed` gives, and behind it the patches' standard deviation: `(B, 2 D)`."""
        tokens, layout = self.encode(features, frame_counts)
        embedding = READOUTS[self.config.readout](tokens, layout)
        patches = tokens[:, layout.num_prefix :]
        deviation = deviation_over(patches, layout.valid(tokens.device))
        return torch.cat([embedding, deviation], dim=1)

    def encode(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        """All tokens after the last stage, `(B, P + N, D)`, and where they stand.

        Raises:
            AudioError: a clip is shorter than one patch.
            ConfigError: the features are longer than the positions or have other mel bins.
        """
        patches, layout = self.patchify(features, frame_counts)
        return self.encode_patches(patches, layout), layout

    @abstractmethod
    def patchify(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        """Patch tokens `(B, N, D)` with their positions, and where they stand.

        What lies past a clip's last patch is zeros at the end. The raises are those of `encode`.
        """

    @abstractmethod
    def encode_patches(self, patches: Tensor, layout: TokenLayout) -> Tensor:
        """Patch tokens `(B, N, D)` through all stages: `(B, P + N, D)`, prefix tokens first."""

    @abstractmethod
    def trace_patches(self, patches: Tensor, layout: TokenLayout) -> list[Tensor]:
        """What each block's perceptron said, before the residual sum: `(B, P + N, D)` all.

        These are the targets of EAT's pretraining.
        """


def build_block(kind: type[EncoderBlock], config: TransformerConfig, index: int) -> EncoderBlock:
    """Block `index` of an encoder; stochastic depth grows in a line, from 0 in the first block."""
    drop_path = config.drop_path * index / max(1, config.depth - 1)
    attention = build_attention(
        config.differential, config.width, config.num_heads, index, config.dropout
    )
    return kind(
        config.width, attention, config.mlp_ratio, config.norm_epsilon, config.dropout, drop_path
    )


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


def _prefix_mean(tokens: Tensor, layout: TokenLayout) -> Tensor:
    return tokens[:, : layout.num_prefix].mean(dim=1)


def _cls(tokens: Tensor, layout: TokenLayout) -> Tensor:
    return tokens[:, 0]


def _patch_mean(tokens: Tensor, layout: TokenLayout) -> Tensor:
    return mean_over(tokens[:, layout.num_prefix :], layout.valid(tokens.device))


READOUTS = {"prefix_mean": _prefix_mean, "cls": _cls, "patch_mean": _patch_mean}
