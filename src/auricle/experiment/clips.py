"""From a recipe's section `data` to the clips of both sides, before any sound is opened."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auricle import data, inference
from auricle.checkpoint import Checkpoint
from auricle.data import Manifest
from auricle.data.clips import Joined
from auricle.errors import ConfigError, DataError
from auricle.experiment.recipe import DataConfig, Recipe
from auricle.inference import engine
from auricle.training import LOSSES, DistillationConfig
from auricle.training.sampling import WEIGHTS


@dataclass(frozen=True)
class Clips:
    """What is trained on, what validates (if anything), and the classes in order."""

    train: Manifest
    validation: Manifest | None
    labels: list[str]
    sample_rate: int  # of the waveforms that are asked for, in Hz
    are_labelled: bool = True  # otherwise a teacher says what is heard in them, or nobody does
    longest_seconds: float = math.inf  # that the teacher can hear
    shortest_seconds: float = 0.0  # that it hears anything in
    sizes: tuple[int, ...] = ()  # of the sets in `train`: of data.source, and of each of data.more


def select_clips(recipe: Recipe) -> Clips:
    """Read the manifest and divide it as the recipe says.

    Raises:
        DataError: the source cannot be used, a split or fold has no clips, there are fewer than two
            classes, or a clip has not exactly one label although the loss is ce.
    """
    if recipe.distillation is not None:
        return _unlabelled(recipe, recipe.distillation)
    if recipe.pretraining is not None:
        train, validation, sizes = _divided(recipe)
        rate = recipe.front_end.sample_rate
        return Clips(train, validation, [], rate, are_labelled=False, sizes=sizes)
    settings = recipe.data
    given = None if settings.labels is None else list(settings.labels)
    manifest = data.read(Path(settings.source), given)
    labels = given or manifest.labels
    if len(labels) < 2:
        raise DataError(
            f"{settings.source}: {len(labels)} class ({', '.join(labels)}); training needs two or "
            "more."
        )
    train, validation = _divide(manifest, settings, recipe.seed)
    data.warn_of_untrained(manifest, train, labels)
    if validation is not None:
        validation = validation.without_soft_targets()
    _check_labels_to_count(train, recipe.training.sampling)
    if recipe.training.loss == "ce":
        for side in (train, validation):
            _check_one_label(side)
    return Clips(train, validation, labels, recipe.front_end.sample_rate)


def _unlabelled(recipe: Recipe, distillation: DistillationConfig) -> Clips:
    """Clips for a teacher; both it and the student are to hear all that they can."""
    teacher = read_teacher(distillation.teacher, recipe.training.loss)
    train, validation, sizes = _divided(recipe)
    teacher_rate = teacher.config.front_end.sample_rate
    rate = max(recipe.front_end.sample_rate, teacher_rate)
    # Whole hundredths: no rounding between the rates may add a sample too many.
    longest = math.floor(100 * engine.longest_samples(teacher) / teacher_rate) / 100
    shortest = engine.shortest_samples(teacher) / teacher_rate
    return Clips(train, validation, teacher.labels, rate, False, longest, shortest, sizes)


def _divided(recipe: Recipe) -> tuple[Manifest, Manifest | None, tuple[int, ...]]:
    """The clips to learn from without labels, those that validate, and the sizes of the sets."""
    manifest = data.read(Path(recipe.data.source), labelled=False)
    train, validation = _divide(manifest, recipe.data, recipe.seed)
    _check_labels_to_count(train, recipe.training.sampling)
    if not recipe.data.more:
        return train, validation, (len(train.clips),)
    more = [
        data.read(Path(each.source), labelled=False).select(each.train_split)
        for each in recipe.data.more
    ]
    if validation is not None:
        _check_apart(more, validation)
    parts = [each.clips for each in (train, *more)]
    sizes = tuple(map(len, parts))
    return replace(train, clips=Joined(parts)), validation, sizes


def _check_apart(more: Sequence[Manifest], validation: Manifest) -> None:
    """Refuse further sets to learn from that hold clips which validate."""
    validating = set(map(os.path.abspath, validation.table.paths()))
    for number, each in enumerate(more):
        both = [path for path in each.table.paths() if os.path.abspath(path) in validating]
        if both:
            raise DataError(
                f"{each.source}: {len(both)} of its clips validate, too; the first is {both[0]}. "
                f"Name a split of it (data.more[{number}].train_split), or leave these clips out."
            )


def read_teacher(name: str, loss: str) -> Checkpoint:
    """The checkpoint called `name`, if it can teach a student that is trained with `loss`.

    Raises:
        UserError: there is none, it has no labels, or its classes exclude each other and the
            student's do not, or the other way round.
    """
    teacher = inference.resolve(name)
    if not teacher.labels:
        raise ConfigError(
            f"distillation.teacher: {name} has no labels, so it cannot say what is heard. Choose a "
            "model that was trained on labels."
        )
    activation = teacher.config.activation
    if LOSSES[loss].activation != activation:
        [right] = [name for name, kind in LOSSES.items() if kind.activation == activation]
        raise ConfigError(
            f"distillation.teacher: {name} answers with a {activation}, so training.loss must be "
            f"{right}, not {loss}."
        )
    return teacher


def _divide(
    manifest: Manifest, settings: DataConfig, seed: int
) -> tuple[Manifest, Manifest | None]:
    train, validation = _sides(manifest, settings, seed)
    if settings.clips_per_class is not None:
        train = data.draw_from_each(train, settings.clips_per_class, seed)
    return train, validation


def _sides(manifest: Manifest, settings: DataConfig, seed: int) -> tuple[Manifest, Manifest | None]:
    not_splits: tuple[str | None, ...] = ()
    if settings.train_split is None:  # clips that a table calls test are never trained on
        not_splits = (data.TEST, settings.validation_split)

    train = manifest.select(settings.train_split, None, settings.fold, not_splits)
    if settings.validation_split is not None:
        return train, manifest.select(settings.validation_split)
    if settings.fold is not None:
        return train, manifest.select(settings.train_split, settings.fold)
    if settings.validation_share is not None:
        return data.split_by_group(train, settings.validation_share, seed)
    return train, None


def _check_labels_to_count(manifest: Manifest, sampling: str) -> None:
    if sampling not in WEIGHTS or all(manifest.label_sets):
        return  # of millions of clips as fast as of ten
    for clip in manifest.clips:
        if not clip.labels:
            raise DataError(
                f"{clip.where}: no labels, but training.sampling is {sampling}, which counts them. "
                "Use training.sampling=shuffle."
            )


def _check_one_label(manifest: Manifest | None) -> None:
    if manifest is None or all(len(labels) == 1 for labels in manifest.label_sets):
        return  # of millions of clips as fast as of ten
    for clip in manifest.clips:
        if clip.soft_targets is None and len(clip.labels) != 1:
            raise DataError(
                f"{clip.where}: {len(clip.labels)} labels, but training.loss is ce, which wants "
                "exactly one. Use training.loss=bce."
            )
