"""What a model is made of and what it costs, and a list of those that come with the package."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from auricle import checkpoint, models
from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import read_labels
from auricle.errors import CheckpointError
from auricle.inference import names, ontology
from auricle.inference.engine import longest_frames, longest_samples
from auricle.models.differential_attention import learned_lambdas


def describe(name_or_path: str) -> dict[str, Any]:
    """Everything about a model but its weights, as plain JSON values.

    Args:
        name_or_path: what `resolve` takes, or a published size such as "ast-base" or
            "ham_ast-tiny": that model as it is built for AudioSet.

    Raises:
        CheckpointError: nothing is called so.
        ConfigError: there is no such size.
    """
    if names.is_size(name_or_path):
        with torch.device("meta"):
            sized = names.untrained(name_or_path, read_labels("audioset"))
        return {"name": name_or_path, **_facts(sized)}
    return {"name": name_or_path, **_facts(names.resolve(name_or_path))}


def multiply_adds(model: str, settings: dict[str, Any], frames: int) -> int:
    """Multiply-adds of every matrix product and convolution for one clip, attention included."""
    with torch.device("meta"):  # shapes without numbers: nothing is computed
        network = models.build(model, settings).eval()
        features = torch.zeros(1, frames, network.config.num_mels)
        with FlopCounterMode(display=False) as counter:
            network(features)
    return counter.get_total_flops() // 2  # a multiplication and an addition are two


def built_in_models() -> list[dict[str, Any]]:
    """A row for each built-in model, by name, as plain JSON values.

    name, megabytes (of the weights file), parameters, sample_rate in Hz, seconds (scored in one
    piece), activation, thresholds (whether it has them), labels, ids (AudioSet's, one for each
    label; None where the labels are not AudioSet's); and of the configuration's `about`
    summary, scores (rows of metric, data, value and perhaps a 95 % interval, the one that stands
    for the model first) and speed (or None).
    """
    return [_row(name) for name in names.builtin_names()]


def _facts(described: Checkpoint) -> dict[str, Any]:
    config, model = described.config, described.model
    frames = longest_frames(described)
    return {
        "model": config.model,
        "parameters": _num_parameters(model),
        "parameters_of": _parameters_of_parts(model),
        "multiply_adds": multiply_adds(config.model, config.model_settings, frames),
        "tokens": model.num_tokens(frames),
        "frames": frames,
        "seconds": longest_samples(described) / config.front_end.sample_rate,
        "learned_lambdas": learned_lambdas(model),
        "settings": config.model_settings,
        "front_end": config.front_end.to_dict(),
        "activation": config.activation,
        "labels": described.labels,
        "metrics": config.metrics,
        "provenance": {k: v for k, v in config.provenance.items() if k != "trained_on"},
    }


def _parameters_of_parts(model: nn.Module) -> dict[str, int]:
    """What each part holds; the stages that a variant adds are parts of their own."""
    parts: dict[str, int] = {}
    for name, part in model.named_children():
        stages = dict(part.items()) if isinstance(part, nn.ModuleDict) else {name: part}
        parts |= {stage: _num_parameters(module) for stage, module in stages.items()}
    return parts


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _row(name: str) -> dict[str, Any]:
    folder = names.BUILTIN / name
    model = checkpoint.load(folder)
    config, sample_rate = model.config, model.config.front_end.sample_rate
    return {
        "name": name,
        "summary": config.about.get("summary", ""),
        "megabytes": round((folder / checkpoint.WEIGHTS_FILE).stat().st_size / 1e6, 2),
        "parameters": _num_parameters(model.model),
        "sample_rate": sample_rate,
        "seconds": round(longest_samples(model) / sample_rate, 2),
        "activation": config.activation,
        "thresholds": config.thresholds is not None,
        "scores": config.about.get("scores", []),
        "speed": config.about.get("speed"),
        "labels": config.labels,
        "ids": _ids(config.labels),
    }


def _ids(labels: list[str]) -> list[str] | None:
    try:
        return ontology.ids_of(labels)
    except CheckpointError:
        return None
