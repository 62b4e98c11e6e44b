"""Where the tokens of clips of different lengths stand in one batch.

AST reads its patch grid row by row (frequency-major), so the padding of a short clip would stand
at the end of every row, inside the sequence. Here each clip's own tokens are packed to the front:
only trailing padding is left, and a clip meets the same neighbours alone and in any batch.

Shapes: B clips, F rows (frequency), T columns (time), N tokens (F * T), P prefix tokens, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLayout:
    """The places of P prefix tokens and of every clip's patches in a sequence of P + F * T tokens.

    Attributes:
        column_counts: columns that belong to each clip `(B,)`, or None where all T do.
        kept: where patches are left out (Patchout), which of the F * T are still there, in order
            and then -1 for padding `(B, N)`; else None. Without `column_counts` nothing is padding.
    """

    num_prefix: int
    rows: int
    columns: int
    column_counts: Tensor | None
    kept: Tensor | None = None

    @property
    def num_patches(self) -> int:
        """Patch places in the sequence, padding included."""
        return self.rows * self.columns if self.kept is None else self.kept.shape[1]

    def valid(self, device: torch.device) -> Tensor:
        """Which patch places hold a token of the clip: `(B, N)`, or `(1, N)` where all do."""
        if self.kept is not None:
            return self.kept >= 0
        places = torch.arange(self.num_patches, device=device)[None]
        if self.column_counts is None:
            return torch.ones_like(places, dtype=torch.bool)
        return places < self.rows * self.column_counts[:, None]

    def attention_mask(self, device: torch.device) -> Tensor | None:
        """Mask `(B, 1, 1, P + N)`, True where a token counts; None where all of them do."""
        if self.column_counts is None:
            return None
        valid = self.valid(device)
        prefix = valid.new_ones(len(valid), self.num_prefix)
        return torch.cat([prefix, valid], dim=1)[:, None, None]

    def coordinates(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row and column of every patch place, each `(B, N)` or `(1, N)`; padding included."""
        places = torch.arange(self.num_patches, device=device)[None]
        if self.kept is not None:
            places = self.kept.clamp(min=0)
        columns = self.columns if self.column_counts is None else self.column_counts[:, None]
        return places // columns, places % columns

    def pack(self, grid: Tensor) -> Tensor:
        """Patches on the grid `(B, F, T, D)` to sequences `(B, N, D)`, then zeros."""
        tokens = grid.flatten(1, 2)
        if self.column_counts is None and self.kept is None:
            return tokens
        valid = self.valid(grid.device)
        source = self._grid_places(grid.device).masked_fill(~valid, 0)
        return _gather(tokens, source).masked_fill(~valid[..., None], 0)

    def unpack(self, tokens: Tensor) -> Tensor:
        """The inverse of `pack`: `(B, N, D)` to `(B, F, T, D)`, zeros where a clip has no patch."""
        if self.kept is not None:
            return self._scatter(tokens)
        if self.column_counts is None:
            return tokens.unflatten(1, (self.rows, self.columns))
        rows = torch.arange(self.rows, device=tokens.device)[:, None]
        columns = torch.arange(self.columns, device=tokens.device)[None]
        counts = self.column_counts[:, None, None]
        outside = columns >= counts  # (B, 1, T)
        source = (rows * counts + columns).masked_fill(outside, 0).flatten(1)
        grid = _gather(tokens, source).unflatten(1, (self.rows, self.columns))
        return grid.masked_fill(outside[..., None], 0)

    def _scatter(self, tokens: Tensor) -> Tensor:
        """Every token to its place on the grid; the padding to one beyond, which is cut off."""
        size = self.rows * self.columns
        target = self._grid_places(tokens.device).masked_fill(~self.valid(tokens.device), size)
        grid = tokens.new_zeros(len(tokens), size + 1, tokens.shape[2])
        grid = grid.scatter(1, target[..., None].expand_as(tokens), tokens)
        return grid[:, :-1].unflatten(1, (self.rows, self.columns))

    def _grid_places(self, device: torch.device) -> Tensor:
        """Where on the flattened grid each patch stands, `(B, N)` or `(1, N)`."""
        rows, columns = self.coordinates(device)
        return rows * self.columns + columns


class TimeMajorLayout(TokenLayout):
    """The same for a model that reads the grid column by column: padding is at the end anyway."""

    def coordinates(self, device: torch.device) -> tuple[Tensor, Tensor]:
        places = torch.arange(self.num_patches, device=device)[None]
        if self.kept is not None:
            places = self.kept.clamp(min=0)
        return places % self.rows, places // self.rows

    def pack(self, grid: Tensor) -> Tensor:
        if self.kept is not None:
            return super().pack(grid)
        return self._clear(grid.transpose(1, 2).flatten(1, 2))

    def unpack(self, tokens: Tensor) -> Tensor:
        if self.kept is not None:
            return super().unpack(tokens)
        return self._clear(tokens).unflatten(1, (self.columns, self.rows)).transpose(1, 2)

    def _clear(self, tokens: Tensor) -> Tensor:
        """Zeros where a clip has no patch."""
        if self.column_counts is None:
            return tokens
        return tokens.masked_fill(~self.valid(tokens.device)[..., None], 0)


def _gather(tokens: Tensor, source: Tensor) -> Tensor:
    return tokens.gather(1, source[..., None].expand(-1, -1, tokens.shape[2]))
