"""What `auricle evaluate --calibrate` and `auricle agree --calibrate` share."""

from pathlib import Path
from typing import Any

import typer

from auricle.errors import NAMES_SHOWN, ConfigError


def check_clips_are_named(split: str | None, fold: int | None) -> None:
    """Refuse to choose thresholds on whatever a manifest holds.

    Raises:
        ConfigError: neither a split nor a fold is named.
    """
    if split is None and fold is None:
        raise ConfigError(
            "--calibrate chooses thresholds on the clips that are scored. Say which with --split "
            "or --fold, and keep the test clips out of it."
        )


def store(model: str, classes: list[dict[str, Any]], chosen_on: dict[str, Any]) -> None:
    """Store the thresholds of `classes` into the checkpoint folder `model`, and say so.

    Args:
        classes: rows of `calibration.best_thresholds`, each with its `label`.
        chosen_on: what the thresholds were chosen on, for the provenance.
    """
    from auricle import checkpoint
    from auricle.evaluation.calibration import thresholds_for

    checkpoint.store_thresholds(Path(model), thresholds_for(classes), chosen_on)
    typer.echo(f"{model}: {_describe(classes)}")


def _describe(classes: list[dict[str, Any]]) -> str:
    """What was stored, in a line."""
    from auricle.evaluation.calibration import FEWEST_POSITIVES

    shared = [row for row in classes if row["shared_threshold"]]
    stored = f"thresholds of {len(classes)} classes stored"
    if not shared:
        return stored
    names = ", ".join(row["label"] for row in shared[:NAMES_SHOWN])
    more = f" and {len(shared) - NAMES_SHOWN} more" if len(shared) > NAMES_SHOWN else ""
    common = shared[0]["threshold"]
    value = "0.5, as these clips cannot decide" if common is None else f"{common:.3f}"
    return (
        f"{stored}; {len(shared)} of fewer than {FEWEST_POSITIVES} clips, or of all, share one "
        f"({value}): {names}{more}"
    )
