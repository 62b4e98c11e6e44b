"""Ask a teacher what it hears in every clip of a manifest, and store that as training targets.

    python scripts/teacher_targets.py MANIFEST OUT.safetensors --teacher FOLDER
        [--temperature 4 | --standardise]

FOLDER holds teacher.py (with `load_teacher` and `resample`) and its weights. The file that is
written holds `targets` (N, C), float16 probabilities sigmoid(logit / temperature), and in its
metadata the C `labels` as JSON; MANIFEST gets its column `soft_targets` filled
("OUT.safetensors:row"). At a higher temperature the probabilities of unlikely classes tell more of
what the teacher knows.

`--standardise` gives every class a temperature and a bias of its own: the target is
sigmoid((logit - mean) / std) over the manifest's clips, so that each class teaches as much as any
other; so do the numbers of the teacher's embedding, which follow as columns "embedding 0", ...
On mostly quiet classes the plain targets hold almost the same number for every clip, and a student
of few clips learns that number and little else.

Clips are heard at the teacher's own rate. One thread and one clip at a time: on processors that is
fastest for the small teacher this was written for (50 clips a second).
"""

import argparse
import csv
import importlib.util
import json
import os
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file
from torch import Tensor

SHORTEST = 0.1  # seconds; shorter clips are padded with silence
LEAST_SPREAD = 1e-3  # standard deviation of a number that says nothing
CERTAIN = 0.3  # probability from which the report counts a label as heard


def main() -> None:
    """Read the arguments, listen to every clip, write targets and manifest, report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--teacher", type=Path, required=True, help="folder with teacher.py")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="divides the logits (Hinton et al. 2015)"
    )
    parser.add_argument(
        "--standardise", action="store_true", help="every class alike, and the embedding as well"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    module = load_module(arguments.teacher / "teacher.py")
    teacher = module.load_teacher(arguments.teacher)
    rows = read_rows(arguments.manifest)
    folder = arguments.manifest.parent
    paths = [folder / row["path"] for row in rows]
    heard = [listen(module, teacher, path) for path in paths]
    logits = torch.stack([logits for logits, _ in heard])
    labels = list(teacher.labels)
    if arguments.standardise:
        embeddings = torch.stack([embedding for _, embedding in heard])
        targets = standardise(torch.cat([logits, embeddings], dim=1))
        names = labels + [f"embedding {index}" for index in range(embeddings.shape[1])]
    else:
        targets, names = logits / arguments.temperature, labels
    targets = targets.sigmoid().half()
    save_file({"targets": targets}, arguments.out, metadata={"labels": json.dumps(names)})
    name = Path(os.path.relpath(arguments.out, folder)).as_posix()
    write_rows(arguments.manifest, rows, name)
    report(logits.sigmoid(), labels)


def load_module(path: Path) -> ModuleType:
    """Import the Python file `path`.

    Raises:
        SystemExit: there is no such file.
    """
    if not path.exists():
        raise SystemExit(f"{path}: not there; --teacher must name the folder of the teacher.")
    specification = importlib.util.spec_from_file_location("teacher", path)
    assert specification is not None and specification.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@torch.inference_mode()
def listen(module: ModuleType, teacher: torch.nn.Module, path: Path) -> tuple[Tensor, Tensor]:
    """Logits of the teacher's classes for one clip, (C,), and its embedding (D,)."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = torch.from_numpy(np.ascontiguousarray(samples.mean(axis=1)))
    missing = max(round(SHORTEST * rate) - len(waveform), 0)
    waveform = torch.nn.functional.pad(waveform, (0, missing))[None]
    if rate != teacher.sample_rate:
        waveform = module.resample(waveform, rate, teacher.sample_rate)
    logits, embeddings = teacher(waveform)
    return logits[0], embeddings[0]


def standardise(values: Tensor) -> Tensor:
    """Each column of `values` (N, C) with mean 0 and standard deviation 1."""
    return (values - values.mean(dim=0)) / values.std(dim=0).clamp(min=LEAST_SPREAD)


def read_rows(manifest: Path) -> list[dict[str, str]]:
    """Rows of the manifest.

    Raises:
        SystemExit: it has no column `path`, or no row.
    """
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "path" not in rows[0]:
        raise SystemExit(f"{manifest}: needs a column 'path' and at least one row.")
    return rows


def write_rows(manifest: Path, rows: list[dict[str, str]], name: str) -> None:
    """Write the manifest again, with row k pointing to row k of the targets in `name`."""
    names = [*rows[0], *(["soft_targets"] if "soft_targets" not in rows[0] else [])]
    beside = manifest.with_suffix(".part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for index, row in enumerate(rows):
            writer.writerow(row | {"soft_targets": f"{name}:{index}"})
    beside.replace(manifest)


def report(targets: Tensor, labels: list[str]) -> None:
    """Print how many clips have each label as the likeliest, and how many have it for certain."""
    top = Counter(labels[index] for index in targets.argmax(dim=1).tolist())
    certain = dict(zip(labels, (targets > CERTAIN).sum(dim=0).tolist(), strict=True))
    print(f"{len(targets)} clips. Label: likeliest in, above {CERTAIN} in")
    for label in sorted(labels, key=lambda name: -certain[name]):
        if certain[label]:
            print(f"  {label}: {top[label]}, {certain[label]}")


if __name__ == "__main__":
    main()
