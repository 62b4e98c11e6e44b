"""Embed ordinary sound that is none of one's own classes, to be shipped beside a built-in model.

    python scripts/background.py MERGED/manifest.csv src/auricle/builtin/tagger

To be run anew when the weights of a model are replaced: `background.safetensors` is bound to the
encoder that made it. The manifest is what `merge_sounds.py` writes, with the likeliest label of
each clip by the teacher. Clips are drawn evenly over these labels, of the split train, and of
packages alone: neither synthetic nor of the repositories of `benchmarks/own_sounds.py`.
"""

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

import torch

from auricle import checkpoint
from auricle.errors import UserError
from auricle.experiment import background
from auricle.inference.engine import TorchEngine

CLIPS = 600
SPLIT = "train"
NOT_SOURCES = ("synthesis:", "github:")


def draw(manifest: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` clips of the manifest: one of each label, then a second of each, and so on."""
    of_label = defaultdict(list)
    with manifest.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == SPLIT and not row["source"].startswith(NOT_SOURCES):
                of_label[row["labels"]].append(row["path"])
    rounds: dict[int, list[str]] = defaultdict(list)
    shuffler = random.Random(seed)
    for paths in of_label.values():
        for number, path in enumerate(shuffler.sample(paths, len(paths))):
            rounds[number].append(path)
    order = [path for number in sorted(rounds) for path in rounds[number]]
    return [manifest.parent / path for path in order[:count]]


def main() -> None:
    """Embed the drawn clips by each model, and write the embeddings beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("models", type=Path, nargs="+", help="folders of checkpoints")
    arguments = parser.parse_args()
    paths = draw(arguments.manifest, CLIPS)
    for folder in arguments.models:
        loaded = checkpoint.load(folder)
        engine = TorchEngine(loaded, "cpu")
        found = [
            each for each in background.embed(engine, paths) if not isinstance(each, UserError)
        ]
        about = f"{len(found)} clips of freely licensed packages (docs/results/sounds.md)"
        background.write(torch.stack(found), loaded, folder, about)
        print(f"{folder / background.FILE}: {about}, {len(found[0])} numbers each")


if __name__ == "__main__":
    main()
