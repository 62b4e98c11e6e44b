"""An ablation: one recipe, changed in a cell at a time, each cell repeated over seeds and folds.

    recipe: esc50_ham                    # name, or path beside the grid file
    overrides: {folds: all}              # of every cell; dotted keys as on the command line
    seeds: 3
    score: accuracy
    cells:
      - {name: "0 / off", overrides: {model.conformer: null}, paper: 95.25}

The folder of a grid holds a folder for each cell, and in it a run for each seed and fold
(`repeat.py`). Several processes, on several devices or machines that share the folder, may work
on one grid: a run that another process holds is left to it.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from auricle import config
from auricle.config import Settings
from auricle.errors import ConfigError
from auricle.experiment.folder import (
    RECIPE_FILE,
    SCORES_FILE,
    HeldError,
    check_same,
    hold,
    stored_recipe,
)
from auricle.experiment.prepared import Prepared, Sources, read_recipe
from auricle.experiment.read import BUILTIN, as_words, find, recipe_names
from auricle.experiment.recipe import TrainRecipe
from auricle.experiment.repeat import Part, parts
from auricle.experiment.results import Scores, read_scores, score
from auricle.experiment.run import run
from auricle.training import Machine
from auricle.training.settings import Diverged

GRIDS = BUILTIN / "grids"


class CellConfig(Settings):
    """One variant, and the figure that its paper gives for it, if any."""

    name: str = Field(min_length=1)
    overrides: dict[str, Any] = {}
    paper: float | None = None  # in the unit of the table: percent for accuracy, mAP as it is
    against: str | None = None  # the cell that this one is compared with; None: the first


class GridConfig(Settings):
    """A grid as its file gives it."""

    recipe: str
    overrides: dict[str, Any] = {}
    seeds: int = Field(default=3, ge=1)
    score: Literal["accuracy", "mAP"] = "accuracy"
    cells: tuple[CellConfig, ...] = Field(min_length=1)
    # A cell that the others are compared with as well as with the first: one of equal size, say.
    matched: str | None = None

    @model_validator(mode="after")
    def _check_matched(self) -> Self:
        names = [cell.name for cell in self.cells]
        if self.matched is not None and self.matched not in names[1:]:
            raise ValueError(f"matched must be the name of a cell after the first: {names[1:]}")
        for cell in self.cells:
            others = [name for name in names if name != cell.name]
            if cell.against is not None and cell.against not in others:
                raise ValueError(f"against must be the name of another cell: {others}")
        return self

    @field_validator("cells")
    @classmethod
    def _names_differ(cls, cells: tuple[CellConfig, ...]) -> tuple[CellConfig, ...]:
        folders = [folder_name(cell.name) for cell in cells]
        twice = sorted({name for name in folders if folders.count(name) > 1})
        if twice:
            raise ValueError(f"two cells would share the folder {twice[0]!r}; rename one")
        return cells


@dataclass(frozen=True)
class Cell:
    """One variant, as a checked recipe with `seeds` and, perhaps, `folds`."""

    name: str
    prepared: Prepared
    paper: float | None
    against: str | None = None  # the cell that it is compared with; None: the first

    @property
    def num_seeds(self) -> int:
        """How often it is repeated; folds are parts of one time."""
        recipe = self.prepared.recipe
        return recipe.seeds if isinstance(recipe, TrainRecipe) else 1

    @property
    def parts(self) -> list[Part]:
        """Its runs."""
        return parts(self.prepared)


@dataclass(frozen=True)
class Grid:
    """What an ablation consists of; cells are compared with the first, unless they say another."""

    name: str
    score: str
    cells: tuple[Cell, ...]
    matched: str | None = None  # the cell that they are compared with as well


def read_grid(source: str | Path, overrides: list[str] | None = None) -> Grid:
    """The checked grid at a path, or of a built-in name; `overrides` go to every cell's recipe.

    Raises:
        UserError: anything in the grid, its recipe or its data that cannot be used, naming the
            cell.
    """
    if not Path(source).is_file() and str(source) in set(recipe_names()).difference(grid_names()):
        raise ConfigError(f"{source} is a recipe, not a grid. Use auricle train {source}.")
    path = find("grid", source, GRIDS)
    settings = config.from_dict(GridConfig, config.read_yaml(path), str(source))
    recipe = path.parent / settings.recipe
    base = recipe if recipe.is_file() else settings.recipe
    cells, sources = [], Sources()
    for cell in settings.cells:
        words = [
            f"seeds={settings.seeds}",
            *as_words(settings.overrides),
            *as_words(cell.overrides),
        ]
        try:
            built = read_recipe(base, [*words, *(overrides or [])], "train", sources)
        except ConfigError as error:
            raise ConfigError(f"{source}: cell {cell.name!r}: {error}") from error
        cells.append(Cell(cell.name, built, cell.paper, cell.against))
    return Grid(path.stem, settings.score, tuple(cells), settings.matched)


def grid_names() -> list[str]:
    """Names of the grids that come with the package."""
    return sorted(path.stem for path in GRIDS.glob("*.yaml"))


def run_grid(grid: Grid, out: Path, machine: Machine | None = None) -> None:
    """Run and score what is not finished, seed by seed, so that an early stop is a fair sample.

    A run whose loss is no longer a number is reported, and the others go on.

    Raises:
        UserError: as `run`; what was finished stays, and a new call goes on from there.
    """
    for cell, part in _in_order(grid):
        folder = out / folder_name(cell.name) / part.name
        if _is_finished(folder):
            run(part.prepared, folder, resume=True, machine=machine)  # refused if of another recipe
            continue
        print(f"{cell.name}: {part.name}", file=sys.stderr)
        try:
            with hold(folder):
                run(part.prepared, folder, resume=True, machine=machine)
                score(part.prepared, folder)
        except HeldError as error:
            print(f"{error} The other runs go on.", file=sys.stderr)
        except Diverged as error:  # a result as well: the table counts the run as missing
            print(f"{cell.name}: {part.name}: {error} The other runs go on.", file=sys.stderr)


def scores_of(grid: Grid, out: Path) -> dict[str, list[Scores | None]]:
    """By cell, the scores of its parts; None where a run is still missing.

    Raises:
        ConfigError: a finished run is of another recipe than the cell has now.
    """
    return {cell.name: _scores_of(cell, out / folder_name(cell.name)) for cell in grid.cells}


def _scores_of(cell: Cell, root: Path) -> list[Scores | None]:
    scores: list[Scores | None] = []
    for part in cell.parts:
        folder = root / part.name
        stored = stored_recipe(folder) if _is_finished(folder) else None
        if stored is None:
            scores.append(None)
            continue
        check_same(part.prepared, stored, folder)
        scores.append(read_scores(folder))
    return scores


def _is_finished(folder: Path) -> bool:
    return (folder / SCORES_FILE).exists() and (folder / RECIPE_FILE).exists()


def folder_name(name: str) -> str:
    """A cell's name as that of a folder: "6 / on" is 6-on."""
    return re.sub(r"[^\w.+]+", "-", name).strip("-") or "cell"


def _in_order(grid: Grid) -> Iterator[tuple[Cell, Part]]:
    """All runs; the parts of one seed of every cell come before those of the next."""
    num_parts = max(len(cell.parts) for cell in grid.cells)
    for index in range(num_parts):
        for cell in grid.cells:
            if index < len(cell.parts):
                yield cell, cell.parts[index]
