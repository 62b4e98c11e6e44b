"""How long `auricle predict` takes on a clip of five seconds, from process start, and for what.

    python benchmarks/predict.py [--model tagger] [--repeats 5]

The best of the repeats is printed: whatever else the machine does only adds to it. CPU seconds
are those of all threads.
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

import numpy as np
import soundfile

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


def run(program: str, *words: str) -> tuple[float, float, str]:
    """Wall and CPU seconds of a Python process, and what it printed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", program, *words]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, result.stdout


def report(name: str, seconds: list[tuple[float, float]]) -> None:
    """Print the line of the table for repeated wall and CPU `seconds`."""
    wall, cpu = (min(column) for column in zip(*seconds, strict=True))
    print(f"{name:<42} {wall:6.2f} s  {cpu:6.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tagger", help="as for auricle predict")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "clip.wav")
        noise = np.random.default_rng(0).normal(scale=0.1, size=CLIP_SECONDS * CLIP_RATE)
        soundfile.write(clip, noise, CLIP_RATE)
        print(f"{arguments.model}, {os.cpu_count()} cores, best of {arguments.repeats}")
        print(f"{'':<42} {'wall':>8}  {'CPU':>8}")
        words = ("predict", clip, "--model", arguments.model, "--device", "cpu")
        for name, program, given in (
            ("auricle --help", AURICLE, ("--help",)),
            (f"auricle predict, a clip of {CLIP_SECONDS} s", AURICLE, words),
            ("  of which: an empty Python process", "pass", ()),
        ):
            runs = [run(program, *given) for _ in range(arguments.repeats)]
            report(name, [(wall, cpu) for wall, cpu, _ in runs])
        runs = [run(STEPS, arguments.model, clip) for _ in range(arguments.repeats)]
        steps = zip(*(json.loads(printed) for _, _, printed in runs), strict=True)
        for name, seconds in zip(STEP_NAMES, steps, strict=True):
            report(f"  of which: {name}", list(seconds))


if __name__ == "__main__":
    main()
