"""Learning from labelled clips: from a batch to its loss, and from a validation set to numbers.

Shapes: B clips, S samples, C classes.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from auricle.data import Batch
from auricle.evaluation import classification_metrics
from auricle.models import Model
from auricle.training.freezing import freeze
from auricle.training.losses import LOSSES, Diverged, smooth
from auricle.training.settings import SupervisedConfig
from auricle.training.step import Step


class Variation(NamedTuple):
    """What makes a training clip differ each time it is heard; each module rests in eval mode."""

    augmentation: nn.Module  # (waveforms, lengths) -> the same two
    mixup: nn.Module  # (waveforms, lengths, targets) -> the same three
    masking: nn.Module  # (features, frame_counts) -> features
    noise: nn.Module  # the same


class Supervised(Step):
    """The step of supervised training: what `fit` calls for every batch.

    Args:
        fbank: `(waveforms, lengths) -> (features, frame_counts)`.
        model: `(features, frame_counts) -> logits (B, C)`; the only part with weights.
        labels: C names, in the order of the logits.
        new_parameters: names of the model's parameters that were not in its initial weights.
    """

    model: Model

    def __init__(
        self,
        fbank: nn.Module,
        model: Model,
        labels: list[str],
        config: SupervisedConfig,
        variation: Variation,
        new_parameters: Collection[str] = (),
    ):
        super().__init__()
        self.fbank = fbank
        self.model = model
        self.labels = labels
        self.criterion = LOSSES[config.loss]
        self.best_by = config.score
        self.label_smoothing = config.label_smoothing
        self.variation = nn.ModuleDict(variation._asdict())
        self.new_parameters = frozenset(new_parameters)
        self.frozen = freeze(model, new_parameters) if config.freeze == "backbone" else []

    def train(self, mode: bool = True) -> "Supervised":
        """Train mode for everything but what is frozen."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one training batch, augmented, mixed, masked and noisy."""
        waveforms, lengths, targets = batch[:3]
        waveforms, lengths = self.variation["augmentation"](waveforms, lengths)
        waveforms, lengths, targets = self.variation["mixup"](waveforms, lengths, targets)
        features, frame_counts = self.fbank(waveforms, lengths)
        features = self.variation["masking"](features, frame_counts)
        features = self.variation["noise"](features, frame_counts)
        logits = self.model(features, frame_counts).float()
        return self.criterion.function(logits, smooth(targets, self.label_smoothing))

    def idle(self) -> Tensor:
        """Zero, by way of all weights: the model hears the shortest clip, a silent one."""
        config, device = self.model.config, next(self.model.parameters()).device
        frames = config.shortest_frames
        features = torch.zeros(1, frames, config.num_mels, device=device)
        return 0.0 * self.model(features, torch.tensor([frames], device=device)).float().sum()

    def validate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and targets `(B, C)` of one validation batch, the sounds as they are."""
        waveforms, lengths, targets = batch[:3]
        return self.model(*self.fbank(waveforms, lengths)).float(), targets

    def metrics(self, outputs: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """Loss, mAP and, where every clip has one label, accuracy over all validation batches.

        The loss is without label smoothing. A metric that the clips do not define is None.

        Raises:
            Diverged: the logits are not numbers.
        """
        logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        if not logits.isfinite().all():
            raise Diverged("the model's outputs for the validation clips are not numbers.")
        is_softmax = self.criterion.activation == "softmax"
        scores = logits.softmax(dim=1) if is_softmax else logits.sigmoid()
        found = classification_metrics(scores, targets, self.labels)
        values = {"validation_loss": self.criterion.function(logits, targets).item()}
        if found["single_label"]:
            values["accuracy"] = found["accuracy"]
        return {**values, "mAP": found["mAP"]}
