"""The machine that a run is trained on: devices, processes, signals, and its errors.

It is no part of a recipe, for results do not depend on it.
"""

import atexit
import errno
import logging
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import distributed

from auricle.errors import ConfigError, UserError
from auricle.training.settings import TrainingConfig

DEVICES = ("auto", "cpu", "cuda")
STRATEGIES = ("auto", "ddp", "fsdp")


@dataclass(frozen=True)
class Machine:
    """Where to train, and how the clips of a batch are shared among processes, one a device.

    ddp: every process holds the whole model. fsdp: the processes share its weights, too.
    auto: ddp where there are several processes.
    """

    device: str = "auto"
    devices: int = 1  # on each node
    nodes: int = 1
    strategy: str = "auto"
    save_every: float = 15.0  # minutes; the state of a long epoch is saved so often

    @property
    def num_processes(self) -> int:
        """Of all nodes together."""
        return self.devices * self.nodes

    @property
    def lightning_strategy(self) -> str:
        """The strategy as lightning calls it."""
        if self.strategy == "auto" and self.num_processes > 1:
            return "ddp"
        return self.strategy

    @property
    def kind(self) -> Literal["cpu", "cuda", "mps"]:
        """The kind of device that is trained on."""
        if self.device == "cpu":
            return "cpu"
        if self.device == "cuda" or torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def peak_memory_gb(self) -> float | None:
        """The most memory that this process has held: of its CUDA device if it has one.

        None on Windows without one, where the system does not count it in a comparable way.
        """
        if self.kind == "cuda":
            return round(torch.cuda.max_memory_allocated() / 1e9, 3)
        if sys.platform == "win32":
            return None
        import resource  # of Unix alone

        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)

    def precision(self, setting: str) -> str:
        """The precision to train in where a recipe has `setting`.

        bf16-mixed is refused by nothing, but a CPU without instructions for it is up to 60 times
        slower with it than in float32, which is then used.
        """
        if setting not in ("auto", "bf16-mixed"):
            return setting
        if self.kind == "cpu":
            return "bf16-mixed" if has_bf16_instructions() else "32-true"
        if setting == "auto" and (self.kind == "mps" or not torch.cuda.is_bf16_supported(False)):
            return "32-true"
        return "bf16-mixed"

    def check(self, config: TrainingConfig) -> None:
        """Refuse what this machine cannot do (ConfigError)."""
        _check_names(self)
        _check_devices(self)
        _check_launch(self)
        _check_settings(self, config)


def has_bf16_instructions() -> bool:
    """Whether this CPU multiplies bf16 numbers by instructions of its own."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # The same question to oneDNN is answered with yes by any AVX-512, which is slow at it.
    return bool(torch.cpu._is_avx512_bf16_supported())


def _check_names(machine: Machine) -> None:
    for option, value, known in (
        ("--device", machine.device, DEVICES),
        ("--strategy", machine.strategy, STRATEGIES),
    ):
        if value not in known:
            raise ConfigError(f"{option} {value}: choose one of {', '.join(known)}.")
    for option, number in (("--devices", machine.devices), ("--nodes", machine.nodes)):
        if number < 1:
            raise ConfigError(f"{option} {number}: give 1 or more.")
    if machine.save_every <= 0:
        raise ConfigError(f"--save-every {machine.save_every:g}: give more than 0 minutes.")


def _check_devices(machine: Machine) -> None:
    present = torch.cuda.device_count()
    if machine.device == "cuda" and not present:
        raise ConfigError(
            "--device cuda: this machine has no CUDA device that torch can use. Use --device cpu, "
            "or install a driver and a build of torch for it."
        )
    if machine.kind == "cuda" and machine.devices > present:
        raise ConfigError(
            f"--devices {machine.devices}: this machine has {present} CUDA "
            f"{'device' if present == 1 else 'devices'}. Use --devices {present}."
        )
    if machine.kind == "mps" and machine.num_processes > 1:
        raise ConfigError("--devices: several processes need CUDA devices, or --device cpu.")
    if machine.strategy == "fsdp" and machine.kind != "cuda":
        raise ConfigError(
            "--strategy fsdp needs CUDA devices. On a CPU use --strategy ddp, with which every "
            "process holds the whole model."
        )


def _check_launch(machine: Machine) -> None:
    """Refuse to be one of more processes than the options set, as torchrun may start them."""
    started = int(os.environ.get("LOCAL_WORLD_SIZE", machine.devices))
    if started != machine.devices:
        raise ConfigError(
            f"--devices {machine.devices}: torchrun has started {started} processes here. "
            f"Use --devices {started}."
        )


def _check_settings(machine: Machine, config: TrainingConfig) -> None:
    if config.precision == "16-mixed" and machine.kind != "cuda":
        raise ConfigError(
            "training.precision: 16-mixed needs a CUDA device; use bf16-mixed or 32-true here."
        )
    if machine.strategy == "fsdp" and (config.step_average or config.epoch_average):
        raise ConfigError(
            "--strategy fsdp: weights are not averaged where processes share them. Use --strategy "
            "ddp, or leave training.average_decay and training.average_epochs out."
        )
    if config.batch_size % (machine.num_processes * config.accumulate):
        raise ConfigError(
            f"training.batch_size is {config.batch_size}, which {machine.num_processes} processes "
            f"with training.accumulate={config.accumulate} cannot share evenly. Use a multiple "
            f"of {machine.num_processes * config.accumulate}."
        )


def gather(value: Any) -> list[Any]:
    """`value` of every process, in their order; all must call."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered


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
    """Restore the state of the random numbers that `random_state` returned."""
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


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """A training was ended by SIGTERM; its state is saved."""


class Stopped(BaseException):
    """A training was ended by a signal, and leaves the loop."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Stop:
    """Notes that a signal came; a second Ctrl-C does not wait."""

    def __init__(self) -> None:
        self.number = 0  # of the signal; 0: none came

    def install(self) -> None:
        """Take the signals over; lightning gives them back to who had them before."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


def ignore_signals(worker: int) -> None:
    """For processes that read sounds: they end with the one that they work for, not before it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def as_user_errors(folder: Path) -> Iterator[None]:
    """Errors of the machine in the block become UserErrors.

    Args:
        folder: of the run, to be resumed.

    Raises:
        UserError: memory or disk are full, or a process that reads sounds met a user's error.
    """
    try:
        yield
    except UserError as error:
        # From a process that reads sounds it arrives as a traceback: keep its message.
        text = str(error)
        if not text.startswith("Caught "):
            raise
        message = text.rpartition(f"{type(error).__name__}: ")[2].strip()
        raise type(error)(message) from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"{folder}: the disk is full ({error}). Finished epochs are kept; free some space and "
            f"go on with: auricle train --resume {folder}"
        ) from error
    except RuntimeError as error:
        text = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in text:
            raise
        line = text.partition("\n")[0].strip().removesuffix(".")
        raise UserError(
            f"out of memory: {line}. Give a larger training.accumulate (a batch is "
            "taken in so many parts, the result stays the same), a smaller training.batch_size, "
            "training.precision=bf16-mixed, or a shorter data.crop_seconds."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep lightning's notes on hardware, loggers, workers and its own products from the user."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
