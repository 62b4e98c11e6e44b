"""A clip and what is known about it; and clips by the million.

`Clips` keeps columns and makes a `Clip` when one is read, so that two million of them open in
seconds and take some hundred megabytes.

Shapes: N clips.
"""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from auricle import audio
from auricle.data.columns import (
    NOTHING,
    Coded,
    CodedBuilder,
    Integers,
    Lines,
    Texts,
    TextsBuilder,
)
from auricle.errors import AudioError, refused


@dataclass(frozen=True)
class Span:
    """The place of a sound's bytes within a shard."""

    shard: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Clip:
    """One sound and what is known about it.

    Attributes:
        path: of the sound's file; for one in a shard, the shard and the name in it.
        soft_targets: file, and row counted from 0.
        where: for messages: "train.csv, line 2".
        span: where in a shard the sound lies; None for a file of its own.
        source: of one in a shard, what it was called where it was packed from; else empty.
    """

    path: Path
    labels: tuple[str, ...]
    split: str | None = None
    fold: int | None = None
    group: str | None = None
    soft_targets: tuple[Path, int] | None = None
    where: str = ""
    span: Span | None = None
    source: str = ""

    def name_in(self, manifest: Path) -> str:
        """The clip's name in reports: its path relative to the folder of `manifest`.

        One in a shard keeps the name that it had before it was packed.
        """
        if self.source:
            return self.source
        folder = manifest if os.path.isdir(manifest) else manifest.parent
        name = Path(os.path.relpath(self.path, folder)).as_posix()
        return name.encode("utf-8", "backslashreplace").decode("utf-8")  # it may hold other bytes

    def sound(self) -> audio.Source:
        """The source for `audio.load`: the path, or the bytes of a sound in a shard.

        Raises:
            AudioError: the shard cannot be read, or ends before the sound does.
        """
        if self.span is None:
            return self.path
        place = self.span.shard
        with refused(AudioError, f"{place}: cannot be read"), place.open("rb", 0) as shard:
            if shard.seek(0, io.SEEK_END) < self.span.offset + self.span.size:
                raise AudioError(f"{self.path}: the shard is cut short. Copy it again.")
            shard.seek(self.span.offset)
            content = shard.read(self.span.size)
        named = io.BytesIO(content)
        named.name = str(self.path)  # for messages
        return named


def group_of(clip: Clip) -> str:
    """The name of the clip's group; a clip without one is a group of its own."""
    return clip.group if clip.group is not None else str(clip.path)


@dataclass(frozen=True, eq=False)
class Columns:
    """The attributes of N clips, a column each; `clip` puts them together."""

    folder: Path  # that paths are relative to
    paths: Texts
    labels: Coded  # of tuples of names
    splits: Coded
    folds: Coded
    groups: Texts  # empty for a clip that is its own group
    where: Lines | Texts
    soft_files: Coded
    soft_rows: Integers
    shards: Coded
    offsets: Integers
    sizes: Integers
    sources: Texts  # empty for a clip that is a file of its own

    def clip(self, row: int) -> Clip:
        """The clip in `row`."""
        soft_file, shard = self.soft_files[row], self.shards[row]
        return Clip(
            self.folder / self.paths[row],
            self.labels[row],
            self.splits[row],
            self.folds[row],
            self.groups[row] or None,
            soft_file and (soft_file, int(self.soft_rows[row])),
            self.where[row],
            shard and Span(shard, int(self.offsets[row]), int(self.sizes[row])),
            self.sources[row],
        )


class Clips(Sequence[Clip]):
    """Some of the clips of `columns`, in the order of `rows` (N,)."""

    __hash__ = None  # type: ignore[assignment]  # equal to a list with the same clips

    def __init__(self, columns: Columns, rows: Integers):
        self.columns = columns
        self.rows = rows

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> "Clips":
        """The clips of any sequence; `Clips` stay as they are."""
        return clips if isinstance(clips, Clips) else _from_objects(clips)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> "Clips": ...
    def __getitem__(self, index: int | slice) -> "Clip | Clips":
        if isinstance(index, slice):
            return Clips(self.columns, self.rows[index])
        return self.columns.clip(int(self.rows[index]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        same_length = len(self) == len(other)
        return same_length and all(one == two for one, two in zip(self, other, strict=True))

    def where(self, chosen: Integers) -> "Clips":
        """The clips at the places that `chosen` names, as indices or as a mask (N,)."""
        return Clips(self.columns, self.rows[chosen])

    def without_soft_targets(self) -> "Clips":
        """The same clips with their labels alone."""
        nothing = Coded(np.full_like(self.columns.soft_files.codes, NOTHING), ())
        return Clips(replace(self.columns, soft_files=nothing), self.rows)

    def codes(self, column: Coded) -> Integers:
        """The codes (N,) of these clips in one of the columns."""
        return column.codes[self.rows]

    def values(self, column: Coded) -> list[Any]:
        """The distinct values of these clips in one of the columns, None left out."""
        codes = self.codes(column)
        counts = np.bincount(codes[codes != NOTHING], minlength=len(column.values))
        return [column.values[code] for code in np.flatnonzero(counts)]

    def paths(self) -> Iterator[str]:
        """The path of each clip as text."""
        folder = "" if self.columns.folder == Path() else f"{self.columns.folder}/"
        texts = self.columns.paths
        for start, end in texts.spans(self.rows):
            text = texts.block[start:end].decode("utf-8", "surrogateescape")
            yield text if text[0] == "/" else folder + text

    def groups(self) -> Iterator[str]:
        """The group of each clip; one without a group is its own, by its path."""
        groups = self.columns.groups
        for (start, end), path in zip(groups.spans(self.rows), self.paths(), strict=True):
            group = groups.block[start:end].decode("utf-8", "surrogateescape")
            yield group or path

    def group_hashes(self) -> Integers:
        """A number for the group of each clip (N,), the same for the same group."""
        columns = self.columns
        own = columns.groups.are_empty(self.rows)
        hashes = columns.groups.hashes(self.rows)
        hashes[own] = ~columns.paths.hashes(self.rows[own])
        return hashes


class Joined(Sequence[Clip]):
    """The clips of several sequences, one after the other, without a copy of any."""

    def __init__(self, parts: Sequence[Sequence[Clip]]):
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]  # from the end, too, and IndexError behind it
        part = int(np.searchsorted(self.ends, position, side="right"))
        return self.parts[part][position - int(self.ends[part]) + len(self.parts[part])]


def _from_objects(clips: Iterable[Clip]) -> Clips:
    clips = list(clips)
    soft = [clip.soft_targets or (None, 0) for clip in clips]
    spans = [clip.span or Span(Path(), 0, 0) for clip in clips]
    columns = Columns(
        Path(),
        _texts(str(clip.path) for clip in clips),
        _coded(clip.labels for clip in clips),
        _coded(clip.split for clip in clips),
        _coded(clip.fold for clip in clips),
        _texts(clip.group or "" for clip in clips),
        _texts(clip.where for clip in clips),
        _coded(file for file, _ in soft),
        np.array([row for _, row in soft], np.int64),
        _coded(clip.span and clip.span.shard for clip in clips),
        np.array([span.offset for span in spans], np.int64),
        np.array([span.size for span in spans], np.int64),
        _texts(clip.source for clip in clips),
    )
    return Clips(columns, np.arange(len(clips)))


def _texts(texts: Iterable[str]) -> Texts:
    builder = TextsBuilder()
    builder.add(list(texts))
    return builder.finish()


def _coded(values: Iterable[Any]) -> Coded:
    builder = CodedBuilder()
    builder.add(list(values))
    return builder.finish(lambda value, row: value)
