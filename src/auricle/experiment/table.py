"""Results of a grid, beside those of its paper: Markdown, CSV and a picture with error bars.

The row of a cell: parameters and multiply-adds for the longest clip the model takes, clips a
second that it scores on this machine's CPU (`speed.py`), the score as mean and standard deviation
over the seeds, and its differences from the first cell (or from the one that it names) and from the
one that matches it in size.

Shapes: S seeds, N clips.
"""

import csv
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auricle import models
from auricle.errors import require
from auricle.evaluation.bootstrap import number_groups
from auricle.evaluation.paired import Difference, paired_difference, smallest_difference
from auricle.experiment.grid import Cell, Grid
from auricle.experiment.results import Scores
from auricle.experiment.speed import SPEEDS_FILE, device_name, speeds
from auricle.inference.description import multiply_adds

COLUMNS = (
    "cell",
    "parameters",
    "multiply_adds",
    "clips_per_second",
    "runs",
    "seeds",
    "mean",
    "std",
    "compared_with",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "matched_difference",
    "matched_low",
    "matched_high",
    "matched_p_value",
    "paper",
)


@dataclass(frozen=True)
class Row:
    """A cell of a grid in numbers; scores are fractions, what is not known is None."""

    cell: str
    parameters: int
    multiply_adds: int
    clips_per_second: float
    runs: str  # finished, of all
    seeds: list[float]  # of those seeds whose runs are all finished
    compared_with: str | None  # None: it is the first cell
    difference: Difference | None  # from that one
    matched: Difference | None  # from the grid's matched cell
    paper: float | None

    @property
    def mean(self) -> float | None:
        """Over the seeds."""
        return statistics.fmean(self.seeds) if self.seeds else None

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds (of a sample)."""
        return statistics.stdev(self.seeds) if len(self.seeds) > 1 else None


def rows_of(grid: Grid, scores: dict[str, list[Scores | None]], folder: Path) -> list[Row]:
    """The rows of a grid, from the scores that `grid.scores_of` returns.

    Args:
        folder: keeps the speeds of the cells.
    """
    described = {cell.name: _described(cell) for cell in grid.cells}
    clips_per_second = speeds(described, folder / SPEEDS_FILE)
    correct, groups = _correct(grid, scores)

    def difference(cell: str, other: str | None) -> Difference | None:
        first, second = correct[cell], None if other == cell else correct.get(other)
        if first is None or second is None:
            return None
        return paired_difference(first, second, seed=0, groups=groups)

    rows = []
    for cell in grid.cells:
        runs, (model, settings) = scores[cell.name], described[cell.name]
        other = cell.against or (grid.cells[0].name if cell is not grid.cells[0] else None)
        with torch.device("meta"):
            network = models.build(model, settings)
        row = Row(
            cell.name,
            sum(parameter.numel() for parameter in network.parameters()),
            multiply_adds(model, settings, settings["max_frames"]),
            clips_per_second[cell.name],
            f"{sum(part is not None for part in runs)} of {len(runs)}",
            _score_of_seeds(cell, runs, grid.score),
            other,
            difference(cell.name, other),
            difference(cell.name, grid.matched),
            cell.paper,
        )
        rows.append(row)
    return rows


def write_table(grid: Grid, scores: dict[str, list[Scores | None]], folder: Path) -> str:
    """Write table.md, table.csv and table.png into `folder`; returns the Markdown.

    Args:
        scores: those of `grid.scores_of`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = rows_of(grid, scores, folder)
    text = markdown(grid, rows, _footnotes(grid, scores))
    (folder / "table.md").write_text(text, encoding="utf-8")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_values(row) for row in rows)
    draw(grid, rows, folder / "table.png")
    return text


def markdown(grid: Grid, rows: list[Row], note: str) -> str:
    """The table for people, and below it the note on what it can show."""
    unit = "accuracy, %" if grid.score == "accuracy" else grid.score
    first = grid.cells[0].name
    differences = [f"difference from {name}" for name in (first, grid.matched) if name]
    titles = [
        *(grid.name, "parameters", "multiply-adds", "clips/s", "runs"),
        f"{unit}: mean +- std (seeds)",
        *(f"{title} (95 % interval, p)" for title in differences),
        "paper",
    ]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for row in rows:
        other = f" from {row.compared_with}" if row.compared_with not in (None, first) else ""
        cells = [
            row.cell,
            f"{row.parameters / 1e6:.2f} M",
            f"{row.multiply_adds / 1e9:.3g} G",
            f"{row.clips_per_second:.0f}",
            row.runs,
            _score_text(grid, row),
            _difference_text(row.difference, other),
            *([_difference_text(row.matched)] if grid.matched else []),
            "" if row.paper is None else f"{row.paper:g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", note])


def draw(grid: Grid, rows: list[Row], path: Path) -> None:
    """Mean and standard deviation over the seeds of each cell, with the paper's figures."""
    figure_module = require("matplotlib.figure", "plot", "drawing an ablation")
    figure = figure_module.Figure(figsize=(7, 1.2 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    known = [(position, row) for position, row in enumerate(rows) if row.mean is not None]
    axes.errorbar(
        [_shown(grid, row.mean) for _, row in known],
        [position for position, _ in known],
        xerr=[_shown(grid, row.std or 0.0) for _, row in known],
        fmt="o",
        capsize=4,
        label="here",
    )
    published = [
        (row.paper, position) for position, row in enumerate(rows) if row.paper is not None
    ]
    if published:
        axes.plot(*zip(*published, strict=True), "x", color="#888888", label="paper, its own data")
    axes.set_yticks(range(len(rows)), [row.cell for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, %" if grid.score == "accuracy" else grid.score)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def _finished_seeds(cell: Cell, runs: list[Scores | None]) -> list[list[Scores]]:
    """The scores of each seed whose runs are all finished, fold by fold."""
    per_seed = len(runs) // cell.num_seeds
    seeds = [runs[start : start + per_seed] for start in range(0, len(runs), per_seed)]
    known = [[scores for scores in seed if scores is not None] for seed in seeds]
    return [seed for seed in known if len(seed) == per_seed]


def _score_of_seeds(cell: Cell, runs: list[Scores | None], metric: str) -> list[float]:
    """The score of each finished seed: the mean over its folds."""
    return [
        statistics.fmean(scores.metrics[metric] for scores in seed)
        for seed in _finished_seeds(cell, runs)
    ]


def _correct(
    grid: Grid, scores: dict[str, list[Scores | None]]
) -> tuple[dict[str | None, Tensor | None], Tensor]:
    """By cell, which clips each finished seed named correctly `(S, N)`; and their groups `(N,)`.

    Folds stand one after another. None where a comparison would not be of like with like: pairs
    need the same clips in every seed and cell (data.validation_share draws others for each seed),
    and right or wrong is what accuracy counts, and no other score.
    """
    seeds = {cell.name: _finished_seeds(cell, scores[cell.name]) for cell in grid.cells}
    every = [seed for finished in seeds.values() for seed in finished]
    scored = {tuple(c for scores in seed for c in scores.clips) for seed in every}
    if grid.score != "accuracy" or len(scored) != 1:
        return dict.fromkeys(seeds), torch.empty(0)
    right = {
        name: [[r for scores in seed for r in scores.correct] for seed in finished]
        for name, finished in seeds.items()
    }
    groups = number_groups([name for scores in every[0] for name in scores.groups])
    return {name: torch.tensor(rows) if rows else None for name, rows in right.items()}, groups


def _described(cell: Cell) -> tuple[str, dict[str, Any]]:
    """Name and all settings of the cell's model, with the classes of its data."""
    recipe, num_classes = cell.prepared.recipe, len(cell.prepared.labels)
    return recipe.model.name, {**recipe.model_settings, "num_classes": num_classes}


def _shown(grid: Grid, value: float | None) -> float:
    return float("nan") if value is None else value * (100 if grid.score == "accuracy" else 1)


def _score_text(grid: Grid, row: Row) -> str:
    if row.mean is None:
        return "-"
    digits = 2 if grid.score == "accuracy" else 4
    text = f"{_shown(grid, row.mean):.{digits}f}"
    if row.std is not None:
        text = f"{text} +- {_shown(grid, row.std):.{digits}f}"
    seeds = ", ".join(f"{_shown(grid, seed):.{digits}f}" for seed in row.seeds)
    return f"{text} ({seeds})"


def _difference_text(difference: Difference | None, other: str = "") -> str:
    if difference is None:
        return ""
    ends = "interval not defined"
    if difference.low is not None and difference.high is not None:
        ends = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
    return f"{100 * difference.mean:+.2f} ({ends}, p {difference.p_value:.2g}){other}"


def _footnotes(grid: Grid, scores: dict[str, list[Scores | None]]) -> str:
    """What was timed where, what the differences mean, and the smallest that is likely to show."""
    timed = f"Clips/s: on the CPU, {device_name()}.\n"
    correct = _correct(grid, scores)[0][grid.cells[0].name]
    if correct is None or not 0 < correct.float().mean() < 1 or correct.shape[1] < 10:
        return timed
    accuracy, clips = correct.float().mean().item(), correct.shape[1]
    least = 100 * smallest_difference(clips, accuracy)
    return (
        f"{timed}\n"
        f"Differences are paired over the {clips} clips; their intervals hold what other clips (of "
        "other speakers or recordings, where these are known) and, where both cells have several "
        "seeds, other seeds could have given. With one run a side, these "
        f"clips would show a true difference of {least:.1f} points with 80 % probability if the "
        "models' errors were independent; fewer points where they fail on the same clips.\n"
    )


def _values(row: Row) -> list[Any]:
    differences = [row.compared_with, *_numbers(row.difference), *_numbers(row.matched)]
    seeds = " ".join(f"{seed:.6f}" for seed in row.seeds)
    costs = [row.parameters, row.multiply_adds, round(row.clips_per_second, 1), row.runs]
    return [row.cell, *costs, seeds, row.mean, row.std, *differences, row.paper]


def _numbers(difference: Difference | None) -> list[float | None]:
    return (
        [None] * 4
        if difference is None
        else [difference.mean, difference.low, difference.high, difference.p_value]
    )
