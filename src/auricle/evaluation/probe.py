"""Probes: how well frozen embeddings separate the data's classes.

Two answers: a linear classifier that is trained on them, and the nearest neighbours among the
training clips. The loss of pretraining does not show it.

`probe.json` holds the request, the metric's name, and for `linear` and `nearest` its value over
all judged clips, the 95 % interval and a row for each class; `parts` holds a row for each fold, or
for the split. `predictions.csv` and `scores.safetensors` are the linear probe's, so that `auricle
compare` takes the folder.

Shapes: N clips, D width of the embedding, C classes.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from auricle.config import Settings
from auricle.data import Manifest
from auricle.data.clips import group_of
from auricle.evaluation import linear, report
from auricle.evaluation.bootstrap import WeightedRanking, number_groups
from auricle.evaluation.division import Division, divide, in_use
from auricle.evaluation.evaluate import (
    Evaluation,
    Progress,
    ScoredClips,
    measure,
    no_progress,
    score_clips,
    targets_of,
)
from auricle.evaluation.metrics import correct_clips, is_single_label, require_torchmetrics
from auricle.inference import Engine, windows

TEMPERATURE = 0.07  # of the neighbours' weights
QUERIES_AT_ONCE = 512  # bounds the memory
PROBE_FILE = "probe.json"
CLASS_KEYS = ("label", "clips", "average_precision", "recall")


class ProbeConfig(Settings):
    """Settings of the probes."""

    neighbours: int = Field(default=10, ge=1)
    seed: int = 0  # of the parts on which the linear probe's regularisation is chosen


@dataclass(frozen=True)
class Part:
    """A division and what came of it; `linear` and `nearest` are accuracies, or mAP."""

    name: str
    num_train: int
    num_test: int
    strength: float  # of `linear.fit`, as chosen within the training part
    linear: float | None
    nearest: float | None


@dataclass(frozen=True)
class Probe:
    """Results of both probes of embeddings.

    Attributes:
        metric: "accuracy", or "mAP" where a clip may have several labels.
        linear, nearest: each judged clip with its scores, and the metrics of all together; clips
            that could not be embedded are their failures.
        parts: each fold in turn, or the one split.
        width: D.
    """

    metric: str
    linear: Evaluation
    nearest: Evaluation
    parts: list[Part]
    width: int


def probe(
    engine: Engine,
    manifest: Manifest,
    splits: tuple[str, str] | None = None,
    config: ProbeConfig | None = None,
    batch_size: int = 32,
    progress: Progress = no_progress,
) -> Probe:
    """Embed every clip once and probe the embeddings.

    Args:
        splits: to learn from and to judge on; None takes each fold in turn, or, where the clips
            have no folds, "train" and "test".
        progress: called with the number of clips of each batch once they are embedded.

    Raises:
        ConfigError: both splits are the same.
        DataError: the splits or folds are not there, a side has fewer than two classes or no clip,
            or no clip can be embedded.
        CheckpointError: the model's embeddings are not numbers.
        MissingExtraError: scikit-learn or torchmetrics is not installed.
    """
    linear.check_installed()
    require_torchmetrics()
    manifest = manifest.without_soft_targets()
    used = in_use(divide(manifest, splits), len(manifest.clips))
    manifest = replace(manifest, clips=manifest.table.where(used))
    embed_files = partial(windows.join_files, engine, engine.embed)
    embedded = score_clips(embed_files, manifest, batch_size, progress)
    return probe_embeddings(embedded, manifest, splits, config or ProbeConfig())


def probe_embeddings(
    embedded: ScoredClips, manifest: Manifest, splits: tuple[str, str] | None, config: ProbeConfig
) -> Probe:
    """Probe embeddings `(N, D)` of the clips in `embedded`; arguments and errors are of `probe`."""
    targets = targets_of(embedded.clips, manifest.labels)
    groups = number_groups([group_of(clip) for clip in embedded.clips])
    task = linear.Task(embedded.scores.double(), targets, groups, is_single_label(targets))
    parts, order = [], []
    scores: tuple[list[Tensor], list[Tensor]] = ([], [])  # linear, nearest
    for division in divide(replace(manifest, clips=embedded.clips), splits):
        strength, both = _probed(task, division, config)
        values = [_value(each, targets[division.test], task.single_label) for each in both]
        sizes = len(division.train), len(division.test)
        parts.append(Part(division.name, *sizes, strength, *values))
        order += division.test.tolist()
        for collected, each in zip(scores, both, strict=True):
            collected.append(each.float())
    clips = [embedded.clips[row] for row in order]
    linear_probe, nearest = (
        measure(
            manifest, ScoredClips(clips, torch.cat(collected), embedded.failures), manifest.labels
        )
        for collected in scores
    )
    metric = "accuracy" if task.single_label else "mAP"
    return Probe(metric, linear_probe, nearest, parts, embedded.scores.shape[1])


def _probed(
    task: linear.Task, division: Division, config: ProbeConfig
) -> tuple[float, tuple[Tensor, Tensor]]:
    """The strength of the regularisation, and both probes' scores of the test clips."""
    train = linear.standardised(task.of(division.train))
    test = train.apply(task.embeddings[division.test])
    strength = linear.choose_strength(train.task, config.seed)
    scores = linear.fit(train.task, strength)(test)
    nearest = nearest_scores(train.task.embeddings, train.task.targets, test, config.neighbours)
    return strength, (scores, nearest)


def nearest_scores(embeddings: Tensor, targets: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """For each query `(Q, D)` the share `(Q, C)` of its nearest neighbours that have a class.

    The `neighbours` of the largest cosine similarity count, each by exp(similarity / 0.07).

    Args:
        embeddings: `(N, D)`.
        targets: `(N, C)` of 0 and 1.

    Source: Wu et al. 2018, section 3.4.
    """
    known = torch.nn.functional.normalize(embeddings, dim=1)
    scores = []
    for part in torch.nn.functional.normalize(queries, dim=1).split(QUERIES_AT_ONCE):
        nearest = (part @ known.T).topk(min(neighbours, len(known)), dim=1)
        weights = (nearest.values / TEMPERATURE).softmax(dim=1)  # they sum to 1
        scores.append((weights[..., None] * targets[nearest.indices]).sum(dim=1))
    return torch.cat(scores).clamp(max=1.0)


def _value(scores: Tensor, targets: Tensor, single_label: bool) -> float | None:
    """Accuracy, or mAP; None where no class has both a positive and a negative clip."""
    if single_label:
        return correct_clips(scores, targets).double().mean().item()
    ranking = WeightedRanking(scores, targets)
    every_clip = torch.ones(1, len(scores), dtype=torch.float64)
    return ranking.mean_ap(every_clip).item() if ranking else None


def write_probe(probe: Probe, folder: Path, request: dict[str, Any]) -> None:
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


def probe_lines(probe: Probe) -> list[str]:
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
