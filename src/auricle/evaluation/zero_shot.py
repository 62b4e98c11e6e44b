"""Zero-shot: the classes of a label map against each other, and among all that the model knows.

The first says what a model tells apart, the second what `predict` tells a user.

Shapes: N clips, L labels of the model, C classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from auricle.data import Manifest
from auricle.evaluation.evaluate import Evaluation, check_known, measure
from auricle.evaluation.hearing import Progress, hear, silent
from auricle.evaluation.label_map import ByClass
from auricle.evaluation.metrics import require_torchmetrics

FIRST = 5  # labels that a user is shown


def evaluate_zero_shot(
    model: ByClass,
    manifest: Manifest,
    batch_size: int = 32,
    thresholds: Sequence[float] | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """`evaluate` of the classes; its metrics hold `all_labels`, of `among_all_labels`, too.

    Args:
        thresholds: of the model's L labels; None: it has none.

    Raises:
        DataError: the clips carry a label that is no class, or none can be scored.
        CheckpointError: the model's scores are not numbers.
        MissingExtraError: torchmetrics is not installed.
    """
    require_torchmetrics()  # hours of listening must not end in its absence
    check_known(manifest, model.labels)
    heard = hear(model.scorer, manifest.without_soft_targets(), batch_size, progress)
    by_class = replace(heard, scores=model.highest(heard.scores))
    evaluation = measure(manifest, by_class, model.labels)
    right = evaluation.targets @ model.belongs.long() > 0
    found = None
    if thresholds is not None:
        found = heard.scores.double() >= torch.tensor(thresholds, dtype=torch.float64)
    numbers = among_all_labels(heard.scores, right, found)
    return replace(evaluation, metrics=evaluation.metrics | {"all_labels": numbers})


def among_all_labels(scores: Tensor, right: Tensor, found: Tensor | None) -> dict[str, float]:
    """Shares of the clips, of those that have a right label, by all scores `(N, L)`.

    first, among_five: whose best label, or one of the five best, is right.
    recognised: one of whose right labels reaches its threshold.
    nothing_recognised: none of whose labels does.

    Args:
        right: `(N, L)`, the labels of each clip's classes.
        found: `(N, L)`, the labels that reach their thresholds; None: the model has none.
    """
    has_any = right.any(dim=1)
    scores, right = scores[has_any], right[has_any]
    best = right.gather(1, scores.topk(min(FIRST, scores.shape[1])).indices)
    shares = {"first": best[:, 0], "among_five": best.any(dim=1)}
    if found is not None:
        found = found[has_any]
        shares["recognised"] = (found & right).any(dim=1)
        shares["nothing_recognised"] = ~found.any(dim=1)
    return {name: share.double().mean().item() for name, share in shares.items()}
