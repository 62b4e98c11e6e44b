"""The differences of kept grids anew, with intervals that hold the seeds: docs/results/seeds.md.

    python scripts/seed_differences.py docs/results

Every folder that `scripts/keep_grid.py` left is read: `correct.csv` says which run named which clip
correctly, `table.csv` which cells are compared. Folds of a seed stand one after another.
"""

import argparse
import csv
import re
from pathlib import Path

import torch
from torch import Tensor

from auricle.evaluation import Difference, paired_difference
from auricle.evaluation.bootstrap import number_groups

HEAD = "| grid | difference | points | interval by clips alone | by clips and seeds | p |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="folder with grids, at any depth")
    print(f"{HEAD}\n|---|---|---|---|---|---|")
    for path in sorted(parser.parse_args().results.rglob("correct.csv")):
        print("\n".join(lines_of(path.parent)))


def lines_of(folder: Path) -> list[str]:
    """A line for each difference of a grid whose cells have several seeds."""
    clips = rows_of(folder / "correct.csv")
    cells = rows_of(folder / "table.csv")
    groups = number_groups([clip["group"] or clip["clip"] for clip in clips])
    lines = []
    for cell in cells[1:]:
        others = dict.fromkeys([cell.get("compared_with") or cells[0]["cell"], matched(cells)])
        for other in others:
            if other in (None, cell["cell"]):
                continue
            a, b = right(clips, cell["cell"]), right(clips, other)
            both = paired_difference(a, b, seed=0, groups=groups)
            if both.holds_runs:
                mean_a, mean_b = (side.double().mean(dim=0, keepdim=True) for side in (a, b))
                alone = paired_difference(mean_a, mean_b, seed=0, groups=groups)
                ends = f"{interval(alone)} | {interval(both)} | {both.p_value:.2g}"
                name = f"{cell['cell']} - {other}"
                lines.append(f"| {folder.name} | {name} | {100 * both.mean:+.2f} | {ends} |")
    return lines


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table with a head."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def matched(cells: list[dict[str, str]]) -> str | None:
    """The cell that matches another's size: the only one of some that has no difference from it."""
    without = [cell["cell"] for cell in cells if not cell["matched_difference"]]
    return without[0] if len(without) == 1 else None


def right(clips: list[dict[str, str]], cell: str) -> Tensor:
    """`(S, N)`, 1 where that seed named the clip correctly in the fold that held it back."""
    folder = re.sub(r"[^A-Za-z0-9.]+", "-", cell).strip("-")
    seeds: dict[str, list[str]] = {}
    for run in clips[0]:
        if run.startswith(f"{folder}/"):
            seeds.setdefault(run.partition("/")[2].split("-")[1], []).append(run)
    named = [
        [next(int(clip[run]) for run in runs if clip[run]) for clip in clips]
        for runs in seeds.values()
    ]
    return torch.tensor(named)


def interval(difference: Difference) -> str:
    """The ends in points."""
    if difference.low is None or difference.high is None:
        return "not defined"
    return f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"


if __name__ == "__main__":
    main()
