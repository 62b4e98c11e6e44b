"""Names: where other projects keep the tensors of an AST, and how to get from theirs to ours.

A `Layout` is a table and nothing else. From it follow the translation in both directions and,
because ours-to-theirs works on an empty model, the exact list of names and shapes that a foreign
file must hold.

Shapes: P prefix tokens, F x T rows and columns of patches, D width.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from auricle.errors import CheckpointError, listed

NAMES_SHOWN = 6  # of each kind, in an error
TIMM_PARTS = {  # the parts of a block in timm, which DeiT, ViT and with them the authors' AST use
    "attention_norm": "norm1",
    "attention.output": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
}


@dataclass(frozen=True)
class Layout:
    """Module and tensor names of another project; `parts` and `head` map ours to theirs."""

    prefix_tokens: tuple[str, ...]  # (1, 1, D) each, in our order: cls, dist
    positions: str  # (1, P + F * T, D)
    projection: str
    block: str  # with {} for the number of the block
    parts: Mapping[str, str]
    query_key_value: tuple[str, ...]  # one fused module, or three
    norm: str
    head: Mapping[str, str] = field(default_factory=dict)

    def modules(self, depth: int) -> dict[str, tuple[str, ...]]:
        """Their modules for each of ours; several are rows of one matrix."""
        table: dict[str, tuple[str, ...]] = {
            "patches.projection": (self.projection,),
            "norm": (self.norm,),
        }
        table |= {ours: (theirs,) for ours, theirs in self.head.items()}
        for index in range(depth):
            block = self.block.format(index)
            ours = f"encoder.blocks.{index}."
            table |= {ours + part: (block + name,) for part, name in self.parts.items()}
            fused = tuple(block + name for name in self.query_key_value)
            table[f"{ours}attention.query_key_value"] = fused
        return table

    def depth(self, names: Iterable[str]) -> int:
        """Number of blocks among `names`: one more than the highest number."""
        pattern = re.compile(re.escape(self.block).replace(r"\{\}", r"(\d+)"))
        matches = [pattern.match(name) for name in names]
        return max((int(match[1]) + 1 for match in matches if match), default=0)


def to_theirs(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The tensors of our AST under the names and in the shapes of `layout`."""
    result: dict[str, Tensor] = {}
    depth = len([name for name in state if name.endswith("attention_norm.weight")])
    for ours, theirs in layout.modules(depth).items():
        for kind in ("weight", "bias"):
            pieces = state[f"{ours}.{kind}"].chunk(len(theirs))
            result |= {f"{name}.{kind}": piece for name, piece in zip(theirs, pieces, strict=True)}
    tokens = state["prefix_tokens"]
    result |= {name: tokens[None, [index]] for index, name in enumerate(layout.prefix_tokens)}
    grid = state["positions.grid"].flatten(0, 1)
    result[layout.positions] = torch.cat([state["positions.prefix"], grid])[None]
    # Writers of files refuse tensors that share memory, as the three pieces of one matrix do.
    return {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in result.items()
    }


def to_ours(
    tensors: Mapping[str, Tensor], layout: Layout, rows: int, columns: int
) -> dict[str, Tensor]:
    """The state of our AST from checked tensors of `layout` (what `to_theirs` undoes)."""
    state = {}
    for ours, theirs in layout.modules(layout.depth(tensors)).items():
        for kind in ("weight", "bias"):
            state[f"{ours}.{kind}"] = torch.cat([tensors[f"{name}.{kind}"] for name in theirs])
    positions = tensors[layout.positions][0]  # (P + F * T, D)
    num_prefix_tokens = len(layout.prefix_tokens)
    state["prefix_tokens"] = torch.cat([tensors[name][0] for name in layout.prefix_tokens])
    state["positions.prefix"] = positions[:num_prefix_tokens]
    state["positions.grid"] = positions[num_prefix_tokens:].unflatten(0, (rows, columns))
    return state


def without_prefix(names: Iterable[str], anchor: str) -> str | None:
    """The prefix of `anchor` in the names of a file ("module."), or None without anchor."""
    prefixes = [name.removesuffix(anchor) for name in names if f".{name}".endswith(f".{anchor}")]
    return min(prefixes, key=len, default=None)


def shape_of(tensors: Mapping[str, Tensor], name: str, rank: int, path: Path) -> tuple[int, ...]:
    """Shape of a tensor that sizes are read from, which must be there and have `rank` axes."""
    if name not in tensors:
        raise CheckpointError(f"{path}: the tensor {name!r} is missing, which gives the sizes.")
    shape = tuple(tensors[name].shape)
    if len(shape) != rank:
        raise CheckpointError(
            f"{path}: the tensor {name!r} has the shape {shape}, expected {rank} axes."
        )
    return shape


def check(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], path: Path) -> None:
    """Refuse `tensors` unless names and shapes are exactly the expected ones.

    Raises:
        CheckpointError: names what is missing, left over and mis-shaped.
    """
    wrong_shape = [
        f"{name} is {tuple(tensors[name].shape)} and should be {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    findings = {
        "Missing": [name for name in expected if name not in tensors],
        "Left over": [name for name in tensors if name not in expected],
        "Mis-shaped": wrong_shape,
    }
    parts = [f"{kind}: {listed(names, NAMES_SHOWN)}." for kind, names in findings.items() if names]
    if parts:
        raise CheckpointError(f"{path}: the tensors are not those of this model. {' '.join(parts)}")
