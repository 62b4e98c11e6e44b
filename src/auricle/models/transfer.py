"""Start a model from the weights of another: copy what is the same, adapt positions, report."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.errors import CheckpointError, listed
from auricle.models.model import Model

InitialPositions = Literal["bilinear", "nearest", "reinitialised"]
HEAD, POSITIONS, GRID, TABLE = "head.", "positions.", "positions.grid", "positions.table"
COLUMNS = "positions.columns"  # CED's, each the position of a column of patches


@dataclass(frozen=True)
class TransferReport:
    """Names of the target's tensors, by where their values come from."""

    copied: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]  # new modules and a new head: as the target was built


@torch.no_grad()
def transfer(
    source: Model,
    target: Model,
    with_head: bool = False,
    positions: InitialPositions = "bilinear",
) -> TransferReport:
    """Copy the weights of `source` into `target`; modules only the target has stay as built.

    Blocks beyond those of the source start as the identity (`Model.residual_outputs` at zero, as
    HAM's Conformers), so that a deeper model begins with the function of its source.

    Args:
        with_head: also copy the classifier (only where the classes are the same).
        positions: how a longer grid is interpolated; reinitialised leaves all positions as built
            (an ablation of Gong et al. 2021).

    Raises:
        CheckpointError: the source has tensors that the target lacks, or of another shape;
            the target is deeper, and its further blocks cannot start as the identity.
    """
    weights, state = source.state_dict(), target.state_dict()
    left_out = (() if with_head else (HEAD,)) + (
        (POSITIONS,) if positions == "reinitialised" else ()
    )
    weights = {name: value for name, value in weights.items() if not name.startswith(left_out)}
    _leave_fixed_table(weights, state)
    left_over = sorted(weights.keys() - state.keys())
    if left_over:
        raise CheckpointError(
            f"the initial weights hold tensors that the model has no place for: "
            f"{listed(left_over, 5)}. Use a model with these parts{_attention_hint(left_over)}."
        )
    adapted = _adapt_grid(weights, source, state, positions) + _adapt_columns(weights, state)
    for name, value in weights.items():
        if value.shape != state[name].shape:
            raise CheckpointError(
                f"the initial weights' {name} has shape {tuple(value.shape)}, the model's has "
                f"{tuple(state[name].shape)}: choose the same patch and size."
            )
        state[name].copy_(value)
    _pass_on(target, len(source.residual_outputs()))
    copied = tuple(name for name in weights if name not in adapted)
    fresh = tuple(name for name in state if name not in weights)
    return TransferReport(copied, tuple(adapted), fresh)


def _attention_hint(names: list[str]) -> str:
    """The setting that gives the kind of attention that `names` are of."""
    if any(".attention.query_key_value." in name for name in names):
        return ", softmax attention (model.differential=null)"
    if any(".attention.query." in name for name in names):
        return ", differential attention (model.differential={})"
    return ""


def _adapt_grid(
    weights: dict[str, Tensor],
    source: nn.Module,
    state: dict[str, Tensor],
    positions: InitialPositions,
) -> list[str]:
    """Resize the position grid in `weights` to that of `state`; returns the adapted names."""
    if GRID not in weights:
        return []
    image = getattr(source.get_submodule("positions"), "image", None)
    interpolation = "nearest" if positions == "nearest" else "bilinear"
    is_final = image is None or interpolation == "bilinear"
    if is_final and weights[GRID].shape == state[GRID].shape:
        return []
    rows, columns = state[GRID].shape[:2]
    grid = weights[GRID] if image is None else image
    weights[GRID] = adapt_positions(grid, rows, columns, interpolation)
    return [GRID]


def _adapt_columns(weights: dict[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    """Bring CED's positions of columns to the length in `state`; returns the adapted names.

    As the authors do: the first columns of a longer table; a shorter one is interpolated.
    """
    if COLUMNS not in weights or weights[COLUMNS].shape[0] == len(state[COLUMNS]):
        return []
    table, target = weights[COLUMNS], len(state[COLUMNS])
    if target > len(table):
        table = F.interpolate(table.T[None], target, mode="linear")[0].T
    weights[COLUMNS] = table[:target]
    return [COLUMNS]


def _leave_fixed_table(weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Drop a stored table of fixed positions unless the target stores one of its shape."""
    if TABLE in weights and (TABLE not in state or state[TABLE].shape != weights[TABLE].shape):
        del weights[TABLE]


def _pass_on(target: Model, depth: int) -> None:
    """Let all blocks after the first `depth` pass their input on."""
    blocks = target.residual_outputs()
    for number, outputs in enumerate(blocks[depth:], depth):
        if not outputs:
            raise CheckpointError(
                f"the initial weights have {depth} blocks, the model has {len(blocks)}: its block "
                f"{number} cannot pass its input on, so that it would not begin as they do. Use "
                "the same depth."
            )
        for parameter in (p for module in outputs for p in module.parameters()):
            parameter.zero_()


def adapt_positions(
    grid: Tensor, rows: int, columns: int, interpolation: str = "bilinear"
) -> Tensor:
    """Bring a position grid `(F, C, D)` to `(rows, columns, D)`, time axis first.

    A shorter axis is cut out of the middle, a longer one is interpolated: "bilinear" or, in an
    ablation, "nearest". Source: Gong et al. 2021, section 2.2; the cut starts at
    `length // 2 - target // 2`, as in the authors' code.
    """
    return _adapt_axis(_adapt_axis(grid, 1, columns, interpolation), 0, rows, interpolation)


def _adapt_axis(grid: Tensor, axis: int, target: int, interpolation: str) -> Tensor:
    length = grid.shape[axis]
    if target <= length:
        return grid.narrow(axis, length // 2 - target // 2, target)
    size = (target, grid.shape[1]) if axis == 0 else (grid.shape[0], target)
    image = grid.permute(2, 0, 1).unsqueeze(0)  # (1, D, F, C)
    resized = F.interpolate(image, size=size, mode=interpolation)
    return resized.squeeze(0).permute(1, 2, 0)
