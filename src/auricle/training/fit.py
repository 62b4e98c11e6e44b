"""The training loop: lightning around any step.

All randomness of an epoch follows from (seed, epoch, process). Beside the history, `logs/` in its
folder holds the same numbers and the loss of single steps, for spreadsheets and TensorBoard.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from auricle.training.adapter import Adapter, LoaderSpecs
from auricle.training.checkpoints import CheckpointCallback, EpochAverage, MovingAverage, StateFile
from auricle.training.framework import FSDPStrategy, lightning, rank_zero_only
from auricle.training.history import STATE_FILE, History
from auricle.training.machine import (
    Machine,
    Stop,
    Stopped,
    Terminated,
    as_user_errors,
    gather,
    leave_at_exit,
    quiet,
)
from auricle.training.progress import ProgressBar, check_services, loggers
from auricle.training.settings import TrainingConfig
from auricle.training.step import Step

LOG_EVERY = 10  # steps between two entries of the step logs
SHARED_PARAMETERS = 1_000_000  # parts of a model at least so large are gathered one at a time


def fit(  # noqa: PLR0913 - what is trained, on what, how, and where it goes
    step: Step,
    specs: LoaderSpecs,
    config: TrainingConfig,
    history: History,
    seed: int,
    machine: Machine | None = None,
) -> None:
    """Train `step`, and add every epoch to `history`.

    If the history resumes, the run that is in its folder goes on. If the weights are
    averaged over steps, the average is what is validated and saved; if over epochs, it is both at
    the end.

    Raises:
        ConfigError: the machine cannot run this, the state is not of these clips, or
            the loss is no longer a number.
        DataError: too many clips cannot be read.
        UserError: memory or disk are full.
        KeyboardInterrupt: Ctrl-C, or (Terminated) SIGTERM; the state is saved.
    """
    machine = machine or Machine()
    check(config, machine)
    adapter = Adapter(step, specs, config, seed, specs.faults(history.folder))
    epochs = EpochAverage(*config.epoch_average) if config.epoch_average else None
    leave_at_exit()
    with quiet(), as_user_errors(history.folder):
        moving = MovingAverage(config.step_average) if config.step_average else None
        saving = CheckpointCallback(history, machine, Stop(), moving, epochs)
        callbacks = [ProgressBar(), *([moving] if moving else []), saving]
        options = _options(config, machine, history, specs.validation is not None)
        trainer = lightning.Trainer(**options, callbacks=callbacks)
        state = history.folder / STATE_FILE if history.resumes else None
        with _leaving(trainer):
            trainer.fit(adapter, ckpt_path=state, weights_only=True)
            if epochs:
                _add_average(trainer, adapter, history, epochs)


def check(config: TrainingConfig, machine: Machine) -> None:
    """Refuse what cannot be trained here, before anything is loaded.

    Raises:
        UserError: the machine cannot do it, or a logger's package is missing.
    """
    machine.check(config)
    check_services(config.loggers)


def is_first_process() -> bool:
    """Whether this process is the one, of those that share a training, that writes and prints."""
    rank: int = getattr(rank_zero_only, "rank", 0)  # lightning finds it in the environment
    return rank == 0 and os.environ.get("NODE_RANK", "0") == "0"


def _options(
    config: TrainingConfig, machine: Machine, history: History, validates: bool
) -> dict[str, Any]:
    return {
        "accelerator": machine.device,
        "devices": machine.devices,
        "num_nodes": machine.nodes,
        "strategy": _strategy(machine),
        "max_epochs": config.epochs,
        "precision": _precision(config, machine),
        "accumulate_grad_batches": config.accumulate,
        "gradient_clip_val": config.gradient_clip or None,
        "logger": loggers(history.folder, config.loggers),
        "plugins": [StateFile()],
        "log_every_n_steps": LOG_EVERY,
        "limit_val_batches": 1.0 if validates else 0,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,  # `DistributedBatchSampler` shares the clips
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }


def _precision(config: TrainingConfig, machine: Machine) -> Any:
    precision = machine.precision(config.precision)
    if precision != config.precision != "auto" and is_first_process():
        text = (
            f"training.precision: this CPU has no instructions for {config.precision}, which would "
            f"be up to 60 times slower; training in {precision}."
        )
        print(text, file=sys.stderr)
    return precision


def _strategy(machine: Machine) -> Any:
    if machine.lightning_strategy != "fsdp":
        return machine.lightning_strategy
    return FSDPStrategy(
        auto_wrap_policy=partial(size_based_auto_wrap_policy, min_num_params=SHARED_PARAMETERS)
    )


def _add_average(
    trainer: lightning.Trainer, adapter: Adapter, history: History, epochs: EpochAverage
) -> None:
    """Validate and save the average over epochs; nothing if its first epoch was not reached."""
    count, weights = gather((epochs.count, epochs.mean))[0]  # the first process has it
    if not count:
        return
    adapter.step.model.load_state_dict(weights)
    adapter.numbers = {}
    if adapter.specs.validation:
        trainer.validate(adapter, verbose=False)
    record = {"epochs": gather(epochs.epochs)[0], **adapter.numbers}
    history.add_average(record, weights if trainer.is_global_zero else None)


@contextmanager
def _leaving(trainer: lightning.Trainer) -> Iterator[None]:
    """A signal becomes KeyboardInterrupt; on an error, end the processes that wait for this one."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Stopped):  # so do the others
            kind = Terminated if error.number == signal.SIGTERM else KeyboardInterrupt
            raise kind from error
        _end_others(trainer)
        if isinstance(error, SystemExit):  # lightning's form of a second Ctrl-C
            raise KeyboardInterrupt from error
        raise


def _end_others(trainer: lightning.Trainer) -> None:
    """End the processes that this one has started; they may wait for it for ever."""
    started = getattr(trainer.strategy.launcher, "procs", [])
    for process in started:
        process.kill()
    started.clear()  # or lightning, which watches them, kills this process before it can speak
