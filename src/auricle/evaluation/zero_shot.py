"""Zero-shot: a model evaluated on classes that it was not trained for, by the names of its labels.

A label map is a YAML file of `class: label` or `class: [label, label, ...]`. A class scores what
the highest of its labels scores. Capitals, underscores and repeated spaces do not matter in names
of labels. Maps that come with the package are named without path and suffix. The classes compete
with each other; `all_labels` reports what `predict` would have shown among all the model's labels.

Shapes: N clips, L labels of the model, C classes.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle.config import read_yaml
from auricle.data import Manifest
from auricle.errors import ConfigError, DataError, listed, unknown_name
from auricle.evaluation.evaluate import (
    Evaluation,
    Progress,
    Scorer,
    measure,
    no_progress,
    score_labelled,
)

FIRST = 5  # labels that a user is shown
BUILTIN = Path(str(resources.files("auricle"))) / "label_maps"
SAME_NAMES = "names"  # in place of a map: every class is the label of its name
NEAREST_SHOWN = 3
LEAST_LIKENESS = 0.4  # of a name that is worth naming, as difflib counts

LabelMap = Mapping[str, Sequence[str]]  # class: labels


@dataclass(frozen=True)
class ByClass:
    """A model whose labels are put together to classes.

    Attributes:
        classes: the labels of each of C classes, as the model spells them.
    """

    scorer: Scorer
    classes: LabelMap

    @property
    def labels(self) -> list[str]:
        """Names of the C classes."""
        return list(self.classes)

    @property
    def belongs(self) -> Tensor:
        """`(C, L)`, whether a label is one of a class."""
        rows = [
            [label in labels for label in self.scorer.labels] for labels in self.classes.values()
        ]
        return torch.tensor(rows)

    def highest(self, scores: Tensor) -> Tensor:
        """Scores `(N, C)` of the classes, from those of the labels `(N, L)`."""
        return torch.stack([scores[:, labels].amax(dim=1) for labels in self.belongs], dim=1)


def map_names() -> list[str]:
    """Names of the label maps that come with the package."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def by_class(scorer: Scorer, source: str, manifest: Manifest) -> ByClass:
    """`scorer` with the classes of a label map, to be judged on `manifest`.

    Args:
        source: a file, the name of a map of the package, or "names" for classes that the model
            knows by the same names.

    Raises:
        ConfigError: there is no such map, it cannot be used, or the model lacks one of its labels.
        DataError: the clips carry a label that is no class of the map.
    """
    if source == SAME_NAMES:
        same = {label: [label] for label in manifest.labels}
        return ByClass(scorer, _as_spelled(same, scorer.labels, str(manifest.source)))
    label_map = _read(source)
    unknown = [label for label in manifest.labels if label not in label_map]
    if unknown:
        where = next(clip.where for clip in manifest.clips if unknown[0] in clip.labels)
        raise DataError(f"{where}: {source}: {unknown_name('class', unknown[0], label_map)}")
    return ByClass(scorer, _as_spelled(label_map, scorer.labels, source))


def _read(source: str) -> LabelMap:
    path = Path(source)
    if not path.is_file():
        if source not in map_names():
            raise ConfigError(f"no file, and {unknown_name('label map', source, map_names())}")
        path = BUILTIN / f"{source}.yaml"
    read = {str(name): _names(value, f"{path}: {name}") for name, value in read_yaml(path).items()}
    if not read:
        raise ConfigError(f"{path}: names no class.")
    return read


def _names(value: Any, where: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigError(f"{where}: expected a label or a list of labels, got {value!r}.")
    return names


def _as_spelled(label_map: LabelMap, labels: Iterable[str], where: str) -> LabelMap:
    """The map with the model's own spelling."""
    spelling = {_plain(label): label for label in labels}
    missing = [
        name for names in label_map.values() for name in names if _plain(name) not in spelling
    ]
    if missing:
        named = listed(missing, shown=partial(_with_nearest, spelling))
        raise ConfigError(
            f"{where}: the model has no label {named}. Say in a label map which of its "
            "labels make up each class."
        )
    spelled = {
        name: list(dict.fromkeys(spelling[_plain(label)] for label in names))
        for name, names in label_map.items()
    }
    _check_apart(spelled, where)
    return spelled


def _check_apart(label_map: LabelMap, where: str) -> None:
    """Two classes that share their best label would tie, and the first would win."""
    class_of: dict[str, str] = {}
    for name, labels in label_map.items():
        for label in labels:
            other = class_of.setdefault(label, name)
            if other != name:
                raise ConfigError(
                    f"{where}: the label {label!r} stands for {other!r} and for {name!r}. A label "
                    "counts for one class."
                )


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _with_nearest(spelling: Mapping[str, str], name: str) -> str:
    plain = _plain(name)
    words = [known for known in spelling if f" {plain} " in f" {known.replace(',', ' ')} "]
    near = difflib.get_close_matches(plain, spelling, n=NEAREST_SHOWN, cutoff=LEAST_LIKENESS)
    nearest = list(dict.fromkeys([*words, *near]))[:NEAREST_SHOWN]
    shown = ", ".join(repr(spelling[known]) for known in nearest)
    return f"{name!r} (nearest: {shown})" if nearest else repr(name)


def evaluate_zero_shot(
    model: ByClass,
    manifest: Manifest,
    batch_size: int = 32,
    thresholds: Sequence[float] | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """`evaluate` of the classes, with its errors; the metrics hold `among_all_labels`, too.

    Args:
        thresholds: of the model's L labels; None: it has none.
    """
    score_files = model.scorer.score_files
    scored = score_labelled(score_files, model.labels, manifest, batch_size, progress)
    by_class = replace(scored, scores=model.highest(scored.scores))
    evaluation = measure(manifest, by_class, model.labels)
    right = evaluation.targets @ model.belongs.long() > 0
    predicted = None
    if thresholds is not None:
        predicted = scored.scores.double() >= torch.tensor(thresholds, dtype=torch.float64)
    numbers = among_all_labels(scored.scores, right, predicted)
    return replace(evaluation, metrics=evaluation.metrics | {"all_labels": numbers})


def among_all_labels(scores: Tensor, right: Tensor, predicted: Tensor | None) -> dict[str, float]:
    """Shares of the clips, of those that have a right label, by all scores `(N, L)`.

    first, among_five: whose best label, or one of the five best, is right.
    recognised: one of whose right labels reaches its threshold.
    nothing_recognised: none of whose labels does.

    Args:
        right: `(N, L)`, the labels of each clip's classes.
        predicted: `(N, L)`, the labels that reach their thresholds; None: the model has none.
    """
    has_any = right.any(dim=1)
    scores, right = scores[has_any], right[has_any]
    best = right.gather(1, scores.topk(min(FIRST, scores.shape[1])).indices)
    shares = {"first": best[:, 0], "among_five": best.any(dim=1)}
    if predicted is not None:
        predicted = predicted[has_any]
        shares["recognised"] = (predicted & right).any(dim=1)
        shares["nothing_recognised"] = ~predicted.any(dim=1)
    return {name: share.double().mean().item() for name, share in shares.items()}
