"""Features to patch tokens: the patches, their positions, and where they are in a sequence.

AST reads its patch grid row by row (frequency-major), so the padding of a short clip would be at
the end of every row, inside the sequence. Here each clip's own tokens are packed to the front: only
trailing padding is left, and a clip meets the same neighbours alone and in any batch.

Shapes: B clips, T frames, M mel bins, D width, P prefix tokens, N patch tokens; the patch grid has
F rows (frequency) and C columns (time), N = F * C.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.padding import inside, no_padding


def grid_length(length: int, patch: int, stride: int) -> int:
    """Patches of size `patch` that fit into `length` at steps of `stride`; 0 if none does."""
    return max(0, (length - patch) // stride + 1)


def check_patches(
    patch: tuple[int, int], stride: tuple[int, int], num_mels: int, max_frames: int
) -> None:
    """Refuse settings by which no patch can be cut; for the validators of settings (ValueError)."""
    if min(*patch, *stride) < 1:
        raise ValueError(f"patch {patch} and stride {stride} must be at least 1")
    if patch[0] > num_mels or patch[1] > max_frames:
        raise ValueError(
            f"patch {patch} does not fit into num_mels ({num_mels}) x max_frames ({max_frames})"
        )


class ConvolutionalStem(nn.Module):
    """3x3 convolutions that each halve both axes of maps `(B, 1, M, T)`, before patches are cut.

    Behind the second halving and every later one there may be further convolutions, which keep the
    size and are added to what they read.

    Source: Xiao et al. 2021 (early convolutions), with a norm over the channels of each cell
    where they have batch norm, so that a clip gives the same alone and in any batch. Each
    convolution that halves makes one column p of columns 2p - 1 to 2p + 1, each further one of
    columns p - 2 to p: a patch takes in a little of what is before it, but nothing after it, so
    padding behind a clip has no influence.

    Args:
        channels: of the convolutions that halve.
        depth: convolutions at each size behind the second halving and later ones.
    """

    def __init__(self, channels: tuple[int, ...], depth: int = 1):
        super().__init__()
        pairs = zip((1, *channels), channels, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, 2, 1) for pair in pairs)
        self.norms = nn.ModuleList(nn.LayerNorm(size) for size in channels)
        # None at the first size: it has most cells, and so would cost most.
        counts = [0] + [depth - 1] * (len(channels) - 1)
        self.further = nn.ModuleList(
            nn.Sequential(*(ResidualConvolution(size) for _ in range(count)))
            for size, count in zip(channels, counts, strict=True)
        )

    def forward(self, maps: Tensor) -> Tensor:
        # Speed: with the channels last in memory the norm reads them without a copy.
        maps = maps.contiguous(memory_format=torch.channels_last)
        for convolution, norm, further in zip(
            self.convolutions, self.norms, self.further, strict=True
        ):
            maps = further(normalized(norm, convolution(maps)))
        return maps


class ResidualConvolution(nn.Module):
    """A 3x3 convolution of maps `(B, C, M, T)`, its norm and activation, added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=(1, 0))
        self.norm = nn.LayerNorm(channels)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + normalized(self.norm, self.convolution(F.pad(maps, (2, 0))))


def normalized(norm: nn.Module, maps: Tensor) -> Tensor:
    """Maps `(B, C, M, T)` after `norm`, over their channels, and GELU."""
    return F.gelu(norm(maps.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class PatchEmbedding(nn.Module):
    """Cut features `(B, T, M)` into overlapping patches and project each: `(B, F, C, D)`.

    Source: Gong et al. 2021, section 2.1. `patch` and `stride` are (mel bins, frames). With a
    `stem` (channels of its convolutions, `stem_depth` at each size) patches of the same size are
    cut from its maps.
    """

    def __init__(
        self,
        width: int,
        patch: tuple[int, int],
        stride: tuple[int, int],
        stem: tuple[int, ...] = (),
        stem_depth: int = 1,
    ):
        super().__init__()
        self.patch, self.stride = patch, stride
        self.stem = ConvolutionalStem(stem, stem_depth) if stem else None
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
        """The values of each patch, the targets of masked reconstruction: `(B, F, C, p * q)`."""
        maps = features.transpose(1, 2).unsqueeze(1)
        rows = grid_length(features.shape[2], self.patch[0], self.stride[0])
        patches = F.unfold(maps, self.patch, stride=self.stride)  # (B, p * q, F * C)
        return patches.transpose(1, 2).unflatten(1, (rows, self._columns(features)))

    def column_counts(self, frame_counts: Tensor | None, frames: int) -> Tensor | None:
        """Columns `(B,)` of clips with `frame_counts` of `frames` frames; None: nothing is padded.

        Frames that fill no patch are left out.
        """
        if no_padding(frame_counts, frames) or frame_counts is None:
            return None
        steps = torch.div(frame_counts - self.patch[1], self.stride[1], rounding_mode="floor")
        return steps + 1

    def _columns(self, features: Tensor) -> int:
        return grid_length(features.shape[1], self.patch[1], self.stride[1])


def stem_factor(stem: tuple[int, ...]) -> int:
    """Factor by which both axes are shorter behind a stem."""
    return 2 ** len(stem)


class Positions(nn.Module):
    """Learned positions of the prefix tokens `(P, D)` and of the patch grid `(F, C, D)`.

    A clip that is shorter than the grid takes the first columns, so it means the same alone and
    beside longer clips.

    Attributes:
        image: the grid of an image model from which these positions were adapted, as long as it
            is known, so that a model that starts from them adapts it once, not twice.
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
        columns: how many are precomputed; further ones are computed when a clip needs them.
        are_stored: whether those are saved with the weights, as a table read from a file is.
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


@dataclass(frozen=True)
class TokenLayout:
    """Order of P prefix tokens and of every clip's patches in a sequence of P + F * C tokens.

    Attributes:
        columns: of the longest clip.
        column_counts: columns that belong to each clip `(B,)`, or None where all do.
        visible_ids: with Patchout or masks, the indices of the patches in the sequence, in order
            and then -1 for padding `(B, N)`; else None. Without `column_counts` nothing is padding.
    """

    num_prefix: int
    rows: int
    columns: int
    column_counts: Tensor | None
    visible_ids: Tensor | None = None

    @property
    def num_patches(self) -> int:
        """Patches in the sequence, padding included."""
        return self.rows * self.columns if self.visible_ids is None else self.visible_ids.shape[1]

    def valid(self, device: torch.device) -> Tensor:
        """Mask of the patch tokens that belong to their clip: `(B, N)`; `(1, N)` where all do."""
        if self.visible_ids is not None:
            return self.visible_ids >= 0
        if self.column_counts is None:
            return torch.ones(1, self.num_patches, dtype=torch.bool, device=device)
        return inside(self.rows * self.column_counts, self.num_patches)

    def attention_mask(self, device: torch.device) -> Tensor | None:
        """Mask `(B, 1, 1, P + N)`, True where a token counts; None where all of them do."""
        if self.column_counts is None:
            return None
        valid = self.valid(device)
        prefix = valid.new_ones(len(valid), self.num_prefix)
        return torch.cat([prefix, valid], dim=1)[:, None, None]

    def coordinates(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row and column of every patch token, each `(B, N)` or `(1, N)`; padding included."""
        columns = self.columns if self.column_counts is None else self.column_counts[:, None]
        indices = self._indices(device)
        return indices // columns, indices % columns

    def pack(self, grid: Tensor) -> Tensor:
        """Patches on the grid `(B, F, C, D)` to sequences `(B, N, D)`, then zeros."""
        tokens = grid.flatten(1, 2)
        if self.column_counts is None and self.visible_ids is None:
            return tokens
        valid = self.valid(grid.device)
        source = self._grid_indices(grid.device).masked_fill(~valid, 0)
        return _gather(tokens, source).masked_fill(~valid[..., None], 0)

    def unpack(self, tokens: Tensor) -> Tensor:
        """The inverse of `pack`: `(B, N, D)` to `(B, F, C, D)`, zeros where a clip has no patch."""
        if self.visible_ids is not None:
            return self._scatter(tokens)
        if self.column_counts is None:
            return tokens.unflatten(1, (self.rows, self.columns))
        rows = torch.arange(self.rows, device=tokens.device)[:, None]
        columns = torch.arange(self.columns, device=tokens.device)[None]
        counts = self.column_counts[:, None, None]
        outside = columns >= counts  # (B, 1, C)
        source = (rows * counts + columns).masked_fill(outside, 0).flatten(1)
        grid = _gather(tokens, source).unflatten(1, (self.rows, self.columns))
        return grid.masked_fill(outside[..., None], 0)

    def _scatter(self, tokens: Tensor) -> Tensor:
        """Every token to its cell of the grid; the padding to one beyond, which is cut off."""
        size = self.rows * self.columns
        target = self._grid_indices(tokens.device).masked_fill(~self.valid(tokens.device), size)
        grid = tokens.new_zeros(len(tokens), size + 1, tokens.shape[2])
        grid = grid.scatter(1, target[..., None].expand_as(tokens), tokens)
        return grid[:, :-1].unflatten(1, (self.rows, self.columns))

    def _indices(self, device: torch.device) -> Tensor:
        """Number of each patch in the order of its clip's own grid, `(B, N)` or `(1, N)`."""
        if self.visible_ids is not None:
            return self.visible_ids.clamp(min=0)
        return torch.arange(self.num_patches, device=device)[None]

    def _grid_indices(self, device: torch.device) -> Tensor:
        """Cell of each patch on the flattened grid of the batch, `(B, N)` or `(1, N)`."""
        rows, columns = self.coordinates(device)
        return rows * self.columns + columns


class TimeMajorLayout(TokenLayout):
    """The same for a model that reads the grid column by column: padding is at the end anyway."""

    def coordinates(self, device: torch.device) -> tuple[Tensor, Tensor]:
        indices = self._indices(device)
        return indices % self.rows, indices // self.rows

    def pack(self, grid: Tensor) -> Tensor:
        if self.visible_ids is not None:
            return super().pack(grid)
        return self._clear(grid.transpose(1, 2).flatten(1, 2))

    def unpack(self, tokens: Tensor) -> Tensor:
        if self.visible_ids is not None:
            return super().unpack(tokens)
        return self._clear(tokens).unflatten(1, (self.columns, self.rows)).transpose(1, 2)

    def _clear(self, tokens: Tensor) -> Tensor:
        """Zeros where a clip has no patch."""
        if self.column_counts is None:
            return tokens
        return tokens.masked_fill(~self.valid(tokens.device)[..., None], 0)


def gather_tokens(
    patches: Tensor, layout: TokenLayout, visible_ids: Tensor
) -> tuple[Tensor, TokenLayout]:
    """Of patches `(B, N, D)` those with `visible_ids` `(B * R, K)`, -1 for padding, and a layout.

    Args:
        layout: of B * R clips, each of the B clips R times in a row.
    """
    # Speed: gathered from the clips themselves, without a copy of each for every clone.
    source = visible_ids.clamp(min=0).view(len(patches), -1, 1).expand(-1, -1, patches.shape[2])
    tokens = patches.gather(1, source).view(*visible_ids.shape, patches.shape[2])
    tokens = tokens.masked_fill((visible_ids < 0)[..., None], 0)
    return tokens, dataclasses.replace(layout, visible_ids=visible_ids)


def leave_out(tokens: Tensor, layout: TokenLayout, share: float) -> tuple[Tensor, TokenLayout]:
    """Patchout: patches `(B, N, D)` without a random `share` of each clip's own, `(B, K, D)`.

    The others stay in order, at least one of every clip. Drawn for each clip from
    the global generator of the tokens' device. Source: Koutini et al. 2022 (PaSST), section 2.3,
    unstructured: taken out of the sequence after positions were added, so that attention and MLPs
    have less to compute.
    """
    valid = layout.valid(tokens.device).expand(tokens.shape[:2])
    if layout.column_counts is None:
        counts = [layout.num_patches]
    else:
        counts = (layout.rows * layout.column_counts).tolist()
    num_visible = [max(1, round(count * (1 - share))) for count in counts]
    return gather_tokens(tokens, layout, _draw(valid, num_visible))


def _draw(valid: Tensor, num_visible: list[int]) -> Tensor:
    """Random valid indices of each clip in rising order, then -1: `(B, max(num_visible))`."""
    size = valid.shape[1]
    draws = torch.rand(valid.shape, device=valid.device, dtype=torch.float32)
    draws = draws.masked_fill(~valid, 2.0)  # padding comes last
    indices = draws.argsort(dim=1)[:, : max(num_visible)]
    if min(num_visible) == max(num_visible):
        return indices.sort(dim=1).values
    own = inside(torch.tensor(num_visible, device=valid.device), max(num_visible))
    indices = indices.masked_fill(~own, size).sort(dim=1).values
    return indices.masked_fill(indices == size, -1)


def _gather(tokens: Tensor, source: Tensor) -> Tensor:
    return tokens.gather(1, source[..., None].expand(-1, -1, tokens.shape[2]))
