"""CED's files: `model.safetensors` on the Hugging Face hub, and the authors' `.pt` files.

All sizes but the number of heads follow from the tensors' shapes. Both kinds have the same names
but for two prefixes; the authors' files hold the tables of their filterbank, too, which are ours.

Sources: github.com/RicherMans/CED (its names, no code of it), and the model class of CED on the
hub, github.com/jimbozhang/hf_transformers_custom_model_ced.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import (
    Description,
    assemble,
    empty_model,
    mlp_ratio,
    number_of_heads,
    numbered_labels,
    read_labels,
)
from auricle.convert.layout import TIMM_PARTS, check, shape_of
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import CEDFilterbankConfig, PaddingConfig

KIND = "ced"
MODEL = "ced"
AUDIOSET_CLASSES = 527
FRAMES = 1012  # of the longest clip; 63 columns of patches may be a few frames longer
HUB_PREFIX = "encoder."  # of every name but the classifier's
FRONT_END = "front_end."  # tables of the filterbank
ANCHOR = "time_pos_embed"
# What a config.json may say, and what our filterbank and model are.
FIXED = {
    "pooling": "mean",
    "n_fft": 512,
    "win_size": 512,
    "hop_size": 160,
    "center": True,
    "qkv_bias": True,
    "f_min": 0,
    "f_max": 8000,
    "sampling_rate": 16_000,
}
MODULES = {  # ours: theirs, of whatever has a weight and a bias
    "patches.projection": "patch_embed.proj",
    "input_norm": "init_bn",
    "norm": "norm",
    "head.norm": "outputlayer.0",
    "head.linear": "outputlayer.1",
}
PARTS = {**TIMM_PARTS, "attention.query_key_value": "attn.qkv"}
UNKNOWN_CLASSES = "unknown classes: sigmoid assumed"


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in `source`; None if its tensors have not CED's names.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped, or the settings ask for what
            our model has not.
    """
    tensors = _bare(source.tensors)
    if not {ANCHOR, "freq_pos_embed"} <= tensors.keys():
        return None
    if options.stride is not None:
        raise CheckpointError(f"{source.path}: CED's patches never overlap; leave out --stride.")
    _check_settings(source)
    settings = _settings(tensors, source, options)
    empty = empty_model(settings, source.path, MODEL)
    expected = to_theirs(empty)
    check(tensors, {name: value.shape for name, value in expected.items()}, source.path)
    state = {ours: tensors[their_name(ours)] for ours in empty}
    for ours in ("positions.rows", "positions.columns"):
        state[ours] = state[ours][0].flatten(1).T
    tables = [name for name in source.tensors if name.startswith(FRONT_END)]
    source = dataclasses.replace(source, dropped=source.dropped + tables)
    return assemble(source, KIND, _describe(settings), state)


def their_name(ours: str) -> str:
    """CED's name of our tensor, as in `model.safetensors` but for the prefix."""
    if ours.startswith("positions."):
        return "freq_pos_embed" if ours.endswith("rows") else ANCHOR
    module, _, kind = ours.rpartition(".")
    if module.startswith("encoder.blocks."):
        _, _, index, part = module.split(".", 3)
        return f"blocks.{index}.{PARTS[part]}.{kind}"
    return f"{MODULES[module]}.{kind}"


def to_theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of our CED under their names, without prefix, and in their shapes."""
    result = {their_name(name): value for name, value in state.items()}
    result["freq_pos_embed"] = state["positions.rows"].T[None, :, :, None]
    result[ANCHOR] = state["positions.columns"].T[None, :, None, :]
    return result


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the model, without the prefixes in which the two kinds of files differ."""
    return {
        name.removeprefix(HUB_PREFIX).replace("init_bn.1.", "init_bn."): value
        for name, value in tensors.items()
        if not name.startswith(FRONT_END)
    }


def _check_settings(source: Source) -> None:
    for key, ours in FIXED.items():
        for values in (source.config or {}, source.preprocessor or {}):
            theirs = values.get(key, ours)
            if theirs not in (ours, None):  # None: the default
                raise CheckpointError(
                    f"{source.path}: its {key} is {theirs!r}; a CED that can be read has {ours!r}."
                )


def _settings(tensors: dict[str, Tensor], source: Source, options: Options) -> dict[str, Any]:
    path, config = source.path, source.config or {}
    width, _, *patch = shape_of(tensors, "patch_embed.proj.weight", 4, path)
    rows = shape_of(tensors, "freq_pos_embed", 4, path)[2]
    columns = shape_of(tensors, ANCHOR, 4, path)[3]
    frames = options.frames or FRAMES
    if not columns * patch[1] <= frames < (columns + 1) * patch[1]:
        if options.frames:
            raise CheckpointError(
                f"{path}: --frames {frames} makes {frames // patch[1]} columns of patches, the "
                f"file has positions for {columns}; leave out --frames."
            )
        frames = columns * patch[1]
    heads = config.get("num_heads")
    return {
        "num_classes": shape_of(tensors, "outputlayer.1.weight", 2, path)[0],
        "num_mels": rows * patch[0],
        "max_frames": frames,
        "patch": patch,
        "width": width,
        "depth": sum(name.endswith(".norm1.weight") for name in tensors),
        "num_heads": heads if isinstance(heads, int) else number_of_heads(width, path),
        "mlp_ratio": mlp_ratio(width, shape_of(tensors, "blocks.0.mlp.fc1.weight", 2, path)[0]),
    }


def _describe(settings: dict[str, Any]) -> Description:
    num_classes = settings["num_classes"]
    shortest = PaddingConfig(frames=settings["patch"][1])
    front_end = CEDFilterbankConfig(num_mels=settings["num_mels"], padding=shortest)
    if num_classes == AUDIOSET_CLASSES:
        # A config.json cuts these names off at their first comma.
        labels, notes = read_labels("audioset"), []
    else:
        labels, notes = numbered_labels(num_classes), [UNKNOWN_CLASSES]
    return Description(settings, front_end, labels, "sigmoid", notes, MODEL)
