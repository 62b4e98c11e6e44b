"""Keep the logs of an ablation beside the docs, without paths of the machine that ran it.

    python scripts/keep_grid.py OUT docs/results/ham/NAME

OUT is the folder of `auricle ablate`. The table is copied in its three forms; `runs.jsonl` gets a
line for each run (scores, seconds, every epoch), `correct.csv` one for each clip: which run named
it correctly. That is enough to make every difference of the table anew.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any

TABLES = ("table.md", "table.csv", "table.png")
EPOCH = ("epoch", "train_loss", "validation_loss", "accuracy", "mAP", "seconds")


def main() -> None:
    """Read the arguments and write everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("grid", type=Path, help="folder of auricle ablate")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        shutil.copyfile(arguments.grid / name, arguments.out / name)
    folders = sorted(path.parent for path in arguments.grid.glob("*/*/scores.json"))
    lines = [json.dumps(of_run(folder)) + "\n" for folder in folders]
    (arguments.out / "runs.jsonl").write_text("".join(lines))
    write_correct(folders, arguments.out / "correct.csv")
    print(f"{len(folders)} runs in {arguments.out}")


def of_run(folder: Path) -> dict[str, Any]:
    """What is known of a run: its scores on unseen clips, and every epoch."""
    scores = json.loads((folder / "scores.json").read_text())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [{name: record[name] for name in EPOCH if name in record} for record in records]
    kept = {name: scores[name] for name in ("checkpoint", "clips_of", "metrics")}
    return {"cell": folder.parent.name, "run": folder.name, **kept, "epochs": epochs}


def write_correct(folders: list[Path], path: Path) -> None:
    """A line for each clip: its file name, its group if it has one, and 0 or 1 for each run."""
    columns: dict[str, dict[str, int]] = {}
    groups: dict[str, str] = {}
    for folder in folders:
        scores = json.loads((folder / "scores.json").read_text())
        clips = [f"{Path(clip).parent.name}/{Path(clip).name}" for clip in scores["clips"]]
        for clip, group in zip(clips, scores["groups"], strict=True):
            # A clip without a group is its own, by a path that tells of the machine.
            groups[clip] = "" if group.endswith(clip) else group
        right = dict(zip(clips, map(int, scores["correct"]), strict=True))
        columns[f"{folder.parent.name}/{folder.name}"] = right
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clip", "group", *columns])
        for clip in sorted(groups):
            writer.writerow(
                [clip, groups[clip], *(right.get(clip, "") for right in columns.values())]
            )


if __name__ == "__main__":
    main()
