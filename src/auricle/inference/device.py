"""The device a model runs on, from the word a user writes."""

import torch

from auricle.errors import ConfigError, unknown_name

KINDS = ("auto", "cpu", "cuda", "mps")


def choose(name: str) -> torch.device:
    """The device called `name`: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest present.

    Raises:
        ConfigError: there is no such kind of device, or this machine has none.
    """
    kind = name.partition(":")[0]
    if kind not in KINDS:
        raise ConfigError(unknown_name("device", name, KINDS))
    present = available()
    if name == "auto":
        return torch.device(present[0])
    if not {name, f"{name}:0", name.removesuffix(":0")} & set(present):
        raise ConfigError(
            f"device {name!r} is not available on this machine. Available: {', '.join(present)}."
        )
    return torch.device(name)


def available() -> list[str]:
    """Names of the devices of this machine, fastest first."""
    accelerators = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        accelerators.append("mps")
    return [*accelerators, "cpu"]
