"""The card of a model: a Markdown template, with the numbers filled in from the configuration.

A template holds fields in braces: {name}, {summary}, {labels}, {sample_rate}, {window} (seconds
scored in one piece), {scores} (a table), {speed} (a sentence), {parameters}, {megabytes}, {recipe},
{seed}, and what `about.training` holds: {command}, {hours}, {hardware}.
"""

import platform
import re
import time
from pathlib import Path
from typing import Any

import torch

from auricle import checkpoint
from auricle.checkpoint import Checkpoint
from auricle.inference import Classifier

SOUND_SECONDS = 10
ROUNDS = 100


def fill(template: str, described: Checkpoint, folder: Path) -> str:
    """The card of the checkpoint `described`, whose weights lie in `folder`.

    Raises:
        SystemExit: the template has a field that the configuration does not fill.
    """
    config, classifier = described.config, Classifier(described, device="cpu")
    size = (folder / checkpoint.WEIGHTS_FILE).stat().st_size
    fields = {
        "name": folder.name,
        "summary": config.about["summary"],
        "labels": ", ".join(config.labels),
        "sample_rate": f"{classifier.sample_rate:,}",
        "window": f"{classifier.window_seconds:.1f}",
        "scores": score_table(config.about["scores"]),
        "speed": speed_sentence(config.about["speed"]),
        "parameters": f"{sum(each.numel() for each in described.model.parameters()):,}",
        "megabytes": f"{size / 1e6:.1f}",
        "recipe": config.provenance["recipe"],
        "seed": config.provenance["seed"],
        **config.about["training"],
    }
    try:
        return template.format_map(fields)
    except KeyError as error:
        raise SystemExit(f"{folder.name}: nothing fills the field {error} of its card.") from error


def score_table(scores: list[dict[str, Any]]) -> str:
    """Rows of `about.scores` in Markdown."""
    lines = ["| on | | value | 95 % interval |", "|---|---|---|---|"]
    for score in scores:
        low, high = score.get("interval") or (None, None)
        interval = "-" if low is None else f"{low:.2%} to {high:.2%}"
        lines.append(f"| {score['data']} | {score['metric']} | {score['value']:.2%} | {interval} |")
    return "\n".join(lines)


def speed_sentence(speed: dict[str, Any]) -> str:
    """What `measure_speed` found."""
    return (
        f"Speed: {speed['sound_seconds']} s of sound take {speed['milliseconds']:.0f} ms of the "
        f"processor ({speed['hardware']}), once the model is loaded."
    )


def measure_speed(described: Checkpoint) -> dict[str, Any]:
    """How long the model takes for 10 s of noise: the best of the rounds, one thread.

    Seconds of the processor are those that other programs on the machine disturb least, and the
    best those that they disturb least of all.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        classifier = Classifier(described, device="cpu")
        generator = torch.Generator().manual_seed(0)
        num_samples = SOUND_SECONDS * classifier.sample_rate
        noise = 0.1 * torch.randn(num_samples, generator=generator)
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            classifier.classify(noise, classifier.sample_rate)
            seconds.append(time.process_time() - start)
    finally:
        torch.set_num_threads(threads)
    milliseconds = round(1000 * min(seconds), 1)
    return {
        "sound_seconds": SOUND_SECONDS,
        "milliseconds": milliseconds,
        "hardware": f"one thread, {processor()}",
    }


def processor() -> str:
    """The name of this machine's processor."""
    facts = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", facts.read_text()) if facts.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
