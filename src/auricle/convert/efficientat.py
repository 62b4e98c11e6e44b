"""EfficientAT's MobileNets: `mn04_as_mAP_432.pt` and the other widths.

Such a file holds tensors and nothing else. The width follows from their shapes; what they do not
show (mel bins, hop) is that of most released files.

Source: github.com/fschmid56/EfficientAT, release v0.0.1.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import (
    Description,
    assemble,
    empty_model,
    numbered_labels,
    read_labels,
)
from auricle.convert.layout import check, shape_of, without_prefix
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError
from auricle.features import EfficientATConfig
from auricle.models.mobilenet import BLOCKS, HIDDEN

KIND = "efficientat"
MODEL = "mobilenet"
AUDIOSET_CLASSES = 527
ANCHOR = "features.0.0.weight"
GATE = ".conc_se_layers.0."  # in the name of every gate, and in no other project's
MODULES = {
    "stem.": "features.0.",
    "top.": f"features.{len(BLOCKS) + 1}.",
    "hidden.": "classifier.2.",
    "head.linear.": "classifier.5.",
}
BLOCK = re.compile(r"(encoder\.blocks\.(\d+)\.)(\w+)\.")
PARTS = ("expand", "filter", "gate", "project")  # of a block, numbered as far as they are present
LAYERS = {
    ".convolution.": ".0.",
    ".norm.": ".1.",
    ".squeeze.": f"{GATE}fc1.",
    ".excite.": f"{GATE}fc2.",
}
ASSUMED = "128 mel bins and a hop of 10 ms assumed: the tensors do not show them"
UNKNOWN_CLASSES = "unknown classes: sigmoid and numbered labels assumed"


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in `source`; None if its tensors have not EfficientAT's names.

    Raises:
        CheckpointError: tensors are missing, left over or mis-shaped.
    """
    prefix = without_prefix(source.tensors, ANCHOR)
    if prefix is None or not any(GATE in name for name in source.tensors):
        return None
    if options.stride is not None:
        raise CheckpointError(
            f"{source.path}: an EfficientAT MobileNet has no patches; leave out --stride."
        )
    tensors = {name.removeprefix(prefix): value for name, value in source.tensors.items()}
    settings = _settings(tensors, options, source.path)
    empty = empty_model(settings, source.path, MODEL)
    theirs = {name: their_name(name, empty) for name in empty}
    expected = {theirs[name]: value.shape for name, value in empty.items()}
    check(tensors, expected, source.path)
    state = {name: tensors[theirs[name]] for name in empty}
    return assemble(source, KIND, _describe(settings), state)


def their_name(name: str, names: Iterable[str]) -> str:
    """EfficientAT's name of our tensor `name` of a model that has tensors called `names`."""
    for ours, theirs in MODULES.items():
        if name.startswith(ours):
            name = name.replace(ours, theirs, 1)
    block = BLOCK.match(name)
    if block:
        present = [part for part in PARTS if any(n.startswith(block[1] + part) for n in names)]
        layer = f"features.{int(block[2]) + 1}.block.{present.index(block[3])}."
        name = layer + name[block.end() :]
    for ours, theirs in LAYERS.items():
        name = name.replace(ours, theirs)
    return name


def _settings(tensors: dict[str, Tensor], options: Options, path: Path) -> dict[str, Any]:
    settings = {
        "num_classes": shape_of(tensors, "classifier.5.weight", 2, path)[0],
        "width": shape_of(tensors, "classifier.2.weight", 2, path)[0] / HIDDEN,
    }
    return settings | ({"max_frames": options.frames} if options.frames else {})


def _describe(settings: dict[str, Any]) -> Description:
    num_classes = settings["num_classes"]
    if num_classes == AUDIOSET_CLASSES:
        names, notes = read_labels("audioset"), [ASSUMED]
    else:
        names, notes = numbered_labels(num_classes), [ASSUMED, UNKNOWN_CLASSES]
    return Description(settings, EfficientATConfig(), names, "sigmoid", notes, MODEL)
