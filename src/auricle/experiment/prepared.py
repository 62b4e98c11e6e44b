"""From a recipe to what its run needs, read once: clips of both sides, labels, weights, teacher."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auricle import data, inference
from auricle.checkpoint import Checkpoint
from auricle.data import Manifest
from auricle.data.clips import Joined
from auricle.errors import ConfigError, DataError
from auricle.experiment.read import parse
from auricle.experiment.recipe import (
    DataConfig,
    DistillRecipe,
    LabelledDataConfig,
    PretrainRecipe,
    Recipe,
    TrainRecipe,
    UnlabelledRecipe,
)
from auricle.inference import engine
from auricle.training import LOSSES
from auricle.training.sampling import WEIGHTS

MODELS_KEPT = 2  # the initial weights of a run, and its teacher


class Sources:
    """Manifests and models by their names, each read once, at its first use."""

    def __init__(self) -> None:
        self._manifests: dict[tuple[Any, ...], Manifest] = {}
        self._models: dict[str, Checkpoint] = {}

    def manifest(
        self, source: str | Path, labels: Sequence[str] | None = None, labelled: bool = True
    ) -> Manifest:
        """The manifest at `source`; arguments and errors are those of `data.read`."""
        key = (str(source), None if labels is None else tuple(labels), labelled)
        if key not in self._manifests:
            given = None if labels is None else list(labels)
            self._manifests[key] = data.read(Path(source), given, labelled=labelled)
        return self._manifests[key]

    def model(self, name: str) -> Checkpoint:
        """The model called `name`; of the models of a grid the latest two stay in memory."""
        if name not in self._models:
            while len(self._models) >= MODELS_KEPT:
                del self._models[next(iter(self._models))]
            self._models[name] = inference.resolve(name)
        return self._models[name]


@dataclass(frozen=True)
class Prepared:
    """A recipe with what it names: all that `run` needs."""

    recipe: Recipe
    sources: Sources
    train: Manifest
    validation: Manifest | None
    labels: list[str]  # the classes in order; none where nothing is classified
    sample_rate: int  # of the waveforms that are read, in Hz
    are_labelled: bool = True  # otherwise a teacher labels the clips, or nobody does
    longest_seconds: float = math.inf  # that the teacher takes
    shortest_seconds: float = 0.0  # that it takes
    sizes: tuple[int, ...] = ()  # of the sets in `train`: of data.source, and of each of data.more

    @property
    def manifest(self) -> Manifest:
        """All clips of `data.source`, with their labels."""
        settings = self.recipe.data
        labels = settings.labels if isinstance(settings, LabelledDataConfig) else None
        return self.sources.manifest(settings.source, labels, self.are_labelled)

    @property
    def initial(self) -> Checkpoint | None:
        """The model of the initial weights, if there are any."""
        name = self.recipe.initial_weights
        return self.sources.model(name) if name else None

    @property
    def teacher(self) -> Checkpoint:
        """The teacher of a recipe that learns from one."""
        assert isinstance(self.recipe, DistillRecipe)  # the caller's condition
        return self.sources.model(self.recipe.distillation.teacher)

    def changed(self, recipe: Recipe) -> "Prepared":
        """The same for a recipe with another seed or fold; nothing is read again."""
        return prepare(recipe, sources=self.sources)


def read_recipe(
    source: str | Path,
    overrides: list[str] | None = None,
    command: str | None = None,
    sources: Sources | None = None,
) -> Prepared:
    """The recipe at a path, or of a built-in name, with what it names.

    Every mistake in it is found here, before any sound is opened.

    Args:
        overrides, command: as for `read.parse`.
        sources: what was read already.

    Raises:
        UserError: anything in the recipe, or in the manifest it names, that cannot be used.
    """
    return prepare(parse(source, overrides, command), str(source), sources)


def prepare(recipe: Recipe, where: str = "recipe", sources: Sources | None = None) -> Prepared:
    """Read what `recipe` names, and divide its clips.

    Args:
        where: what the recipe comes from, for messages.
        sources: what was read already.

    Raises:
        ConfigError: a source is not there, or the model has another number of classes.
        DataError: a source cannot be used, a split or fold has no clips, there are fewer than two
            classes, or a clip has not exactly one label although the loss is ce.
    """
    sources = sources or Sources()
    named = {"data.source": recipe.data.source}
    more = getattr(recipe.data, "more", ())
    named |= {f"data.more[{number}].source": each.source for number, each in enumerate(more)}
    for key, source in named.items():
        if not Path(source).exists():
            raise ConfigError(f"{where}: {key}: no such file or folder: {source}.")
    prepared = PREPARE[type(recipe)](recipe, sources)
    given = recipe.model.num_classes
    if given and given != len(prepared.labels):
        raise ConfigError(
            f"{where}: model.num_classes is {given}, but the data has {len(prepared.labels)} "
            "classes. Leave it out: it follows the data."
        )
    return prepared


def _labelled(recipe: TrainRecipe, sources: Sources) -> Prepared:
    settings = recipe.data
    manifest = sources.manifest(settings.source, settings.labels)
    labels = list(settings.labels or manifest.labels)
    if len(labels) < 2:
        raise DataError(
            f"{settings.source}: {len(labels)} class ({', '.join(labels)}); training needs two or "
            "more."
        )
    train, validation = _divide(manifest, settings, recipe.seed)
    if settings.clips_per_class is not None:
        train = data.draw_from_each(train, settings.clips_per_class, recipe.seed)
    data.warn_of_untrained(manifest, train, labels)
    if validation is not None:
        validation = validation.without_soft_targets()
    _check_labels_to_count(train, recipe.training.sampling)
    if recipe.training.loss == "ce":
        for side in (train, validation):
            _check_one_label(side, "training.loss is ce", "training.loss=bce")
    elif recipe.training.best_by == "accuracy":
        _check_one_label(validation, "training.best_by is accuracy", "training.best_by=mAP")
    return Prepared(recipe, sources, train, validation, labels, recipe.front_end.sample_rate)


def _for_a_teacher(recipe: DistillRecipe, sources: Sources) -> Prepared:
    """Clips as long as the teacher takes, at the higher of its rate and the student's."""
    name = recipe.distillation.teacher
    teacher = sources.model(name)
    check_teacher(teacher, name, recipe.training.loss)
    train, validation, sizes = _unlabelled(recipe, sources)
    teacher_rate = teacher.config.front_end.sample_rate
    rate = max(recipe.front_end.sample_rate, teacher_rate)
    # Whole hundredths: no rounding between the rates may add a sample too many.
    longest = math.floor(100 * engine.longest_samples(teacher) / teacher_rate) / 100
    shortest = engine.shortest_samples(teacher) / teacher_rate
    sides = (train, validation, teacher.labels, rate)
    return Prepared(recipe, sources, *sides, False, longest, shortest, sizes)


def _sound_alone(recipe: PretrainRecipe, sources: Sources) -> Prepared:
    train, validation, sizes = _unlabelled(recipe, sources)
    rate = recipe.front_end.sample_rate
    return Prepared(recipe, sources, train, validation, [], rate, are_labelled=False, sizes=sizes)


PREPARE: dict[type[Recipe], Any] = {
    TrainRecipe: _labelled,
    DistillRecipe: _for_a_teacher,
    PretrainRecipe: _sound_alone,
}


def _unlabelled(
    recipe: UnlabelledRecipe, sources: Sources
) -> tuple[Manifest, Manifest | None, tuple[int, ...]]:
    """The clips to learn from without labels, those that validate, and the sizes of the sets."""
    settings = recipe.data
    manifest = sources.manifest(settings.source, labelled=False)
    train, validation = _divide(manifest, settings, recipe.seed)
    _check_labels_to_count(train, recipe.training.sampling)
    if not settings.more:
        return train, validation, (len(train.clips),)
    more = [
        sources.manifest(each.source, labelled=False).select(each.train_split)
        for each in settings.more
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


def check_teacher(teacher: Checkpoint, name: str, loss: str) -> None:
    """Refuse a teacher that cannot teach a student that is trained with `loss`.

    Raises:
        ConfigError: it has no labels, or its classes exclude each other and the student's do not,
            or the other way round.
    """
    if not teacher.labels:
        raise ConfigError(
            f"distillation.teacher: {name} has no labels, so it has nothing to teach. Choose a "
            "model that was trained on labels."
        )
    activation = teacher.config.activation
    if LOSSES[loss].activation != activation:
        [right] = [name for name, kind in LOSSES.items() if kind.activation == activation]
        raise ConfigError(
            f"distillation.teacher: {name} answers with a {activation}, so training.loss must be "
            f"{right}, not {loss}."
        )


def _divide(
    manifest: Manifest, settings: DataConfig, seed: int
) -> tuple[Manifest, Manifest | None]:
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


def _check_one_label(manifest: Manifest | None, setting: str, instead: str) -> None:
    if manifest is None or all(len(labels) == 1 for labels in manifest.label_sets):
        return  # of millions of clips as fast as of ten
    for clip in manifest.clips:
        if clip.soft_targets is None and len(clip.labels) != 1:
            raise DataError(
                f"{clip.where}: {len(clip.labels)} labels, but {setting}, which wants exactly one. "
                f"Use {instead}."
            )
