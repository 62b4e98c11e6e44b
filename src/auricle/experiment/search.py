"""Search for settings: a recipe, ranges of some of its keys, and a number of trials.

    recipe: small_words
    trials: 20
    ranges:
      training.optimizer.learning_rate: {low: 1e-5, high: 1e-3, log: true}
      masking.time_mask: {low: 0, high: 96}
      training.batch_size: {choices: [16, 32, 64]}

Every trial is a run that validation judges; test clips have no part in it. The folder of a search
holds trial-N/, `study.log` (optuna's journal: a new call goes on where the last one stopped),
`trials.csv`, and `best.yaml`, the recipe of the best trial.
"""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from auricle import config
from auricle.config import Settings
from auricle.errors import ConfigError, require
from auricle.experiment.folder import hold
from auricle.experiment.prepared import Prepared, Sources, read_recipe
from auricle.experiment.read import as_words
from auricle.experiment.recipe import TrainRecipe
from auricle.experiment.repeat import is_repeated
from auricle.experiment.run import RECIPE_FILE, run
from auricle.training import Machine
from auricle.training.settings import Diverged

TRIALS_FILE, BEST_FILE, STUDY_FILE = "trials.csv", "best.yaml", "study.log"


class RangeConfig(Settings):
    """What a key may be: numbers from `low` to `high` (whole ones if both are), or `choices`."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False  # as likely between 1 and 10 as between 10 and 100
    choices: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices stands alone, without low, high and log")
            if not self.choices:
                raise ValueError("choices is empty")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, got {self.low:g}")
        return self


class SearchConfig(Settings):
    """A search as its file gives it."""

    recipe: str
    overrides: dict[str, Any] = {}  # of every trial
    trials: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)  # of the search; a trial's own is the recipe's
    ranges: dict[str, RangeConfig] = Field(min_length=1)


@dataclass(frozen=True)
class Search:
    """A checked search."""

    config: SearchConfig
    base: Path | str  # the recipe
    where: str  # for messages
    sources: Sources  # what its trials share


@dataclass(frozen=True)
class Trial:
    """A finished trial: its settings and how well it validated."""

    number: int
    settings: dict[str, Any]
    score: float


def read_search(source: Path, overrides: list[str] | None = None) -> Search:
    """The search in the YAML file `source`; `overrides` go to every trial's recipe.

    Raises:
        UserError: the file, a range, or the recipe at either end of the ranges cannot be used.
    """
    settings = config.from_dict(SearchConfig, config.read_yaml(source), str(source))
    settings = settings.model_copy(
        update={"overrides": {**settings.overrides, **_values(overrides or [])}}
    )
    beside = source.parent / settings.recipe
    base = beside if beside.is_file() else settings.recipe
    search = Search(settings, base, str(source), Sources())
    for end in (0, -1):
        ends = {key: _end(limits, end) for key, limits in settings.ranges.items()}
        recipe = _prepared(search, ends).recipe
        if is_repeated(recipe):
            raise ConfigError(
                f"{source}: a trial is one run, but the recipe asks for folds or seeds. "
                "Add overrides: {folds: null, seeds: 1} and data.validation_share or data.fold."
            )
        if not recipe.data.validates:
            raise ConfigError(
                f"{source}: nothing validates, so no trial is better than another. Give "
                "data.validation_split, data.validation_share or data.fold."
            )
    return search


def tune(search: Search, out: Path, machine: Machine | None = None) -> list[Trial]:
    """Run the trials that are missing in `out`; returns all that finished, the best first.

    Raises:
        UserError: as `run`, or the folder holds another search, or every trial diverged.
        MissingExtraError: optuna is not installed.
    """
    optuna = require("optuna", "tune", "a search for settings")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with hold(out):
        trials = _trials(optuna, search, out, machine)
        _write(search, trials, out)
    return trials


def _trials(optuna: Any, search: Search, out: Path, machine: Machine | None) -> list[Trial]:
    study = _open_study(optuna, search, out)
    finished = optuna.trial.TrialState.COMPLETE
    for cut_off in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(cut_off.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(cut_off.params)
    answered = (finished, optuna.trial.TrialState.PRUNED)
    while len(study.get_trials(states=answered)) < search.config.trials:
        trial = study.ask()
        chosen = {key: _suggest(trial, key, limits) for key, limits in _ranges(search)}
        try:
            score = _run(_prepared(search, chosen), out / f"trial-{trial.number}", machine)
        except Diverged as error:  # an answer, too: not to be tried again when the search goes on
            print(f"trial {trial.number}: {error}", file=sys.stderr)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)
    trials = [
        Trial(trial.number, trial.params, trial.value)
        for trial in study.get_trials(states=(finished,))
    ]
    if not trials:
        raise ConfigError(
            f"{search.where}: the weights of all {search.config.trials} trials diverged. Search "
            "lower learning rates, in another --out."
        )
    return sorted(trials, key=lambda trial: -trial.score)


def _open_study(optuna: Any, search: Search, out: Path) -> Any:
    backend = optuna.storages.journal.JournalFileBackend(str(out / STUDY_FILE))
    try:
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="auricle",
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError, TypeError) as error:  # what a damaged line comes to
        raise ConfigError(
            f"{out / STUDY_FILE}: not readable as the journal of a search ({error}). Choose "
            "another --out, or remove the folder to begin again."
        ) from error
    # A search that goes on must not draw the same settings again.
    seed = search.config.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    requested = json.dumps(search.config.to_dict() | {"trials": None}, sort_keys=True)
    known = study.user_attrs.setdefault("search", requested)
    if known != requested:
        raise ConfigError(
            f"{out}: holds another search than {search.where}. Choose another --out; only `trials` "
            "may differ."
        )
    study.set_user_attr("search", requested)
    return study


def _run(prepared: Prepared, folder: Path, machine: Machine | None) -> float:
    best = run(prepared, folder, overwrite=True, machine=machine).best
    recipe = prepared.recipe
    score = best.get(recipe.training.score) if isinstance(recipe, TrainRecipe) else None
    return -best["validation_loss"] if score is None else score


def _ranges(search: Search) -> list[tuple[str, RangeConfig]]:
    return sorted(search.config.ranges.items())


def _suggest(trial: Any, key: str, limits: RangeConfig) -> Any:
    if limits.choices is not None:
        # Lists and mappings go through as text: optuna takes plain values only.
        return trial.suggest_categorical(key, [json.dumps(choice) for choice in limits.choices])
    if isinstance(limits.low, int) and isinstance(limits.high, int):
        return trial.suggest_int(key, limits.low, limits.high, log=limits.log)
    return trial.suggest_float(key, limits.low, limits.high, log=limits.log)


def _end(limits: RangeConfig, end: int) -> Any:
    if limits.choices is not None:
        return json.dumps(limits.choices[end])
    return (limits.low, limits.high)[end]


def _prepared(search: Search, chosen: dict[str, Any]) -> Prepared:
    words = as_words(search.config.overrides)
    words += [f"{key}={value}" for key, value in chosen.items()]
    try:
        return read_recipe(search.base, words, sources=search.sources)
    except ConfigError as error:
        settings = ", ".join(f"{key}={value}" for key, value in chosen.items())
        raise ConfigError(f"{search.where}: with {settings}: {error}") from error


def _values(assignments: list[str]) -> dict[str, Any]:
    """`key=value` words as dotted keys and values."""
    values = {}
    for assignment in assignments:
        config.override({}, [assignment])  # refuses a word that is none
        key, _, text = assignment.partition("=")
        values[key] = yaml.safe_load(text)
    return values


def _write(search: Search, trials: list[Trial], out: Path) -> None:
    keys = [key for key, _ in _ranges(search)]
    with (out / TRIALS_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trial", "score", *keys])
        for trial in trials:
            writer.writerow([trial.number, trial.score, *(trial.settings[key] for key in keys)])
    best = config.read_yaml(out / f"trial-{trials[0].number}" / RECIPE_FILE)
    config.write_yaml(best, out / BEST_FILE)
