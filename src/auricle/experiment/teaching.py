"""The step in which a student learns from the teacher of a recipe."""

from collections.abc import Collection

import torch
from torch.utils.data import DataLoader, Subset

from auricle import data
from auricle.checkpoint import Checkpoint
from auricle.errors import DataError
from auricle.experiment.prepared import Prepared
from auricle.experiment.recipe import ClassifierRecipe, DistillRecipe
from auricle.features import FeatureNoise, SpecAugment
from auricle.progress import counted
from auricle.training import (
    Alignment,
    Augmentations,
    Distillation,
    Teacher,
    TeacherStatistics,
    start_head,
    teacher_statistics,
)

MEASURED = 2000  # clips that the spread of the teacher's outputs is measured on, at most
AT_ONCE = 8  # of them


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
