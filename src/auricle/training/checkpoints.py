"""The weights and the state of a run: averages, and what `fit` goes on from as if never stopped.

`state.ckpt` is lightning's checkpoint (weights, optimizer, schedule, averages, loops) with what is
ours under one key. It is the last thing that an epoch writes: a process that is killed before that
does the epoch again, with the same random numbers, and writes the same things again. In the middle
of a long epoch it also holds where each process stood: its random numbers and its sums.
"""

import signal
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from auricle.atomic import file_beside
from auricle.errors import CheckpointError, ConfigError
from auricle.training.adapter import Adapter
from auricle.training.framework import Checkpoint, TorchCheckpointIO, WeightAveraging, lightning
from auricle.training.history import STATE_FILE, History, Weights
from auricle.training.machine import Machine, Stop, Stopped, gather, random_state, set_random_state


class MovingAverage(WeightAveraging):
    """Exponential moving average of the weights: lightning validates it, `weights` gives it.

    The decay grows to its value over the first steps, (1 + n) / (10 + n) after n of them, so that
    the average of a short run does not remember how it began.
    """

    def __init__(self, decay: float):
        def blend(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
            warm = (1 + int(count)) / (10 + int(count))
            get_ema_multi_avg_fn(min(decay, warm))(averaged, current, count)

        super().__init__(multi_avg_fn=blend)

    def weights(self) -> Weights:
        """The averaged weights of the model."""
        average: Any = self._average_model
        return average.module.step.model.state_dict()

    def teardown(self, trainer: lightning.Trainer, module: Any, stage: str) -> None:
        """Let go: what is validated after the training is not to be averaged."""
        self._average_model = None


@dataclass
class EpochAverage:
    """Mean of the weights at the ends of the epochs from `first` to `last`, as the papers take it.

    Whole numbers, such as counters, are those of the latest epoch.
    """

    first: int
    last: int
    count: int = 0
    mean: Weights = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        """The first and the last epoch that are in."""
        return [self.first, self.first + self.count - 1]

    def add(self, epoch: int, weights: Weights) -> None:
        """Take in the weights at the end of an epoch, counted from 1."""
        if not self.first <= epoch <= self.last:
            return
        self.count += 1
        for name, value in weights.items():
            new = value.detach().cpu().clone()
            if self.count > 1 and new.is_floating_point():
                new = self.mean[name] + (new - self.mean[name]) / self.count
            self.mean[name] = new

    def state(self) -> dict[str, Any]:
        """What `restore` needs."""
        return {"count": self.count, "mean": self.mean}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.count, self.mean = state["count"], state["mean"]


KEY = "auricle"  # of our part
MODEL_PREFIX = "step.model."
# Before a validation, which cannot be stopped in its middle, a state older than this is renewed.
VALIDATION_MINUTES = 1.0


class StateFile(TorchCheckpointIO):
    """Writes a state as a whole or not at all, and reads nothing but tensors and plain values."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a state; CheckpointError: the disk is full, or the folder cannot be written."""
        try:
            with file_beside(Path(path)) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"{path}: the state of the run could not be written ({error}). Free some space and "
                f"go on with: auricle train --resume {Path(path).parent}"
            ) from error

    def load_checkpoint(self, path: Any, *options: Any, **named: Any) -> dict[str, Any]:
        """Read a state; CheckpointError: the file is damaged, or no state of a run."""
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch compares no checksums
            if damaged:
                raise ValueError(f"{damaged} has another checksum")
            state = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or KEY not in state:
                raise ValueError("it is not the state of a run")
        except Exception as error:  # what a damaged pickle raises is not bounded
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            folder = Path(path).parent
            raise CheckpointError(
                f"{path}: damaged or cut short ({reason}). The weights in {folder / 'last'} are "
                "those of the last finished epoch: give them as initial_weights to a new run, or "
                "begin again with --overwrite."
            ) from error
        return state


class CheckpointCallback(Checkpoint):
    """Saves the run at the end of each epoch, every so often within it, and when it is stopped.

    lightning calls it after all other callbacks.
    """

    def __init__(
        self,
        history: History,
        machine: Machine,
        stop: Stop,
        moving: MovingAverage | None,
        epochs: EpochAverage | None,
    ):
        self.history = history
        self.save_seconds = 60 * machine.save_every
        self.stop = stop
        self.moving = moving
        self.epochs = epochs
        self.piece = 0  # of the epoch, up to which the state goes; 0: to the end of the last epoch
        self.saved = time.monotonic()
        self.random: dict[str, torch.Tensor] | None = None  # to go on with in an epoch's middle

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Add our part to lightning's; every process takes part."""
        own = {
            "tally": module.means.state(),
            "faulty_clips": module.faults.counts["training"],
            "random": random_state(module.device),
        }
        checkpoint[KEY] = {
            "records": self.history.records,
            "num_clips": module.specs.train.num_clips,
            "piece": self.piece,
            "processes": gather(own) if self.piece else [],
            "faults": module.faults.reasons,
            "epochs": self.epochs.state() if self.epochs else None,
        }

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]
    ) -> None:
        """Take our part.

        Raises:
            ConfigError: the clips are not those of the run, or the number of processes changed
                within an epoch.
        """
        state = checkpoint[KEY]
        self._check(state, trainer, module)
        self.history.restore(state["records"], trainer.is_global_zero)
        module.faults.reasons = state["faults"]
        if self.epochs:
            self.epochs.restore(state["epochs"])
        module.first_epoch, module.first_piece = len(state["records"]), state["piece"]
        if state["piece"]:
            own = state["processes"][trainer.global_rank]
            module.means.restore(own["tally"], module.device)
            module.faults.counts["training"] = own["faulty_clips"]
            self.random = own["random"]

    def _check(self, state: dict[str, Any], trainer: lightning.Trainer, module: Adapter) -> None:
        folder, num_clips = self.history.folder, module.specs.train.num_clips
        if state["num_clips"] != num_clips:
            raise ConfigError(
                f"{folder}: this run trains on {state['num_clips']} clips, but its data now has "
                f"{num_clips}. Bring the data back, or begin again with --overwrite."
            )
        if state["piece"] and len(state["processes"]) != trainer.world_size:
            raise ConfigError(
                f"{folder}: this run was stopped within an epoch of {len(state['processes'])} "
                f"processes, and cannot go on there with {trainer.world_size}. Use as many; the "
                "number can change between epochs."
            )

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Stand where the run was stopped, and take the signals over from lightning."""
        self.stop.install()
        if trainer.received_sigterm:
            self.stop.number = signal.SIGTERM
        self.saved = time.monotonic()
        if self.random is not None:
            set_random_state(self.random, module.device)
            self.random = None
        self._stop_early(trainer, module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save between two steps of the optimizer, where it is time to or a signal came."""
        module.means.stop_clock()
        pieces, accumulate = int(trainer.num_training_batches), module.config.accumulate
        if index + 1 == pieces:
            module.numbers["faulty_clips"] = module.faults.check("training")
            return
        if (index + 1) % accumulate:
            return
        before_validation = module.is_validated and index + 1 + accumulate >= pieces
        wait = min(self.save_seconds, 60 * VALIDATION_MINUTES) if before_validation else None
        is_due = time.monotonic() - self.saved >= (wait or self.save_seconds)
        is_asked = bool(self.stop.number) or module.faults.too_many("training")
        is_asked |= trainer.is_global_zero and is_due
        if trainer.strategy.reduce_boolean_decision(is_asked, all=False):
            module.faults.check("training")
            self._save(trainer, index + 1)
            self._leave()

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int, loader: int = 0
    ) -> None:
        """Leave when a signal came; the state is a minute old at most."""
        if trainer.state.fn != "fit":
            return
        if trainer.strategy.reduce_boolean_decision(bool(self.stop.number), all=False):
            self._leave()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Note and save the epoch; the state comes last."""
        record = {"epoch": trainer.current_epoch + 1, **module.numbers}
        weights = self._weights(trainer)
        if self.epochs and trainer.is_global_zero:
            self.epochs.add(record["epoch"], weights)
        self.history.add(record, weights if trainer.is_global_zero else None)
        self._save(trainer, 0)
        if trainer.is_global_zero:
            print(self.history.line(module.config.epochs), file=sys.stderr)
        self._stop_early(trainer, module)
        self._leave()

    def _weights(self, trainer: lightning.Trainer) -> Weights:
        """What is validated and saved of the model; every process takes part."""
        if self.moving:
            return self.moving.weights()
        state = trainer.strategy.lightning_module_state_dict()
        return {
            name.removeprefix(MODEL_PREFIX): value
            for name, value in state.items()
            if name.startswith(MODEL_PREFIX)
        }

    def _save(self, trainer: lightning.Trainer, piece: int) -> None:
        self.piece = piece
        trainer.save_checkpoint(self.history.folder / STATE_FILE)
        self.saved = time.monotonic()

    def _stop_early(self, trainer: lightning.Trainer, module: Adapter) -> None:
        patience = module.config.early_stop
        if patience and self.history.records and "validation_loss" in self.history.records[-1]:
            trainer.should_stop = self.history.epochs_since_best() >= patience

    def _leave(self) -> None:
        """Leave the loop if any process got a signal; what is saved is saved."""
        number = max(gather(self.stop.number))
        if number:
            raise Stopped(number)
