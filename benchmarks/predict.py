"""How long `auricle predict` takes, from process start: on one clip, and on a folder of them.

    python benchmarks/predict.py [--model tagger] [--repeats 5]
    python benchmarks/predict.py --folder esc10/audio --against ffba75a [--repeats 3]

The first says what a clip of five seconds takes, and for what. The second compares the files a
second of this source with those of another commit, in turn. The best of the repeats is printed:
whatever else the machine does only adds to it. CPU seconds are those of all threads.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SOURCE = Path(__file__).parents[1] / "src"
CLIP_SECONDS = 5
CLIP_RATE = 44_100  # Hz, as recorders have it, so that resampling is in the number

AURICLE = "from auricle.cli.main import main; main()"
STEPS = """
import json, sys, time
marks = []
def mark():
    marks.append((time.perf_counter(), time.process_time()))
mark()
import torch
mark()
from auricle.inference import Classifier
mark()
classifier = Classifier.load(sys.argv[1], device="cpu")
mark()
classifier.classify_file(sys.argv[2])
mark()
print(json.dumps([[b - a for a, b in zip(*pair)] for pair in zip(marks, marks[1:])]))
"""
STEP_NAMES = ("import torch", "import auricle.inference", "load the model", "read and score")


def run(program: str, *words: str, source: Path = SOURCE) -> tuple[float, float, str]:
    """Wall and CPU seconds of a process with the package at `source`, and what it printed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", program, *words]
    environment = os.environ | {"PYTHONPATH": str(source)}
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, result.stdout


def report(name: str, seconds: list[tuple[float, float]]) -> None:
    """Print the line of the table for repeated wall and CPU `seconds`."""
    wall, cpu = (min(column) for column in zip(*seconds, strict=True))
    print(f"{name:<42} {wall:6.2f} s  {cpu:6.2f} s")


def compare(folder: Path, commit: str, model: str, repeats: int) -> None:
    """Print the files a second of this source and of `commit`, and how far their scores differ."""
    words = ("predict", str(folder), "--model", model, "--device", "cpu", "--json")
    with tempfile.TemporaryDirectory() as other:
        archive = subprocess.run(
            ["git", "archive", commit, "src"], cwd=SOURCE.parent, check=True, capture_output=True
        )
        subprocess.run(["tar", "x", "-C", other], input=archive.stdout, check=True)
        sources = {commit: Path(other) / "src", "this source": SOURCE}
        runs: dict[str, list[tuple[float, float, str]]] = {name: [] for name in sources}
        for _ in range(repeats):  # in turn, so that both meet the same machine
            for name, source in sources.items():
                runs[name].append(run(AURICLE, *words, source=source))
    answers = {
        name: [json.loads(line) for line in found[-1][2].splitlines()]
        for name, found in runs.items()
    }
    print(f"{model}, {os.cpu_count()} cores, best of {repeats}, {len(answers[commit])} files")
    for name, found in runs.items():
        wall, cpu = (min(column) for column in list(zip(*found, strict=True))[:2])
        print(
            f"{name:<20} {wall:6.2f} s  {cpu:6.2f} s CPU  {len(answers[name]) / wall:6.1f} files/s"
        )
    print(f"largest difference of a score: {difference(*answers.values()):.1e}")


def difference(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """The largest difference of the scores that both give the same label of the same file."""
    largest = 0.0
    for first, second in zip(one, other, strict=True):
        scores = {entry["label"]: entry["score"] for entry in first["labels"]}
        for entry in second["labels"]:
            known = scores.get(entry["label"], entry["score"])
            largest = max(largest, abs(entry["score"] - known))
    return largest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tagger", help="as for auricle predict")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="of sound files, to compare two sources on")
    parser.add_argument("--against", default="HEAD", help="commit to compare with")
    arguments = parser.parse_args()
    if arguments.folder:
        compare(arguments.folder, arguments.against, arguments.model, arguments.repeats)
    else:
        dissect(arguments.model, arguments.repeats)


def dissect(model: str, repeats: int) -> None:
    """Print what predicting one clip takes, and for what."""
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "clip.wav")
        noise = np.random.default_rng(0).normal(scale=0.1, size=CLIP_SECONDS * CLIP_RATE)
        soundfile.write(clip, noise, CLIP_RATE)
        print(f"{model}, {os.cpu_count()} cores, best of {repeats}")
        print(f"{'':<42} {'wall':>8}  {'CPU':>8}")
        words = ("predict", clip, "--model", model, "--device", "cpu")
        for name, program, given in (
            ("auricle --help", AURICLE, ("--help",)),
            (f"auricle predict, a clip of {CLIP_SECONDS} s", AURICLE, words),
            ("  of which: an empty Python process", "pass", ()),
        ):
            runs = [run(program, *given) for _ in range(repeats)]
            report(name, [(wall, cpu) for wall, cpu, _ in runs])
        runs = [run(STEPS, model, clip) for _ in range(repeats)]
        steps = zip(*(json.loads(printed) for _, _, printed in runs), strict=True)
        for name, seconds in zip(STEP_NAMES, steps, strict=True):
            report(f"  of which: {name}", list(seconds))


if __name__ == "__main__":
    main()
