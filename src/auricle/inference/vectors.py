"""Embeddings on disk: a Parquet table, or a numpy array with a table of its rows beside it.

Shapes: N windows, D width of the embedding.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from torch import Tensor

from auricle.atomic import file_beside
from auricle.data.table import PARQUET_SUFFIXES, write_rows
from auricle.errors import ConfigError, refused, require

COLUMNS = ("file", "start", "end", "vector")
ROWS_AT_ONCE = 4096  # of a Parquet row group: bounds the memory

Row: TypeAlias = tuple[str, float, float, Tensor]  # file, start and end in seconds, vector (D,)


def check_kind(out: Path) -> None:
    """Refuse a kind of file that cannot be written, before hours of work.

    Raises:
        ConfigError: its kind is unknown.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    if out.suffix not in (*PARQUET_SUFFIXES, ".npy"):
        raise ConfigError(
            f"--out {out}: vectors are written as .parquet or .npy. Name such a file."
        )
    if out.suffix in PARQUET_SUFFIXES:
        require("pyarrow.parquet", "train", "writing Parquet")


def write(rows: Iterable[Row], out: Path) -> int:
    """Write `rows` to `out`, whole or not at all, and return how many there are.

    Parquet holds COLUMNS. A .npy file holds the vectors alone, float32 `(N, D)`; file, start and
    end of each stand in a CSV file of the same name. Without any rows nothing is written.

    Raises:
        ConfigError: `out` cannot be written.
    """
    waiting = iter(rows)
    first = next(waiting, None)
    if first is None:
        return 0
    every = (
        # A file name may hold bytes that are no text.
        (file.encode("utf-8", "backslashreplace").decode(), start, end, vector)
        for file, start, end, vector in itertools.chain([first], waiting)
    )
    with refused(ConfigError, f"--out {out}: cannot be written", " Name another place."):
        return (_write_numpy if out.suffix == ".npy" else _write_parquet)(every, out)


def _write_parquet(rows: Iterable[Row], out: Path) -> int:
    import pyarrow
    from pyarrow import parquet

    kinds = (
        pyarrow.string(),
        pyarrow.float64(),
        pyarrow.float64(),
        pyarrow.list_(pyarrow.float32()),
    )
    schema = pyarrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    count = 0
    with file_beside(out) as part, parquet.ParquetWriter(part, schema) as writer:
        for group in _groups(rows):
            files, starts, ends, vectors = zip(*group, strict=True)
            columns = [files, starts, ends, [vector.tolist() for vector in vectors]]
            writer.write_table(pyarrow.table(dict(zip(COLUMNS, columns, strict=True)), schema))
            count += len(group)
    return count


def _write_numpy(rows: Iterable[Row], out: Path) -> int:
    table: list[dict[str, str]] = []
    vectors: list[np.ndarray] = []
    for *cells, vector in rows:
        table.append(dict(zip(COLUMNS, map(str, cells), strict=False)))
        vectors.append(vector.numpy())
    with file_beside(out) as part, part.open("wb") as file:
        np.save(file, np.stack(vectors))
    write_rows(out.with_suffix(".csv"), COLUMNS[:3], table)
    return len(table)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    waiting = iter(rows)
    while group := list(itertools.islice(waiting, ROWS_AT_ONCE)):
        yield group
