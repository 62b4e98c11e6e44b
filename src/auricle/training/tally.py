"""What one process adds up in an epoch, kept so that it can be saved in its middle."""

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from auricle.training.processes import gather


class Tally:
    """Mean loss and its parts, clips and seconds of the training part of the present epoch."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new epoch."""
        # Speed: on the device; reading them would wait for it
        self.means: dict[str, Tensor | float] = {"train_loss": 0.0}
        self.clips = 0
        self.started = time.perf_counter()
        self.seconds = 0.0  # without the validation

    @property
    def loss(self) -> Tensor | float:
        """The mean loss so far."""
        return self.means["train_loss"]

    def add(self, loss: Tensor, parts: Mapping[str, Tensor], clips: int) -> None:
        """Take in the mean loss of some clips, and of what it consisted, by name."""
        self.clips += clips
        named = {"train_loss": loss} | {f"train_{name}": part for name, part in parts.items()}
        for name, value in named.items():
            mean = self.means.get(name, 0.0)
            self.means[name] = mean + (value.detach().float() - mean) * (clips / self.clips)

    def stop_clock(self) -> None:
        """The training part is over, as far as it has come."""
        self.seconds = time.perf_counter() - self.started

    def elapsed(self) -> float:
        """Seconds since the epoch began, the validation included."""
        return time.perf_counter() - self.started

    def totals(self) -> tuple[dict[str, float], int]:
        """Means by name, and clips, of all processes together; all must call."""
        own = {name: float(mean) for name, mean in self.means.items()}
        sides = gather((own, self.clips))
        if len(sides) == 1:
            return sides[0]
        clips = sum(count for _, count in sides)
        names = dict.fromkeys(name for means, _ in sides for name in means)
        sums = {name: sum(means.get(name, 0.0) * count for means, count in sides) for name in names}
        return {name: total / max(clips, 1) for name, total in sums.items()}, clips

    def state(self) -> dict[str, Any]:
        """What `restore` needs, in plain values."""
        return {
            "means": {
                name: mean.cpu() if isinstance(mean, Tensor) else mean
                for name, mean in self.means.items()
            },
            "clips": self.clips,
            "seconds": self.elapsed(),
        }

    def restore(self, state: dict[str, Any], device: Any) -> None:
        """Go on in the middle of an epoch."""
        self.means = {
            name: mean.to(device) if isinstance(mean, Tensor) else mean
            for name, mean in state["means"].items()
        }
        self.clips = state["clips"]
        self.started = time.perf_counter() - state["seconds"]
