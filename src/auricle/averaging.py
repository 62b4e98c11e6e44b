"""One checkpoint whose weights are the mean of several: the weight averaging of the AST paper.

Source: Gong et al. 2021, section 3.1; Izmailov et al. 2018.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from auricle import features, models
from auricle.checkpoint import Checkpoint, CheckpointConfig
from auricle.errors import CheckpointError

NUM_LABELS_SHOWN = 3  # in a message about labels that differ


def average(members: Sequence[tuple[str, Checkpoint]]) -> Checkpoint:
    """The checkpoint whose weights are the mean of the members', as float32, in eval mode.

    Numbers are added up in float64; integers, such as counters, are those of the last member. Its
    metrics and thresholds are empty, because nothing has been measured of it yet; its provenance
    lists the members.

    Args:
        members: at least two, each with the name that messages and the provenance call it by.

    Raises:
        CheckpointError: fewer than two members, or one differs from the first in more than weights.
    """
    if len(members) < 2:
        raise CheckpointError(f"an average needs at least two checkpoints, got {len(members)}.")
    (first_name, first), *others = members
    for name, other in others:
        _check_alike(first_name, first, name, other)
    weights = _mean([member.model.state_dict() for _, member in members])
    model = models.build(first.config.model, first.config.model_settings)
    model.load_state_dict(weights)
    provenance = {"average_of": [_origin(name, member) for name, member in members]}
    config = first.config.model_copy(
        update={"metrics": {}, "thresholds": None, "provenance": provenance, "about": {}}
    )
    return Checkpoint(config, features.build(config.front_end), model).eval()


def _mean(members: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    weights = dict(members[-1])
    for name, last in weights.items():
        if last.is_floating_point():
            total = torch.zeros_like(last, dtype=torch.float64)
            for member in members:
                total += member[name].double()
            weights[name] = (total / len(members)).to(last.dtype)
    return weights


def _origin(name: str, member: Checkpoint) -> dict[str, Any]:
    return {
        "checkpoint": name,
        "metrics": member.config.metrics,
        "provenance": member.config.provenance,
    }


def _check_alike(first_name: str, first: Checkpoint, name: str, other: Checkpoint) -> None:
    facts = ((first.config, first_name), (other.config, name))
    before, after = (
        {"model": config.model, "activation": config.activation}
        | _flat(_settings(config), "model_settings.")
        | _flat(config.front_end.to_dict(), "front_end.")
        for config, _ in facts
    )
    for key in before | after:
        if before.get(key) != after.get(key):
            raise CheckpointError(
                f"{name}: has {key} {after.get(key)!r}, {first_name} has {before.get(key)!r}. Only "
                "checkpoints that differ in nothing but their weights can be averaged."
            )
    if first.labels != other.labels:
        raise CheckpointError(
            f"{name}: its labels are not those of {first_name}: "
            f"{label_difference(first.labels, other.labels)}. Only checkpoints that differ in "
            "nothing but their weights can be averaged."
        )


def _settings(config: CheckpointConfig) -> dict[str, Any]:
    """The model's settings, with those that were added since the checkpoint was written."""
    return models.configure(config.model, config.model_settings).to_dict()


def _flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings as dotted keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def label_difference(first: list[str], other: list[str]) -> str:
    """The difference of `other` from `first`, in a few words for a message."""
    lacking = [label for label in first if label not in set(other)]
    added = [label for label in other if label not in set(first)]
    if not lacking and not added:
        pairs = enumerate(zip(first, other, strict=True))
        index, (theirs, ours) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        return f"the order differs from {index} on ({theirs!r} there, {ours!r} here)"
    parts = [
        f"{word} {', '.join(map(repr, labels[:NUM_LABELS_SHOWN]))}"
        + (f" and {len(labels) - NUM_LABELS_SHOWN} more" * (len(labels) > NUM_LABELS_SHOWN))
        for word, labels in (("it lacks", lacking), ("it adds", added))
        if labels
    ]
    return "; ".join(parts)
