"""Tables as rows with line numbers, so that a message can say where it went wrong.

CSV files are read with the standard library, piece by piece, which keeps a file of two million rows
within seconds and gives every error its line. What spreadsheets make of them is read, too: values
between semicolons or tabs, a first line `sep=;`, and UTF-16; a warning says so. Parquet files need
pyarrow, an optional package.
"""

import csv
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from auricle.atomic import file_beside
from auricle.errors import DataError, DataWarning, refused, require

Row = tuple[int, dict[str, str]]  # line number in the file, values by column
Piece = tuple[Sequence[int], dict[str, Sequence[Any]]]  # line numbers, values by column

PARQUET_SUFFIXES = (".parquet", ".pq")
PIECE_ROWS = 10_000
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}  # between values, the likeliest first
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
MOST_OF_A_LINE = 2**17  # characters, as csv's of a value; the first line of any file may be longer


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    """The rows of the CSV file at `path`, blank lines left out.

    Args:
        required: columns that must be there; others may be, in any order.

    Raises:
        DataError: the file cannot be read, is not CSV in UTF-8, lacks a column, names one twice, or
            has a line with more or fewer values than columns.
    """
    rows: list[Row] = []
    for lines, columns in read_columns(path, required):
        texts = zip(*columns.values(), strict=True)
        rows += zip(lines, (dict(zip(columns, row, strict=True)) for row in texts), strict=True)
    return rows


def read_columns(path: Path, required: Sequence[str]) -> Iterator[Piece]:
    """The columns of the CSV file at `path`, some rows at a time, blank lines left out.

    Raises:
        DataError: as `read_rows`.
    """
    with _opened(path, required) as (header, reader, separator):
        num_columns = len(header)
        while True:
            # Speed: lists of texts. Rows kept as lists set off the garbage collector, for 5 times
            # the time of reading.
            lines: list[int] = []
            flat: list[str] = []
            for values in islice(filter(None, reader), PIECE_ROWS):
                if len(values) != num_columns:
                    raise DataError(
                        f"{path}, line {reader.line_num}: expected {num_columns} values, "
                        f"got {len(values)}. A value that holds a {SEPARATORS[separator]} stands "
                        "in double quotes."
                    )
                lines.append(reader.line_num)
                flat += values
            if not lines:
                return
            _check_text(path, flat)
            yield lines, {name: flat[at::num_columns] for at, name in enumerate(header)}


def read_parquet(path: Path, required: Sequence[str], known: Sequence[str]) -> Iterator[Piece]:
    """The columns `known` of the Parquet file at `path`, some rows at a time; rows count from 1.

    Numbers come as text, nothing as the empty text, and a list of texts as a tuple.

    Raises:
        DataError: the file cannot be read, is not Parquet, or lacks a column.
        MissingExtraError: pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", "train", "reading a Parquet manifest")
    first = 1
    try:
        with _reading(path), path.open("rb") as stream, parquet.ParquetFile(stream) as file:
            names = file.schema_arrow.names
            _check_present(path, names, required, "It has")
            used = [name for name in known if name in names]
            for batch in file.iter_batches(PIECE_ROWS, columns=used):
                yield (
                    range(first, first + len(batch)),
                    {name: [_text(value) for value in batch[name].to_pylist()] for name in used},
                )
                first += len(batch)
    except ValueError as error:  # pyarrow's own error is one
        raise DataError(f"{path}: not a Parquet file, or a damaged one. Copy it again.") from error


def _text(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list):
        return tuple(value)
    return "" if value is None or value != value else str(value)  # NaN is nothing, too


@dataclass(frozen=True)
class _Dialect:
    encoding: str
    separator: str
    is_named: bool  # by a first line of its own, `sep=;`

    def warn(self, path: Path) -> None:
        """Warn of what is not a CSV file as manifests are."""
        unusual = ["in UTF-16"] if self.encoding == "utf-16" else []
        if self.separator != ",":
            unusual.append(f"with values between {SEPARATORS[self.separator]}s")
        if unusual:
            message = f"{path}: read as a table {' and '.join(unusual)}."
            warnings.warn(message, DataWarning, stacklevel=2)


@contextmanager
def _opened(path: Path, required: Sequence[str]) -> Iterator[tuple[list[str], Any, str]]:
    """The names of the columns, a CSV reader that stands after them, and what separates values."""
    reader: Any = None
    try:
        with _reading(path):
            dialect = _dialect(path, required)
            with path.open(encoding=dialect.encoding, newline="") as file:
                reader = csv.reader(file, strict=True, delimiter=dialect.separator)
                if dialect.is_named:
                    next(reader)
                header = [name.strip() for name in next(reader, [])]
                _check_text(path, header)
                _check_header(path, header, required)
                dialect.warn(path)
                yield header, reader, dialect.separator
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise DataError(f"{path}, line {line}: not valid CSV ({error}).") from error
    except UnicodeError as error:
        raise _not_text(path) from error


def _dialect(path: Path, required: Sequence[str]) -> _Dialect:
    """Guess encoding and separator from the first bytes and the columns they give."""
    with path.open("rb") as file:
        # Spreadsheets put a byte order mark first.
        encoding = "utf-16" if file.read(2) in UTF_16_MARKS else "utf-8-sig"
    with path.open(encoding=encoding, newline="") as text:
        line = text.readline(MOST_OF_A_LINE)
    if len(line) == MOST_OF_A_LINE:
        raise _not_text(path)
    name, _, separator = line.rstrip("\r\n").strip('"').partition("=")
    if name.lower() == "sep" and separator in SEPARATORS:
        return _Dialect(encoding, separator, is_named=True)

    def fit(separator: str) -> tuple[bool, int]:
        header = next(csv.reader([line], delimiter=separator), [])
        names = [name.strip() for name in header]
        return set(required).issubset(names), len(names)

    return _Dialect(encoding, max(SEPARATORS, key=fit), is_named=False)


def _check_text(path: Path, texts: Sequence[str]) -> None:
    if "\0" in "".join(texts):
        raise _not_text(path)


def _reading(path: Path) -> AbstractContextManager[None]:
    return refused(DataError, f"{path}: cannot be read")


def _not_text(path: Path) -> DataError:
    return DataError(
        f"{path}: not a CSV file in UTF-8. Save it as one: in a spreadsheet as 'CSV UTF-8', or by "
        f"iconv -f LATIN1 -t UTF-8 {path.name} > utf8.csv (LATIN1: what it is written in)."
    )


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    _check_present(path, header, required, "The first line names the columns; it has")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: columns named more than once: {', '.join(twice)}.")


def _check_present(path: Path, names: list[str], required: Sequence[str], before: str) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        raise DataError(
            f"{path}: missing columns: {', '.join(missing)}. "
            f"{before}: {', '.join(names) or 'nothing'}."
        )


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    """Write `rows` to `path` as CSV in UTF-8 with a header, making the folder where needed.

    Written beside its place and moved there when it is whole: a full disk loses no older table.

    Raises:
        DataError: the folder cannot be written to, or a file has a name that is no text.
    """
    with refused(DataError, f"{path}: cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            try:
                writer.writerows(rows)
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{path}: cannot hold {error.object.strip()!r}, whose bytes are no text. "
                    "Rename the file."
                ) from error
