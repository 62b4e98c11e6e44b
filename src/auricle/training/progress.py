"""How far a run has come: a bar on a terminal, elsewhere a line a minute on stderr; loggers."""

import sys
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from auricle.errors import require
from auricle.progress import LINE_SECONDS
from auricle.training.framework import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
    lightning,
)


class ProgressBar(lightning.Callback):
    """The progress of the first process: clips, clips a second, loss, time left.

    Every minute the logs reach the disk, so that a run that is killed has them.
    """

    def __init__(self) -> None:
        columns = [
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("clips  {task.fields[note]}"),
            progress.TimeRemainingColumn(),
        ]
        console = Console(stderr=True)
        self.prints_lines = not console.is_terminal
        self.bars = progress.Progress(
            *columns, console=console, transient=True, disable=self.prints_lines
        )
        self.shown = time.monotonic()  # when the last line was printed
        self.started = time.monotonic()
        self.before = 0.0  # epochs that were done before this process began

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Start the clock of the run."""
        self.bars.disable |= not trainer.is_global_zero
        self.prints_lines &= trainer.is_global_zero
        self.started = self.shown = time.monotonic()
        share = module.first_piece / max(trainer.num_training_batches, 1)
        self.before = trainer.current_epoch + share
        if module.first_piece:  # lightning does not begin this epoch again
            self._show(trainer, module, module.first_piece * module.batches.piece_size)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Show the bar."""
        self._show(trainer, module, 0)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, index: int
    ) -> None:
        """Move the bar, or print a line."""
        self._minutely(trainer, module, "", index + 1, trainer.num_training_batches)
        if self.bars.disable:  # Speed: reading the loss waits for the device
            return
        speed = self.bars.tasks[0].speed or 0.0
        left = self._left(trainer, (index + 1) / trainer.num_training_batches)
        note = f"{speed:.1f} clips/s  loss {float(module.means.loss):.4f}  run {left} left, epoch"
        done = len(batch[0]) * trainer.world_size
        self.bars.update(self.bars.task_ids[0], advance=done, note=note)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Show a second bar."""
        self._add("validation", module.specs.validation.num_clips)
        self.bars.start()

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int, loader: int = 0
    ) -> None:
        """Move the second bar, or print a line."""
        self._minutely(trainer, module, "validation, ", index + 1, trainer.num_val_batches[0])
        self.bars.advance(self.bars.task_ids[-1], len(batch[0]) * trainer.world_size)

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Close the bar of a validation that no epoch ends with."""
        if trainer.state.fn != "fit":
            self._close()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Make room for the line of the epoch."""
        self._close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, error: BaseException) -> None:
        """Leave the terminal as it was."""
        self.bars.stop()

    def _show(self, trainer: lightning.Trainer, module: Any, done: int) -> None:
        title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._add(title, module.specs.train.num_clips)
        self.bars.update(self.bars.task_ids[0], completed=done)
        self.bars.start()

    def _minutely(
        self, trainer: lightning.Trainer, module: Any, side: str, done: int, total: float
    ) -> None:
        """Write the logs to the disk, and print a line where there is no bar."""
        if time.monotonic() - self.shown < LINE_SECONDS:
            return
        self.shown = time.monotonic()
        for logger in trainer.loggers:
            logger.save()
        if self.prints_lines:
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            loss = f"loss {float(module.means.loss):.4f}"
            left = self._left(trainer, 1.0 if side else done / total)
            print(f"{epoch}  {side}{done / total:.0%}  {loss}  {left} left", file=sys.stderr)

    def _left(self, trainer: lightning.Trainer, share: float) -> timedelta:
        """Time that the rest of the run will take, as its epochs have so far."""
        done = trainer.current_epoch + share
        rate = (time.monotonic() - self.started) / max(done - self.before, 1e-9)
        return timedelta(seconds=round(rate * ((trainer.max_epochs or 0) - done)))

    def _add(self, description: str, total: int) -> None:
        self.bars.add_task(description, total=total, note="")

    def _close(self) -> None:
        self.bars.stop()
        for task in self.bars.task_ids:
            self.bars.remove_task(task)


PROJECT = "auricle"  # under which services list the runs
SERVICES = {"wandb": "Weights & Biases", "mlflow": "MLflow"}  # by the package they need


def check_services(names: Iterable[str]) -> None:
    """Refuse services whose packages are missing (MissingExtraError)."""
    for name in names:
        require(name, "track", f"logging to {SERVICES[name]}")


def loggers(folder: Path, names: tuple[str, ...]) -> list[Logger]:
    """CSV and TensorBoard in `folder`/logs, and the services called `names`."""
    logs = folder / "logs"
    services: dict[str, Callable[[], Logger]] = {
        "wandb": lambda: WandbLogger(name=folder.name, project=PROJECT, save_dir=logs),
        # At MLFLOW_TRACKING_URI if set, else beside the other logs.
        "mlflow": lambda: MLFlowLogger(
            experiment_name=PROJECT, run_name=folder.name, save_dir=str(logs / "mlflow")
        ),
    }
    return [
        CSVLogger(folder, name="logs", version=_free(logs, "csv")),
        TensorBoardLogger(folder, name="logs", version="tensorboard", flush_secs=60),
        *[services[name]() for name in names],
    ]


def _free(folder: Path, name: str) -> str:
    """`name`, or name-2, ...: a resumed run leaves the logs of its earlier parts alone."""
    number, free = 1, name
    while (folder / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free
