"""The step in which a recipe's model learns: from labels, from a teacher, from sound alone."""

import warnings
from collections.abc import Callable, Collection, Sequence

import torch
from torch.utils.data import DataLoader, Subset

from auricle import data
from auricle.checkpoint import Checkpoint
from auricle.errors import ConfigError, DataError, DataWarning
from auricle.experiment.prepared import Prepared, Sources
from auricle.experiment.recipe import (
    ClassifierRecipe,
    DistillRecipe,
    PretrainRecipe,
    Recipe,
    TrainRecipe,
)
from auricle.features import FeatureNoise, SpecAugment
from auricle.inference import TorchEngine
from auricle.models import PatchTransformer
from auricle.models.decoders import TransformerDecoderConfig
from auricle.models.patch_masks import num_visible
from auricle.progress import MinuteLines, counted
from auricle.training import (
    Alignment,
    Augmentations,
    Distillation,
    Pretraining,
    PretrainingConfig,
    ProbeDataConfig,
    Supervised,
    Teacher,
    TeacherStatistics,
    build_objective,
    start_head,
    teacher_statistics,
)
from auricle.training.machine import is_first
from auricle.training.step import Step

MEASURED = 2000  # clips that the spread of the teacher's outputs is measured on, at most
AT_ONCE = 8  # of them
SPLITS_SETTING = "pretraining.probe.splits"


def _build_supervised(
    recipe: TrainRecipe, prepared: Prepared, trained: Checkpoint, new_parameters: Collection[str]
) -> Supervised:
    augmentations = build_augmentations(recipe, prepared.sample_rate, trained)
    labels = prepared.labels
    return Supervised(
        trained.fbank, trained.model, labels, recipe.training, augmentations, new_parameters
    )


def build_distillation(
    recipe: DistillRecipe, clips: Prepared, trained: Checkpoint, new_parameters: Collection[str]
) -> Distillation:
    """The step in which `trained` learns to reproduce the outputs of the recipe's teacher.

    A fresh head starts with the teacher's mean for each class.

    Raises:
        ConfigError: columns should teach, and student or teacher has none.
        DataError: as `_measure`.
    """
    settings = recipe.distillation
    teacher = Teacher(clips.teacher, settings.has_columns)
    if settings.has_columns:
        Alignment(trained, teacher.checkpoint)  # what cannot be aligned is refused before measuring
    statistics = _measure(recipe, clips, teacher)
    head = {f"head.{name}" for name, _ in trained.model.head.named_parameters()}
    if recipe.initial_weights is None or head <= set(new_parameters):
        start_head(trained.model, statistics)
    augmentations = build_augmentations(recipe, clips.sample_rate, trained)
    return Distillation(
        trained, teacher, statistics, settings, augmentations, clips.sample_rate, new_parameters
    )


def build_augmentations(
    recipe: ClassifierRecipe, sample_rate: int, trained: Checkpoint
) -> Augmentations:
    """What changes the training clips of a recipe, which are read at `sample_rate`."""
    return Augmentations(
        data.Augmentation(recipe.augmentation, sample_rate),
        data.Mixup(recipe.mixup),
        SpecAugment(recipe.masking, trained.fbank.padding_value),
        FeatureNoise(recipe.feature_noise),
        data.Overlap(recipe.overlap, sample_rate) if isinstance(recipe, DistillRecipe) else None,
    )


def _measure(recipe: DistillRecipe, clips: Prepared, teacher: Teacher) -> TeacherStatistics:
    """How much the teacher's outputs vary, on training clips drawn by the recipe's seed.

    Raises:
        DataError: fewer than two of these clips can be read.
    """
    crop = min(recipe.data.crop_seconds or clips.longest_seconds, clips.longest_seconds)
    dataset = data.ClipDataset(
        clips.train,
        None,
        teacher.sample_rate,
        crop,
        recipe.seed,
        shortest_seconds=clips.shortest_seconds,
        skip_faulty=True,
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    chosen = torch.randperm(len(dataset), generator=generator)[:MEASURED].tolist()
    loader = DataLoader(
        Subset(dataset, chosen), AT_ONCE, num_workers=recipe.data.workers, collate_fn=data.collate
    )
    outputs, faults = [], []
    for batch in counted(loader, "batches of the teacher's answers"):
        faults += batch.faults
        if len(batch.waveforms):
            outputs.append(teacher.outputs(batch.waveforms, batch.lengths))
    count = len(chosen) - len(faults)
    if count < 2:
        first = f" The first that cannot: {faults[0].reason}" if faults else ""
        raise DataError(
            f"{recipe.data.source}: of {len(chosen)} training clips {count} can be read; "
            f"distillation needs two or more.{first}"
        )
    return teacher_statistics(outputs)


def build_pretraining(
    recipe: PretrainRecipe,
    sources: Sources,
    trained: Checkpoint,
    new_parameters: Collection[str],
) -> Pretraining:
    """The step in which `trained`, which has no labels, is pretrained.

    Raises:
        ConfigError: the model has no patches, its clips may be too short to hide some, or the
            decoder does not fit it.
    """
    settings, student = recipe.pretraining, trained.model
    if not (isinstance(student, PatchTransformer) and len(student.prefix_tokens)):
        raise ConfigError(
            f"model: {recipe.model.name} cannot be pretrained: it has no patches that could be "
            "hidden from it, or no prefix token. Use asda, ast or ham_ast."
        )
    _check_neighbours(student)
    if getattr(student.config, "patchout", 0):
        raise ConfigError(
            "model.patchout and pretraining cannot be given together: the objective hides patches. "
            "Use model.patchout=0."
        )
    _check_shortest(recipe, student)
    _check_decoder(settings, student)
    return Pretraining(
        trained.fbank,
        build_objective(student, settings.objective, recipe.training.batch_size),
        data.Augmentation(recipe.augmentation, recipe.front_end.sample_rate),
        _Probe(settings.probe, trained, sources) if settings.probe else None,
        settings.stop_at_collapse,
        frozenset(new_parameters),
    )


def _check_neighbours(student: PatchTransformer) -> None:
    """Refuse patches that show what is hidden in those next to them."""
    if student.patches.stem is not None:
        raise ConfigError(
            "model.stem: its convolutions reach over the edges of the patches, so that what is "
            "hidden would be seen in its neighbours. Pretrain without a stem: model.stem=[]."
        )
    patch, stride = student.patches.patch, student.patches.stride
    if any(step < size for step, size in zip(stride, patch, strict=True)):
        raise ConfigError(
            f"model.stride: patches of {list(patch)} overlap at a stride of {list(stride)}, so "
            "that what is hidden would be seen in its neighbours. Pretrain with "
            f"model.stride={list(patch)}; training may go back to {list(stride)}."
        )


def _check_shortest(recipe: PretrainRecipe, student: PatchTransformer) -> None:
    """Refuse clips so short that nothing of them would be seen, before the first is read."""
    frames = max(recipe.front_end.padding.frames, student.config.shortest_frames)
    patches = student.num_tokens(frames) - len(student.prefix_tokens)
    try:
        num_visible(patches, recipe.pretraining.objective.mask_ratio)
    except ConfigError as error:
        raise ConfigError(
            f"front_end.padding.frames: the shortest clip would have {frames} frames. {error}"
        ) from None


def _check_decoder(settings: PretrainingConfig, student: PatchTransformer) -> None:
    decoder, width = settings.objective.decoder, student.config.width
    for name in ("groups", "num_heads"):
        parts = getattr(decoder, name, 1)
        if width % parts:
            fits = max(number for number in range(1, parts) if width % number == 0)
            raise ConfigError(
                f"pretraining.objective.decoder.{name}: {parts} does not divide the model's width "
                f"({width}). Use a number that does, such as {fits}."
            )
    if isinstance(decoder, TransformerDecoderConfig) and width % 4:
        raise ConfigError(
            "pretraining.objective.decoder: its positions need a model.width that 4 divides, not "
            f"{width}."
        )


class _Probe:
    """Accuracies of linear and nearest-neighbour probes on the present embeddings of `trained`."""

    def __init__(self, settings: ProbeDataConfig, trained: Checkpoint, sources: Sources):
        from auricle.evaluation import division  # here, since only probes need torchmetrics

        self.trained = trained
        self.manifest = sources.manifest(settings.source)
        self.splits = settings.splits or division.splits_to_choose_by(self.manifest, SPLITS_SETTING)
        self.has_warned = False
        division.divide(self.manifest, self.splits, SPLITS_SETTING)  # mistakes are found now

    def __call__(self) -> dict[str, float]:
        from auricle import evaluation

        engine = TorchEngine(self.trained, str(next(self.trained.model.parameters()).device))
        lines = MinuteLines(len(self.manifest.clips), "clips of the probe embedded")
        measured = evaluation.probe(engine, self.manifest, self.splits, progress=lines)
        self._report(measured.linear.failures)
        return {
            "linear": measured.linear.metrics[measured.metric],
            "nearest": measured.nearest.metrics[measured.metric],
        }

    def _report(self, failures: Sequence[object]) -> None:
        """Warn once of clips that could not be embedded: the accuracy is that of the others."""
        if failures and not self.has_warned and is_first():
            text = (
                f"pretraining.probe: {len(failures)} of {len(self.manifest.clips)} clips cannot be "
                f"embedded and are left out. The first: {failures[0]}"
            )
            warnings.warn(text, DataWarning, stacklevel=2)
            self.has_warned = True


# What is trained, by the kind of the recipe.
STEPS: dict[type[Recipe], Callable[..., Step]] = {
    TrainRecipe: _build_supervised,
    DistillRecipe: build_distillation,
    PretrainRecipe: lambda recipe, prepared, *built: build_pretraining(
        recipe, prepared.sources, *built
    ),
}
