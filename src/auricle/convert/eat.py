"""EAT and ASDA: fairseq's files of their authors, and EAT's folders on the Hugging Face hub.

Depth, widths, classes and the position table follow from the tensors' shapes; the number of heads
and the settings of the training framework from beside them, as far as these are plain values. A
pretrained file becomes a checkpoint without labels, from its student: teacher and decoder are
dropped.

Sources: github.com/cwx-worst-one/EAT, github.com/MyParadise21/ASDA, and EAT's model class on the
hub.

Shapes: D width, F x C rows (frequency) and columns (time) of patches, R = F * C.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import (
    Activation,
    Description,
    assemble,
    audioset_names,
    empty_model,
    fixed_padding,
    mlp_ratio,
    number_of_heads,
    numbered_labels,
    read_labels,
)
from auricle.convert.layout import TIMM_PARTS, check, shape_of, without_prefix
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import FbankConfig
from auricle.models.patches import sin_cos_positions

KIND = "eat"
MODEL = "asda"
NUM_MELS = 128
NORM_EPSILON = 1e-6
TABLE_TOLERANCE = 5e-4  # the authors' rounding of large angles, and of float16
READOUTS = {"CLS_TOKEN": "cls", "MEAN_POOLING": "patch_mean"}
AUDIOSET_CLASSES = 527
IMAGE = "modality_encoders.IMAGE."
PARTS = {  # theirs: ours; several are rows of one matrix
    **{theirs: (ours,) for ours, theirs in TIMM_PARTS.items()},
    "attn.qkv": ("attention.query_key_value",),
    "attn.qk": ("attention.query", "attention.key"),
    "attn.v": ("attention.value",),
    "attn.norm": ("attention.norm.norm",),
}


@dataclass(frozen=True)
class Recipe:
    """The data set of one of the authors' recipes: front end and loss."""

    mean: float
    std: float
    frames: int
    activation: Activation


AUDIOSET = Recipe(-4.268, 4.569, 1024, "sigmoid")  # and of pretraining
RECIPES = {  # by number of classes
    AUDIOSET_CLASSES: AUDIOSET,
    50: Recipe(-6.627, 5.359, 512, "softmax"),  # ESC-50
    35: Recipe(-6.846, 5.565, 128, "sigmoid"),  # Speech Commands v2, trained as many yes and no
}


@dataclass(frozen=True)
class Names:
    """Prefixes of the names of each part."""

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
        """Prefix of the tensors that only pretraining uses."""
        return f"{self.encoder}decoder."

    def block(self, index: int) -> str:
        """Block number `index`."""
        return f"{self.block_start}{index}."

    def depth(self, names: Iterable[str]) -> int:
        """Number of blocks among `names`: one more than the highest number."""
        starts = [n.removeprefix(self.block_start) for n in names if n.startswith(self.block_start)]
        numbers = [start.partition(".")[0] for start in starts]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


@dataclass(frozen=True)
class Facts:
    """The settings beside the tensors; None where they are absent."""

    num_heads: int | None
    norm_epsilon: float
    frames: int | None
    readout: str


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in `source`; None if its tensors have not the names of EAT and ASDA.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped, mix EAT and ASDA, hold other
            positions than theirs, or the settings ask for what our model has not.
    """
    names = find_names(source.tensors)
    if names is None:
        return None
    if options.stride is not None:
        raise CheckpointError(
            f"{source.path}: the patches of EAT and ASDA do not overlap; leave out --stride."
        )
    dropped = [name for name in source.tensors if name.startswith(names.decoder)]
    tensors = {name: value for name, value in source.tensors.items() if name not in dropped}
    own = Source(source.path, tensors, source.config, None, source.beside, source.dropped + dropped)
    facts = _facts(own)
    settings = _settings(own, names, facts)
    empty = empty_model(settings, own.path, MODEL)
    expected = to_theirs(empty, names)
    check(tensors, {name: value.shape for name, value in expected.items()}, own.path)
    state = to_ours(tensors, names, empty)
    _check_table(state["positions.table"], own)
    return assemble(own, KIND, _describe(own, settings, facts, options), state)


def _settings(source: Source, names: Names, facts: Facts) -> dict[str, Any]:
    tensors, path = source.tensors, source.path
    width, _, long, high = shape_of(tensors, names.projection, 4, path)  # kernel: time, frequency
    is_differential = _is_differential(source, names)
    hidden = shape_of(tensors, f"{names.block(0)}mlp.fc1.weight", 2, path)[0]
    positions = shape_of(tensors, names.positions, 3, path)[1]
    rows = NUM_MELS // high
    if rows == 0 or positions % rows:
        raise CheckpointError(
            f"{path}: {names.positions} has {positions} rows, expected a multiple of {rows}: "
            f"one for each patch of {high} of {NUM_MELS} mel bins."
        )
    head = f"{names.head}head.weight"
    return {
        "num_classes": shape_of(tensors, head, 2, path)[0] if head in tensors else 0,
        "patch": [high, long],
        "width": width,
        "depth": names.depth(tensors),
        "num_heads": facts.num_heads or number_of_heads(width, path),
        "mlp_ratio": mlp_ratio(width, hidden),
        "norm_epsilon": facts.norm_epsilon,
        "readout": facts.readout,
        "differential": {} if is_differential else None,
        "stored_columns": positions // rows,
    }


def _is_differential(source: Source, names: Names) -> bool:
    """Whether this is ASDA and not EAT."""
    kinds = {
        kind: name
        for name in source.tensors
        for kind in ("attn.qkv.weight", "attn.qk.weight")
        if name.startswith(names.block_start) and name.endswith(f".{kind}")
    }
    if len(kinds) == 2:
        raise CheckpointError(
            f"{source.path}: holds {kinds['attn.qkv.weight']} as EAT does and "
            f"{kinds['attn.qk.weight']} as ASDA does. Convert a file of one of the two."
        )
    return "attn.qk.weight" in kinds


def _check_table(table: Tensor, source: Source) -> None:
    """Refuse a position table `(F, C, D)` that is not the fixed one: it would mean other places."""
    rows, columns, width = table.shape
    distance = (table.float() - sin_cos_positions(rows, columns, width)).abs().max().item()
    if not distance <= TABLE_TOLERANCE:  # also where it is not a number
        raise CheckpointError(
            f"{source.path}: its position table differs by up to {distance:.2g} from the sines and "
            "cosines of EAT and ASDA. A model with other positions cannot be converted."
        )


def _facts(source: Source) -> Facts:
    """The settings of fairseq, or of a config.json, beside the tensors."""
    fine_tuned = _part(source.beside.get("cfg"), "model")
    pretrained = _part(fine_tuned, "pretrained_model_args", "model")
    sections = [fine_tuned, pretrained, source.config or {}]
    if _first(sections, "layer_norm_first", bool):
        raise CheckpointError(
            f"{source.path}: its settings say layer_norm_first, which no released EAT or ASDA has."
        )
    mode = str(_first(sections, "prediction_mode", str) or "CLS_TOKEN").rpartition(".")[2]
    if mode not in READOUTS:
        raise CheckpointError(
            f"{source.path}: its prediction_mode is {mode}; known are {' and '.join(READOUTS)}."
        )
    image = _part(fine_tuned, "modalities", "image")
    return Facts(
        num_heads=_first(sections, "num_heads", int),
        norm_epsilon=_first([pretrained, *sections], "norm_eps", float) or NORM_EPSILON,
        frames=_first([fine_tuned, image], "target_length", int),
        readout=READOUTS[mode],
    )


def _part(values: Any, *keys: str) -> dict[str, Any]:
    """The dictionary under nested `keys`; empty where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _first(sections: list[dict[str, Any]], key: str, kind: type) -> Any:
    """The first value of `key` that is of `kind`, or None."""
    return next((section[key] for section in sections if type(section.get(key)) is kind), None)


def _describe(
    source: Source, settings: dict[str, Any], facts: Facts, options: Options
) -> Description:
    num_classes = settings["num_classes"]
    recipe = RECIPES.get(num_classes, AUDIOSET)
    frames = options.frames or facts.frames or recipe.frames
    names, notes = _labels(source, num_classes)
    if num_classes not in {0, *RECIPES}:
        notes.append("unknown data set: statistics of AudioSet and sigmoid assumed")
    front_end = FbankConfig(mean=recipe.mean, std=recipe.std, padding=fixed_padding(frames))
    settings = {**settings, "max_frames": frames}
    return Description(settings, front_end, names, recipe.activation, notes, MODEL)


def _labels(source: Source, num_classes: int) -> tuple[list[str], list[str]]:
    """Names of the classes, and what was assumed about them."""
    indices = _part(source.beside.get("task_state"), "labels")  # {"/m/09x0r": "0"}
    names = {str(index): str(name) for name, index in indices.items()}
    if indices and sorted(names) == sorted(map(str, range(num_classes))):
        known = audioset_names()
        stored = [names[str(index)] for index in range(num_classes)]
        return [known.get(name, name) for name in stored], []
    if num_classes == AUDIOSET_CLASSES:
        return read_labels("audioset"), []
    notes = ["the file does not name its classes: numbered labels"] if num_classes else []
    return numbered_labels(num_classes), notes


def find_names(tensors: Mapping[str, Tensor]) -> Names | None:
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
