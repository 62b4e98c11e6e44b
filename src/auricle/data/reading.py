"""A manifest's table, piece by piece, to clips; every row is checked here.

One reading of each kind of value, for manifests and for tables of other people alike: names of
splits, folds, labels and paths.

Shapes: N clips.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from auricle.config import label_text
from auricle.data.clips import Clips, Columns
from auricle.data.columns import NOTHING, CodedBuilder, Integers, Lines, TextsBuilder
from auricle.data.table import Piece
from auricle.errors import DataError, DataWarning, quoted, unknown_name

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Names of splits in the wild (those of Hugging Face's AudioFolder) and in our manifests.
SPLIT_NAMES = {
    **dict.fromkeys((TRAIN, "training"), TRAIN),
    **dict.fromkeys((VALIDATION, "valid", "val", "dev"), VALIDATION),
    **dict.fromkeys((TEST, "testing", "eval", "evaluation"), TEST),
}
MOST_DIGITS = 18  # of a number of bytes or of a row, which is kept in 64 bits
NAMES_SHOWN = 3  # in a warning
FOLD = re.compile(r"[-+]?\d{1,18}(?:\.0*)?")
UNTIDY_PATH = re.compile(r"(?:^|/)\.(?:/|$)|//|/$")  # `Path` would write it in another way


def clips_of(source: Path, word: str, pieces: Iterable[Piece]) -> Clips:
    """The clips of a table in the file `source`, whose rows are called `word`s.

    Raises:
        DataError: naming the line of a value that cannot be used, or there are no clips.
    """
    table = _Table(source, word)
    for lines, columns in pieces:
        table.add(lines, columns)
    return table.finish()


def check_targets(clips: Clips) -> None:
    """Refuse a clip that has neither labels nor soft targets (DataError)."""
    columns = clips.columns
    unlabelled = columns.labels.codes == columns.labels.code_of(())
    bare = np.flatnonzero(unlabelled & (columns.soft_files.codes == NOTHING))
    if len(bare):
        where = columns.where[int(bare[0])]
        raise DataError(f"{where}: no labels. A clip needs labels or soft_targets.")


def parse_fold(text: str, where: str) -> int | None:
    """The number of a fold, None for empty text; `1.0`, as spreadsheets write it, is fold 1.

    Raises:
        DataError: it is not a whole number.
    """
    if not text.strip():
        return None
    if not FOLD.fullmatch(text.strip()):
        raise DataError(f"{where}: fold must be a whole number, got {quoted(text)}.")
    return int(text.partition(".")[0])


def split_name(text: str) -> str:
    """train, validation or test for any usual name of it; another name as it is."""
    return SPLIT_NAMES.get(text.strip().lower(), text)


def parse_split(text: str, where: str) -> str | None:
    """train, validation or test, for any usual name of it in any case; None for empty text.

    Raises:
        DataError: it is none of `SPLIT_NAMES`.
    """
    word = text.strip().lower()
    if word and word not in SPLIT_NAMES:
        raise DataError(f"{where}: {unknown_name('split', text.strip(), SPLIT_NAMES)}")
    return SPLIT_NAMES.get(word)


def native_path(folder: Path, text: str) -> str:
    r"""A path of a table; `dogs\1.wav`, as Windows writes it, with slashes where such a file is."""
    if "\\" not in text or os.path.lexists(folder / text):
        return text
    return text.replace("\\", "/")


class _Table:
    def __init__(self, source: Path, word: str):
        self.source = source
        self.word = word
        self.backslashes = False  # whether paths are written with them
        self.lines: list[Integers] = []
        self.paths, self.groups, self.sources = TextsBuilder(), TextsBuilder(), TextsBuilder()
        names = ("labels", "split", "fold", "shard", "soft_targets")
        self.coded = {name: CodedBuilder() for name in names}
        self.numbers: dict[str, list[Integers]] = {"row": [], "offset": [], "size": []}

    def add(self, lines: Sequence[int], columns: dict[str, Sequence[Any]]) -> None:
        """Append rows: their line numbers, and their values by column."""
        paths = columns["path"]
        if "" in paths:
            raise DataError(f"{self._at(lines, paths.index(''))}: the path is empty.")
        self.lines.append(np.array(lines, np.int64))
        self.paths.add(_tidy(self._native(paths)))
        self.groups.add(columns.get("group", [""] * len(lines)))
        for name in ("labels", "split", "fold", "shard"):
            if name in columns:
                self.coded[name].add(columns[name])
            else:
                self.coded[name].add_nothing(len(lines))
        self._add_spans(lines, columns)
        self._add_soft_targets(lines, columns.get("soft_targets"))

    def finish(self) -> Clips:
        """All rows as clips."""
        if not self.lines:
            raise DataError(f"{self.source}: lists no clips.")
        if self.backslashes:
            warn(f"{self.source}: paths are written with \\, and read with / in its place.")
        warn_of_spellings(
            self.source, (name for text in self.coded["labels"].code_of for name in _split(text))
        )
        where = Lines(self.source, self.word, np.concatenate(self.lines))
        folder = self.source.parent
        columns = Columns(
            folder,
            self.paths.finish(),
            self.coded["labels"].finish(lambda text, row: _names(text)),
            self.coded["split"].finish(lambda text, row: parse_split(text, where[row])),
            self.coded["fold"].finish(lambda text, row: parse_fold(text, where[row])),
            self.groups.finish(),
            where,
            self.coded["soft_targets"].finish(lambda name, row: folder / name if name else None),
            np.concatenate(self.numbers["row"]),
            self.coded["shard"].finish(lambda name, row: folder / name if name else None),
            np.concatenate(self.numbers["offset"]),
            np.concatenate(self.numbers["size"]),
            self.sources.finish(),
        )
        return Clips(columns, np.arange(len(columns.paths)))

    def _native(self, paths: Sequence[str]) -> Sequence[str]:
        if "\\" not in "".join(paths):  # speed: a look at all together
            return paths
        native = [native_path(self.source.parent, path) for path in paths]
        self.backslashes |= native != list(paths)
        return native

    def _at(self, lines: Sequence[int], index: int) -> str:
        return f"{self.source}, {self.word} {lines[index]}"

    def _add_spans(self, lines: Sequence[int], columns: dict[str, Sequence[str]]) -> None:
        """Add places in shards and names there; 0 for a clip that is its own file."""
        shards = columns.get("shard", ())
        names = columns.get("source", ()) if any(shards) else ()
        packed = [name if shard else "" for name, shard in zip(names, shards, strict=False)]
        self.sources.add(packed or [""] * len(lines))
        for name in ("offset", "size"):
            texts = columns.get(name, ()) if any(shards) else ()
            texts = texts or [""] * len(lines)
            for index, (text, shard) in enumerate(zip(texts, shards, strict=False)):
                if shard and not _is_count(text):
                    where, shown = self._at(lines, index), quoted(text)
                    raise DataError(f"{where}: {name} must be a number of bytes, got {shown}.")
            numbers = [int(text) if _is_count(text) else 0 for text in texts]
            self.numbers[name].append(np.array(numbers, np.int64))

    def _add_soft_targets(self, lines: Sequence[int], texts: Sequence[str] | None) -> None:
        rows = np.zeros(len(lines), np.int64)
        self.numbers["row"].append(rows)
        if texts is None:
            self.coded["soft_targets"].add_nothing(len(lines))
            return
        files = [""] * len(lines)
        for index, text in enumerate(texts):
            if text:
                file, _, row = text.rpartition(":")
                if not file or not _is_count(row):
                    raise DataError(
                        f"{self._at(lines, index)}: soft_targets must be FILE.safetensors:ROW, "
                        f"got {quoted(text)}."
                    )
                files[index], rows[index] = file, int(row)
        self.coded["soft_targets"].add(files)


def _tidy(paths: Sequence[str]) -> Sequence[str]:
    """Paths as `Path` writes them, so that one file has one name."""
    text = "\n".join(["", *paths, ""])
    # Speed: a look at all paths together, which are tidy as a rule.
    if not any(mark in text for mark in ("//", "/./", "\n./", "/\n", "/.\n", "\n.\n")):
        return paths
    return [str(PurePath(path)) if UNTIDY_PATH.search(path) else path for path in paths]


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= MOST_DIGITS


def _split(text: str | tuple[str, ...]) -> list[str]:
    names = text.split(";") if isinstance(text, str) else text
    return [name for name in map(str.strip, names) if name]


def _names(text: str | tuple[str, ...]) -> tuple[str, ...]:
    # A dictionary, not a set: names keep their order, and one given twice counts once.
    return tuple(dict.fromkeys(sys.intern(label_text(name)) for name in _split(text)))


def warn_of_spellings(source: Path, names: Iterable[str]) -> None:
    """Warn of labels among `names` that are one, but for how their accents are written."""
    spellings: dict[str, set[str]] = {}
    for name in names:
        spellings.setdefault(label_text(name), set()).add(name)
    merged = sorted(label for label, written in spellings.items() if len(written) > 1)
    if merged:
        warn(
            f"{source}: labels that differ only in how their accents are written are one: "
            f"{shortened(merged)}."
        )


def warn(message: str) -> None:
    """Warn of a manifest that was read, but not as it stands or not as one may expect."""
    warnings.warn(message, DataWarning, stacklevel=3)


def shortened(names: Sequence[str]) -> str:
    """The first of `names`, and how many there are if these are more."""
    more = f", ... (in all {len(names)})" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
