"""Learning from a teacher: a student reproduces its teacher's outputs, clip by clip and over time.

Both receive one and the same augmented scene, each at its own sample rate; no labels are needed.

Sources: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent";
Schmid, Koutini, Widmer 2023 for audio taggers.

Shapes: B clips, S samples, C classes, D width of the teacher's embedding, K columns of the teacher
in time, N columns of the student.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint import Checkpoint
from auricle.config import Settings
from auricle.data import Batch, Resampler
from auricle.errors import ConfigError
from auricle.evaluation import classification_metrics
from auricle.models import ColumnEmbeddings, Model
from auricle.training.settings import Diverged
from auricle.training.step import Augmentations, Step, silent_clip

TEACHERS_BEST = 3  # labels among which the student's best should be
POSITIVE = 0.5  # probability from which on a class counts as present for the teacher
LEAST_SPREAD = 1e-3  # of a class or number that is nearly constant


class DistillationConfig(Settings):
    """Settings of distillation: the teacher, and the weight of each error.

    Each weight is that of a mean over clips, columns in time and classes (or numbers of the
    embedding).
    """

    teacher: str  # name or path of a checkpoint
    # Cross-entropy with the teacher's probabilities: exact where it is sure, silent about the rest.
    probabilities: float = Field(default=0.0, ge=0)
    # Squared error of the logits, each class in units of the teacher's own spread: rare classes
    # teach as much as frequent ones, and of each clip the student learns what it is not, and how.
    logits: float = Field(default=1.0, ge=0)
    # Squared error of the teacher's embedding, which the student's is projected to, in such units.
    embedding: float = Field(default=0.0, ge=0)
    # The same two for each column of the teacher's last map, of which its embedding is the mean:
    # its head applied to the column, and the column itself; in units of their spread over time.
    column_logits: float = Field(default=0.0, ge=0)
    column_embedding: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.probabilities + self.logits + self.embedding == 0 and not self.has_columns:
            raise ValueError(
                "one of probabilities, logits, embedding, column_logits and column_embedding must "
                "be above 0"
            )
        return self

    @property
    def has_columns(self) -> bool:
        """Whether the teacher's columns in time teach, too."""
        return self.column_logits + self.column_embedding > 0


class ColumnOutputs(NamedTuple):
    """A model's outputs at each of the teacher's columns in time."""

    logits: Tensor  # (B, K, C)
    embeddings: Tensor  # (B, K, D)
    valid: Tensor  # (B, K), whether the clip lasts that long


class Outputs(NamedTuple):
    """A model's outputs for clips."""

    logits: Tensor  # (B, C)
    embeddings: Tensor  # (B, D)
    columns: ColumnOutputs | None = None


class TeacherStatistics(NamedTuple):
    """Mean and standard deviation of the teacher's logits `(C,)` and embeddings `(D,)`.

    The last two are the deviations over the columns of all clips; None: these do not teach.
    """

    logit_mean: Tensor
    logit_std: Tensor
    embedding_mean: Tensor
    embedding_std: Tensor
    column_logit_std: Tensor | None = None
    column_embedding_std: Tensor | None = None

    def to(self, like: Tensor) -> "TeacherStatistics":
        """The same on the device and in the type of `like`."""
        return TeacherStatistics._make(part if part is None else part.to(like) for part in self)


class Teacher:
    """A checkpoint that gives the targets, and never learns.

    Not a module: its weights are not those of the step, which are moved, averaged and stored.

    Args:
        has_columns: give the outputs of its columns in time, too.
    """

    def __init__(self, checkpoint: Checkpoint, has_columns: bool = False):
        self.checkpoint = checkpoint.eval().requires_grad_(False)
        self.has_columns = has_columns

    @property
    def sample_rate(self) -> int:
        """Of the waveforms that it reads, in Hz."""
        return self.checkpoint.config.front_end.sample_rate

    @torch.no_grad()
    def outputs(self, waveforms: Tensor, lengths: Tensor) -> Outputs:
        """Outputs for waveforms at its own rate, always in float32."""
        teacher = self.checkpoint.to(waveforms.device)
        model = teacher.model
        with torch.autocast(waveforms.device.type, enabled=False):
            features, frame_counts = teacher.fbank(waveforms.float(), lengths)
            if not self.has_columns:
                embeddings = model.embed(features, frame_counts)
                return Outputs(model.classify(embeddings), embeddings)
            columns = model.embed_columns(features, frame_counts)
            embeddings = columns.mean()
            over_time = ColumnOutputs(
                model.classify(columns.values), columns.values, columns.valid()
            )
            return Outputs(model.classify(embeddings), embeddings, over_time)


class Alignment:
    """Averages a student's columns over the time that each of its teacher's stands for.

    A column of the teacher stands for one step of its grid around its middle, or for one step of
    the student's where that is longer. Times are those of the middles of frames; that the windows
    of two front ends may begin a few milliseconds apart is left out.

    Raises:
        ConfigError: one of the two has no columns in time.
    """

    def __init__(self, student: Checkpoint, teacher: Checkpoint):
        (first, step), (teachers_first, teachers_step) = (
            _columns_in_ms(student, "the student (model)"),
            _columns_in_ms(teacher, "the teacher (distillation.teacher)"),
        )
        self.first, self.step = first, step
        self.teachers_first, self.teachers_step = teachers_first, teachers_step
        self.reach = max(step, teachers_step) / 2

    def __call__(self, columns: ColumnEmbeddings, count: int) -> tuple[Tensor, Tensor]:
        """Means of the student's `(B, N, D)` for `count` columns of its teacher, `(B, K, D)`.

        And which of them, `(B, K)`, have any column of the student's clip.
        """
        values = columns.values
        own = self.first + self.step * torch.arange(values.shape[1], device=values.device)
        middles = self.teachers_first + self.teachers_step * torch.arange(
            count, device=values.device
        )
        distance = own - middles[:, None]
        near = (distance >= -self.reach) & (distance < self.reach)  # (K, N)
        weights = (near & columns.valid()[:, None]).to(values.dtype)
        sizes = weights.sum(dim=2, keepdim=True)
        return (weights / sizes.clamp(min=1)) @ values, sizes[..., 0] > 0


def _columns_in_ms(checkpoint: Checkpoint, who: str) -> tuple[float, float]:
    """Middle of the first column and step to the next, in milliseconds."""
    grid, hop = checkpoint.model.column_grid, checkpoint.config.front_end.hop_ms
    if grid is None:
        raise ConfigError(
            f"distillation.column_logits and distillation.column_embedding: {who} has no columns "
            f"in time: {checkpoint.config.model} with these settings does not average them. Set "
            "both to 0, or use a mobilenet, or a transformer with readout patch_mean and no "
            "patchout."
        )
    return grid.first * hop, grid.step * hop


class Student(nn.Module):
    """The model that learns, and a projection to the teacher's embedding, discarded afterwards."""

    def __init__(self, model: Model, statistics: TeacherStatistics, alignment: Alignment | None):
        super().__init__()
        self.model = model
        self.alignment = alignment
        self.projection = nn.Linear(_width(model), len(statistics.embedding_mean))

    def forward(self, features: Tensor, frame_counts: Tensor, columns: int = 0) -> Outputs:
        """Outputs for clips, and at `columns` columns of the teacher if there are any."""
        if not columns or self.alignment is None:
            return self._outputs(self.model.embed(features, frame_counts))
        own = self.model.embed_columns(features, frame_counts)
        aligned, valid = self.alignment(own, columns)
        logits, embeddings, _ = self._outputs(aligned)
        over_time = ColumnOutputs(logits, embeddings, valid)
        return self._outputs(own.mean())._replace(columns=over_time)

    def _outputs(self, embeddings: Tensor) -> Outputs:
        logits = self.model.classify(embeddings)
        return Outputs(logits.float(), self.projection(embeddings).float())


def _width(model: Model) -> int:
    """Size of the model's embedding, measured on one clip: the heads differ."""
    trains = model.training
    with torch.no_grad():
        width = model.eval().embed(*silent_clip(model)).shape[1]
    model.train(trains)
    return width


class Distillation(Step):
    """The step of distillation: what `fit` calls for every batch.

    Args:
        trained: the student with its filterbank; its labels are the teacher's.
        sample_rate: of the batches, in Hz.
        new_parameters: names of the model's parameters that were not in its initial weights.

    Raises:
        ConfigError: columns should teach, and student or teacher has none.
    """

    model: Student
    saved = "model."  # without the projection
    best_by = "explained"

    def __init__(  # noqa: PLR0913 - a student, a teacher, and their inputs
        self,
        trained: Checkpoint,
        teacher: Teacher,
        statistics: TeacherStatistics,
        config: DistillationConfig,
        augmentations: Augmentations,
        sample_rate: int,
        new_parameters: Collection[str] = (),
    ):
        super().__init__()
        self.fbank = trained.fbank
        alignment = Alignment(trained, teacher.checkpoint) if config.has_columns else None
        self.model = Student(trained.model, statistics, alignment)
        self.labels = trained.labels
        self.is_softmax = trained.config.activation == "softmax"
        self.teacher = teacher
        self.config = config
        self.augmentations = augmentations
        self.statistics = statistics
        self.for_student = Resampler(sample_rate, trained.config.front_end.sample_rate)
        self.for_teacher = Resampler(sample_rate, teacher.sample_rate)
        projection = {f"projection.{name}" for name, _ in self.model.projection.named_parameters()}
        self.new_parameters = frozenset({f"model.{name}" for name in new_parameters} | projection)

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one training batch: the student's errors on augmented scenes of its clips."""
        waveforms, lengths, _ = self.augmentations.mixed(batch)
        teacher = self.teacher.outputs(*self.for_teacher(waveforms, lengths))
        features, frame_counts = self.fbank(*self.for_student(waveforms, lengths))
        features = self.augmentations.hidden(features, frame_counts)
        student = self.model(features, frame_counts, _num_columns(teacher))
        return self._errors(student, teacher).mean()

    def idle(self) -> Tensor:
        """Zero, by way of all weights: the student on the shortest clip, a silent one."""
        student = self.model(*silent_clip(self.model.model))
        return 0.0 * (student.logits.sum() + student.embeddings.sum())

    def validate(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of a validation batch, not augmented: both sides' logits `(B, C)`, the errors `(B,)`."""
        waveforms, lengths = batch[:2]
        teacher = self.teacher.outputs(*self.for_teacher(waveforms, lengths))
        features, frame_counts = self.fbank(*self.for_student(waveforms, lengths))
        student = self.model(features, frame_counts, _num_columns(teacher))
        return student.logits, teacher.logits, self._errors(student, teacher)

    def metrics(self, outputs: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Any]:
        """How well the student follows its teacher, over all validation batches.

        - `explained`: share of the variance of the teacher's logits, mean over the classes;
        - `agreement`: share of the clips whose best label is one of the teacher's best three;
        - `mAP`: against the classes that the teacher gives a probability of at least one half.

        Raises:
            Diverged: the student's logits are not numbers.
        """
        student, teacher, errors = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        if not student.isfinite().all():
            raise Diverged("the model's outputs for the validation clips are not numbers.")
        best = teacher.topk(min(TEACHERS_BEST, teacher.shape[1])).indices
        agreement = (student.argmax(dim=1, keepdim=True) == best).any(dim=1).float().mean()
        targets = (self._probabilities(teacher) >= POSITIVE).float()
        scores = classification_metrics(self._probabilities(student), targets, self.labels)
        return {
            "validation_loss": errors.mean().item(),
            "explained": explained(student, teacher),
            "agreement": agreement.item(),
            "mAP": scores["mAP"],
        }

    def _probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1) if self.is_softmax else logits.sigmoid()

    def _errors(self, student: Outputs, teacher: Outputs) -> Tensor:
        """The weighted error of each clip, `(B,)`."""
        config, statistics = self.config, self.statistics.to(student.logits)
        total = torch.zeros(len(student.logits), device=student.logits.device)
        if config.probabilities:
            errors = self._cross_entropy(student.logits, teacher.logits)
            total = total + config.probabilities * errors
        if config.logits:
            difference = (student.logits - teacher.logits) / statistics.logit_std
            total = total + config.logits * difference.square().mean(dim=1)
        if config.embedding:
            target = (teacher.embeddings - statistics.embedding_mean) / statistics.embedding_std
            errors = (student.embeddings - target).square().mean(dim=1)
            total = total + config.embedding * errors
        if student.columns is not None and teacher.columns is not None:
            total = total + self._column_errors(student.columns, teacher.columns, statistics)
        return total

    def _column_errors(
        self, student: ColumnOutputs, teacher: ColumnOutputs, statistics: TeacherStatistics
    ) -> Tensor:
        """The weighted error of each clip's columns, `(B,)`: their mean."""
        config = self.config
        valid = (student.valid & teacher.valid).float()
        valid = valid / valid.sum(dim=1, keepdim=True).clamp(min=1)
        total = torch.zeros(len(valid), device=valid.device)
        if config.column_logits:
            assert statistics.column_logit_std is not None  # measured where columns teach
            difference = (student.logits - teacher.logits) / statistics.column_logit_std
            errors = (difference.square().mean(dim=2) * valid).sum(dim=1)
            total = total + config.column_logits * errors
        if config.column_embedding:
            assert statistics.column_embedding_std is not None
            # The projection is that of the clip's embedding, in units of its spread over clips.
            target = (teacher.embeddings - statistics.embedding_mean) / statistics.embedding_std
            scale = statistics.embedding_std / statistics.column_embedding_std
            difference = (student.embeddings - target) * scale
            errors = (difference.square().mean(dim=2) * valid).sum(dim=1)
            total = total + config.column_embedding * errors
        return total

    def _cross_entropy(self, student: Tensor, teacher: Tensor) -> Tensor:
        targets = self._probabilities(teacher)
        if self.is_softmax:
            return F.cross_entropy(student, targets, reduction="none")
        return F.binary_cross_entropy_with_logits(student, targets, reduction="none").mean(dim=1)


def _num_columns(teacher: Outputs) -> int:
    return 0 if teacher.columns is None else teacher.columns.valid.shape[1]


def explained(student: Tensor, teacher: Tensor) -> float | None:
    """Share of the variance of the teacher's `(N, C)` that the student explains, mean over classes.

    Classes that are the same for every clip are left out; None where all are; below 0: the mean
    would predict better.
    """
    variance = teacher.var(dim=0, correction=0)
    error = (student - teacher).square().mean(dim=0)
    varied = variance > 0
    if not varied.any():
        return None
    return (1 - error[varied] / variance[varied]).mean().item()


def teacher_statistics(outputs: Sequence[Outputs]) -> TeacherStatistics:
    """Mean and deviation of the teacher's outputs, class by class, from its outputs in batches."""
    logits = torch.cat([each.logits for each in outputs])
    embeddings = torch.cat([each.embeddings for each in outputs])
    columns = [each.columns for each in outputs if each.columns is not None]
    over_time = [
        _deviation(torch.cat([getattr(each, name)[each.valid] for each in columns]))
        for name in ("logits", "embeddings")
        if columns
    ]
    return TeacherStatistics(
        logits.mean(dim=0),
        _deviation(logits),
        embeddings.mean(dim=0),
        _deviation(embeddings),
        *over_time,
    )


def _deviation(values: Tensor) -> Tensor:
    return values.std(dim=0).clamp(min=LEAST_SPREAD)


def start_head(model: Model, statistics: TeacherStatistics) -> None:
    """Let a fresh head begin with the teacher's mean for each class, as if it had learned that."""
    biases = [part.bias for part in model.head.modules() if isinstance(part, nn.Linear)]
    with torch.no_grad():
        biases[-1].copy_(statistics.logit_mean)
