"""Experiments: a recipe becomes parts, the parts a trained model; the only room that knows all."""

from auricle.experiment.folder import check_writable
from auricle.experiment.grid import Grid, grid_names, read_grid, run_grid, scores_of
from auricle.experiment.own_data import recipe_for_folder, recipe_for_sounds
from auricle.experiment.read import read_recipe, recipe_names, sections_of
from auricle.experiment.recipe import DataConfig, FrontEndConfig, Recipe
from auricle.experiment.repeat import is_repeated, parts, repeat
from auricle.experiment.report import Report
from auricle.experiment.run import before_training, new_folder, run
from auricle.experiment.scoring import Scores, score
from auricle.experiment.search import Search, Trial, read_search, tune
from auricle.experiment.table import write_table

__all__ = [
    "DataConfig",
    "FrontEndConfig",
    "Grid",
    "Recipe",
    "Report",
    "Scores",
    "Search",
    "Trial",
    "before_training",
    "check_writable",
    "grid_names",
    "is_repeated",
    "new_folder",
    "parts",
    "read_grid",
    "read_recipe",
    "read_search",
    "recipe_for_folder",
    "recipe_for_sounds",
    "recipe_names",
    "repeat",
    "run",
    "run_grid",
    "score",
    "scores_of",
    "sections_of",
    "tune",
    "write_table",
]
