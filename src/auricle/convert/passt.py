"""PaSST's files: `passt-s-f128-p16-s10-ap.476-swa.pt` and the other strides.

Such a file holds tensors and nothing else. PaSST is an AST that adds a position for each row and
one for each column: their sums are the grid of ours. Its front end is EfficientAT's, which was made
from it.

Source: github.com/kkoutini/PaSST, its names and sizes (Koutini et al. 2022, arXiv 2110.05069).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import (
    Description,
    assemble,
    mlp_ratio,
    number_of_heads,
    numbered_labels,
    read_labels,
    translate,
)
from auricle.convert.layout import TIMM_PARTS, Layout, check, shape_of, without_prefix
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import EfficientATConfig, PaddingConfig

KIND = "passt"
NUM_MELS = 128
AUDIOSET_CLASSES = 527
PREFIX, ROWS, COLUMNS = "new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed"
GRID = "pos_embed"  # of all, as our layouts have it
LAYOUT = Layout(
    prefix_tokens=("cls_token", "dist_token"),
    positions=GRID,
    projection="patch_embed.proj",
    block="blocks.{}.",
    parts=TIMM_PARTS,
    query_key_value=("attn.qkv",),
    norm="norm",
    head={"head.norm": "head.0", "head.linear": "head.1"},
)
UNUSED_HEAD = "head_dist."  # DeiT's second classifier, never called
ASSUMED = "a hop of 10 ms assumed: the tensors do not show it"
UNKNOWN_CLASSES = "unknown classes: sigmoid and numbered labels assumed"


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in `source`; None if its tensors have not PaSST's names.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped.
    """
    prefix = without_prefix(source.tensors, COLUMNS)
    if prefix is None:
        return None
    if options != Options():
        raise CheckpointError(
            f"{source.path}: PaSST's positions show stride and length; leave out --stride and "
            "--frames."
        )
    tensors = {name.removeprefix(prefix): value for name, value in source.tensors.items()}
    unused = [name for name in tensors if name.startswith(UNUSED_HEAD)]
    tensors = {name: value for name, value in tensors.items() if name not in unused}
    settings = _settings(tensors, source.path)
    tensors = _with_grid(tensors, settings["width"], source.path)
    state = translate(tensors, LAYOUT, settings, source.path)
    source = Source(source.path, tensors, dropped=source.dropped + unused)
    return assemble(source, KIND, _describe(settings), state)


def _settings(tensors: dict[str, Tensor], path: Path) -> dict[str, Any]:
    width, _, *patch = shape_of(tensors, "patch_embed.proj.weight", 4, path)
    rows = shape_of(tensors, ROWS, 4, path)[2]
    columns = shape_of(tensors, COLUMNS, 4, path)[3]
    stride = NUM_MELS // max(rows, 1)  # as many positions as steps fit into the mels
    return {
        "num_classes": shape_of(tensors, "head.1.weight", 2, path)[0],
        "max_frames": columns * stride + patch[1] - 1,  # one more would make another column
        "patch": patch,
        "stride": [stride, stride],
        "width": width,
        "depth": sum(name.endswith(".norm1.weight") for name in tensors),
        "num_heads": number_of_heads(width, path),
        "mlp_ratio": mlp_ratio(width, shape_of(tensors, "blocks.0.mlp.fc1.weight", 2, path)[0]),
        "head_norm_epsilon": 1e-5,
    }


def _with_grid(tensors: dict[str, Tensor], width: int, path: Path) -> dict[str, Tensor]:
    """`tensors` with one table of positions, row by row, in the place of three."""
    shape_of(tensors, PREFIX, 3, path)
    rows, columns = tensors[ROWS].shape[2], tensors[COLUMNS].shape[3]
    expected = {
        PREFIX: torch.Size([1, 2, width]),
        ROWS: torch.Size([1, width, rows, 1]),
        COLUMNS: torch.Size([1, width, 1, columns]),
    }
    check({name: tensors[name] for name in expected}, expected, path)
    grid = (tensors[ROWS] + tensors[COLUMNS]).flatten(2).transpose(1, 2)  # (1, F * T, D)
    others = {name: value for name, value in tensors.items() if name not in expected}
    return {**others, GRID: torch.cat([tensors[PREFIX], grid], dim=1)}


def _describe(settings: dict[str, Any]) -> Description:
    num_classes = settings["num_classes"]
    front_end = EfficientATConfig(padding=PaddingConfig(frames=settings["patch"][1]))
    if num_classes == AUDIOSET_CLASSES:
        labels, notes = read_labels("audioset"), [ASSUMED]
    else:
        labels, notes = numbered_labels(num_classes), [ASSUMED, UNKNOWN_CLASSES]
    return Description(settings, front_end, labels, "sigmoid", notes)
