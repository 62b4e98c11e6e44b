"""Running a recipe: build the parts, train, and leave a folder that explains itself."""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import auricle
from auricle import checkpoint, config, data, inference, models
from auricle.atomic import file_beside
from auricle.checkpoint import Checkpoint
from auricle.errors import ConfigError
from auricle.experiment import folder
from auricle.experiment.clips import Clips, select_clips
from auricle.experiment.feeds import clip_feeds
from auricle.experiment.folder import RECIPE_FILE
from auricle.experiment.pretraining import build_pretraining
from auricle.experiment.read import model_settings
from auricle.experiment.recipe import Recipe
from auricle.experiment.report import Report, read_report, write_report
from auricle.experiment.teaching import build_distillation
from auricle.features import (
    AnyFilterbankConfig,
    FeatureNoise,
    FilterbankConfig,
    SpecAugment,
)
from auricle.training import LOSSES, Machine, Supervised, Variation
from auricle.training.history import STATE_FILE, History, Record, Weights
from auricle.training.step import Step


def run(
    recipe: Recipe,
    out: Path,
    overwrite: bool = False,
    resume: bool = False,
    machine: Machine | None = None,
) -> Report:
    """Train as `recipe` says; everything that results lies in the folder `out`.

    Args:
        overwrite: replace the run that is in `out`.
        resume: go on with it; begin it where there is none, and report it where it is finished.

    Raises:
        UserError: something in the recipe, its data or its initial weights cannot be used, or
            `out` holds a run already, or, to resume, one of another recipe, or another process is
            at work in it, or it cannot be written.
        KeyboardInterrupt: stopped; `out` holds what is needed to resume.
    """
    from auricle.training import fit  # here, so that recipes can be read without lightning

    machine = machine or Machine()
    writes = fit.is_first_process()
    with folder.hold(out) if writes else nullcontext():
        if not resume and writes:
            folder.check_free(out, overwrite)
        return _run(recipe, out, resume, machine, writes)


def _run(recipe: Recipe, out: Path, resume: bool, machine: Machine, writes: bool) -> Report:
    from auricle.training import fit  # here, so that recipes can be read without lightning

    clips = select_clips(recipe)
    stored = folder.stored_recipe(out) if resume else None
    if stored is not None:
        folder.check_same(recipe, stored, clips.labels if clips.are_labelled else [], out)
        finished = read_report(out)
        if finished is not None:
            return finished
        recipe = _continued(stored, recipe)
    fit.check(recipe.training, machine)
    parts = _build(recipe, clips)
    resumes = stored is not None and folder.check_state(out)
    if writes:
        _prepare(out, recipe, parts.checkpoint, resumes)
    history = History(out, parts.step.best_by, partial(_save, parts), resumes)
    feeds = clip_feeds(recipe, clips, parts.checkpoint, machine)
    fit.fit(parts.step, feeds, recipe.training, history, recipe.seed, machine)
    report = _report(history, clips, parts.checkpoint, machine)
    if writes:
        write_report(report)
        (out / STATE_FILE).unlink(missing_ok=True)
    return report


def _continued(stored: Recipe, recipe: Recipe) -> Recipe:
    """The recipe that a run began with, with what may change meanwhile."""
    now = recipe.data
    moved = {name: getattr(now, name) for name in ("workers", "source", "more")}
    settings = stored.data.model_copy(update=moved)
    paths = ("initial_weights", "distillation", "pretraining")
    update = {name: getattr(recipe, name) for name in paths}
    return stored.model_copy(update={"data": settings, **update})


class _Parts(NamedTuple):
    checkpoint: Checkpoint  # what is trained and saved
    step: Step


def _build(recipe: Recipe, clips: Clips) -> _Parts:
    initial = inference.resolve(recipe.initial_weights) if recipe.initial_weights else None
    known = initial.labels if initial is not None and clips.are_labelled else []
    if known and sorted(known) != sorted(clips.labels):
        text = f"{recipe.initial_weights}: its labels are not those of the data; the head is new."
        print(text, file=sys.stderr)
    if recipe.statistics == "dataset" and initial is not None:
        # Weights that do not fit are refused before all sounds are measured.
        build_checkpoint(recipe, clips.labels, recipe.front_end.fbank(), initial)
    front_end = _front_end(recipe, clips, initial)
    trained, new_parameters = build_checkpoint(recipe, clips.labels, front_end, initial)
    inherited = initial.config.provenance if initial is not None else None
    provenance = {data.TRAINED_ON: data.fingerprints(clips.train, inherited)}
    trained.config.provenance.update(provenance)
    if recipe.distillation is not None:
        return _Parts(trained, build_distillation(recipe, clips, trained, new_parameters))
    if recipe.pretraining is not None:
        return _Parts(trained, build_pretraining(recipe, trained, new_parameters))
    step = Supervised(
        trained.fbank,
        trained.model,
        clips.labels,
        recipe.training,
        _variation(recipe, trained),
        new_parameters,
    )
    return _Parts(trained, step)


def _prepare(out: Path, recipe: Recipe, trained: Checkpoint, resumes: bool) -> None:
    """Make the folder ready: for a new run, or for one that goes on."""
    folder.mend(out)
    if resumes:
        return
    folder.clear(out)
    with file_beside(out / RECIPE_FILE) as part:
        config.write_yaml(_resolved(recipe, trained), part)


def _report(history: History, clips: Clips, trained: Checkpoint, machine: Machine) -> Report:
    assert history.best is not None
    return Report(
        folder=history.folder,
        best=history.best,
        last=history.records[-1],
        average=history.average,
        num_train=len(clips.train.clips),
        num_validation=len(clips.validation.clips) if clips.validation else 0,
        labels=clips.labels,
        seconds=round(sum(record["seconds"] for record in history.records), 3),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        peak_memory_gb=machine.peak_memory_gb(),
    )


def new_folder(name: str) -> Path:
    """The first of `runs/NAME-1`, `runs/NAME-2`, ... that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def before_training(recipe: Recipe, seed: int) -> Checkpoint:
    """The recipe's model as a run with `seed` would begin, with the mean and std that it has then.

    Raises:
        UserError: its sounds or initial weights cannot be used.
    """
    clips = select_clips(recipe)
    initial = inference.resolve(recipe.initial_weights) if recipe.initial_weights else None
    front_end = _front_end(recipe, clips, initial)
    seeded = recipe.model_copy(update={"seed": seed})
    return build_checkpoint(seeded, clips.labels, front_end, initial)[0]


def build_checkpoint(
    recipe: Recipe,
    labels: list[str],
    front_end: AnyFilterbankConfig,
    initial: Checkpoint | None = None,
) -> tuple[Checkpoint, set[str]]:
    """The model to train, fresh or from initial weights, and its parameters that are new.

    The head comes from the initial weights, too, where the classes are the same, in any order.
    """
    torch.manual_seed(recipe.seed)
    built = checkpoint.create(
        recipe.model["name"],
        model_settings(recipe),
        front_end,
        labels,
        LOSSES[recipe.training.loss].activation,
        _provenance(recipe),
    )
    if initial is None:
        return built, set()
    with_head = sorted(initial.labels) == sorted(labels)
    positions = recipe.initial_positions
    kept = models.transfer(initial.model, built.model, with_head, positions).kept
    if with_head and initial.labels != labels:
        models.reorder_classes(built.model, [initial.labels.index(label) for label in labels])
    new = {name for name, _ in built.model.named_parameters() if name in kept}
    if recipe.training.freeze == "backbone" and not new:
        raise ConfigError(
            "training.freeze is backbone, but all of the model comes from the initial weights, so "
            "that nothing would learn. Use training.freeze=none."
        )
    return built, new


def _front_end(recipe: Recipe, clips: Clips, initial: Checkpoint | None) -> AnyFilterbankConfig:
    front_end = recipe.front_end.fbank()
    if recipe.statistics == "given":
        return front_end
    if recipe.statistics == "initial" and initial is not None:
        known = initial.config.front_end
        _check_same_front_end(front_end, known)
        return front_end.model_copy(update={"mean": known.mean, "std": known.std})
    measured = data.measure_statistics(clips.train, front_end, skip_faulty=True)
    return front_end.model_copy(update={"mean": measured.mean, "std": measured.std})


def _check_same_front_end(front_end: FilterbankConfig, known: FilterbankConfig) -> None:
    """Mean and std of the initial weights are those of their own filterbank only."""
    for name in type(known).model_fields:
        if name in ("mean", "std", "padding", "softest_dbfs"):
            continue
        wanted, given = getattr(known, name), getattr(front_end, name)
        if wanted != given:
            raise ConfigError(
                f"front_end.{name} is {given}, the initial weights were trained with {wanted}. "
                "Use that, or front_end.statistics=dataset."
            )


def _variation(recipe: Recipe, trained: Checkpoint) -> Variation:
    return Variation(
        data.Augmentation(recipe.augmentation, recipe.front_end.sample_rate),
        data.Mixup(recipe.mixup),
        SpecAugment(recipe.masking, trained.fbank.padding_value),
        FeatureNoise(recipe.feature_noise),
    )


def _save(parts: _Parts, place: Path, record: Record, weights: Weights) -> None:
    trained = parts.checkpoint
    trained.config = trained.config.model_copy(update={"metrics": record})
    checkpoint.save(trained, place, weights=parts.step.to_save(weights))


def _provenance(recipe: Recipe) -> dict[str, Any]:
    teacher = {"teacher": _called(recipe.distillation.teacher)} if recipe.distillation else {}
    more = [f"{_called(each.source)} (share {each.share:g})" for each in recipe.data.more]
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "data": ", ".join([_called(recipe.data.source), *more]),
        "initial_weights": recipe.initial_weights and _called(recipe.initial_weights),
        **teacher,
        "auricle": auricle.__version__,
        "torch": torch.__version__,
    }


def _called(source: str) -> str:
    """The last part of a path, which tells nothing of the machine; other names as they are."""
    return Path(source).name if Path(source).exists() else source


def _resolved(recipe: Recipe, trained: Checkpoint) -> dict[str, Any]:
    """The recipe that gives this run again: defaults filled in, mean and std as they were."""
    values = recipe.to_dict()
    values["front_end"] = {"statistics": "given", **trained.config.front_end.to_dict()}
    values["model"] = {"name": recipe.model["name"], **trained.config.model_settings}
    if recipe.are_labelled:
        values["data"]["labels"] = trained.labels
    return values
