"""Public checkpoints by name: a table of them, and their files, fetched once into one cache."""

from auricle.catalogue.cache import cache_folder, fetch, is_cached, rows
from auricle.catalogue.table import find, names
