"""One recipe, several runs: a run for each fold and each seed, every one scored where it did not
learn, and their mean and spread.

seed-0-fold-1/   a run as `experiment.run` leaves it, with scores.json of its held-out clips
summary.json     the scores of all runs; mean and standard deviation over the seeds
"""

import statistics
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auricle.atomic import write_text
from auricle.config import to_json
from auricle.errors import DataError
from auricle.experiment import folder
from auricle.experiment.prepared import Prepared
from auricle.experiment.recipe import Recipe, TrainRecipe
from auricle.experiment.results import Scores, kept_from_training, score
from auricle.experiment.run import run
from auricle.training import Machine

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Part:
    """One run of a repeated recipe."""

    name: str  # of its folder
    prepared: Prepared


def is_repeated(recipe: Recipe) -> bool:
    """Whether the recipe asks for more than one run."""
    return isinstance(recipe, TrainRecipe) and (recipe.folds is not None or recipe.seeds > 1)


def parts(prepared: Prepared) -> list[Part]:
    """The runs that a recipe asks for, seed by seed, so that early ones are a fair sample.

    Raises:
        DataError: `folds: all` for clips without folds, or a fold that no clip has.
    """
    recipe = prepared.recipe
    if not isinstance(recipe, TrainRecipe):
        return [Part(f"seed-{recipe.seed}", prepared)]
    folds: list[int] | list[None] = [None] if recipe.folds is None else _folds(recipe, prepared)
    result = []
    for seed in range(recipe.seed, recipe.seed + recipe.seeds):
        for fold in folds:
            part, name = recipe.model_copy(update={"seed": seed, "seeds": 1}), f"seed-{seed}"
            if fold is not None:
                settings = recipe.data.model_copy(update={"fold": fold})
                part, name = part.model_copy(update={"data": settings}), f"{name}-fold-{fold}"
            part = part.model_copy(update={"folds": None})
            result.append(Part(name, prepared.changed(part)))
    return result


def repeat(
    prepared: Prepared, out: Path, machine: Machine | None = None, overwrite: bool = False
) -> dict[str, Any] | None:
    """Run and score every part of the recipe that is not finished; returns the summary.

    A part that an earlier call began is resumed, one that it finished is left alone. Of several
    processes that share the training, the first one scores; the others get None.

    Args:
        overwrite: replace the parts that are in `out`.

    Raises:
        UserError: as `run`.
    """
    from auricle.training import fit  # here, so that recipes can be read without lightning

    chosen = parts(prepared)
    for part in chosen:
        kept_from_training(part.prepared)  # before hours of training, not after
    is_first = fit.is_first_process()
    with folder.hold(out) if is_first else nullcontext():
        if overwrite and is_first:
            for part in chosen:
                with folder.hold(out / part.name):
                    folder.clear(out / part.name)
        scored = {}
        for number, part in enumerate(chosen, start=1):
            if is_first:
                print(f"{part.name}, run {number} of {len(chosen)}", file=sys.stderr)
            # Others may look before the first process has taken the old runs away.
            run(part.prepared, out / part.name, overwrite, not overwrite, machine)
            if is_first:
                scored[part.name] = score(part.prepared, out / part.name)
        if not is_first:
            return None
        summary = summarize(scored, len({part.prepared.recipe.seed for part in chosen}))
        write_text(out / SUMMARY_FILE, to_json(summary, indent=2) + "\n")
        return summary


def summarize(scored: dict[str, Scores], num_seeds: int) -> dict[str, Any]:
    """Mean and standard deviation over the seeds; the folds of a seed count as one score each.

    Args:
        scored: by the name of the part, in the order of `parts`.
    """
    names = list(scored)
    per_seed = len(names) // num_seeds
    summary: dict[str, Any] = {"runs": {name: scored[name].metrics for name in names}}
    for metric in ("accuracy", "mAP"):
        values = [scored[name].metrics.get(metric) for name in names]
        known = [float(value) for value in values if value is not None]
        if len(known) < len(names):
            continue
        of_seeds = np.reshape(known, (num_seeds, per_seed)).mean(axis=1).tolist()
        spread = statistics.stdev(of_seeds) if len(of_seeds) > 1 else None
        summary[metric] = {"mean": statistics.fmean(of_seeds), "std": spread, "seeds": of_seeds}
    return summary


def _folds(recipe: TrainRecipe, prepared: Prepared) -> list[int]:
    source, known = recipe.data.source, prepared.manifest.folds
    if recipe.folds == "all":
        if len(known) < 2:
            raise DataError(
                f"{source}: folds: all needs clips in two folds or more. Give them in the column "
                "fold."
            )
        return known
    assert recipe.folds is not None
    missing = [fold for fold in recipe.folds if fold not in known]
    if missing:
        raise DataError(
            f"{source}: no clip has fold {missing[0]}. "
            f"Folds: {', '.join(map(str, known)) or 'none'}."
        )
    return [int(fold) for fold in recipe.folds]
