"""The contract of every model, and what models of patches share: settings, blocks, readout.

Shapes: B clips, T frames, M mel bins, N patch tokens, P prefix tokens, D width, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from auricle.config import Settings
from auricle.errors import AudioError, ConfigError
from auricle.models.differential_attention import DifferentialConfig, build_attention
from auricle.models.encoder import Encoder, EncoderBlock
from auricle.models.patches import PatchEmbedding, TokenLayout, grid_length
from auricle.padding import deviation_over, inside, mean_over

Part = nn.Module | nn.Parameter
Side = tuple[int, int]
Readout = Literal["prefix_mean", "cls", "patch_mean"]

# The published sizes. Source: Touvron et al. 2021 (DeiT), table 1; AST takes all three (Gong et al.
# 2021, section 2.2).
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 192, "depth": 12, "num_heads": 3},
    "small": {"width": 384, "depth": 12, "num_heads": 6},
    "base": {"width": 768, "depth": 12, "num_heads": 12},
}


class ModelConfig(Settings, ABC):
    """Settings that every model has."""

    num_classes: int  # 0: no head, the model is a start for training
    num_mels: int
    max_frames: int  # of the longest clip that is scored in one piece

    @property
    def shortest_frames(self) -> int:
        """Frames of the shortest clip."""
        return 1

    @property
    @abstractmethod
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""


class ColumnGrid(NamedTuple):
    """Positions in time of the columns of a model's last map, in frames of its features."""

    first: float  # middle of the first column
    step: float  # from one to the next


class ColumnEmbeddings(NamedTuple):
    """A model's embedding before it is averaged over time."""

    values: Tensor  # (B, N, D)
    counts: Tensor | None  # columns that belong to each clip (B,); None: all N

    def valid(self) -> Tensor:
        """Mask of the columns that belong to their clip, `(B, N)`."""
        batch, columns = self.values.shape[:2]
        if self.counts is None:
            return self.values.new_ones(batch, columns, dtype=torch.bool)
        return inside(self.counts, columns)

    def mean(self) -> Tensor:
        """The embedding of each clip, `(B, D)`."""
        if self.counts is None:
            return self.values.mean(dim=1)
        return mean_over(self.values, self.valid())


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
        """Input of the classifier's last layers: one vector `(B, D)` for each clip."""

    @property
    def column_grid(self) -> ColumnGrid | None:
        """Positions of the columns of `embed_columns`; None: this model has none."""
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
        last = self._classifier("scaled")
        last.weight.mul_(scale[:, None].to(last.weight))
        last.bias.mul_(scale.to(last.bias)).add_(shift.to(last.bias))

    @torch.no_grad()
    def last_input(self, embeddings: Tensor) -> Tensor:
        """What the classifier's last layer reads, `(B, H)`, of embeddings `(B, D)`; in eval mode.

        Raises:
            ConfigError: there is no classifier.
        """
        read: list[Tensor] = []
        last = self._classifier("computed")
        handle = last.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        try:
            self.classify(embeddings)
        finally:
            handle.remove()
        return read[0]

    @torch.no_grad()
    def set_classifier(self, weight: Tensor, bias: Tensor) -> None:
        """Give the classifier's last layer the weights `(C, H)` and biases `(C,)`.

        Raises:
            ConfigError: there is no classifier.
        """
        last = self._classifier("set")
        last.weight.copy_(weight)
        last.bias.copy_(bias)

    @torch.no_grad()
    def reorder_classes(self, order: list[int]) -> None:
        """Let logit `i` be what logit `order[i]` was; ConfigError: there is no classifier."""
        for parameter in self._classifier("reordered").parameters():
            parameter.copy_(parameter[order])

    def _classifier(self, purpose: str) -> nn.Linear:
        """The last linear layer of the head."""
        layers = [layer for layer in self.head.modules() if isinstance(layer, nn.Linear)]
        if not layers:
            raise ConfigError(f"a model without labels has no logits that could be {purpose}.")
        return layers[-1]

    @abstractmethod
    def num_tokens(self, frames: int) -> int:
        """Tokens, or cells of the last map, of a clip of `frames` frames."""

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
            layers = numbers.get(id(parameter), [])
            if len(layers) != 1:
                raise ConfigError(
                    f"{type(self).__name__}.layers() holds the parameter {name} {len(layers)} "
                    "times: each must be in exactly one layer."
                )
            result[name] = layers[0]
        return result


def check_mels(features: Tensor, config: ModelConfig) -> None:
    """Refuse features of another front end (ConfigError)."""
    mels = features.shape[2]
    if mels != config.num_mels:
        raise ConfigError(
            f"features have {mels} mel bins, the model was built for {config.num_mels}."
        )


def check_clips(
    features: Tensor, frame_counts: Tensor | None, config: "PatchConfig", is_limited: bool = True
) -> None:
    """Refuse clips that do not fit the patches and the positions; no lengths while tracing.

    Args:
        is_limited: whether the positions end at `max_frames`.

    Raises:
        AudioError: a clip is shorter than one patch.
        ConfigError: a clip is longer than the model's positions or has other mel bins.
    """
    check_mels(features, config)
    if torch.compiler.is_compiling() or features.is_meta:
        return
    shortest = features.shape[1] if frame_counts is None else int(frame_counts.min())
    longest = features.shape[1] if frame_counts is None else int(frame_counts.max())
    if shortest < config.patch[1]:
        raise AudioError(
            f"a clip has {shortest} frames, one patch needs {config.patch[1]}: "
            "give a longer clip, or fill it up (front_end.padding.frames)."
        )
    if is_limited and config.columns_of(longest) > config.columns:
        raise ConfigError(
            f"a clip has {longest} frames, the model's positions end at "
            f"{config.max_frames}: cut it into windows, as Classifier does."
        )


class PatchConfig(ModelConfig):
    """Settings of a model that cuts features into patches. Pairs are (mel bins, frames)."""

    num_classes: int = Field(527, ge=0)
    num_mels: int = Field(128, ge=1)
    max_frames: int = Field(1024, ge=1)
    patch: Side = (16, 16)

    @property
    def steps(self) -> Side:
        """From one patch to the next: where `stride` is no setting, patches do not overlap."""
        return self.patch

    @property
    def shortest_frames(self) -> int:
        """One patch."""
        return self.patch[1]

    @property
    def rows(self) -> int:
        """Rows of the patch grid: steps along frequency."""
        return grid_length(self.num_mels, self.patch[0], self.steps[0])

    @property
    def columns(self) -> int:
        """Columns of the patch grid of the longest clip: steps along time."""
        return self.columns_of(self.max_frames)

    def columns_of(self, frames: int) -> int:
        """Columns of the patch grid of a clip of `frames` frames."""
        return grid_length(frames, self.patch[1], self.steps[1])

    @property
    def reads(self) -> str:
        """The input in a few words, for `summary`."""
        sizes = [f"{self.patch[0]} x {self.patch[1]} patches"]
        if "stride" in type(self).model_fields:
            sizes.append(f"stride {self.steps[0]} x {self.steps[1]}")
        return ", ".join([*sizes, f"{self.num_mels} mel bins", f"{self.max_frames} frames"])


class TransformerConfig(PatchConfig):
    """Settings of an encoder. The defaults are those of ViT-base."""

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

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        return f"width {self.width}, depth {self.depth}, heads {self.num_heads}", self.reads


class PatchTransformer(Model):
    """A model whose tokens are prefix tokens and patches, any of which may be left out.

    Pretraining calls `patchify`, chooses among its tokens, and then calls `encode_patches`.
    """

    config: TransformerConfig
    patches: PatchEmbedding
    prefix_tokens: nn.Parameter  # (P, D)
    encoder: Encoder

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """The readout of the last tokens: one vector `(B, D)` for each clip."""
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
        """The output of `embed`, and behind it the patches' standard deviation: `(B, 2 D)`."""
        tokens, layout = self.encode(features, frame_counts)
        embedding = READOUTS[self.config.readout](tokens, layout)
        patches = tokens[:, layout.num_prefix :]
        deviation = deviation_over(patches, layout.valid(tokens.device))
        return torch.cat([embedding, deviation], dim=1)

    def encode(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> tuple[Tensor, TokenLayout]:
        """All tokens after the last stage, `(B, P + N, D)`, and their layout.

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
        """Patch tokens `(B, N, D)` with positions added, and their layout.

        Padding is zeros at the end. The raises are those of `encode`.
        """

    @abstractmethod
    def with_prefix(self, patches: Tensor) -> Tensor:
        """Input of the first block: patch tokens behind the prefix tokens, `(B, P + N, D)`."""

    def finish(self, tokens: Tensor, layout: TokenLayout) -> Tensor:
        """The stages after the last block; the identity where a model has none."""
        return tokens

    def encode_patches(self, patches: Tensor, layout: TokenLayout) -> Tensor:
        """Patch tokens `(B, N, D)` through all stages: `(B, P + N, D)`, prefix tokens first."""
        mask = layout.attention_mask(patches.device)
        return self.finish(self.encoder(self.with_prefix(patches), mask), layout)

    def trace_patches(self, patches: Tensor, layout: TokenLayout) -> list[Tensor]:
        """Each block's MLP output before the residual sum, `(B, P + N, D)` all: EAT's targets."""
        mask = layout.attention_mask(patches.device)
        return self.encoder.trace(self.with_prefix(patches), mask)[1]

    def num_tokens(self, frames: int) -> int:
        """Length of the sequence for a clip of `frames` frames, prefix tokens included."""
        return len(self.prefix_tokens) + self.config.rows * self.config.columns_of(frames)

    def residual_outputs(self) -> list[list[nn.Module]]:
        return self.encoder.residual_outputs()


def build_block(kind: type[EncoderBlock], config: TransformerConfig, index: int) -> EncoderBlock:
    """Block `index` of an encoder; stochastic depth grows in a line, from 0 in the first block."""
    drop_path = config.drop_path * index / max(1, config.depth - 1)
    attention = build_attention(
        config.differential, config.width, config.num_heads, index, config.dropout
    )
    return kind(
        config.width, attention, config.mlp_ratio, config.norm_epsilon, config.dropout, drop_path
    )


READOUTS: dict[str, Callable[[Tensor, TokenLayout], Tensor]] = {
    "prefix_mean": lambda tokens, layout: tokens[:, : layout.num_prefix].mean(dim=1),
    "cls": lambda tokens, layout: tokens[:, 0],
    "patch_mean": lambda tokens, layout: mean_over(
        tokens[:, layout.num_prefix :], layout.valid(tokens.device)
    ),
}
