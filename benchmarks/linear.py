"""Linear layers in float32 on a CPU: by MKL, which torch uses, against oneDNN, as engines use it.

    python benchmarks/linear.py [--threads 1] [--repeats 50]

Both of a row take turns in one process; the best of the repeats is printed. Above 1: oneDNN is that
many times as fast.
"""

import argparse
import time

import torch
from torch import nn

from auricle.inference.engine import OneDnnLinear

# Tokens of a batch, width of the input and of the output.
SHAPES = {
    "13 clips of 5 s by tagger, attention": (819, 256, 768),
    "the same, MLP": (819, 256, 1024),
    "and back": (819, 1024, 256),
    "a clip of 5 s by tagger, MLP": (63, 256, 1024),
    "a clip of 10 s by AST-base, MLP": (1214, 768, 3072),
    "an embedding to 527 classes": (1, 256, 527),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, ", end="")
    print(f"threads {arguments.threads}, billions of operations a second")
    print(f"{'':<44}{'MKL':>9}{'oneDNN':>9}{'ratio':>7}")
    for name, (tokens, width, outputs) in SHAPES.items():
        inputs = torch.randn(tokens, width)
        layers = [kind(width, outputs) for kind in (nn.Linear, OneDnnLinear)]
        taken: list[list[float]] = [[], []]
        with torch.no_grad():
            for repeat in range(arguments.repeats + 2):  # the first two warm up
                for layer, found in zip(layers, taken, strict=True):
                    start = time.perf_counter()
                    layer(inputs)
                    found.extend([time.perf_counter() - start][: repeat >= 2])
        best = [2e-9 * tokens * width * outputs / min(found) for found in taken]
        print(f"{name:<44}{best[0]:>9.0f}{best[1]:>9.0f}{best[1] / best[0]:>7.2f}")


if __name__ == "__main__":
    main()
