"""Masked reconstruction: a student that sees a quarter of a clip predicts the masked patches.

MAE-AST (Baade, Peng, Harwath 2022, arXiv 2203.16691): the encoder sees visible patches only, a
small decoder all. The values of a masked patch are predicted (generative), and which of the clip's
masked patches it is (discriminative); both losses, and masks in chunks, are from SSAST (Gong et al.
2022), whose encoder sees mask tokens, too: that is not built here.

Shapes: B clips, N patch places, D width, Q numbers of a patch.
"""

import math
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models import PatchTransformer
from auricle.models.decoders import TransformerDecoder, TransformerDecoderConfig, fresh_token
from auricle.models.patch_masks import draw_visible, is_masked, scatter_tokens
from auricle.models.patches import gather_tokens
from auricle.training.objective import (
    Objective,
    Terms,
    deviation,
    relative_deviation,
    widened,
)

MAE_AST_CHUNK = (3, 5)


class MaskedReconstructionConfig(Settings):
    """Settings of masked reconstruction; the defaults are MAE-AST's."""

    name: Literal["masked_reconstruction"] = "masked_reconstruction"
    hidden_share: float = Field(0.75, gt=0, lt=1)
    # Masked patches come in squares with a side from this range; None: from 3 to 5, as in MAE-AST's
    # patch model, unless `block` is given.
    chunk: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    # Instead, visible patches come in squares of this side; 1: each is drawn alone, as in MAE-AST's
    # frame model.
    block: int | None = Field(None, ge=1)
    reconstruction: float = Field(10.0, ge=0)  # weights of the two parts
    discrimination: float = Field(1.0, ge=0)
    decoder: TransformerDecoderConfig = TransformerDecoderConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.chunk and self.block:
            raise ValueError("chunk and block cannot be given together; choose one")
        if self.chunk and self.chunk[0] > self.chunk[1]:
            raise ValueError(f"chunk {self.chunk} must be a range, the smaller side first")
        return self

    @property
    def masks(self) -> dict[str, Any]:
        """What `draw_visible` is told of blocks and chunks."""
        if self.block:
            return {"block": self.block}
        return {"chunk": self.chunk or MAE_AST_CHUNK}


class MaskedReconstruction(Objective):
    """The objective: a student with a decoder, and two layers that read it.

    The loss is `reconstruction` times the mean squared error of the numbers of hidden patches, and
    `discrimination` times the cross-entropy of finding a hidden patch among those of its clip.
    """

    part_names = ("reconstruction_loss", "discrimination_loss")
    can_collapse = False  # its targets are the sound

    def __init__(self, student: PatchTransformer, config: MaskedReconstructionConfig):
        super().__init__()
        self.config = config
        width = student.config.width
        size = math.prod(student.patches.patch)
        self.student = student
        self.hidden_token = fresh_token(width)
        self.decoder = TransformerDecoder(config.decoder, width)
        self.reconstruct = nn.Linear(width, size)
        self.discriminate = nn.Linear(width, size)

    def forward(self, features: Tensor, frame_counts: Tensor | None) -> Terms:
        config = self.config
        patches, layout = self.student.patchify(features, frame_counts)
        valid = layout.valid(patches.device).expand(patches.shape[:2])
        visible = draw_visible(valid, layout, config.hidden_share, **config.masks)
        encoded = self.student.encode_patches(*gather_tokens(patches, layout, visible))
        seen = encoded[:, layout.num_prefix :]
        others = self.hidden_token.expand(*valid.shape, -1)
        decoded = self.decoder(scatter_tokens(seen, visible, others), layout)
        hidden = is_masked(valid, visible)
        wanted = layout.pack(self.student.patches.cut(features)[:, :, : layout.columns])
        said = widened(self.reconstruct(decoded))
        generative = _mean((said - wanted).square().mean(dim=2), hidden)
        discriminative = _found(widened(self.discriminate(decoded)), wanted, hidden)
        return Terms(
            loss=config.reconstruction * generative + config.discrimination * discriminative,
            parts=self.named(generative, discriminative),
            target_deviation=deviation(wanted[valid]),
            prediction_deviation=deviation(said[hidden]),
            embedding_deviation=relative_deviation(seen[visible >= 0]),
        )


def _found(said: Tensor, wanted: Tensor, hidden: Tensor) -> Tensor:
    """Cross-entropy `(B,)` of telling each hidden patch from the other hidden ones of its clip."""
    with torch.autocast(said.device.type, enabled=False):  # 16 bits are too coarse for these, too
        scores = said @ widened(wanted).transpose(1, 2)
    scores = scores.masked_fill(~hidden[:, None], -torch.inf)
    scores = scores.masked_fill(~hidden[..., None], 0.0)  # rows that do not count stay numbers
    right = torch.arange(said.shape[1], device=said.device).expand(len(said), -1)
    errors = F.cross_entropy(scores.transpose(1, 2), right, reduction="none")
    return _mean(errors, hidden)


def _mean(errors: Tensor, hidden: Tensor) -> Tensor:
    """Mean over the hidden places of each clip: `(B, N)` to `(B,)`."""
    return (errors * hidden).sum(dim=1) / hidden.sum(dim=1)
