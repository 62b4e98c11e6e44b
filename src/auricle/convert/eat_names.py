"""What EAT and ASDA call the tensors of our ASDA, in the three kinds of files they come in.

Shapes: D width, F x C rows (frequency) and columns (time) of patches, R = F * C.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from auricle.convert.layout import TIMM_PARTS, without_prefix

IMAGE = "modality_encoders.IMAGE."
PARTS = {  # theirs: ours; several stand for rows stacked on each other
    **{theirs: (ours,) for ours, theirs in TIMM_PARTS.items()},
    "attn.qkv": ("attention.query_key_value",),
    "attn.qk": ("attention.query", "attention.key"),
    "attn.v": ("attention.value",),
    "attn.norm": ("attention.norm.norm",),
}


@dataclass(frozen=True)
class Names:
    """What stands before the names of each part."""

    encoder: str
    context_norm: str
    block_start: str
    head: str

    @property
    def projection(self) -> str:
        """The patch projection `(D, 1, time, frequency)`."""
        return f"{self.encoder}local_encoder.proj.weight"

    @property
    def positions(self) -> str:
        """The position table `(1, R, D)`, column by column."""
        return f"{self.encoder}fixed_positional_encoder.positions"

    @property
    def decoder(self) -> str:
        """What pretraining alone has a use for."""
        return f"{self.encoder}decoder."

    def block(self, index: int) -> str:
        """Block number `index`."""
        return f"{self.block_start}{index}."

    def depth(self, names: Iterable[str]) -> int:
        """Number of blocks among `names`: one more than the highest number."""
        starts = [n.removeprefix(self.block_start) for n in names if n.startswith(self.block_start)]
        numbers = [start.partition(".")[0] for start in starts]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


def find(tensors: Mapping[str, Tensor]) -> Names | None:
    """The names in use, or None if these are other tensors."""
    prefix = without_prefix(tensors, f"{IMAGE}extra_tokens")
    if prefix is not None:
        return _names(tensors, prefix, IMAGE, "context_encoder.norm")
    prefix = without_prefix(tensors, "pre_norm.weight")  # Hugging Face's
    if prefix is None or f"{prefix}extra_tokens" not in tensors:
        return None
    return _names(tensors, prefix, "", "pre_norm")


def to_theirs(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """The tensors of our ASDA under their names and in their shapes."""
    result = {
        f"{names.encoder}extra_tokens": state["prefix_tokens"][None],
        names.projection: state["patches.projection.weight"].transpose(2, 3),
        names.projection.replace("weight", "bias"): state["patches.projection.bias"],
        names.positions: state["positions.table"].transpose(0, 1).flatten(0, 1)[None],
    }
    for theirs, ours in _modules(names, state).items():
        for kind in ("weight", "bias"):
            result[f"{theirs}.{kind}"] = torch.cat([state[f"{part}.{kind}"] for part in ours])
    return result


def to_ours(
    tensors: Mapping[str, Tensor], names: Names, empty: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state of our ASDA from checked tensors (what `to_theirs` undoes).

    Args:
        empty: the names and shapes of that state.
    """
    rows, columns = empty["positions.table"].shape[:2]
    state = {
        "prefix_tokens": tensors[f"{names.encoder}extra_tokens"][0],
        "patches.projection.weight": tensors[names.projection].transpose(2, 3),
        "patches.projection.bias": tensors[names.projection.replace("weight", "bias")],
        "positions.table": tensors[names.positions][0]
        .unflatten(0, (columns, rows))
        .transpose(0, 1),
    }
    for theirs, ours in _modules(names, empty).items():
        for kind in ("weight", "bias"):
            pieces = tensors[f"{theirs}.{kind}"].chunk(len(ours))
            state |= {f"{part}.{kind}": piece for part, piece in zip(ours, pieces, strict=True)}
    return state


def _names(tensors: Mapping[str, Tensor], prefix: str, encoder: str, context_norm: str) -> Names:
    # fairseq puts "model." before the encoder of a fine-tuned model and not before its head.
    bare = prefix.removesuffix("model.")
    head = prefix if f"{prefix}head.weight" in tensors else bare
    start = prefix + encoder
    return Names(start, start + context_norm, f"{prefix}blocks.", head)


def _modules(names: Names, state: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Our modules for each of theirs, of those that `state` has."""
    present = {name.rpartition(".")[0] for name in state}
    table: dict[str, tuple[str, ...]] = {names.context_norm: ("context_norm",)}
    index = 0
    while f"encoder.blocks.{index}.mlp_norm" in present:
        for theirs, ours in PARTS.items():
            modules = tuple(f"encoder.blocks.{index}.{part}" for part in ours)
            if modules[0] in present:
                table[names.block(index) + theirs] = modules
        index += 1
    if "head.linear" in present:
        table |= {f"{names.head}fc_norm": ("head.norm",), f"{names.head}head": ("head.linear",)}
    return table
