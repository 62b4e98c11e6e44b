"""The step of pretraining: learning from sound alone, by any objective.

Shapes: B clips, S samples, D width, C classes.
"""

import warnings
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Tag
from torch import Tensor, nn

from auricle.config import Settings, told_apart_by_name
from auricle.data import Batch
from auricle.errors import ConfigError, TrainingWarning
from auricle.models import PatchTransformer
from auricle.training.losses import Diverged
from auricle.training.masked_reconstruction import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)
from auricle.training.objective import Objective, Terms
from auricle.training.processes import gather, is_first
from auricle.training.self_distillation import SelfDistillation, SelfDistillationConfig
from auricle.training.step import Step

# Below these all targets, or all answers, are nearly the same. Source: data2vec 2.0, as released.
LEAST_TARGET_DEVIATION = 0.1
LEAST_PREDICTION_DEVIATION = 0.01
WATCHED = ("target_deviation", "prediction_deviation")
WATCH_EVERY = 10  # steps; each look waits for the device
VALIDATION_SEED = 0  # of the masks, so that epochs are compared by the same ones

ObjectiveConfig = Annotated[
    Annotated[SelfDistillationConfig, Tag("self_distillation")]
    | Annotated[MaskedReconstructionConfig, Tag("masked_reconstruction")],
    told_apart_by_name("self_distillation"),
]


class ProbeDataConfig(Settings):
    """Labelled clips by which frozen embeddings are judged while pretraining goes on."""

    source: str  # manifest, or folder with a sub-folder per class
    splits: tuple[str, str] | None = None  # to learn from and to judge on; None: each fold in turn


class PretrainingConfig(Settings):
    """Settings of pretraining without labels."""

    objective: ObjectiveConfig = SelfDistillationConfig()
    probe: ProbeDataConfig | None = None  # after each validation
    stop_at_collapse: bool = False  # otherwise it is only reported


class Collapsed(ConfigError):
    """What a student is to say, or says, has become the same for all patches."""


def build_objective(
    student: PatchTransformer, config: ObjectiveConfig, batch_size: int
) -> Objective:
    """The objective that `config` describes, around `student`."""
    if isinstance(config, MaskedReconstructionConfig):
        return MaskedReconstruction(student, config)
    return SelfDistillation(student, config, batch_size)


class Pretraining(Step):
    """The step of pretraining: what `fit` calls for every batch.

    Args:
        fbank: `(waveforms, lengths) -> (features, frame_counts)`.
        augmentation: `(waveforms, lengths) -> the same two`.
        probe: accuracies, by name, of what is read from the student's embeddings at this moment.
        new_parameters: names of the student's parameters that were not in its initial weights.
    """

    model: Objective
    best_by = "nearest"  # neighbours; without a probe the loss chooses

    def __init__(  # noqa: PLR0913 - what learns, from what, and who watches
        self,
        fbank: nn.Module,
        objective: Objective,
        augmentation: nn.Module,
        probe: Callable[[], dict[str, float]] | None = None,
        stop_at_collapse: bool = False,
        new_parameters: frozenset[str] = frozenset(),
    ):
        super().__init__()
        self.fbank = fbank
        self.model = objective
        self.augmentation = augmentation
        self.probe = probe
        self.stop_at_collapse = stop_at_collapse
        self.new_parameters = frozenset(f"student.{name}" for name in new_parameters)
        self.last: Terms | None = None
        self.has_warned = False

    def to_save(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The student's own of `weights`: decoder and teacher have done their work."""
        prefix = "student."
        return {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one training batch, augmented and masked."""
        terms: Terms = self.model(*self.fbank(*self.augmentation(*batch[:2])))
        self.last = terms
        return terms.loss.mean()

    def terms(self) -> dict[str, Tensor]:
        """The parts of the last loss, and how much targets and answers differed."""
        assert self.last is not None
        return _numbers(self.last)

    def updated(self, count: int) -> None:
        """Let the objective follow, and look whether it collapses.

        Raises:
            Collapsed: it does, and is to stop then.
        """
        self.model.updated(count)
        if self.model.can_collapse and count % WATCH_EVERY == 0:
            self._watch(count)

    def idle(self) -> Tensor:
        """Zero, by way of all weights: there is no hidden patch in a clip of one."""
        return 0.0 * torch.stack([part.sum() for part in self.model.parameters()]).sum()

    def validate(self, batch: Batch) -> tuple[Tensor, ...]:
        """Loss and parts of one validation batch, `(B,)` each, with masks that stay the same."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(VALIDATION_SEED)
            terms = self.model(*self.fbank(*batch[:2]))
        size = len(terms.loss)
        watched = [getattr(terms, name).expand(size) for name in WATCHED]
        return (terms.loss, *terms.parts.values(), *watched)

    def metrics(self, outputs: list[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Means over the validation clips, and what the probe says.

        Raises:
            Diverged: the losses are not numbers.
        """
        columns = [torch.cat(parts).mean().item() for parts in zip(*outputs, strict=True)]
        names = ("validation_loss", *self.model.part_names, *WATCHED)
        found = dict(zip(names, columns, strict=True))
        if not torch.tensor(columns).isfinite().all():
            raise Diverged("the losses of the validation clips are not numbers.")
        return {**found, **(self.probe() if self.probe else {})}

    def _watch(self, count: int) -> None:
        """Look at what all processes saw last, so that all go on or all stop."""
        seen = [values for values in gather(self.last and _watched(self.last)) if values]
        if not seen:
            return
        lowest = [min(values) for values in zip(*seen, strict=True)]
        bounds = {"targets": LEAST_TARGET_DEVIATION, "answers": LEAST_PREDICTION_DEVIATION}
        for (name, least), value in zip(bounds.items(), lowest, strict=True):
            if value >= least:
                continue
            text = (
                f"step {count}: the {name} are nearly the same for all patches (deviation "
                f"{value:.4f}, at least {least:g} is healthy): pretraining has collapsed. Lower "
                "training.optimizer.learning_rate, or raise pretraining.objective.first_decay, in "
                "a new run."
            )
            if self.stop_at_collapse:
                raise Collapsed(text)
            if not self.has_warned and is_first():
                warnings.warn(text, TrainingWarning, stacklevel=2)
            self.has_warned = True


def _watched(terms: Terms) -> tuple[float, ...]:
    """How much targets and answers differed, as plain numbers."""
    return tuple(getattr(terms, name).item() for name in WATCHED)


def _numbers(terms: Terms) -> dict[str, Tensor]:
    """Means over the clips, by name."""
    return {
        **{name: value.detach().mean() for name, value in terms.parts.items()},
        **{name: getattr(terms, name) for name in WATCHED},
    }
