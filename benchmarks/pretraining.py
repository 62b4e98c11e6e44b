"""What a step of masked self-distillation costs, beside as many passes over whole clips.

    python benchmarks/pretraining.py [--size base] [--seconds 10] [--clones 16] [--rounds 3]
                                     [--threads 1] [--dtype bfloat16] [--device cuda --batch 12]

The step is that of `auricle pretrain` with EAT's settings: one pass of the teacher over the whole
clip, and for each clone a student that sees a fifth of it, a decoder, and the way back. Its peer is
what the clones replace: forward and backward of the same model over the whole clip, once for each.
Both take turns on the same features, without the optimizer, which is the same for both; the ratio
is the median over the rounds. Peak memory is that of a process that does the one or the other; the
peer's passes come one after the other, as the clones need not.

Whole steps, with the optimizer, are measured by `pretraining_hours.py`.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from measures import peak_gigabytes, seconds_of

from auricle import models
from auricle.training.objectives import SelfDistillation, SelfDistillationConfig

FRAMES_A_SECOND = 100
ROLES = ("step", "passes")


def build(options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Both sides, on the same features."""
    torch.manual_seed(0)
    frames = FRAMES_A_SECOND * options.seconds // 16 * 16
    sizes = models.MODELS["asda"].sizes[options.size]
    settings = models.ASDAConfig(**sizes, num_classes=0, max_frames=frames)
    student = models.ASDA(settings).to(options.device)
    config = SelfDistillationConfig(clones=options.clones, utterance=0.5)
    objective = SelfDistillation(student, config, options.batch).to(options.device).train()
    features = torch.randn(options.batch, frames, 128, device=options.device)
    dtype = getattr(torch, options.dtype)

    def mixed() -> Any:
        is_mixed = dtype != torch.float32
        return torch.autocast(options.device, dtype) if is_mixed else nullcontext()

    def step() -> None:
        with mixed():
            loss = objective(features, None).loss.mean()
        loss.backward()
        objective.zero_grad()

    def passes() -> None:
        for _ in range(options.clones):
            with mixed():
                loss = student.embed(features).float().square().mean()
            loss.backward()
            student.zero_grad()

    return {"step": step, "passes": passes}


def peak_of(role: str) -> float:
    """Peak memory of a process that does one side once."""
    words = [sys.executable, __file__, *sys.argv[1:], "--alone", role]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--clones", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--alone", choices=ROLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sides = build(options)
    if options.alone:
        sides[options.alone]()
        print(peak_gigabytes(options.device))
        return
    seconds: dict[str, list[float]] = {role: [] for role in ROLES}
    for turn in range(options.rounds + 1):  # the first warms up
        for role, act in sides.items():
            taken = seconds_of(act, options.device)
            if turn:
                seconds[role].append(taken)
    ratios = [whole / own for own, whole in zip(seconds["step"], seconds["passes"], strict=True)]
    result = {
        "settings": {key: value for key, value in vars(options).items() if key != "alone"},
        "seconds": {role: statistics.median(values) for role, values in seconds.items()},
        "times_cheaper": statistics.median(ratios),
        "peak_gigabytes": {role: peak_of(role) for role in ROLES},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
