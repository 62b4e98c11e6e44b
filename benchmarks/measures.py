"""What benchmarks of training share: clock, memory, products counted by torch, the card's peak."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

# Operations a second of matrix products in 16 bits, dense, as NVIDIA states them.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


def seconds_of(act: Callable[[], object], device: str) -> float:
    """Wall-clock time of `act`."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    act()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_gigabytes(device: str) -> float:
    """Of this process so far; on a CPU as Linux tells it."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    # Not getrusage, which begins with what the process held that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e9


def operations(act: Callable[[], object]) -> int:
    """Multiplications and additions in the matrix products and convolutions of `act`, on a CPU.

    For passes forward only: of the way back of a grouped convolution torch counts the products of
    one without groups. It takes twice those of the way forward.
    """
    # The other backends of attention have no formula on a CPU, and would count as nothing.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        act()
    return counter.get_total_flops()


def peak_share(operations_a_second: float, device: str) -> float | None:
    """Of what the card's matrix units can do in 16 bits; None where that is not known."""
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    peak = next((value for card, value in PEAKS.items() if card in name), None)
    return None if peak is None else operations_a_second / peak
