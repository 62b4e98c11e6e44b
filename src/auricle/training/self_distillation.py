"""Masked self-distillation: a student that sees a fifth of a clip says what a teacher hears in all.

EAT's pretraining (Chen et al. 2024) after data2vec 2.0 (Baevski et al. 2023); ASDA uses the same.
The teacher is a moving average of the student. It listens to a clip once, for many students with
masks of their own; these compute what they see and no more.

Shapes: B clips, R clones, N patch places, P prefix tokens, D width.
"""

import copy
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from auricle.config import Settings
from auricle.models import PatchTransformer
from auricle.models.decoders import ConvDecoder, ConvDecoderConfig
from auricle.models.patch_masks import draw_visible, is_masked, repeat_clips, scatter_tokens
from auricle.models.patches import gather_tokens
from auricle.training.objective import (
    Objective,
    Terms,
    deviation,
    relative_deviation,
    widened,
)

NOISE = 0.01  # standard deviation of what stands in for hidden patches


class SelfDistillationConfig(Settings):
    """Settings of masked self-distillation; the defaults are EAT's."""

    name: Literal["self_distillation"] = "self_distillation"
    hidden_share: float = Field(0.8, gt=0, lt=1)
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
        places = repeat_clips(layout, config.clones)
        visible = draw_visible(clones, places, config.hidden_share, config.block)
        encoded = self.student.encode_patches(*gather_tokens(patches, places, visible))
        prefix, seen = encoded[:, : layout.num_prefix], encoded[:, layout.num_prefix :]
        noise = torch.randn(*clones.shape, seen.shape[2], device=seen.device, dtype=patches.dtype)
        decoded = widened(self.decoder(scatter_tokens(seen, visible, NOISE * noise), places))
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
        """What the teacher hears in the whole clip, `(B, N, D)`."""
        patches, layout = self.teacher.patchify(features, frame_counts)
        said = self.teacher.trace_patches(patches, layout)
        return layer_targets([layer[:, layout.num_prefix :] for layer in said], valid)

    def _frame(self, decoded: Tensor, targets: Tensor, hidden: Tensor) -> Tensor:
        """The error of hidden patches, mean over those of each clip, `(B,)`."""
        num_clips, width = len(targets), targets.shape[2]
        apart = decoded.unflatten(0, (num_clips, -1)) - targets[:, None]
        there = hidden.unflatten(0, (num_clips, -1))
        errors = apart.square().sum(dim=3) * there
        return errors.sum(dim=(1, 2)) / there.sum(dim=(1, 2)) / width**0.5

    def _utterance(self, prefix: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
        """The error of the prefix tokens against the clip's mean target, over its clones `(B,)`."""
        width = targets.shape[2]
        mean = (targets * valid[..., None]).sum(dim=1) / valid.sum(dim=1)[:, None]
        apart = prefix.unflatten(0, (len(targets), -1)) - mean[:, None]
        return apart.square().sum(dim=(1, 2)) / width**0.5


def layer_targets(said: list[Tensor], valid: Tensor) -> Tensor:
    """What all layers' perceptrons said of the patches `(B, N, D)`, as targets of the same shape.

    Each layer is brought to mean 0 and deviation 1 over a clip's own patches, then the mean over
    layers over its width. Padding is 0.
    """
    total = torch.stack([_instance_norm(widened(layer), valid) for layer in said]).mean(dim=0)
    return F.layer_norm(total, total.shape[-1:]) * valid[..., None]


def _instance_norm(layer: Tensor, valid: Tensor, epsilon: float = 1e-5) -> Tensor:
    weights = valid[..., None].to(layer) / valid.sum(dim=1)[:, None, None]
    mean = (layer * weights).sum(dim=1, keepdim=True)
    variance = ((layer - mean).square() * weights).sum(dim=1, keepdim=True)
    return (layer - mean) / (variance + epsilon).sqrt()
