"""What pretraining without labels has to learn: the interface of its objectives, and two of them.

Self-distillation is EAT's pretraining (Chen et al. 2024) after data2vec 2.0 (Baevski et al. 2023);
ASDA uses the same. The teacher is a moving average of the student. It sees a clip once, for many
students with masks of their own; these compute what they see and no more.

Masked reconstruction is MAE-AST (Baade, Peng, Harwath 2022, arXiv 2203.16691): the encoder sees
visible patches only, a small decoder all. The values of a masked patch are predicted (generative),
and which of the clip's masked patches it is (discriminative); both losses, and masks in chunks, are
from SSAST (Gong et al. 2022), whose encoder sees mask tokens, too: that is not built here.

Shapes: B clips, R clones, N patches, P prefix tokens, D width, Q numbers of a patch.
"""

import copy
import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models import PatchTransformer
from auricle.models.decoders import (
    ConvDecoder,
    ConvDecoderConfig,
    TransformerDecoder,
    TransformerDecoderConfig,
    fresh_token,
)
from auricle.models.patch_masks import draw_visible, is_masked, repeat_clips, scatter_tokens
from auricle.models.patches import gather_tokens
from auricle.padding import mean_over

EPSILON = 1e-6


class Terms(NamedTuple):
    """The loss of each clip and of what it consists, `(B,)`; and what shows a collapse, scalars."""

    loss: Tensor
    parts: dict[str, Tensor]  # by name, unweighted
    target_deviation: Tensor  # `deviation` of the targets and of the predictions
    prediction_deviation: Tensor
    embedding_deviation: Tensor  # `relative_deviation` of what the student made of visible patches


class Objective(nn.Module, ABC):
    """What is to be learned: a student, and whatever else learns beside it.

    Attributes:
        part_names: the keys of `Terms.parts`, in their order.
        can_collapse: whether the targets follow from what was learned, and may become the
            same everywhere.
    """

    student: PatchTransformer
    part_names: tuple[str, ...]
    can_collapse: bool = True

    @abstractmethod
    def forward(self, features: Tensor, frame_counts: Tensor | None) -> Terms:
        """The terms of features `(B, T, M)`, with masks from the global generator.

        Raises:
            ConfigError: a clip is too short to hide the share of its patches.
        """

    def named(self, *parts: Tensor) -> dict[str, Tensor]:
        """The parts of a loss by their names."""
        return dict(zip(self.part_names, parts, strict=True))

    def updated(self, count: int) -> None:
        """Do what follows the step of the optimizer with this number, from 1."""


def widened(values: Tensor) -> Tensor:
    """`values` in float32 at least: 16 bits are too coarse for a loss."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def deviation(vectors: Tensor) -> Tensor:
    """How much vectors `(N, D)` differ: the root of their variance over N, mean over D, a scalar.

    Where all are the same it is nearly 0. Source: data2vec 2.0, as released.
    """
    variance = vectors.detach().float().var(dim=0, correction=0)
    return (variance + EPSILON).sqrt().mean()


def relative_deviation(vectors: Tensor) -> Tensor:
    """How much vectors `(N, D)` differ as a share of their size: 0 where all are the same, to 1."""
    vectors = vectors.detach().float()
    difference = vectors - vectors.mean(dim=0)
    return (difference.square().mean() / (vectors.square().mean() + EPSILON)).sqrt()


NOISE = 0.01  # standard deviation of what stands in for hidden patches


class SelfDistillationConfig(Settings):
    """Settings of masked self-distillation; the defaults are EAT's."""

    renamed: ClassVar = {"hidden_share": "mask_ratio"}

    name: Literal["self_distillation"] = "self_distillation"
    mask_ratio: float = Field(0.8, gt=0, lt=1)
    block: int = Field(5, ge=1)  # patches on a side of what is visible together
    clones: int = Field(16, ge=1)  # students a clip
    utterance: float = Field(1.0, ge=0)  # weight of the clip's loss; ASDA: 0.5
    first_decay: float = Field(0.9998, ge=0, le=1)  # of the teacher's average
    last_decay: float = Field(0.99999, ge=0, le=1)
    decay_steps: int = Field(100_000, ge=1)  # from the first to the last, in a line
    decoder: ConvDecoderConfig = ConvDecoderConfig()


class SelfDistillation(Objective):
    """The objective: a student with a decoder, and its teacher.

    The loss of a batch is, as in EAT's released code, the mean over hidden patches of the squared
    error, summed over D and divided by sqrt(D), and `utterance` times the same of the prefix tokens
    against the mean target of the clip, *summed* over the batch and the clones. A batch of fewer
    clips, as the last of an epoch, counts as a whole one: the two terms keep their proportion.

    Args:
        batch_size: clips of a whole batch.
    """

    part_names = ("frame_loss", "utterance_loss")

    def __init__(self, student: PatchTransformer, config: SelfDistillationConfig, batch_size: int):
        super().__init__()
        self.config = config
        self.batch_size = batch_size
        self.student = student
        self.decoder = ConvDecoder(config.decoder, student.config.width)
        self.teacher = copy.deepcopy(student).requires_grad_(False)

    def train(self, mode: bool = True) -> "SelfDistillation":
        """Train mode for everything but the teacher."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, features: Tensor, frame_counts: Tensor | None) -> Terms:
        config = self.config
        patches, layout = self.student.patchify(features, frame_counts)
        valid = layout.valid(patches.device).expand(patches.shape[:2])
        targets = self._targets(features, frame_counts, valid)
        clones = valid.repeat_interleave(config.clones, 0)
        repeated = repeat_clips(layout, config.clones)
        visible = draw_visible(clones, repeated, config.mask_ratio, config.block)
        encoded = self.student.encode_patches(*gather_tokens(patches, repeated, visible))
        prefix, seen = encoded[:, : layout.num_prefix], encoded[:, layout.num_prefix :]
        noise = torch.randn(*clones.shape, seen.shape[2], device=seen.device, dtype=patches.dtype)
        decoded = widened(self.decoder(scatter_tokens(seen, visible, NOISE * noise), repeated))
        hidden = is_masked(clones, visible)
        frame = self._frame(decoded, targets, hidden)
        utterance = self._utterance(widened(prefix).mean(dim=1), targets, valid)
        weight = config.utterance * self.batch_size  # of a mean over clips, to be the sum
        return Terms(
            loss=frame + weight * utterance,
            parts=self.named(frame, self.batch_size * utterance),
            target_deviation=deviation(targets[valid]),
            prediction_deviation=deviation(decoded[hidden]),
            embedding_deviation=relative_deviation(seen[visible >= 0]),
        )

    @torch.no_grad()
    def updated(self, count: int) -> None:
        """Move the teacher towards the student, after `count` steps of the optimizer."""
        decay = self.decay_at(count - 1)
        for mean, now in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def decay_at(self, step: int) -> float:
        """The decay of the teacher's average at step `step`, from 0."""
        share = min(1.0, step / self.config.decay_steps)
        return self.config.first_decay + share * (self.config.last_decay - self.config.first_decay)

    @torch.no_grad()
    def _targets(self, features: Tensor, frame_counts: Tensor | None, valid: Tensor) -> Tensor:
        """The teacher's outputs for the whole clip, as targets `(B, N, D)`."""
        patches, layout = self.teacher.patchify(features, frame_counts)
        layers = self.teacher.trace_patches(patches, layout)
        return layer_targets([layer[:, layout.num_prefix :] for layer in layers], valid)

    def _frame(self, decoded: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
        """The error of hidden patches, mean over those of each clip, `(B,)`."""
        num_clips, width = len(targets), targets.shape[2]
        difference = decoded.unflatten(0, (num_clips, -1)) - targets[:, None]
        masked = hidden.unflatten(0, (num_clips, -1))
        errors = difference.square().sum(dim=3) * masked
        return errors.sum(dim=(1, 2)) / masked.sum(dim=(1, 2)) / width**0.5

    def _utterance(self, prefix: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
        """The error of the prefix tokens against the clip's mean target, over its clones `(B,)`."""
        width = targets.shape[2]
        mean = mean_over(targets, valid)
        difference = prefix.unflatten(0, (len(targets), -1)) - mean[:, None]
        return difference.square().sum(dim=(1, 2)) / width**0.5


def layer_targets(layers: list[Tensor], valid: Tensor) -> Tensor:
    """The outputs of all layers' MLPs for the patches `(B, N, D)`, as targets of the same shape.

    Each layer is brought to mean 0 and deviation 1 over a clip's own patches, then the mean over
    layers over its width. Padding is 0.
    """
    total = torch.stack([_instance_norm(widened(layer), valid) for layer in layers]).mean(dim=0)
    return F.layer_norm(total, total.shape[-1:]) * valid[..., None]


def _instance_norm(layer: Tensor, valid: Tensor, epsilon: float = 1e-5) -> Tensor:
    weights = valid[..., None].to(layer) / valid.sum(dim=1)[:, None, None]
    mean = (layer * weights).sum(dim=1, keepdim=True)
    variance = ((layer - mean).square() * weights).sum(dim=1, keepdim=True)
    return (layer - mean) / (variance + epsilon).sqrt()


MAE_AST_CHUNK = (3, 5)


class MaskedReconstructionConfig(Settings):
    """Settings of masked reconstruction; the defaults are MAE-AST's."""

    renamed: ClassVar = {"hidden_share": "mask_ratio"}

    name: Literal["masked_reconstruction"] = "masked_reconstruction"
    mask_ratio: float = Field(0.75, gt=0, lt=1)
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
        """The arguments of `draw_visible` about blocks and chunks."""
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
        visible = draw_visible(valid, layout, config.mask_ratio, **config.masks)
        encoded = self.student.encode_patches(*gather_tokens(patches, layout, visible))
        seen = encoded[:, layout.num_prefix :]
        others = self.hidden_token.expand(*valid.shape, -1)
        decoded = self.decoder(scatter_tokens(seen, visible, others), layout)
        hidden = is_masked(valid, visible)
        targets = layout.pack(self.student.patches.cut(features)[:, :, : layout.columns])
        predictions = widened(self.reconstruct(decoded))
        generative = _mean((predictions - targets).square().mean(dim=2), hidden)
        discriminative = _matching_error(widened(self.discriminate(decoded)), targets, hidden)
        return Terms(
            loss=config.reconstruction * generative + config.discrimination * discriminative,
            parts=self.named(generative, discriminative),
            target_deviation=deviation(targets[valid]),
            prediction_deviation=deviation(predictions[hidden]),
            embedding_deviation=relative_deviation(seen[visible >= 0]),
        )


def _matching_error(predictions: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
    """Cross-entropy `(B,)` of finding each masked patch among the other masked ones of its clip."""
    with torch.autocast(
        predictions.device.type, enabled=False
    ):  # 16 bits are too coarse for these, too
        scores = predictions @ widened(targets).transpose(1, 2)
    scores = scores.masked_fill(~hidden[:, None], -torch.inf)
    scores = scores.masked_fill(~hidden[..., None], 0.0)  # rows that do not count stay numbers
    right = torch.arange(predictions.shape[1], device=predictions.device)
    right = right.expand(len(predictions), -1)
    errors = F.cross_entropy(scores.transpose(1, 2), right, reduction="none")
    return _mean(errors, hidden)


def _mean(errors: Tensor, hidden: Tensor) -> Tensor:
    """Mean over the masked patches of each clip: `(B, N)` to `(B,)`."""
    return (errors * hidden).sum(dim=1) / hidden.sum(dim=1)
