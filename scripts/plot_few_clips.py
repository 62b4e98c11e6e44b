"""Draw what pretraining is worth with few labels: accuracy against labelled clips a class.

    python scripts/plot_few_clips.py FOLDER [FOLDER ...] --all 220 [32 ...] --out few_clips.png

A FOLDER is one of `keep_grid.py`, whose cells are called "pretrained-N" and "scratch-N" for N clips
a class, or "-all"; `--all` says how many those are, for each folder. Each has a panel of its own:
mean and standard deviation over the seeds, and every seed as a faint dot.
"""

import argparse
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

CELL = re.compile(r"(pretrained|scratch)-(\d+|all)")
SEED = re.compile(r"seed-\d+")  # what follows in the name of a run is its fold
COLOURS = {"pretrained": "#1f77b4", "scratch": "#888888"}
LABELS = {"pretrained": "pretrained", "scratch": "from scratch"}
APART = {"pretrained": 1.03, "scratch": 1 / 1.03}  # so that no bar hides another; dots further
SIZE_INCHES = (4.2, 3.6)  # of a panel
DOTS_PER_INCH = 120

Scores = dict[str, list[float]]  # of the seeds, by "1", "5", ..., "all"


def scores_of(folder: Path) -> dict[str, Scores]:
    """Accuracies in percent of both starts; a seed's is the mean over its folds."""
    folds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in (folder / "runs.jsonl").read_text().splitlines():
        run = json.loads(line)
        cell, seed = CELL.fullmatch(run["cell"]), SEED.match(run["run"])
        if cell is None or seed is None:
            raise SystemExit(f"{folder}: {run['cell']}/{run['run']} is no run of few clips.")
        folds[cell[1], cell[2], seed[0]].append(100 * run["metrics"]["accuracy"])
    found: dict[str, Scores] = {start: defaultdict(list) for start in COLOURS}
    for (start, clips, _), values in folds.items():
        found[start][clips].append(statistics.fmean(values))
    return found


def deviation(seeds: list[float]) -> float:
    """Of a sample; 0 for a single seed."""
    return statistics.stdev(seeds) if len(seeds) > 1 else 0.0


def draw(axes: Axes, folder: Path, all_clips: float) -> None:
    """One panel."""
    numbers: set[float] = set()
    for start, scores in scores_of(folder).items():
        points = {all_clips if clips == "all" else int(clips): scores[clips] for clips in scores}
        places = sorted(points)
        numbers |= points.keys()
        for place in places:
            seeds = points[place]
            shown = [place * APART[start] ** 3] * len(seeds)
            axes.plot(shown, seeds, "o", color=COLOURS[start], alpha=0.3, markeredgewidth=0)
        axes.errorbar(
            [place * APART[start] for place in places],
            [statistics.fmean(points[place]) for place in places],
            yerr=[deviation(points[place]) for place in places],
            fmt="o-",
            markersize=4,
            capsize=4,
            color=COLOURS[start],
            label=LABELS[start],
        )
    axes.set_xscale("log")
    names = [f"{number:g}" + "\n(all)" * (number == all_clips) for number in sorted(numbers)]
    axes.set_xticks(sorted(numbers), names)
    axes.minorticks_off()
    axes.set_xlabel("labelled clips a class")
    axes.grid(axis="y", alpha=0.3)


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="of keep_grid.py")
    parser.add_argument("--all", nargs="+", type=float, required=True, help="clips a class")
    parser.add_argument("--titles", nargs="+", help="(default: names of the folders)")
    parser.add_argument("--out", type=Path, required=True, help="picture")
    arguments = parser.parse_args()
    folders = arguments.folders
    titles = arguments.titles or [folder.name for folder in folders]
    if not len(folders) == len(arguments.all) == len(titles):
        parser.error("give --all, and --titles, a value for each folder")
    size = (SIZE_INCHES[0] * len(folders), SIZE_INCHES[1])
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(folders), sharey=True, squeeze=False)[0]
    for axes, folder, all_clips, title in zip(panels, folders, arguments.all, titles, strict=True):
        draw(axes, folder, all_clips)
        axes.set_title(title)
    panels[0].set_ylim(0, 100)
    panels[0].set_ylabel("accuracy, %: mean and std over seeds")
    panels[0].legend(frameon=False, loc="upper left")
    figure.savefig(arguments.out, dpi=DOTS_PER_INCH, metadata={"Software": None})


if __name__ == "__main__":
    main()
