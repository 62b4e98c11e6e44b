"""MobileNetV3 on spectrograms, as EfficientAT trains it on AudioSet.

The network is MobileNetV3-Large (Howard et al. 2019, arXiv 1905.02244, table 1) with one input
channel; its squeeze-and-excitation is over channels alone. Sizes and epsilons follow the published
weights (Schmid, Koutini, Widmer 2023, arXiv 2211.04772).

A convolution with zero padding sees zeros behind the end of a clip. It sees the same in a padded
batch if the columns beyond a clip are cleared before every convolution that reaches sideways, and
left out wherever columns are averaged: then a clip gives the same alone and in any batch.

Shapes: B clips, T frames, M mel bins, C channels, F rows (frequency) and N columns (time) of a map,
D width.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.models.model import (
    ColumnEmbeddings,
    ColumnGrid,
    Model,
    ModelConfig,
    Part,
    check_mels,
)
from auricle.padding import inside, no_padding

STEM_CHANNELS = 16  # this and all below: at width 1
HIDDEN = 1280
EXPANSION_AT_TOP = 6
SQUEEZE = 4
CHANNEL_STEP = 8  # numbers of channels are multiples of this
NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.01
TOTAL_STRIDE = 32  # from frames to the columns of the last map

WIDTHS: dict[str, dict[str, Any]] = {  # the names of the published weights
    f"mn{round(10 * width):02}": {"width": width}
    for width in (0.1, 0.2, 0.4, 0.5, 1.0, 2.0, 3.0, 4.0)
}


class Row(NamedTuple):
    """One block in the table of the paper."""

    kernel: int
    expanded: int  # channels between expansion and projection
    channels: int  # after it
    gated: bool
    activation: type[nn.Module]
    stride: int


BLOCKS = (
    Row(3, 16, 16, False, nn.ReLU, 1),
    Row(3, 64, 24, False, nn.ReLU, 2),
    Row(3, 72, 24, False, nn.ReLU, 1),
    Row(5, 72, 40, True, nn.ReLU, 2),
    Row(5, 120, 40, True, nn.ReLU, 1),
    Row(5, 120, 40, True, nn.ReLU, 1),
    Row(3, 240, 80, False, nn.Hardswish, 2),
    Row(3, 200, 80, False, nn.Hardswish, 1),
    Row(3, 184, 80, False, nn.Hardswish, 1),
    Row(3, 184, 80, False, nn.Hardswish, 1),
    Row(3, 480, 112, True, nn.Hardswish, 1),
    Row(3, 672, 112, True, nn.Hardswish, 1),
    Row(5, 672, 160, True, nn.Hardswish, 2),
    Row(5, 960, 160, True, nn.Hardswish, 1),
    Row(5, 960, 160, True, nn.Hardswish, 1),
)


class MobileNetConfig(ModelConfig):
    """Settings of MobileNet; but for the width they are those of EfficientAT's AudioSet models."""

    num_classes: int = Field(527, ge=0)
    num_mels: int = Field(128, ge=1)
    max_frames: int = Field(1000, ge=1)  # 10 s; the network itself takes any length
    width: float = Field(1.0, gt=0)  # factor on all channels
    dropout: float = Field(0.2, ge=0, lt=1)  # before the classifier

    @property
    def summary(self) -> tuple[str, str]:
        """Its sizes, then what it reads, each in a few words."""
        return (
            f"width {self.width:g}, depth {len(BLOCKS)}",
            f"{self.num_mels} mel bins, {self.max_frames} frames",
        )


@dataclass(frozen=True)
class Columns:
    """The columns of maps `(B, C, F, N)` that belong to their clips.

    Attributes:
        counts: the first so many of each clip `(B,)`, or None where all N do.
    """

    counts: Tensor | None

    def strided(self, stride: int) -> "Columns":
        """The columns after a convolution with this stride and as much padding as it reaches."""
        if self.counts is None or stride == 1:
            return self
        return Columns((self.counts - 1) // stride + 1)

    def valid(self, maps: Tensor) -> Tensor | None:
        """Mask of the columns that belong to their clip, `(B, 1, 1, N)`; None where all do."""
        if self.counts is None:
            return None
        return inside(self.counts, maps.shape[3])[:, None, None]

    def clear(self, maps: Tensor) -> Tensor:
        """`maps` with zeros in the columns beyond each clip."""
        valid = self.valid(maps)
        return maps if valid is None else maps.masked_fill(~valid, 0)

    def mean(self, maps: Tensor) -> Tensor:
        """Mean over rows and own columns, `(B, C)`."""
        if self.counts is None:
            return maps.mean(dim=(2, 3))
        return self.clear(maps).mean(dim=2).sum(dim=2) / self.counts[:, None]


class MobileNet(Model):
    """Features `(B, T, M)` to logits `(B, classes)`; frames past `frame_counts` have no influence.

    The head is one linear layer behind `hidden`, which stays where only the classes are new.
    """

    def __init__(self, config: MobileNetConfig):
        super().__init__()
        self.config: MobileNetConfig = config
        first = round_channels(STEM_CHANNELS * config.width)
        last = round_channels(BLOCKS[-1].channels * config.width)
        hidden = round_channels(HIDDEN * config.width)
        self.stem = ConvNorm(nn.Conv2d(1, first, 3, 2, 1, bias=False), nn.Hardswish())
        self.encoder = Encoder(first, config.width)
        self.top = ConvNorm(_pointwise(last, EXPANSION_AT_TOP * last), nn.Hardswish())
        self.hidden = nn.Linear(EXPANSION_AT_TOP * last, hidden)
        self.head = Head(hidden, config) if config.num_classes else nn.Identity()
        self.apply(_initialize)

    def embed(self, features: Tensor, frame_counts: Tensor | None = None) -> Tensor:
        """The last map averaged over time and frequency, `(B, D)`: what `hidden` reads.

        Raises:
            ConfigError: the features have other mel bins.
        """
        maps, columns = self._last_map(features, frame_counts)
        return columns.mean(maps)

    @property
    def column_grid(self) -> ColumnGrid:
        """The columns of the last map: padded convolutions keep the first one at frame 0."""
        return ColumnGrid(0.0, TOTAL_STRIDE)

    def embed_columns(
        self, features: Tensor, frame_counts: Tensor | None = None
    ) -> ColumnEmbeddings:
        """The last map averaged over frequency, `(B, N, D)`; the raises are those of `embed`."""
        maps, columns = self._last_map(features, frame_counts)
        return ColumnEmbeddings(columns.clear(maps).mean(dim=2).transpose(1, 2), columns.counts)

    def _last_map(self, features: Tensor, frame_counts: Tensor | None) -> tuple[Tensor, Columns]:
        check_mels(features, self.config)
        is_whole = no_padding(frame_counts, features.shape[1])
        maps = features.transpose(1, 2).unsqueeze(1)  # (B, 1, M, T)
        maps, columns = self.stem(maps, Columns(None if is_whole else frame_counts))
        # Speed: with the channels last in memory a batch takes half the time on a CPU.
        maps = maps.contiguous(memory_format=torch.channels_last)
        return self.top(*self.encoder(maps, columns))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Logits `(..., C)` of embeddings, by way of the wide layer before the head."""
        logits: Tensor = self.head(F.hardswish(self.hidden(embeddings)))
        return logits

    def num_tokens(self, frames: int) -> int:
        """Cells of the last map, over which the embedding is the mean."""
        return math.ceil(self.config.num_mels / TOTAL_STRIDE) * math.ceil(frames / TOTAL_STRIDE)

    def layers(self) -> list[list[Part]]:
        blocks: list[list[Part]] = [[block] for block in self.encoder.blocks]
        return [[self.stem], *blocks, [self.top, self.hidden, self.head]]

    def residual_outputs(self) -> list[list[nn.Module]]:
        blocks: Any = self.encoder.blocks
        return [block.residual_outputs() for block in blocks]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that learns nothing from the columns beyond a clip."""

    def forward(self, maps: Tensor, columns: Columns) -> Tensor:  # type: ignore[override]
        valid = columns.valid(maps)
        if valid is None or not self.training:
            return super().forward(maps)
        count = valid.sum() * maps.shape[2]
        mean = columns.clear(maps).float().sum(dim=(0, 2, 3)) / count
        centred = maps - mean[:, None, None]
        variance = columns.clear(centred).square().sum(dim=(0, 2, 3)) / count
        self._remember(mean, variance * count / (count - 1).clamp(min=1))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(maps.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation: maps `(B, C, F, N)` and their columns to the next."""

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module):
        super().__init__()
        self.convolution = convolution
        self.norm = BatchNorm(convolution.out_channels, NORM_EPSILON, NORM_MOMENTUM)
        self.activation = activation

    def forward(self, maps: Tensor, columns: Columns) -> tuple[Tensor, Columns]:
        if self.convolution.kernel_size != (1, 1):
            maps = columns.clear(maps)
        columns = columns.strided(self.convolution.stride[1])
        return self.activation(self.norm(self.convolution(maps), columns)), columns


class ChannelGate(nn.Module):
    """Squeeze and excitation: each channel times a number from 0 to 1, read from all their means.

    Source: Hu et al. 2018. In EfficientAT channels alone are gated, not frequencies or times.
    """

    def __init__(self, channels: int):
        super().__init__()
        squeezed = round_channels(channels // SQUEEZE)
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, maps: Tensor, columns: Columns) -> Tensor:
        gate = self.excite(F.relu(self.squeeze(columns.mean(maps)))).sigmoid()
        return maps * gate[:, :, None, None]


class InvertedResidual(nn.Module):
    """More channels, a filter on each, perhaps a gate, fewer channels; and the input added to it.

    Source: Sandler et al. 2018. The input is added where the shapes agree.
    """

    def __init__(self, channels: int, row: Row, width: float):
        super().__init__()
        expanded, result = (
            round_channels(row.expanded * width),
            round_channels(row.channels * width),
        )
        is_expanded = expanded != channels
        self.expand = (
            ConvNorm(_pointwise(channels, expanded), row.activation()) if is_expanded else None
        )
        depthwise = nn.Conv2d(
            expanded, expanded, row.kernel, row.stride, row.kernel // 2, groups=expanded, bias=False
        )
        self.filter = ConvNorm(depthwise, row.activation())
        self.gate = ChannelGate(expanded) if row.gated else None
        self.project = ConvNorm(_pointwise(expanded, result), nn.Identity())
        self.is_residual = row.stride == 1 and channels == result

    def residual_outputs(self) -> list[nn.Module]:
        """The norm that ends the branch, where the input is added to it."""
        return [self.project.norm] if self.is_residual else []

    def forward(self, maps: Tensor, columns: Columns) -> tuple[Tensor, Columns]:
        result, narrowed = maps, columns
        if self.expand is not None:
            result, _ = self.expand(result, columns)
        result, narrowed = self.filter(result, columns)
        if self.gate is not None:
            result = self.gate(result, narrowed)
        result, narrowed = self.project(result, narrowed)
        return (maps + result if self.is_residual else result), narrowed


class Encoder(nn.Module):
    """The blocks of the table, after a stem with `channels` channels."""

    def __init__(self, channels: int, width: float):
        super().__init__()
        self.blocks = nn.ModuleList()
        for row in BLOCKS:
            self.blocks.append(InvertedResidual(channels, row, width))
            channels = round_channels(row.channels * width)

    def forward(self, maps: Tensor, columns: Columns) -> tuple[Tensor, Columns]:
        for block in self.blocks:
            maps, columns = block(maps, columns)
        return maps, columns


class Head(nn.Module):
    """Dropout, then one linear layer: `(B, hidden)` to `(B, classes)`."""

    def __init__(self, hidden: int, config: MobileNetConfig):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(hidden, config.num_classes)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(self.dropout(hidden))


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not below 90 % of `channels` (Howard et al.)."""
    nearest = max(CHANNEL_STEP, int(channels / CHANNEL_STEP + 0.5) * CHANNEL_STEP)
    return nearest if nearest >= 0.9 * channels else nearest + CHANNEL_STEP


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)


def _initialize(module: nn.Module) -> None:
    """The start of the published training, for weights that nothing is copied into."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
