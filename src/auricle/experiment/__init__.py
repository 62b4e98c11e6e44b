"""Experiments: a recipe becomes parts, the parts a trained model; the only room that knows all."""

from auricle.experiment.folder import check_writable
from auricle.experiment.grid import Grid, grid_names, read_grid, run_grid, scores_of
from auricle.experiment.own_data import recipe_for_folder, recipe_for_sounds
from auricle.experiment.prepared import Prepared, Sources, prepare, read_recipe
from auricle.experiment.read import recipe_from, recipe_names
from auricle.experiment.recipe import FrontEndConfig, Recipe
from auricle.experiment.repeat import is_repeated, parts, repeat
from auricle.experiment.results import Report, Scores, score, test_split
from auricle.experiment.run import before_training, new_folder, run
from auricle.experiment.search import Search, Trial, read_search, tune
from auricle.experiment.table import write_table
