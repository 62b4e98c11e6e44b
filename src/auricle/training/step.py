"""What can be trained: the interface between the loop in `fit` and a way of learning; supervised.

Shapes: B clips, S samples, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from auricle.data import Batch
from auricle.evaluation import classification_metrics
from auricle.models import Model
from auricle.training.settings import LOSSES, Diverged, SupervisedConfig, smooth


class Step(nn.Module, ABC):
    """What is trained and how; `model` holds all weights.

    Attributes:
        model: what learns.
        saved: prefix of the weights in `model` that a checkpoint keeps.
        new_parameters: names in `model` that are not from initial weights.
        best_by: the name in `metrics` that chooses the best epoch; larger is better.
    """

    model: nn.Module
    saved: str = ""
    new_parameters: frozenset[str] = frozenset()
    best_by: str

    def to_save(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of the weights of `model` those that a checkpoint keeps, by the names it has for them."""
        return {
            name.removeprefix(self.saved): value
            for name, value in weights.items()
            if name.startswith(self.saved)
        }

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The loss of a training batch, a scalar."""

    def terms(self) -> dict[str, Tensor]:
        """Of what the last loss consisted: for the step logs, and as means of the epoch."""
        return {}

    def updated(self, count: int) -> None:
        """Do what follows the step of the optimizer with this number, from 1."""

    @abstractmethod
    def idle(self) -> Tensor:
        """Zero, through the whole model: for a process that has no clip while others have some."""

    @abstractmethod
    def validate(self, batch: Any) -> tuple[Tensor, ...]:
        """What `metrics` needs of a validation batch; the first dimension of each is B."""

    @abstractmethod
    def metrics(self, outputs: list[Any]) -> dict[str, Any]:
        """Numbers of a validation from all its outputs; `validation_loss` is among them."""


def silent_clip(model: Model) -> tuple[Tensor, Tensor]:
    """Features and frame count of the shortest clip that `model` takes, a silent one."""
    frames, device = model.config.shortest_frames, next(model.parameters()).device
    features = torch.zeros(1, frames, model.config.num_mels, device=device)
    return features, torch.tensor([frames], device=device)


def freeze(model: nn.Module, learning: Collection[str]) -> list[nn.Module]:
    """Let only the parameters called `learning` learn.

    Returns:
        The modules in which nothing learns, now in eval mode. Keep them there, so that their
        dropout rests and their BatchNorm does not follow the new clips.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    return [module.eval() for module in _frozen(model)]


def _frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts of `module` that have parameters, none of which learns."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _frozen(child)


class Augmentations(nn.Module):
    """What makes a training clip differ each time it is read; each module rests in eval mode.

    Args:
        augmentation, overlap: `(waveforms, lengths) ->` the same two.
        mixup: `(waveforms, lengths, targets, perhaps Partners) ->` the first three.
        masking, noise: `(features, frame_counts) -> features`.
    """

    def __init__(
        self,
        augmentation: nn.Module,
        mixup: nn.Module,
        masking: nn.Module,
        noise: nn.Module,
        overlap: nn.Module | None = None,
    ):
        super().__init__()
        self.augmentation = augmentation
        self.overlap = overlap
        self.mixup = mixup
        self.masking = masking
        self.noise = noise

    def mixed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The waveforms, lengths and targets of a batch, augmented and mixed."""
        waveforms, lengths, targets = batch[:3]
        waveforms, lengths = self.augmentation(waveforms, lengths)
        if self.overlap is not None:
            waveforms, lengths = self.overlap(waveforms, lengths)
        partners = getattr(batch, "partners", None)
        if partners is not None and len(partners.rows):
            changed = self.augmentation(partners.waveforms, partners.lengths)
            partners = partners._replace(waveforms=changed[0], lengths=changed[1])
        return self.mixup(waveforms, lengths, targets, partners)

    def hidden(self, features: Tensor, frame_counts: Tensor) -> Tensor:
        """Features that are masked and noisy."""
        return self.noise(self.masking(features, frame_counts), frame_counts)


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
        augmentations: Augmentations,
        new_parameters: Collection[str] = (),
    ):
        super().__init__()
        self.fbank = fbank
        self.model = model
        self.labels = labels
        self.criterion = LOSSES[config.loss]
        self.best_by = config.score
        self.label_smoothing = config.label_smoothing
        self.augmentations = augmentations
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
        waveforms, lengths, targets = self.augmentations.mixed(batch)
        features, frame_counts = self.fbank(waveforms, lengths)
        features = self.augmentations.hidden(features, frame_counts)
        logits = self.model(features, frame_counts).float()
        return self.criterion.function(logits, smooth(targets, self.label_smoothing))

    def idle(self) -> Tensor:
        """Zero, by way of all weights: the model gets the shortest clip, a silent one."""
        return 0.0 * self.model(*silent_clip(self.model)).float().sum()

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
        metrics = classification_metrics(scores, targets, self.labels)
        values = {"validation_loss": self.criterion.function(logits, targets).item()}
        if metrics["single_label"]:
            values["accuracy"] = metrics["accuracy"]
        return {**values, "mAP": metrics["mAP"]}
