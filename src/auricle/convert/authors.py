"""The AST authors' own files: `audioset_10_10_0.4593.pth` and whatever their code saved since.

Such a file holds tensors and nothing else. Sizes follow from their shapes; stride and length from
the number of positions, for the combinations that were published; front end and labels from the
number of classes.

Source: github.com/YuanGongND/ast, src/models/ast_models.py and the recipes under egs/.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import (
    HEAD_WIDTH,
    Description,
    assemble,
    fixed_padding,
    mlp_ratio,
    no_place,
    number_of_heads,
    numbered_labels,
    read_labels,
    translate,
    writable_ast,
)
from auricle.convert.layout import (
    TIMM_PARTS,
    Layout,
    shape_of,
    to_theirs,
    without_prefix,
)
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import FbankConfig

KIND = "ast"
LAYOUT_NAME = "the authors' layout"
LAYOUT = Layout(
    prefix_tokens=("v.cls_token", "v.dist_token"),
    positions="v.pos_embed",
    projection="v.patch_embed.proj",
    block="v.blocks.{}.",
    parts=TIMM_PARTS,
    query_key_value=("attn.qkv",),
    norm="v.norm",
    head={"head.norm": "mlp_head.0", "head.linear": "mlp_head.1"},
)
ANCHOR = "v.patch_embed.proj.weight"
PARALLEL = "module."  # what torch's DataParallel puts before every name
UNUSED_HEADS = ("v.head", "v.head_dist")  # DeiT's ImageNet classifiers, never called by AST
IMAGENET_CLASSES = 1000
EPSILONS = (1e-6, 1e-5)  # of the norms in the encoder and of the head's, fixed in their code

PUBLISHED = {  # number of patches: (stride, frames), for 128 mels and patches of 16 x 16
    1212: (10, 1024), 600: (10, 512), 144: (10, 128),
    850: (12, 1024), 420: (12, 512), 100: (12, 128),
    657: (14, 1024), 324: (14, 512), 81: (14, 128),
    512: (16, 1024), 256: (16, 512), 64: (16, 128),
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """The data set of one of the authors' recipes: statistics of the front end, labels, loss."""

    mean: float
    std: float
    label_list: str
    activation: Literal["sigmoid", "softmax"]


AUDIOSET = Recipe(-4.2677393, 4.5689974, "audioset", "sigmoid")
RECIPES = {  # (classes, frames); frames None: any
    (527, None): AUDIOSET,
    (50, 512): Recipe(-6.6268077, 5.358466, "esc50", "softmax"),
    (35, 128): Recipe(-6.845978, 5.5654526, "speech_commands", "sigmoid"),
}


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in `source`; None if its tensors have not the authors' names.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped, or the stride or length
            cannot be told from them.
    """
    prefix = without_prefix(source.tensors, ANCHOR)
    if prefix is None:
        return None
    tensors, dropped = _own_tensors(source, prefix)
    settings = _settings(tensors, options, source.path)
    state = translate(tensors, LAYOUT, settings, source.path)
    source = Source(source.path, tensors, dropped=source.dropped + dropped)
    return assemble(source, KIND, _describe(settings), state)


def write(checkpoint: Checkpoint, out: Path) -> list[str]:
    """Save `checkpoint` at `out` as the authors' released files are; returns what is not in it.

    Parity: their code loads strictly into a model that still has DeiT's two ImageNet heads, which
    it never calls; the file holds zeros for them.

    Raises:
        CheckpointError: the layout cannot hold this model.
    """
    model = writable_ast(checkpoint, LAYOUT_NAME)
    if model.num_heads * HEAD_WIDTH != model.width:
        what = f"heads that are not {HEAD_WIDTH} wide: the file does not say their number"
        raise no_place(LAYOUT_NAME, what)
    tensors = to_theirs(checkpoint.model.state_dict(), LAYOUT)
    cls = tensors["v.cls_token"]
    for head in UNUSED_HEADS:
        tensors[f"{head}.weight"] = cls.new_zeros(IMAGENET_CLASSES, cls.shape[-1])
        tensors[f"{head}.bias"] = cls.new_zeros(IMAGENET_CLASSES)
    torch.save({PARALLEL + name: value.detach().cpu() for name, value in tensors.items()}, out)
    lost = ["labels", "front end", "activation"]
    if (model.norm_epsilon, model.head_norm_epsilon) != EPSILONS:
        lost.append(
            "norm_epsilon: the authors' code has {:g}, and {:g} in the head".format(*EPSILONS)
        )
    return lost


def _own_tensors(source: Source, prefix: str) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors without DataParallel's prefix and without the unused heads, which are named."""
    tensors = {name.removeprefix(prefix): value for name, value in source.tensors.items()}
    unused = [name for name in tensors if name.rpartition(".")[0] in UNUSED_HEADS]
    return {name: value for name, value in tensors.items() if name not in unused}, unused


def _settings(tensors: dict[str, Tensor], options: Options, path: Path) -> dict[str, Any]:
    width, _, *patch = shape_of(tensors, "v.patch_embed.proj.weight", 4, path)
    hidden = shape_of(tensors, "v.blocks.0.mlp.fc1.weight", 2, path)[0]
    positions = shape_of(tensors, "v.pos_embed", 3, path)[1]
    stride, frames = _stride_and_frames(positions - 2, patch, options, path)
    return {
        "num_classes": shape_of(tensors, "mlp_head.1.weight", 2, path)[0],
        "max_frames": frames,
        "patch": patch,
        "stride": [stride, stride],
        "width": width,
        "depth": LAYOUT.depth(tensors),
        "num_heads": number_of_heads(width, path),
        "mlp_ratio": mlp_ratio(width, hidden),
        "norm_epsilon": EPSILONS[0],
        "head_norm_epsilon": EPSILONS[1],
    }


def _stride_and_frames(
    num_patches: int, patch: list[int], options: Options, path: Path
) -> tuple[int, int]:
    """Stride and frames of the options, completed from the published combinations."""
    published = PUBLISHED.get(num_patches) if patch == [16, 16] else None
    stride, frames = published or (None, None)
    if options.stride is not None:
        # Another stride than the published one makes the length unknown again.
        frames = frames if options.stride == stride else None
        stride = options.stride
    frames = options.frames if options.frames is not None else frames
    if stride is None or frames is None:
        missing = " and ".join(
            f"--{name}" for name, value in (("stride", stride), ("frames", frames)) if not value
        )
        raise CheckpointError(
            f"{path}: {num_patches} patches of {patch[0]} x {patch[1]}: stride and length cannot "
            f"be told from this number alone. Give {missing}."
        )
    return stride, frames


def _describe(settings: dict[str, Any]) -> Description:
    num_classes, frames = settings["num_classes"], settings["max_frames"]
    recipe = RECIPES.get((num_classes, None)) or RECIPES.get((num_classes, frames))
    notes = []
    names = numbered_labels(num_classes)
    if recipe is None:
        recipe = AUDIOSET
        notes = ["unknown data set: statistics of AudioSet, sigmoid and numbered labels assumed"]
    else:
        names = read_labels(recipe.label_list)
    front_end = FbankConfig(mean=recipe.mean, std=recipe.std, padding=fixed_padding(frames))
    return Description(settings, front_end, names, recipe.activation, notes)
