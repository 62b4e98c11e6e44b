"""A step as lightning wants it, on any number of processes.

The gradient of a step is the mean over the clips of its whole batch, however they are shared:
each process weights the mean over its own clips by how many they are.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from auricle.training import optimizer
from auricle.training.framework import FSDPStrategy, lightning
from auricle.training.history import Faults, Record
from auricle.training.machine import gather
from auricle.training.sampling import DistributedBatchSampler, mix_seeds
from auricle.training.settings import TrainingConfig
from auricle.training.step import Step

FSDP_PREFIX = "_fsdp_wrapped_module."  # which FSDP puts into the names of parameters


class RunningMeans:
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


@dataclass(frozen=True)
class LoaderSpec:
    """Clips, the order in which they are read, and what loads lists of them as batches."""

    order: Sampler[int]
    loader: Callable[[Sampler[list[int]]], DataLoader]

    @property
    def num_clips(self) -> int:
        """Of an epoch."""
        return len(self.order)  # type: ignore[arg-type]  # ours all have one


@dataclass(frozen=True)
class LoaderSpecs:
    """What is trained on, and what validates, if anything."""

    train: LoaderSpec
    validation: LoaderSpec | None
    max_faulty_share: float = 0.0  # of the clips of an epoch; more that cannot be read end the run

    def faults(self, folder: Path) -> Faults:
        """No faults as yet."""
        num_clips = {"training": self.train.num_clips}
        if self.validation:
            num_clips["validation"] = self.validation.num_clips
        return Faults(folder, num_clips, self.max_faulty_share)


class Adapter(lightning.LightningModule):
    """A step and its clips; numbers of the present epoch are in `numbers` and `means`."""

    def __init__(
        self, step: Step, specs: LoaderSpecs, config: TrainingConfig, seed: int, faults: Faults
    ):
        super().__init__()
        self.step = step
        self.specs = specs
        self.config = config
        self.seed = seed
        self.faults = faults
        self.means = RunningMeans()
        self.outputs: list[tuple[Tensor, ...]] = []
        self.numbers: Record = {}  # of the epoch so far
        # Where a run goes on: the epoch, from 0, and the first piece of it.
        self.first_epoch = 0
        self.first_piece = 0
        self.groups = _groups(step, config)

    @property
    def is_validated(self) -> bool:
        """Whether a validation follows the present epoch."""
        epoch, config = self.current_epoch + 1, self.config
        is_due = epoch % config.validate_every == 0 or epoch == config.epochs
        return self.specs.validation is not None and is_due

    def train_dataloader(self) -> DataLoader:
        """Batches of this process."""
        config = self.config
        self.batches = self._batches(self.specs.train, config.batch_size, config.accumulate)
        self.batches.start = self.first_piece
        loader = self.specs.train.loader(self.batches)
        _set_epoch(loader, self.first_epoch)  # lightning does not count as far as yet
        return loader

    def val_dataloader(self) -> DataLoader:
        """Pieces of the size that is trained on."""
        assert self.specs.validation is not None
        size = self.config.batch_size // self.config.accumulate
        return self.specs.validation.loader(self._batches(self.specs.validation, size, 1))

    def _batches(
        self, spec: LoaderSpec, batch_size: int, accumulate: int
    ) -> DistributedBatchSampler:
        num_processes = self.trainer.world_size
        return DistributedBatchSampler(
            spec.order, batch_size, accumulate, self.global_rank, num_processes
        )

    def on_train_epoch_start(self) -> None:
        """Make the epoch's randomness its own: a resumed run draws what an unbroken one draws."""
        torch.manual_seed(mix_seeds(self.seed, self.current_epoch, self.global_rank))
        _set_epoch(self.trainer.train_dataloader, self.current_epoch)
        self.trainer.check_val_every_n_epoch = 1 if self.is_validated else self.config.epochs + 1
        self.numbers = {}
        self.means.start()
        self.faults.start("training")

    def training_step(self, batch: Any, index: int) -> Tensor | None:
        """Loss of a piece of a batch, weighted by its clips, and noted with the learning rate."""
        self.faults.note("training", getattr(batch, "faults", ()))
        size, num_processes = len(batch[0]), self.trainer.world_size
        self._note_rate()
        if not size:  # Where others have clips, all must take part
            return self.step.idle() if num_processes > 1 else None
        loss = self.step.loss(batch)
        parts = self.step.terms()
        self.means.add(loss, parts, size)
        self.log("train_loss_step", loss, prog_bar=True, batch_size=size)
        # Not the names of the same parts of the validation, which would share their curves.
        self.log_dict({f"train_{name}_step": part for name, part in parts.items()}, batch_size=size)
        # lightning takes the mean over the processes and divides by `accumulate`.
        weight = size * num_processes * self.config.accumulate / self.batches.clips_of_batch(index)
        return loss * weight

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take a step, and let what follows it follow."""
        super().optimizer_step(*arguments, **named)
        self.step.updated(self.trainer.global_step + 1)  # lightning counts it after this

    def _note_rate(self) -> None:
        group = self.trainer.optimizers[0].param_groups[0]
        rate = self.config.optimizer.learning_rate * group["lr"] / group["initial_lr"]
        self.log("learning_rate", rate, batch_size=1)
        self.numbers["learning_rate"] = rate

    def on_train_epoch_end(self) -> None:
        """Put the numbers of all processes together."""
        means, clips = self.means.totals()
        self.log("train_loss_epoch", means["train_loss"], rank_zero_only=True)
        self.numbers = {
            **means,
            **self.numbers,
            "seconds": round(self.means.elapsed(), 3),
            "clips_per_second": round(clips / self.means.seconds, 2),
        }

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.faults.start("validation")

    def validation_step(self, batch: Any, index: int) -> None:
        """Collect what the metrics need."""
        self.faults.note("validation", getattr(batch, "faults", ()))
        if len(batch[0]):
            self.outputs.append(tuple(part.detach().cpu() for part in self.step.validate(batch)))
        elif self.trainer.world_size > 1:
            self.step.idle()

    def on_validation_epoch_end(self) -> None:
        """Turn what all processes collected into numbers."""
        faulty = self.faults.check("validation")
        outputs = [part for parts in gather(self.outputs) for part in parts]
        self.outputs.clear()
        metrics = self.step.metrics(outputs)
        self.log_dict(
            {name: value for name, value in metrics.items() if value is not None},
            rank_zero_only=True,
        )
        self.numbers |= {**metrics, "faulty_validation_clips": faulty}

    def configure_optimizers(self) -> Any:
        """The optimizer, and the schedule as a factor at every step."""
        parameters = {
            name.replace(FSDP_PREFIX, ""): parameter
            for name, parameter in self.step.model.named_parameters()
        }
        groups = [
            {**options, "params": [parameters[name] for name in names]}
            for options, names in self.groups
        ]
        built = optimizer.OPTIMIZERS[self.config.optimizer.name](groups)  # type: ignore[call-arg]
        # Not lightning's estimate: asking for it would begin to load clips before a state is read.
        steps_per_epoch = -(-self.specs.train.num_clips // self.config.batch_size)
        length = optimizer.Length(steps_per_epoch, self.config.epochs)
        factor = optimizer.curve(self.config.schedule, length)
        scheduler = torch.optim.lr_scheduler.LambdaLR(built, factor)
        return {"optimizer": built, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of the whole model, also where processes share its weights."""
        sharded: Any = self.trainer.strategy.model
        if isinstance(self.trainer.strategy, FSDPStrategy) and gradient_clip_val:
            sharded.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)


def _groups(step: Step, config: TrainingConfig) -> list[tuple[dict[str, Any], list[str]]]:
    """The optimizer's groups as (options, names), while the parameters have their own shapes.

    FSDP shares them among processes as flat pieces, of which no shape shows a matrix or a bias.
    """
    names = {id(parameter): name for name, parameter in step.model.named_parameters()}
    built = optimizer.build(step.model, config.optimizer, step.new_parameters)
    return [
        (
            {name: value for name, value in group.items() if name != "params"},
            [names[id(parameter)] for parameter in group["params"]],
        )
        for group in built.param_groups
    ]


def _set_epoch(loader: Any, epoch: int) -> None:
    """Set the epoch that is next before workers begin with it; lightning sets it too late."""
    for part in (loader.dataset, loader.batch_sampler.sampler):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
