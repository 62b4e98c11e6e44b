"""Features to patch tokens, and the positions that are added to them.

Shapes: B clips, T frames, M mel bins, D width, P prefix tokens; the patch grid has F rows
(frequency) and C columns (time).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.errors import ConfigError
from auricle.models.model import ModelConfig, check_mels, check_shortest


def grid_length(length: int, patch: int, stride: int) -> int:
    """Patches of size `patch` that fit into `length` at steps of `stride`; 0 if none does."""
    return max(0, (length - patch) // stride + 1)


def check_patches(
    patch: tuple[int, int], stride: tuple[int, int], num_mels: int, max_frames: int
) -> None:
    """Refuse settings that no patch can be cut by; for the validators of settings.

    Raises:
        ValueError: what is wrong with them.
    """
    if min(*patch, *stride) < 1:
        raise ValueError(f"patch {patch} and stride {stride} must be at least 1")
    if patch[0] > num_mels or patch[1] > max_frames:
        raise ValueError(
            f"patch {patch} does not fit into num_mels ({num_mels}) x max_frames ({max_frames})"
        )


def check_clips(
    features: Tensor, frame_counts: Tensor | None, config: ModelConfig, patch: int, stride: int
) -> None:
    """Refuse clips that patches of `patch` frames at steps of `stride` cannot be cut from.

    Raises:
        AudioError: a clip is shorter than one patch.
        ConfigError: a clip is longer than the model's positions or has other mel bins.
    """
    check_mels(features, config)
    check_shortest(features, frame_counts, patch)
    if torch.compiler.is_compiling() or features.is_meta:
        return
    longest = features.shape[1] if frame_counts is None else int(frame_counts.max())
    if grid_length(longest, patch, stride) > grid_length(config.max_frames, patch, stride):
        raise ConfigError(
            f"a clip has {longest} frames, the model's positions end at "
            f"{config.max_frames}: cut it into windows, as Classifier does."
        )


class ConvolutionalStem(nn.Module):
    """3x3 convolutions that each halve both axes of maps `(B, 1, M, T)`, before patches are cut.

    Source: Xiao et al. 2021 (early convolutions), with a norm over the channels of each place
    where they have batch norm, so that a clip gives the same alone and in any batch. Each
    convolution makes places 2p - 1 to 2p + 1 place p: a patch hears a little of what was before
    it, but nothing after it, so padding behind a clip has no influence.
    """

    def __init__(self, channels: tuple[int, ...]):
        super().__init__()
        pairs = zip((1, *channels), channels, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, 2, 1) for pair in pairs)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in channels)

    def forward(self, maps: Tensor) -> Tensor:
        # Speed: with the channels last in memory the norm reads them without a copy.
        maps = maps.contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = F.gelu(norm(convolution(maps).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return maps


class PatchEmbedding(nn.Module):
    """Cut features `(B, T, M)` into overlapping patches and project each: `(B, F, C, D)`.

    Source: Gong et al. 2021, section 2.1. `patch` and `stride` are (mel bins, frames). With a
    `stem` (channels of its convolutions) patches of the same size are cut from its maps.
    """

    def __init__(
        self,
        width: int,
        patch: tuple[int, int],
        stride: tuple[int, int],
        stem: tuple[int, ...] = (),
    ):
        super().__init__()
        self.patch, self.stride = patch, stride
        self.stem = ConvolutionalStem(stem) if stem else None
        halved = stem_factor(stem)
        self.projection = nn.Conv2d(
            stem[-1] if stem else 1,
            width,
            kernel_size=(patch[0] // halved, patch[1] // halved),
            stride=(stride[0] // halved, stride[1] // halved),
        )

    def forward(self, features: Tensor) -> Tensor:
        maps = features.transpose(1, 2).unsqueeze(1)  # (B, 1, M, T)
        if self.stem is not None:
            maps = self.stem(maps)
        return self.projection(maps).permute(0, 2, 3, 1)[:, :, : self._columns(features)]

    def cut(self, features: Tensor) -> Tensor:
        """The numbers of each patch, which a masked model may have to guess: `(B, F, C, p * q)`."""
        maps = features.transpose(1, 2).unsqueeze(1)
        rows = grid_length(features.shape[2], self.patch[0], self.stride[0])
        patches = F.unfold(maps, self.patch, stride=self.stride)  # (B, p * q, F * C)
        return patches.transpose(1, 2).unflatten(1, (rows, self._columns(features)))

    def _columns(self, features: Tensor) -> int:
        return grid_length(features.shape[1], self.patch[1], self.stride[1])


def stem_factor(stem: tuple[int, ...]) -> int:
    """How much shorter both axes are behind a stem."""
    return 2 ** len(stem)


class Positions(nn.Module):
    """Learned positions of the prefix tokens `(P, D)` and of the patch grid `(F, C, D)`.

    A clip that is shorter than the grid takes the first columns, so it means the same alone and
    beside longer clips.

    Attributes:
        image: the grid of an image model that these positions were adapted from, as long as it is
            known, so that a model which starts from them adapts it once, not twice.
    """

    image: Tensor | None

    def __init__(self, num_prefix: int, rows: int, columns: int, width: int):
        super().__init__()
        self.prefix = nn.Parameter(torch.empty(num_prefix, width))
        self.grid = nn.Parameter(torch.empty(rows, columns, width))
        self.register_buffer("image", None, persistent=False)
        nn.init.trunc_normal_(self.prefix, std=0.02)
        nn.init.trunc_normal_(self.grid, std=0.02)


class SinCosPositions(nn.Module):
    """Fixed positions of the patch grid `(F, C, D)`, for any number of columns.

    Args:
        columns: how many are kept at hand; further ones are made when a clip needs them.
        are_stored: whether those go with the weights, as a table that was read from a file does.
    """

    table: Tensor

    def __init__(self, rows: int, columns: int, width: int, are_stored: bool = False):
        super().__init__()
        table = sin_cos_positions(rows, columns, width)
        self.register_buffer("table", table, persistent=are_stored)

    def forward(self, columns: int) -> Tensor:
        """Positions of the first `columns` columns, `(F, columns, D)`."""
        rows, known, width = self.table.shape
        if columns <= known:
            return self.table[:, :columns]
        further = sin_cos_positions(rows, columns, width)[:, known:]
        return torch.cat([self.table, further.to(self.table)], dim=1)


def sin_cos_positions(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of a patch's row in the first half of its position, of its column after.

    Source: as EAT and ASDA are released, in which w_k = 10000^(-k / (D / 4)); `width` is a
    multiple of 4.
    """
    quarter = width // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(max(rows, columns), dtype=torch.float64)[:, None] * frequencies
    steps = torch.cat([angles.sin(), angles.cos()], dim=1).float()
    along_rows = steps[:rows, None].expand(-1, columns, -1)
    along_columns = steps[None, :columns].expand(rows, -1, -1)
    return torch.cat([along_rows, along_columns], dim=2)


def adapt_positions(
    grid: Tensor, rows: int, columns: int, interpolation: str = "bilinear"
) -> Tensor:
    """Bring a position grid `(F, C, D)` to `(rows, columns, D)`, time axis first.

    A shorter axis is cut out of the middle, a longer one is interpolated: "bilinear" or, in an
    ablation, "nearest". Source: Gong et al. 2021, section 2.2; the cut starts at
    `length // 2 - wanted // 2`, as in the authors' code.
    """
    return _adapt_axis(_adapt_axis(grid, 1, columns, interpolation), 0, rows, interpolation)


def _adapt_axis(grid: Tensor, axis: int, wanted: int, interpolation: str) -> Tensor:
    length = grid.shape[axis]
    if wanted <= length:
        return grid.narrow(axis, length // 2 - wanted // 2, wanted)
    size = (wanted, grid.shape[1]) if axis == 0 else (grid.shape[0], wanted)
    image = grid.permute(2, 0, 1).unsqueeze(0)  # (1, D, F, C)
    resized = F.interpolate(image, size=size, mode=interpolation)
    return resized.squeeze(0).permute(1, 2, 0)
