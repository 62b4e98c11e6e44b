"""Two models compared by what their evaluations left: the same clips, paired.

A side is one evaluation or several: of runs with other seeds, which scored the same clips, of
folds, which scored other ones, or of both. Each clip of a side must have been scored equally often.

Shapes: N clips, C classes, F evaluations of a side, S times that each clip was scored.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from auricle.data.table import read_rows
from auricle.errors import DataError, listed
from auricle.evaluation import bootstrap
from auricle.evaluation.bootstrap import WeightedRanking
from auricle.evaluation.paired import (
    Difference,
    bootstrap_p,
    difference_of,
    drawn_runs,
    paired_difference,
)
from auricle.evaluation.report import PREDICTIONS_FILE, SCORES_FILE

REQUIRED = ("file", "labels", "correct")  # columns of predictions.csv


@dataclass(frozen=True)
class Comparison:
    """A and B on the same clips; differences are A minus B.

    Attributes:
        runs: how many evaluations A and B have.
        num_groups: of clips that are not independent; as many as clips where all are.
        accuracy: of A and of B, the mean over runs.
        accuracy_difference: its interval, test and standard error.
        only_a, only_b: clips that only A, or only B, has right; None for several runs.
        smallest: the smallest true difference in accuracy that such a comparison finds with 80 %.
        mean_ap: of A and of B, the mean over evaluations; None where scores are not stored.
        mean_ap_difference: likewise; its p-value is that of the bootstrap.
    """

    num_clips: int
    num_groups: int
    runs: tuple[int, int]
    accuracy: tuple[float, float]
    accuracy_difference: Difference
    only_a: int | None
    only_b: int | None
    smallest: float
    mean_ap: tuple[float, float] | None
    mean_ap_difference: Difference | None


@dataclass(frozen=True)
class Stored:
    """What one evaluation left behind.

    Attributes:
        clips: N names of clips: the file, with a number where it is listed more than once.
        labels: of each clip, separated by semicolons.
        correct: `(N,)`, 1 where the best-scored label is one of the clip's.
        groups: name of each clip's group; the clip's own name where it has none.
        classes: C names, in the order of the columns of the scores; none without scores.
        scores: `(N, C)`, or None where the folder holds none.
    """

    folder: Path
    clips: list[str]
    labels: list[str]
    correct: Tensor
    groups: list[str]
    classes: list[str]
    scores: Tensor | None

    @property
    def targets(self) -> Tensor:
        """`(N, C)`, 1 where the clip has the label."""
        held = [set(labels.split(";")) for labels in self.labels]
        rows = [[int(label in names) for label in self.classes] for names in held]
        return torch.tensor(rows)


def read_evaluation(folder: Path) -> Stored:
    """The evaluation in `folder`.

    Raises:
        DataError: the folder holds no predictions.csv, or what it holds cannot be used.
    """
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        raise DataError(
            f"{folder}: holds no {PREDICTIONS_FILE}, so it is not an evaluation. "
            "Make one with: auricle evaluate MODEL --data DATA --out FOLDER"
        )
    rows = [row for _, row in read_rows(path, REQUIRED)]
    if not rows:
        raise DataError(f"{path}: lists no clips.")
    wrong = sorted({row["correct"] for row in rows} - {"0", "1"})
    if wrong:
        raise DataError(f"{path}: the column 'correct' holds 0 or 1, got {wrong[0]!r}.")
    clips = _numbered([row["file"] for row in rows])
    classes, scores = _read_scores(folder / SCORES_FILE, len(rows))
    return Stored(
        folder,
        clips,
        [row["labels"] for row in rows],
        torch.tensor([float(row["correct"]) for row in rows], dtype=torch.float64),
        [row.get("group") or clip for row, clip in zip(rows, clips, strict=True)],
        classes,
        scores,
    )


def _numbered(files: list[str]) -> list[str]:
    """The names, of which none stands twice: a second `a.wav` is `a.wav (2)`."""
    seen: Counter[str] = Counter()
    names = []
    for file in files:
        seen[file] += 1
        names.append(file if seen[file] == 1 else f"{file} ({seen[file]})")
    return names


def _read_scores(path: Path, num_clips: int) -> tuple[list[str], Tensor | None]:
    if not path.exists():  # an evaluation of an earlier version
        return [], None
    try:
        with safe_open(path, framework="pt") as file:
            scores = file.get_tensor("scores")
            classes = json.loads((file.metadata() or {})["labels"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}). Evaluate again.") from error
    if scores.shape != (num_clips, len(classes)):
        raise DataError(
            f"{path}: holds scores of {scores.shape[0]} clips, {PREDICTIONS_FILE} lists "
            f"{num_clips}. Evaluate again."
        )
    return classes, scores.double()


def compare(a: Sequence[Path], b: Sequence[Path], seed: int = 0) -> Comparison:
    """Compare the evaluations in the folders `a` with those in `b`.

    Raises:
        DataError: a folder holds no evaluation or is named twice, the sides did not score the same
            clips with the same labels, or a side scored some clips more often than others.
    """
    side_a, side_b = _Side(a, "A"), _Side(b, "B")
    _check_same(side_a, side_b)
    groups = bootstrap.number_groups([side_a.groups[clip] for clip in side_a.clips])
    correct_a, correct_b = side_a.correct(side_a.clips), side_b.correct(side_a.clips)
    difference = paired_difference(correct_a, correct_b, seed, groups)
    single = len(correct_a) == len(correct_b) == 1
    ranked = _compare_ranking(side_a, side_b, groups, seed)
    return Comparison(
        len(side_a.clips),
        int(groups.max()) + 1,
        (len(a), len(b)),
        (correct_a.mean().item(), correct_b.mean().item()),
        difference,
        int((correct_a > correct_b).sum()) if single else None,
        int((correct_b > correct_a).sum()) if single else None,
        difference.smallest,
        *(ranked or (None, None)),
    )


class _Side:
    """The evaluations of one model, clip by clip."""

    def __init__(self, folders: Sequence[Path], name: str):
        self.name = name
        resolved = [folder.resolve() for folder in folders]
        twice = [folder for folder in folders if resolved.count(folder.resolve()) > 1]
        if twice:
            raise DataError(f"{twice[0]}: named twice for {name}. Name each evaluation once.")
        self.evaluations = [read_evaluation(folder) for folder in folders]
        self.labels: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        by_clip: dict[str, list[Tensor]] = {}
        for evaluation in self.evaluations:
            for clip, correct in zip(evaluation.clips, evaluation.correct, strict=True):
                by_clip.setdefault(clip, []).append(correct)
            for clip, labels in zip(evaluation.clips, evaluation.labels, strict=True):
                if self.labels.setdefault(clip, labels) != labels:
                    raise _other_labels(clip, labels, evaluation.folder, self.labels[clip], name)
            self.groups |= dict(zip(evaluation.clips, evaluation.groups, strict=True))
        self._correct = by_clip
        self._check_even()

    @property
    def clips(self) -> list[str]:
        return list(self._correct)

    def correct(self, clips: list[str]) -> Tensor:
        """`(S, N)`, 1 where the best-scored label is one of the clip's."""
        return torch.stack([torch.stack(self._correct[clip]) for clip in clips], dim=1)

    def _check_even(self) -> None:
        counts = {clip: len(values) for clip, values in self._correct.items()}
        least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        if counts[least] != counts[most]:
            raise DataError(
                f"{self.name} scored {most!r} {counts[most]} times and {least!r} {counts[least]} "
                "times. Every clip must be scored equally often: give all folds for all seeds."
            )


def _other_labels(clip: str, labels: str, where: Path, before: str, side: str) -> DataError:
    return DataError(
        f"{where}: {clip!r} is labelled {labels!r} there and {before!r} in {side}. Compare "
        "evaluations of the same data."
    )


def _check_same(a: _Side, b: _Side) -> None:
    for this, other in ((a, b), (b, a)):
        missing = [clip for clip in this.clips if clip not in other.labels]
        if missing:
            raise DataError(
                f"{this.name} scored {len(missing)} clips that {other.name} did not: "
                f"{listed(missing)}. Compare evaluations of the same clips."
            )
    for clip, labels in b.labels.items():
        if labels != a.labels[clip]:
            where = next(run.folder for run in b.evaluations if clip in run.clips)
            raise _other_labels(clip, labels, where, a.labels[clip], "A")


def _compare_ranking(
    a: _Side, b: _Side, groups: Tensor, seed: int
) -> tuple[tuple[float, float], Difference] | None:
    """mAP of both sides and their difference, each the mean over a side's evaluations."""
    row_of = {clip: row for row, clip in enumerate(a.clips)}
    sides = [_Ranked.of(side.evaluations, row_of) for side in (a, b)]
    ranked = [side for side in sides if side is not None]
    if len(ranked) < 2:
        return None
    every_clip = torch.ones(1, len(groups), dtype=torch.float64)
    value_a, value_b = (side.mean_aps(every_clip).mean().item() for side in ranked)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for weights in bootstrap.resampled(groups, seed):
        drawn_a, drawn_b = (side.drawn(weights, generator) for side in ranked)
        parts.append(drawn_a - drawn_b)
    draws = torch.cat(parts)
    draws = draws[~draws.isnan()]  # a round may draw no class to rank
    holds_runs = all(side.has_runs for side in ranked)
    difference = difference_of(value_a - value_b, draws, bootstrap_p(draws), holds_runs)
    return (value_a, value_b), difference


@dataclass(frozen=True)
class _Ranked:
    """The evaluations of a side, ready for the bootstrap of their mAP.

    Attributes:
        rows: of each evaluation's clips on side A.
        rankings: of the same evaluations.
        folds: which evaluations scored the same clips, and so are runs of each other.
    """

    rows: list[Tensor]
    rankings: list[WeightedRanking]
    folds: list[list[int]]

    @classmethod
    def of(cls, evaluations: list[Stored], row_of: dict[str, int]) -> "_Ranked | None":
        """None where an evaluation has no scores, or none that define a mAP."""
        rankings = [
            WeightedRanking(run.scores, run.targets)
            for run in evaluations
            if run.scores is not None
        ]
        if len(rankings) < len(evaluations) or not all(rankings):
            return None
        rows = [torch.tensor([row_of[clip] for clip in run.clips]) for run in evaluations]
        folds: dict[frozenset[str], list[int]] = {}
        for number, run in enumerate(evaluations):
            folds.setdefault(frozenset(run.clips), []).append(number)
        return cls(rows, rankings, list(folds.values()))

    @property
    def has_runs(self) -> bool:
        return all(len(fold) > 1 for fold in self.folds)

    def mean_aps(self, weights: Tensor) -> Tensor:
        """The mAP `(r, F)` of each evaluation for weights `(r, N)`."""
        pairs = zip(self.rows, self.rankings, strict=True)
        return torch.stack([each.mean_ap(weights[:, rows]) for rows, each in pairs], dim=1)

    def drawn(self, weights: Tensor, generator: torch.Generator) -> Tensor:
        """The mean mAP `(r,)` of runs drawn in each fold."""
        values = self.mean_aps(weights)
        drawn = [drawn_runs(values[:, fold], generator) for fold in self.folds]
        sizes = torch.tensor([len(fold) for fold in self.folds], dtype=torch.float64)
        return torch.stack(drawn, dim=1) @ (sizes / sizes.sum())
