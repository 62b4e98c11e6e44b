"""A probe on disk and on the screen.

`probe.json` holds the request, the metric's name, and for `linear` and `nearest` its value over
all judged clips, the 95 % interval and a row for each class; `parts` holds a row for each fold, or
for the split. `predictions.csv` and `scores.safetensors` are the linear probe's, so that `auricle
compare` takes the folder.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from auricle.evaluation import report
from auricle.evaluation.evaluate import Evaluation
from auricle.evaluation.probe import Probe

PROBE_FILE = "probe.json"
CLASS_KEYS = ("label", "clips", "average_precision", "recall")


def write(probe: Probe, folder: Path, request: dict[str, Any]) -> None:
    """Write probe.json, predictions.csv and scores.safetensors into `folder`.

    Args:
        request: what was probed (model, data, ...), for the top of probe.json.

    Raises:
        DataError: the folder cannot be written to.
    """
    report.write_predictions(probe.linear, folder)
    values = {"metric": probe.metric, "width": probe.width, "num_clips": len(probe.linear.clips)}
    values["resampled"] = probe.linear.metrics["resampled"]
    tables: dict[str, Any] = {"parts": [asdict(part) for part in probe.parts]}
    for name, metrics in (("linear", probe.linear.metrics), ("nearest", probe.nearest.metrics)):
        interval = metrics["intervals"].get(probe.metric)
        values[name] = {"value": metrics[probe.metric], "interval": interval}
        rows = metrics["classes"]
        tables[f"{name}_classes"] = [{key: row[key] for key in CLASS_KEYS} for row in rows]
    record = report.json_record(request | values, probe.linear, tables)
    report.write_json(record, folder / PROBE_FILE)


def lines(probe: Probe) -> list[str]:
    """What to print: a line for each probe, then one for each fold."""
    resampled = probe.linear.metrics["resampled"]
    clips = f"{len(probe.linear.clips)} clips"
    if resampled["unit"] == "groups":
        clips += f" in {resampled['number']} groups"
    metric = probe.metric

    def text(evaluation: Evaluation) -> str:
        return report.value_text(evaluation.metrics, metric, metric == "accuracy")

    printed = [f"embedding   {probe.width} numbers; {clips} judged"]
    printed.append(f"linear      {metric} {text(probe.linear)}")
    printed.append(f"nearest     {metric} {text(probe.nearest)}")
    if len(probe.parts) > 1:
        for part in probe.parts:
            values = (_shown(value, probe.metric) for value in (part.linear, part.nearest))
            printed.append("  {:<10}linear {}, nearest {}".format(part.name, *values))
    return printed


def _shown(value: float | None, metric: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.3f}"
