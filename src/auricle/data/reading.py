"""A manifest's table, piece by piece, to clips; every row is checked here.

Shapes: N clips.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from auricle.data.clips import Clips, Columns
from auricle.data.columns import NOTHING, CodedBuilder, Integers, Lines, TextsBuilder
from auricle.data.table import Piece
from auricle.errors import DataError

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
    """Refuse a clip that has neither labels nor soft targets.

    Raises:
        DataError: naming the line.
    """
    columns = clips.columns
    unlabelled = columns.labels.codes == columns.labels.code_of(())
    bare = np.flatnonzero(unlabelled & (columns.soft_files.codes == NOTHING))
    if len(bare):
        where = columns.where[int(bare[0])]
        raise DataError(f"{where}: no labels. A clip needs labels or soft_targets.")


def parse_fold(text: str, where: str) -> int | None:
    """The number of a fold, None for empty text.

    Raises:
        DataError: it is not a whole number.
    """
    try:
        return int(text) if text.strip() else None
    except ValueError as error:
        raise DataError(f"{where}: fold must be a whole number, got {text!r}.") from error


class _Table:
    def __init__(self, source: Path, word: str):
        self.source = source
        self.word = word
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
        self.paths.add(_tidy(paths))
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
        where = Lines(self.source, self.word, np.concatenate(self.lines))
        folder = self.source.parent
        columns = Columns(
            folder,
            self.paths.finish(),
            self.coded["labels"].finish(lambda text, row: _names(text)),
            self.coded["split"].finish(lambda text, row: text.strip() or None),
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

    def _at(self, lines: Sequence[int], index: int) -> str:
        return f"{self.source}, {self.word} {lines[index]}"

    def _add_spans(self, lines: Sequence[int], columns: dict[str, Sequence[str]]) -> None:
        """Where in shards the sounds lie, and their names; 0 for a clip that is its own file."""
        shards = columns.get("shard", ())
        names = columns.get("source", ()) if any(shards) else ()
        packed = [name if shard else "" for name, shard in zip(names, shards, strict=False)]
        self.sources.add(packed or [""] * len(lines))
        for name in ("offset", "size"):
            texts = columns.get(name, ()) if any(shards) else ()
            texts = texts or [""] * len(lines)
            for index, (text, shard) in enumerate(zip(texts, shards, strict=False)):
                if shard and not text.isdecimal():
                    where = self._at(lines, index)
                    raise DataError(f"{where}: {name} must be a number of bytes, got {text!r}.")
            numbers = [int(text) if text.isdecimal() else 0 for text in texts]
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
                if not file or not row.isdecimal():
                    raise DataError(
                        f"{self._at(lines, index)}: soft_targets must be FILE.safetensors:ROW, "
                        f"got {text!r}."
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


def _names(text: str | tuple[str, ...]) -> tuple[str, ...]:
    names = text.split(";") if isinstance(text, str) else text
    # A dictionary, not a set: names keep their order, and one given twice counts once.
    return tuple(dict.fromkeys(map(sys.intern, filter(None, map(str.strip, names)))))
