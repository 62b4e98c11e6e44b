"""What the built-in taggers cost: a 10 s clip, the whole command, and multiply-adds.

    python benchmarks/tagger.py [MODEL ...] [--teacher mn04_as.safetensors] [--repeats 20]

Models are named as for auricle predict; without a name, the built-in ones that name everyday sound.
All models of a run take turns, so that whatever else the machine does falls on all of them; the
best of the repeats is printed. Times of a clip are from waveform to scores, at the model's own
sample rate; those of the command are from process start to printed labels.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from auricle.inference import Classifier, builtin_names, description, engine, windows

SECONDS = 10
CLIP_RATE = 44_100  # Hz, of the file, as recorders have it
TAGGERS = ("tagger", "tagger_tiny", "esc10")
THREADS = (1, 2)
AURICLE = "from auricle.cli.main import main; main()"

# Published: "3.7M weights and performs 69.2M multiplies for each 960ms input frame"; frames overlap
# by half, the first needs 0.975 s, and the released code fills a clip up to whole frames.
# https://github.com/tensorflow/models/blob/master/research/audioset/yamnet/README.md
YAMNET_PARAMETERS = 3.7e6
YAMNET_MULTIPLIES = 69.2e6
YAMNET_FIRST_SECONDS, YAMNET_HOP_SECONDS = 0.975, 0.48


def waveform(classifier: Classifier) -> Tensor:
    """Noise of 10 s at the model's rate."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(SECONDS * classifier.sample_rate, generator=generator)


def clip_seconds(
    classifiers: dict[str, Classifier], threads: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds that each model takes for the clip, model after model, again and again."""
    torch.set_num_threads(threads)
    clips = {name: waveform(each) for name, each in classifiers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in classifiers}
    for repeat in range(repeats + 2):  # the first two warm up
        for name, classifier in classifiers.items():
            start = time.perf_counter()
            classifier.score_waveforms([clips[name]])
            if repeat >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def multiply_adds(classifier: Classifier) -> int:
    """Of all windows of a 10 s clip, without the filterbank."""
    checkpoint = classifier.checkpoint
    config, fbank = checkpoint.config, checkpoint.fbank
    padding = config.front_end.padding
    total = 0
    for window in windows.split([waveform(classifier)], engine.longest_samples(checkpoint)):
        frames = max(padding.frames, fbank.num_frames(len(window.waveform)))
        frames = padding.frames if padding.mode == "fixed" else frames
        total += description.multiply_adds(config.model, config.model_settings, frames)
    return total


def process_seconds(repeats: int, *words: str) -> float:
    """The shortest time from start to end of a Python process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def print_clips(classifiers: dict[str, Classifier], teacher: str | None, repeats: int) -> None:
    """Print the table of times of a clip."""
    print(f"\n{SECONDS} s clip, milliseconds (best, median of {repeats})")
    head = "".join(f"{f'{count} thread' + 's' * (count > 1):>18}" for count in THREADS)
    print(f"{'':<28}{head}" + ("   teacher / model" if teacher else ""))
    found = {count: clip_seconds(classifiers, count, repeats) for count in THREADS}
    for name in classifiers:
        line = f"{name:<28}"
        for count in THREADS:
            seconds = found[count][name]
            line += f"{1000 * min(seconds):>9.1f}{1000 * statistics.median(seconds):>9.1f}"
        if teacher:
            for count in THREADS:
                line += f"{min(found[count][teacher]) / min(found[count][name]):>9.2f}"
        print(line)


def print_processes(names: list[str], repeats: int) -> None:
    """Print the table of times of the whole command."""
    print(f"\nfrom process start to printed labels, a file of {SECONDS} s (best of {repeats})")
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "clip.wav")
        noise = np.random.default_rng(0).normal(scale=0.1, size=SECONDS * CLIP_RATE)
        soundfile.write(clip, noise, CLIP_RATE)
        for name in names:
            words = ("predict", clip, "--model", name, "--device", "cpu")
            seconds = process_seconds(repeats, AURICLE, *words)
            print(f"{f'auricle predict, {name}':<42} {seconds:6.2f} s")
    print(f"{'import torch':<42} {process_seconds(repeats, 'import torch'):6.2f} s")


def print_costs(classifiers: dict[str, Classifier]) -> None:
    """Print parameters and multiply-adds beside YAMNet's."""
    print(f"\n{'':<28}{'parameters':>12}{f'multiply-adds in {SECONDS} s':>24}")
    for name, classifier in classifiers.items():
        model = classifier.checkpoint.model
        parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{name:<28}{parameters / 1e6:>10.2f} M{multiply_adds(classifier) / 1e9:>22.3f} G")
    hops = int(np.ceil((SECONDS - YAMNET_FIRST_SECONDS) / YAMNET_HOP_SECONDS))
    total = (hops + 1) * YAMNET_MULTIPLIES
    name = f"YAMNet, published, {hops + 1} frames"
    print(f"{name:<28}{YAMNET_PARAMETERS / 1e6:>10.2f} M{total / 1e9:>22.3f} G")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="as for auricle predict")
    parser.add_argument("--teacher", help="a model that the others are compared with")
    parser.add_argument("--repeats", type=int, default=20, help="of a clip")
    parser.add_argument("--processes", type=int, default=5, help="of the command")
    arguments = parser.parse_args()
    names = arguments.models or [name for name in TAGGERS if name in builtin_names()]
    if arguments.teacher:
        names = [*names, arguments.teacher]
    classifiers = {name: Classifier.load(name, device="cpu") for name in names}
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the run, torch {torch.__version__}")
    print_clips(classifiers, arguments.teacher, arguments.repeats)
    print_processes(names, arguments.processes)
    print_costs(classifiers)


if __name__ == "__main__":
    main()
