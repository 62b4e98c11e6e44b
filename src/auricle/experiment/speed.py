"""How many clips a second models score, measured once and kept in a file.

The number is of one machine, so the file names it; on another one, or once a model has other
settings, it is measured anew.
"""

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auricle import models
from auricle.atomic import write_text
from auricle.config import to_json

SPEEDS_FILE = "speeds.json"
TIMED_CLIPS = 16  # in a batch
TIMED_ROUNDS = 7
MOST_SECONDS = 10.0  # for a model; what would take longer is timed on one clip, in fewer rounds

Described = tuple[str, dict[str, Any]]  # name of a model, all its settings


def speeds(described: dict[str, Described], path: Path) -> dict[str, float]:
    """Clips a second that models score on the CPU, by the names under which they are given.

    Those in the file at `path` that are of this machine and these settings are taken from there,
    the others are measured, all in turn, so that a busy machine is busy for all, and added.
    """
    device = device_name()
    stored = _read(path, device)
    requested = {
        name: {"model": model, **settings} for name, (model, settings) in described.items()
    }
    missing = [
        name for name, of in requested.items() if stored.get(name, {}).get("settings") != _plain(of)
    ]
    if missing:
        measured = measure_speeds([described[name] for name in missing])
        for name, speed in zip(missing, measured, strict=True):
            stored[name] = {"clips_per_second": speed, "settings": _plain(requested[name])}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_json({"device": device, "models": stored}, indent=2) + "\n")
    return {name: float(stored[name]["clips_per_second"]) for name in described}


def measure_speeds(described: list[Described]) -> list[float]:
    """Clips a second that models, built from their settings, score: the longest that they take.

    The models take turns; the median over the rounds is given.
    """
    networks = [models.build(name, settings).eval() for name, settings in described]

    def round_of(num_clips: int) -> list[float]:
        """How many seconds each model takes for so many clips at once."""
        return [
            _seconds(network, torch.zeros(num_clips, settings["max_frames"], settings["num_mels"]))
            for network, (_, settings) in zip(networks, described, strict=True)
        ]

    with torch.inference_mode():
        round_of(1)  # warms up
        num_clips, num_rounds = _bounded(max(round_of(1)))
        seconds = [round_of(num_clips) for _ in range(num_rounds)]
    return [num_clips / statistics.median(times) for times in zip(*seconds, strict=True)]


def _bounded(slowest: float) -> tuple[int, int]:
    """Clips in a batch, and rounds, for a model that needs `slowest` seconds for a clip."""
    if slowest * TIMED_CLIPS * TIMED_ROUNDS <= MOST_SECONDS:
        return TIMED_CLIPS, TIMED_ROUNDS
    return 1, min(TIMED_ROUNDS, max(1, int(MOST_SECONDS / slowest)))


def device_name() -> str:
    """The processor, and how many threads use it."""
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} {'thread' if threads == 1 else 'threads'}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")  # of Linux, where the library knows the architecture only
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {named[0] if named else platform.processor() or platform.machine()}"


def _seconds(network: nn.Module, features: Tensor) -> float:
    started = time.perf_counter()
    network(features)
    return time.perf_counter() - started


def _read(path: Path, device: str) -> dict[str, Any]:
    """What is known of this machine; a file that is damaged is written anew."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return dict(stored["models"]) if stored["device"] == device else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _plain(settings: dict[str, Any]) -> Any:
    """The settings as JSON gives them back."""
    return json.loads(json.dumps(settings))
