"""The models that come with the package, as who chooses one wants to know them."""

from typing import Any

from auricle import checkpoint
from auricle.errors import CheckpointError
from auricle.inference import engine, names, ontology


def catalogue() -> list[dict[str, Any]]:
    """A row for each built-in model, by name, as plain JSON values.

    name, megabytes (of the weights file), parameters, sample_rate in Hz, seconds (heard in one
    piece), activation, thresholds (whether it has them), labels, ids (AudioSet's, one for each
    label; None where the labels are not AudioSet's); and of the configuration's `about`
    summary, scores (rows of metric, data, value and perhaps a 95 % interval, the one that stands
    for the model first) and speed (or None).
    """
    return [_row(name) for name in names.builtin_names()]


def _row(name: str) -> dict[str, Any]:
    folder = names.BUILTIN / name
    model = checkpoint.load(folder)
    config, sample_rate = model.config, model.config.front_end.sample_rate
    return {
        "name": name,
        "summary": config.about.get("summary", ""),
        "megabytes": round((folder / checkpoint.WEIGHTS_FILE).stat().st_size / 1e6, 2),
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "sample_rate": sample_rate,
        "seconds": round(engine.longest_samples(model) / sample_rate, 2),
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
