"""Running a recipe: build the parts, train, and leave a folder that explains itself."""

import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import auricle
from auricle import checkpoint, config, data, models
from auricle.atomic import file_beside
from auricle.checkpoint import Checkpoint
from auricle.errors import ConfigError
from auricle.experiment import folder
from auricle.experiment.folder import RECIPE_FILE
from auricle.experiment.loaders import loader_specs
from auricle.experiment.own_data import print_splits
from auricle.experiment.prepared import Prepared
from auricle.experiment.read import SECTIONS
from auricle.experiment.recipe import (
    DistillRecipe,
    Recipe,
    TrainRecipe,
    UnlabelledDataConfig,
)
from auricle.experiment.results import Report, read_report, write_report
from auricle.experiment.steps import STEPS
from auricle.features import AnyFilterbankConfig, FilterbankConfig
from auricle.training import Machine
from auricle.training.history import STATE_FILE, History, Record, Weights
from auricle.training.step import Step


def run(
    prepared: Prepared,
    out: Path,
    overwrite: bool = False,
    resume: bool = False,
    machine: Machine | None = None,
) -> Report:
    """Train by the recipe of `prepared`; all results are written to the folder `out`.

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
        stored = folder.stored_recipe(out) if resume else None
        if stored is not None:
            folder.check_same(prepared, stored, out)
            finished = read_report(out)
            if finished is not None:
                return finished
            prepared = replace(prepared, recipe=_continued(stored, prepared.recipe))
        fit.check(prepared.recipe.training, machine)
        resumes = stored is not None and folder.check_state(out)
        return _train(prepared, out, resumes, machine)


def _train(prepared: Prepared, out: Path, resumes: bool, machine: Machine) -> Report:
    from auricle.training import fit  # here, so that recipes can be read without lightning

    recipe, writes = prepared.recipe, fit.is_first_process()
    parts = _build(prepared)
    if writes:
        _make_ready(out, recipe, parts.checkpoint, resumes)
        print_splits(prepared)
    history = History(out, parts.step.best_by, partial(_save, parts), resumes)
    specs = loader_specs(prepared, parts.checkpoint, machine)
    fit.fit(parts.step, specs, recipe.training, history, recipe.seed, machine)
    report = _report(history, prepared, parts.checkpoint, machine)
    if writes:
        write_report(report)
        (out / STATE_FILE).unlink(missing_ok=True)
    return report


def _continued(stored: Recipe, recipe: Recipe) -> Recipe:
    """The recipe that a run began with, with what may change meanwhile."""
    moved = {name: getattr(recipe.data, name, None) for name in ("workers", "source", "more")}
    own = {name: value for name, value in moved.items() if value is not None}
    update: dict[str, Any] = {"data": stored.data.model_copy(update=own)}
    for name in ("initial_weights", *SECTIONS):
        if name in type(recipe).model_fields:
            update[name] = getattr(recipe, name)
    return stored.model_copy(update=update)


class _Parts(NamedTuple):
    checkpoint: Checkpoint  # what is trained and saved
    step: Step


def _build(prepared: Prepared) -> _Parts:
    recipe, initial = prepared.recipe, prepared.initial
    known = initial.labels if initial is not None and prepared.are_labelled else []
    if known and sorted(known) != sorted(prepared.labels):
        text = f"{recipe.initial_weights}: its labels are not those of the data; the head is new."
        print(text, file=sys.stderr)
    if recipe.statistics == "dataset" and initial is not None:
        # Weights that do not fit are refused before all sounds are measured.
        build_checkpoint(recipe, prepared.labels, recipe.front_end.fbank(), initial)
    trained, new_parameters = build_checkpoint(
        recipe, prepared.labels, _front_end(prepared), initial
    )
    inherited = initial.config.provenance if initial is not None else None
    provenance = {data.TRAINED_ON: data.fingerprints(prepared.train, inherited)}
    trained.config.provenance.update(provenance)
    step: Step = STEPS[type(recipe)](recipe, prepared, trained, new_parameters)
    return _Parts(trained, step)


def _make_ready(out: Path, recipe: Recipe, trained: Checkpoint, resumes: bool) -> None:
    """Make the folder ready: for a new run, or for one that goes on."""
    folder.mend(out)
    if resumes:
        return
    folder.clear(out)
    with file_beside(out / RECIPE_FILE) as part:
        config.write_yaml(_resolved(recipe, trained), part)


def _report(history: History, prepared: Prepared, trained: Checkpoint, machine: Machine) -> Report:
    assert history.best is not None
    return Report(
        folder=history.folder,
        best=history.best,
        last=history.records[-1],
        average=history.average,
        num_train=len(prepared.train.clips),
        num_validation=len(prepared.validation.clips) if prepared.validation else 0,
        labels=prepared.labels,
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


def before_training(prepared: Prepared, seed: int) -> Checkpoint:
    """The recipe's model as a run with `seed` would begin, with the mean and std that it has then.

    Raises:
        UserError: its sounds or initial weights cannot be used.
    """
    seeded = prepared.recipe.model_copy(update={"seed": seed})
    front_end = _front_end(prepared)
    return build_checkpoint(seeded, prepared.labels, front_end, prepared.initial)[0]


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
        recipe.model.name,
        recipe.model_settings,
        front_end,
        labels,
        recipe.activation,
        _provenance(recipe),
    )
    if initial is None:
        return built, set()
    with_head = sorted(initial.labels) == sorted(labels)
    positions = recipe.initial_positions
    fresh = models.transfer(initial.model, built.model, with_head, positions).fresh
    if with_head and initial.labels != labels:
        built.model.reorder_classes([initial.labels.index(label) for label in labels])
    new = {name for name, _ in built.model.named_parameters() if name in fresh}
    if isinstance(recipe, TrainRecipe) and recipe.training.freeze == "backbone" and not new:
        raise ConfigError(
            "training.freeze is backbone, but all of the model comes from the initial weights, so "
            "that nothing would learn. Use training.freeze=none."
        )
    return built, new


def _front_end(prepared: Prepared) -> AnyFilterbankConfig:
    recipe, initial = prepared.recipe, prepared.initial
    front_end = recipe.front_end.fbank()
    if recipe.statistics == "given":
        return front_end
    if recipe.statistics == "initial" and initial is not None:
        known = initial.config.front_end
        _check_same_front_end(front_end, known)
        return front_end.model_copy(update={"mean": known.mean, "std": known.std})
    measured = data.measure_statistics(prepared.train, front_end, skip_faulty=True)
    return front_end.model_copy(update={"mean": measured.mean, "std": measured.std})


def _check_same_front_end(front_end: FilterbankConfig, known: FilterbankConfig) -> None:
    """Mean and std of the initial weights are those of their own filterbank only."""
    for name in type(known).model_fields:
        if name in ("mean", "std", "padding", "min_level_dbfs"):
            continue
        expected, given = getattr(known, name), getattr(front_end, name)
        if expected != given:
            raise ConfigError(
                f"front_end.{name} is {given}, the initial weights were trained with {expected}. "
                "Use that, or front_end.statistics=dataset."
            )


def _save(parts: _Parts, folder: Path, record: Record, weights: Weights) -> None:
    trained = parts.checkpoint
    trained.config = trained.config.model_copy(update={"metrics": record})
    checkpoint.save(trained, folder, weights=parts.step.to_save(weights))


def _provenance(recipe: Recipe) -> dict[str, Any]:
    teacher, more = {}, []
    if isinstance(recipe, DistillRecipe):
        teacher = {"teacher": _called(recipe.distillation.teacher)}
    if isinstance(recipe.data, UnlabelledDataConfig):
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
    """The last part of a path, without anything of the machine; other names as they are."""
    return Path(source).name if Path(source).exists() else source


def _resolved(recipe: Recipe, trained: Checkpoint) -> dict[str, Any]:
    """The recipe that gives this run again: defaults filled in, mean and std as they were."""
    values = recipe.to_dict()
    values["front_end"] = {"statistics": "given", **trained.config.front_end.to_dict()}
    values["model"] = {"name": recipe.model.name, **trained.config.model_settings}
    if isinstance(recipe, TrainRecipe):
        values["data"]["labels"] = trained.labels
    return values
