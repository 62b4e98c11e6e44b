"""What every model has, so that the other rooms need not know which one they hold.

Shapes: B clips, T frames, M mel bins, D width, C classes.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from auricle.config import Settings
from auricle.errors import AudioError, ConfigError

Part = nn.Module | nn.Parameter


class ModelConfig(Settings, ABC):
    """Settings that every model has."""

    num_classes: int  # 0: no head, the model is a start for training
    num_mels: int
    max_frames: int  # of the longest clip that is heard in one piece

    @property
    def shortest_frames(self) -> int:
        """Frames of the shortest clip."""
        return 1

    @property
    @abstractmethod
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""


class ColumnGrid(NamedTuple):
    """Where in time the columns of a model's last map are, in frames of its features."""

    first: float  # middle of the first column
    step: float  # from one to the next


class ColumnEmbeddings(NamedTuple):
    """A model's embedding before it is averaged over time."""

    values: Tensor  # (B, N, D)
    counts: Tensor | None  # columns that belong to each clip (B,); None: all N

    def valid(self) -> Tensor:
        """Which columns belong to their clip, `(B, N)`."""
        batch, columns = self.values.shape[:2]
        if self.counts is None:
            return self.values.new_ones(batch, columns, dtype=torch.bool)
        return torch.arange(columns, device=self.values.device) < self.counts[:, None]

    def mean(self) -> Tensor:
        """The embedding of each clip, `(B, D)`."""
        if self.counts is None:
            return self.values.mean(dim=1)
        valid = self.valid()[..., None]
        return (self.values * valid).sum(dim=1) / self.counts[:, None].clamp(min=1)


class Model(nn.Module, ABC):
    """Features `(B, T, M)` to logits `(B, C)`; frames past `frame_counts` have no influence.

    Attributes:
        head: the classifier; all its parameters are new where the classes are.
    """

    config: ModelConfig
    head: nn.Module

    def forward(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        return self.classify(self.embed(features, frame_counts))

    @abstractmethod
    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """What the classifier's last layers read: one vector `(B, D)` for each clip."""

    @property
    def column_grid(self) -> ColumnGrid | None:
        """Where the columns of `embed_columns` are; None: this model has none."""
        return None

    def embed_columns(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> ColumnEmbeddings:
        """Embeddings over time, whose mean over a clip's columns is what `embed` gives.

        `classify` turns them into logits of each column. Only for models with a `column_grid`.
        """
        raise NotImplementedError

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits `(..., C)` of embeddings `(..., D)`, of clips or of columns."""
        logits: Tensor = self.head(embeddings)
        return logits

    @torch.no_grad()
    def scale_logits(self, scale: Tensor, shift: Tensor) -> None:
        """Change the classifier's last layer so that logits become `scale * logits + shift` (C,).

        Raises:
            ConfigError: there is no classifier.
        """
        layers = [layer for layer in self.head.modules() if isinstance(layer, nn.Linear)]
        if not layers:
            raise ConfigError("a model without labels has no logits that could be scaled.")
        last = layers[-1]
        last.weight.mul_(scale[:, None].to(last.weight))
        last.bias.mul_(scale.to(last.bias)).add_(shift.to(last.bias))

    @abstractmethod
    def num_tokens(self, frames: int) -> int:
        """Places in time and frequency that the model holds for a clip of `frames` frames."""

    @abstractmethod
    def layers(self) -> list[list[Part]]:
        """Parts of the model, layer by layer from the features to the logits, for layer decay.

        Every parameter belongs to exactly one layer. Source of the division: Bao et al. 2022
        (BEiT), as released, or what the model's authors do.
        """

    @abstractmethod
    def residual_outputs(self) -> list[list[nn.Module]]:
        """The last modules of the residual branches, for each block of the encoder in order.

        With weights and biases of zero there, a block passes its input on. An empty list: the block
        cannot do that.
        """

    def parameter_layers(self) -> dict[str, int]:
        """Number in `layers` of every parameter, by name.

        Raises:
            ConfigError: `layers` leaves a parameter out, or holds one twice.
        """
        numbers: dict[int, list[int]] = {}
        for number, parts in enumerate(self.layers()):
            for part in parts:
                members = [part] if isinstance(part, nn.Parameter) else part.parameters()
                for parameter in members:
                    numbers.setdefault(id(parameter), []).append(number)
        result = {}
        for name, parameter in self.named_parameters():
            found = numbers.get(id(parameter), [])
            if len(found) != 1:
                raise ConfigError(
                    f"{type(self).__name__}.layers() holds the parameter {name} {len(found)} "
                    "times: each must be in exactly one layer."
                )
            result[name] = found[0]
        return result


def check_mels(features: Tensor, config: ModelConfig) -> None:
    """Refuse features of another front end.

    Raises:
        ConfigError: they have other mel bins.
    """
    mels = features.shape[2]
    if mels != config.num_mels:
        raise ConfigError(
            f"features have {mels} mel bins, the model was built for {config.num_mels}."
        )


def check_shortest(features: Tensor, frame_counts: Tensor | None, patch: int) -> None:
    """Refuse clips of less than one patch, as far as their lengths may be asked.

    Raises:
        AudioError: a clip has fewer than `patch` frames.
    """
    if torch.compiler.is_compiling() or features.is_meta:
        return
    shortest = features.shape[1] if frame_counts is None else int(frame_counts.min())
    if shortest < patch:
        raise AudioError(
            f"a clip has {shortest} frames, one patch needs {patch}: "
            "give a longer clip, or fill it up (front_end.padding.frames)."
        )


def all_whole(frame_counts: Tensor, frames: int) -> bool:
    """Whether no clip of the batch is padded, as far as that may be asked."""
    # Speed: without mask and packing, a training step on one core takes a third less.
    if torch.compiler.is_compiling() or frame_counts.is_meta:
        return False
    return bool((frame_counts == frames).all())
