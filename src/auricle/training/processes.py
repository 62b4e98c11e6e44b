"""What several processes that train one model tell each other; alone, a process asks itself."""

import atexit
from typing import Any

import torch
from torch import distributed


def gather(value: Any) -> list[Any]:
    """`value` of every process, in their order; all must call."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


def is_first() -> bool:
    """Whether this process writes for all, once they work together."""
    return not (distributed.is_available() and distributed.is_initialized()) or (
        distributed.get_rank() == 0
    )


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Where this process stands in torch's random numbers."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    """Go on with the random numbers where `random_state` was asked."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"])


def leave_at_exit() -> None:
    """Close the connection, should there be one then, when the interpreter ends."""
    atexit.unregister(_leave)  # once is enough, however many runs there are
    atexit.register(_leave)


def _leave() -> None:
    """Close the connection before the interpreter goes: its threads would abort the process.

    They ask for the interpreter's lock, and a thread that asks for it after the end is torn out of
    C++ code that may not be left so ("terminate called without an active exception"). lightning
    does the same for NCCL alone.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
