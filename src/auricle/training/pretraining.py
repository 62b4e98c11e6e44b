"""The step of pretraining: learning from sound alone, by any objective.

Shapes: B clips, S samples, D width, C classes.
"""

import math
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Tag
from torch import Tensor, nn

from auricle.config import Settings, discriminated_by_name
from auricle.data import Batch
from auricle.errors import ConfigError, TrainingWarning
from auricle.models import PatchTransformer
from auricle.training.machine import gather, is_first
from auricle.training.objectives import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
    Objective,
    SelfDistillation,
    SelfDistillationConfig,
    Terms,
)
from auricle.training.settings import Diverged
from auricle.training.step import Step

WATCHED = ("target_deviation", "prediction_deviation", "embedding_deviation")
# Below these all targets, answers or embeddings are nearly the same. Source of the first two:
# data2vec 2.0, as released, which looks after 5,000 updates only. The norms of the targets blow up
# what little is left, so that these may never fall; what the encoder gives does: to below
# 0.01 in collapsed runs, while it was 0.3 to 0.8 in healthy ones, untrained encoders among them.
LEAST = {"targets": 0.1, "answers": 0.01, "embeddings": 0.05}
WATCH_EVERY = 10  # steps; each look waits for the device
VALIDATION_SEED = 0  # of the masks, so that epochs are compared by the same ones

ObjectiveConfig = Annotated[
    Annotated[SelfDistillationConfig, Tag("self_distillation")]
    | Annotated[MaskedReconstructionConfig, Tag("masked_reconstruction")],
    discriminated_by_name("self_distillation"),
]


class ProbeDataConfig(Settings):
    """Labelled clips by which frozen embeddings are judged while pretraining goes on."""

    source: str  # manifest, or folder with a sub-folder per class
    # To learn from and to judge on; None: train and validation, or each fold in turn.
    splits: tuple[str, str] | None = None


class PretrainingConfig(Settings):
    """Settings of pretraining without labels."""

    objective: ObjectiveConfig = SelfDistillationConfig()
    probe: ProbeDataConfig | None = None  # after each validation
    stop_at_collapse: bool = False  # otherwise it is only reported


class Collapsed(ConfigError):
    """A student's targets or predictions have become the same for all patches."""


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
        new_parameters: names of the student's parameters that were not in its initial weights;
            what learns beside it is new anyway.
    """

    model: Objective
    saved = "student."  # decoder and teacher have done their work
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
        names = (name for name, _ in objective.named_parameters())
        beside = (name for name in names if not name.startswith(("student.", "teacher.")))
        self.new_parameters = frozenset((*(f"student.{name}" for name in new_parameters), *beside))
        self.last: Terms | None = None
        self.low: set[str] = set()  # what was too much the same when last looked at

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one training batch, augmented and masked."""
        terms: Terms = self.model(*self.fbank(*self.augmentation(*batch[:2])))
        self.last = terms
        return terms.loss.mean()

    def terms(self) -> dict[str, Tensor]:
        """The parts of the last loss, and how much targets and answers differed."""
        assert self.last is not None
        means = {name: value.detach().mean() for name, value in self.last.parts.items()}
        return means | {name: getattr(self.last, name) for name in WATCHED}

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
        """Means over the validation clips, and the accuracies of the probe.

        Raises:
            Diverged: the losses are not numbers.
        """
        columns = [torch.cat(parts).mean().item() for parts in zip(*outputs, strict=True)]
        names = ("validation_loss", *self.model.part_names, *WATCHED)
        means = dict(zip(names, columns, strict=True))
        if not torch.tensor(columns).isfinite().all():
            raise Diverged("the losses of the validation clips are not numbers.")
        return {**means, **(self.probe() if self.probe else {})}

    def _watch(self, count: int) -> None:
        """Look at what all processes saw last, so that all go on or all stop."""
        own = self.last and tuple(getattr(self.last, name).item() for name in WATCHED)
        seen = [values for values in gather(own) if values]
        if not seen:
            return
        # What is no number is passed over: the end of the epoch reports that the weights are none.
        lowest = (
            min(filter(math.isfinite, values), default=math.inf)
            for values in zip(*seen, strict=True)
        )
        named = zip(LEAST, lowest, strict=True)
        low = {name: value for name, value in named if value < LEAST[name]}
        news = [name for name in low if name not in self.low]
        self.low = set(low)
        if not news:
            return
        text = _collapse(count, news[0], low[news[0]])
        if self.stop_at_collapse:
            raise Collapsed(text)
        if is_first():
            warnings.warn(text, TrainingWarning, stacklevel=2)


def _collapse(count: int, name: str, value: float) -> str:
    return (
        f"step {count}: the {name} are nearly the same for all patches (deviation {value:.4f}, at "
        f"least {LEAST[name]:g} is healthy): pretraining has collapsed. Lower "
        "training.optimizer.learning_rate, or raise pretraining.objective.first_decay, in a new "
        "run."
    )
