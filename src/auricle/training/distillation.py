"""Learning from a teacher: a student hears what the teacher hears, and is to say the same.

Both hear one and the same augmented scene, each at its own sample rate; no labels are needed.

Sources: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent";
Schmid, Koutini, Widmer 2023 for audio taggers.

Shapes: B clips, S samples, C classes, D width of the teacher's embedding.
"""

from collections.abc import Collection
from typing import Any, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint import Checkpoint
from auricle.config import Settings
from auricle.data import Batch, Resampler
from auricle.evaluation import classification_metrics
from auricle.models import Model
from auricle.training.losses import Diverged
from auricle.training.step import Step

TEACHERS_BEST = 3  # labels among which the student's best is to be
POSITIVE = 0.5  # probability from which on the teacher is taken to hear a class
LEAST_SPREAD = 1e-3  # of a class or number that is nearly constant


class DistillationConfig(Settings):
    """Settings of distillation: who teaches, and what counts.

    Each weight is that of a mean over clips and classes (or numbers of the embedding).
    """

    teacher: str  # name or path of a checkpoint
    # Cross-entropy with the teacher's probabilities: exact where it is sure, silent about the rest.
    probabilities: float = Field(default=0.0, ge=0)
    # Squared error of the logits, each class in units of the teacher's own spread: rare classes
    # teach as much as frequent ones, and of each clip the student learns what it is not, and how.
    logits: float = Field(default=1.0, ge=0)
    # Squared error of the teacher's embedding, which the student's is projected to, in such units.
    embedding: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.probabilities + self.logits + self.embedding == 0:
            raise ValueError("one of probabilities, logits and embedding must be above 0")
        return self


class Heard(NamedTuple):
    """What a model makes of clips."""

    logits: Tensor  # (B, C)
    embeddings: Tensor  # (B, D)


class Spread(NamedTuple):
    """Mean and standard deviation of the teacher's logits `(C,)` and embeddings `(D,)`."""

    logit_mean: Tensor
    logit_std: Tensor
    embedding_mean: Tensor
    embedding_std: Tensor


class Scenes(NamedTuple):
    """What makes scenes of clips, and hides parts of them from the student."""

    augmentation: nn.Module  # (waveforms, lengths) -> the same two
    overlap: nn.Module  # the same
    mixup: nn.Module  # (waveforms, lengths, targets) -> the same three
    masking: nn.Module  # (features, frame_counts) -> features
    noise: nn.Module  # the same


class Teacher:
    """A checkpoint that is asked, and never learns.

    Not a module: its weights are not those of the step, which are moved, averaged and stored.
    """

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint.eval().requires_grad_(False)

    @property
    def sample_rate(self) -> int:
        """What it hears, in Hz."""
        return self.checkpoint.config.front_end.sample_rate

    @torch.no_grad()
    def hear(self, waveforms: Tensor, lengths: Tensor) -> Heard:
        """Logits and embeddings of waveforms at its own rate, always in float32."""
        teacher = self.checkpoint.to(waveforms.device)
        with torch.autocast(waveforms.device.type, enabled=False):
            embeddings = teacher.embed(waveforms.float(), lengths)
            return Heard(teacher.model.classify(embeddings), embeddings)


class Student(nn.Module):
    """The model that learns, and a projection to the teacher's embedding, which goes after it."""

    def __init__(self, model: Model, spread: Spread):
        super().__init__()
        self.model = model
        self.projection = nn.Linear(_width(model), len(spread.embedding_mean))

    def forward(self, features: Tensor, frame_counts: Tensor) -> Heard:
        embeddings = self.model.embed(features, frame_counts)
        logits = self.model.classify(embeddings)
        return Heard(logits.float(), self.projection(embeddings).float())


def _width(model: Model) -> int:
    """The size of the model's embedding, which it is asked for: the heads differ."""
    trains = model.training
    with torch.no_grad():
        silence = torch.zeros(1, model.config.shortest_frames, model.config.num_mels)
        width = model.eval().embed(silence).shape[1]
    model.train(trains)
    return width


class Distillation(Step):
    """The step of distillation: what `fit` calls for every batch.

    Args:
        trained: the student with its filterbank; its labels are the teacher's.
        sample_rate: of the batches, in Hz.
        new_parameters: names of the model's parameters that were not in its initial weights.
    """

    model: Student
    best_by = "explained"

    def __init__(  # noqa: PLR0913 - a student, a teacher, and what they hear
        self,
        trained: Checkpoint,
        teacher: Teacher,
        spread: Spread,
        config: DistillationConfig,
        scenes: Scenes,
        sample_rate: int,
        new_parameters: Collection[str] = (),
    ):
        super().__init__()
        self.fbank = trained.fbank
        self.model = Student(trained.model, spread)
        self.labels = trained.labels
        self.is_softmax = trained.config.activation == "softmax"
        self.teacher = teacher
        self.config = config
        self.scenes = nn.ModuleDict(scenes._asdict())
        self.spread = spread
        self.for_student = Resampler(sample_rate, trained.config.front_end.sample_rate)
        self.for_teacher = Resampler(sample_rate, teacher.sample_rate)
        projection = {f"projection.{name}" for name, _ in self.model.projection.named_parameters()}
        self.new_parameters = frozenset({f"model.{name}" for name in new_parameters} | projection)

    def to_save(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The student's own of `weights`: the projection has done its work."""
        prefix = "model."
        return {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one training batch: what the student says of its scenes, and should say."""
        waveforms, lengths = self._scenes(batch)
        taught = self.teacher.hear(*self.for_teacher(waveforms, lengths))
        features, frame_counts = self.fbank(*self.for_student(waveforms, lengths))
        features = self.scenes["masking"](features, frame_counts)
        features = self.scenes["noise"](features, frame_counts)
        return self._errors(self.model(features, frame_counts), taught).mean()

    def idle(self) -> Tensor:
        """Zero, by way of all weights: the student hears the shortest clip, a silent one."""
        model = self.model.model
        device, frames = next(model.parameters()).device, model.config.shortest_frames
        features = torch.zeros(1, frames, model.config.num_mels, device=device)
        said = self.model(features, torch.tensor([frames], device=device))
        return 0.0 * (said.logits.sum() + said.embeddings.sum())

    def validate(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of one validation batch, as it is: both sides' logits `(B, C)`, and the errors `(B,)`."""
        waveforms, lengths = batch[:2]
        taught = self.teacher.hear(*self.for_teacher(waveforms, lengths))
        said = self.model(*self.fbank(*self.for_student(waveforms, lengths)))
        return said.logits, taught.logits, self._errors(said, taught)

    def metrics(self, outputs: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Any]:
        """How well the student follows its teacher, over all validation batches.

        - `explained`: share of the variance of the teacher's logits, mean over the classes;
        - `agreement`: share of the clips whose best label is one of the teacher's best three;
        - `mAP`: against the classes that the teacher gives a probability of at least one half.

        Raises:
            Diverged: the student's logits are not numbers.
        """
        said, taught, errors = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        if not said.isfinite().all():
            raise Diverged("the model's outputs for the validation clips are not numbers.")
        best = taught.topk(min(TEACHERS_BEST, taught.shape[1])).indices
        agreement = (said.argmax(dim=1, keepdim=True) == best).any(dim=1).float().mean()
        targets = (self._likely(taught) >= POSITIVE).float()
        found = classification_metrics(self._likely(said), targets, self.labels)
        return {
            "validation_loss": errors.mean().item(),
            "explained": explained(said, taught),
            "agreement": agreement.item(),
            "mAP": found["mAP"],
        }

    def _scenes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        waveforms, lengths, targets = batch[:3]
        waveforms, lengths = self.scenes["augmentation"](waveforms, lengths)
        waveforms, lengths = self.scenes["overlap"](waveforms, lengths)
        waveforms, lengths, _ = self.scenes["mixup"](waveforms, lengths, targets)
        return waveforms, lengths

    def _likely(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1) if self.is_softmax else logits.sigmoid()

    def _errors(self, said: Heard, taught: Heard) -> Tensor:
        """The weighted error of each clip, `(B,)`."""
        config, spread = self.config, Spread(*(part.to(said.logits) for part in self.spread))
        total = torch.zeros(len(said.logits), device=said.logits.device)
        if config.probabilities:
            total = total + config.probabilities * self._cross_entropy(said.logits, taught.logits)
        if config.logits:
            apart = (said.logits - taught.logits) / spread.logit_std
            total = total + config.logits * apart.square().mean(dim=1)
        if config.embedding:
            wanted = (taught.embeddings - spread.embedding_mean) / spread.embedding_std
            total = total + config.embedding * (said.embeddings - wanted).square().mean(dim=1)
        return total

    def _cross_entropy(self, said: Tensor, taught: Tensor) -> Tensor:
        likely = self._likely(taught)
        if self.is_softmax:
            return F.cross_entropy(said, likely, reduction="none")
        return F.binary_cross_entropy_with_logits(said, likely, reduction="none").mean(dim=1)


def explained(said: Tensor, taught: Tensor) -> float | None:
    """Share of the variance of `taught` `(N, C)` that `said` explains, mean over the classes.

    Classes that are the same for every clip are left out; None where all are; below 0: the mean
    would say more.
    """
    variance = taught.var(dim=0, correction=0)
    error = (said - taught).square().mean(dim=0)
    varied = variance > 0
    if not varied.any():
        return None
    return (1 - error[varied] / variance[varied]).mean().item()


def measure_spread(heard: list[Heard]) -> Spread:
    """Mean and deviation of what the teacher says, class by class, from its answers in batches."""
    logits, embeddings = (torch.cat(parts) for parts in zip(*heard, strict=True))
    return Spread(
        logits.mean(dim=0),
        logits.std(dim=0).clamp(min=LEAST_SPREAD),
        embeddings.mean(dim=0),
        embeddings.std(dim=0).clamp(min=LEAST_SPREAD),
    )


def start_head(model: Model, spread: Spread) -> None:
    """Let a fresh head begin with the teacher's mean for each class, as if it had learned that."""
    biases = [part.bias for part in model.head.modules() if isinstance(part, nn.Linear)]
    with torch.no_grad():
        biases[-1].copy_(spread.logit_mean)
