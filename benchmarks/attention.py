"""Attention under bf16 autocast on a CPU, forward and back: ours against torch's kernel in 16 bits.

    python benchmarks/attention.py [--threads 1] [--repeats 20]

Both of a row take turns in one process; seconds are the processor's, which other programs disturb
least. Above 1: `models.encoder.attend`, which computes short sequences in float32, is that many
times as fast.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.models.encoder import attend

# Clips, heads, tokens, width of a head.
SHAPES = {
    "1 s, 16 x 8 patches (tune_words_small)": (32, 4, 97, 32),
    "its students in pretraining": (256, 4, 20, 32),
    "3 s, patches of full height (tagger)": (32, 8, 39, 32),
    "5 s, 16 x 16 patches (tune_sounds_small)": (16, 3, 249, 64),
    "10 s, AST-base": (1, 12, 1214, 64),
    "10 s, students of ASDA-base in pretraining": (16, 12, 103, 64),
}

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def seconds(attention: Attention, parts: list[Tensor], gradient: Tensor) -> float:
    """Of the processor, for one way forward and back."""
    start = time.process_time()
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(*parts)
    found.backward(gradient)
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, threads {arguments.threads}, medians in milliseconds")
    print(f"{'':<44}{'torch':>9}{'ours':>9}{'ratio':>7}")
    for name, shape in SHAPES.items():
        parts = [torch.randn(shape).bfloat16().requires_grad_() for _ in range(3)]
        gradient = torch.randn(shape).bfloat16()
        taken: dict[Attention, list[float]] = {F.scaled_dot_product_attention: [], attend: []}
        for repeat in range(arguments.repeats + 2):  # the first two warm up
            for attention, found in taken.items():
                found.extend([seconds(attention, parts, gradient)][: repeat >= 2])
        theirs, ours = (1000 * statistics.median(found) for found in taken.values())
        print(f"{name:<44}{theirs:>9.1f}{ours:>9.1f}{theirs / ours:>7.2f}")


if __name__ == "__main__":
    main()
