"""An ensemble is evaluated in one pass over the clips: its members and the whole.

Shapes: B clips of a batch, N clips, K members, C classes.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from rich.markup import escape
from rich.table import Table
from torch import Tensor

from auricle import audio
from auricle.data import Manifest
from auricle.evaluation.calibration import calibration_error
from auricle.evaluation.evaluate import Evaluation, listen, measure
from auricle.evaluation.hearing import Progress, silent
from auricle.evaluation.metrics import classification_metrics
from auricle.evaluation.page import SUMMARY
from auricle.inference import Ensemble

MEMBER_METRICS = ("accuracy", "top5_accuracy", "mAP", "mAUC", "d_prime", "macro_f1")


def evaluate_ensemble(
    ensemble: Ensemble, manifest: Manifest, batch_size: int = 32, progress: Progress = silent
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Like `evaluate`; and a row of metrics for each member, as plain JSON values.

    A clip that one member cannot score is left out for all, so that every number is about the same
    clips.
    """
    heard = listen(_Members(ensemble), manifest, batch_size, progress)
    whole = replace(heard, scores=ensemble.join(heard.scores))
    evaluation = measure(manifest, whole, ensemble.labels)
    rows = []
    members = zip(ensemble.names, ensemble.weights, heard.scores.unbind(dim=1), strict=True)
    for name, weight, scores in members:
        rows.append({"member": name, "weight": weight} | _numbers(scores, evaluation))
    return evaluation, rows


def _numbers(scores: Tensor, evaluation: Evaluation) -> dict[str, float | None]:
    metrics = classification_metrics(scores, evaluation.targets, evaluation.labels)
    numbers = {key: metrics[key] for key in MEMBER_METRICS if key in metrics}
    single_label = metrics["single_label"]
    numbers["calibration_error"] = calibration_error(scores, evaluation.targets, single_label)
    # JSON knows no infinite number.
    return {
        key: None if value in (math.inf, -math.inf) else value for key, value in numbers.items()
    }


@dataclass(frozen=True)
class _Members:
    """The members of an ensemble, each with its own scores: `(B, K, C)` instead of `(B, C)`."""

    ensemble: Ensemble

    @property
    def labels(self) -> list[str]:
        return self.ensemble.labels

    @property
    def sample_rate(self) -> int:
        return self.ensemble.sample_rate

    @property
    def window_seconds(self) -> float:
        return self.ensemble.window_seconds

    def score_waveforms(self, waveforms: list[Tensor]) -> Tensor:
        return self.ensemble.score_members(waveforms)

    def score_file(self, source: audio.Source) -> Tensor:
        return self.ensemble.score_members_file(source)


def members_table(rows: list[dict[str, Any]]) -> Table:
    """The rows of `evaluate_ensemble` for a terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for place, key in enumerate(rows[0]):
        title, _ = SUMMARY.get(key, (key, ""))
        table.add_column(title, justify="right" if place else "left")
    for row in rows:
        name, *numbers = row.values()
        table.add_row(escape(name), *("-" if n is None else f"{n:.3f}" for n in numbers))
    return table
