"""A manifest: the table of clips that training and evaluation read.

A CSV file in UTF-8, one clip a line, paths relative to the file's folder:

    path,labels,split,fold,group,soft_targets
    dogs/0001.wav,Bark;Outdoor,train,1,farm,teacher.safetensors:0

`path` and `labels` are required; labels are separated by semicolons. `split` is train, validation
or test, or a usual name of these in any case (`reading.SPLIT_NAMES`). `group` names what clips
share (a speaker, a source recording); `soft_targets` a row of a file (see `soft_targets.py`).
Further columns are ignored, except for `shard`, `offset`, `size` and `source`, which `shards.py`
writes.

A Parquet file with the same columns is read, too, its labels as such text or as lists; and so are a
folder with one sub-folder per class, and a folder of shards. Who needs no labels reads the same
sources with `labelled=False`: the column `labels` and its values may then be missing, and a folder
holds sounds at any depth.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from auricle import audio
from auricle.config import label_text
from auricle.data.clips import Clip, Clips
from auricle.data.columns import NOTHING, Integers
from auricle.data.files import SHARD_INDEX, SHARD_MANIFEST, check_files, check_no_shards
from auricle.data.reading import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    check_targets,
    clips_of,
    split_name,
    warn,
    warn_of_spellings,
)
from auricle.data.soft_targets import open_soft_targets
from auricle.data.table import PARQUET_SUFFIXES, read_columns, read_parquet, write_rows
from auricle.errors import DataError, refused, unknown_name

PATH = "path"
REQUIRED = (PATH, "labels")
IN_SHARDS = ("shard", "offset", "size", "source")
COLUMNS = (*REQUIRED, "split", "fold", "group", "soft_targets", *IN_SHARDS)


@dataclass(frozen=True)
class Manifest:
    """Clips, in the order of their source."""

    source: Path
    clips: Sequence[Clip]

    @cached_property
    def table(self) -> Clips:
        """The clips as columns."""
        return Clips.of(self.clips)

    @property
    def labels(self) -> list[str]:
        """Names of all labels, sorted; without any, those that the soft targets are for."""
        columns = self.table.columns
        names = {label for labels in self.table.values(columns.labels) for label in labels}
        targets = self.table.values(columns.soft_files)
        if targets and not names:
            return list(open_soft_targets(targets[0]).labels)
        return sorted(names)

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The combinations of labels that clips carry, each once; at once for millions of clips."""
        return self.table.values(self.table.columns.labels)

    @property
    def splits(self) -> list[str]:
        """Names of the splits, sorted."""
        return sorted(self.table.values(self.table.columns.splits))

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds, sorted."""
        return sorted(self.table.values(self.table.columns.folds))

    @property
    def split_counts(self) -> dict[str | None, int]:
        """The number of clips of each split; under None, of those without one."""
        column = self.table.columns.splits
        counts = np.bincount(self.table.codes(column) + 1).tolist()  # those of NOTHING first
        numbers = dict(zip([None, *column.values], counts, strict=False))
        in_order = dict.fromkeys((TRAIN, VALIDATION, TEST, *numbers))
        return {name: numbers[name] for name in in_order if numbers.get(name)}

    def select(
        self,
        split: str | None = None,
        fold: int | None = None,
        not_fold: int | None = None,
        not_splits: Sequence[str | None] = (),
    ) -> "Manifest":
        """The clips of a split, of a fold, or of all other folds or splits; conditions add up.

        Raises:
            DataError: no clip is left.
        """
        split = None if split is None else split_name(split)
        table, columns = self.table, self.table.columns
        splits, folds = table.codes(columns.splits), table.codes(columns.folds)
        chosen = np.full(len(table), True)
        if split is not None:
            chosen &= splits == columns.splits.code_of(split)
        if fold is not None:
            chosen &= folds == columns.folds.code_of(fold)
        if not_fold is not None:
            # A clip of no fold would be trained on and never tested: it belongs to neither side.
            chosen &= (folds != columns.folds.code_of(not_fold)) & (folds != NOTHING)
        for name in filter(None, not_splits):
            chosen &= splits != columns.splits.code_of(split_name(name))
        if not chosen.any():
            filters = {"split": split, "fold": fold, "a fold other than": not_fold}
            conditions = [
                f"{name} {value!r}" for name, value in filters.items() if value is not None
            ]
            others = sorted(set(filter(None, not_splits)))
            conditions += [f"a split other than {' or '.join(map(repr, others))}"] * bool(others)
            raise DataError(
                f"{self.source}: no clip has {' and '.join(conditions)}. "
                f"Splits: {', '.join(self.splits) or 'none'}. "
                f"Folds: {', '.join(map(str, self.folds)) or 'none'}."
            )
        return replace(self, clips=table.where(chosen))

    def without_soft_targets(self) -> "Manifest":
        """The same clips with their labels as the only targets, as evaluation wants them.

        Raises:
            DataError: a clip has no label of its own.
        """
        labels = self.table.columns.labels
        unlabelled = np.flatnonzero(self.table.codes(labels) == labels.code_of(()))
        if len(unlabelled):
            where = self.table[int(unlabelled[0])].where
            raise DataError(f"{where}: to be evaluated, a clip needs labels of its own.")
        return replace(self, clips=self.table.without_soft_targets())


def read(source: Path, labels: list[str] | None = None, *, labelled: bool = True) -> Manifest:
    """Read a CSV or Parquet file, a folder with one sub-folder per class, or a folder of shards.

    Every row is checked, and every file it names looked for, before any sound is opened.

    Args:
        labels: the names that clips may carry; None takes them as they come.
        labelled: False reads clips that need no labels: those that a table has are kept, and a
            folder is taken for sounds at any depth, whatever its sub-folders are called.

    Raises:
        DataError: naming the line: a missing file or column, an unknown label, an impossible value.
        AudioError: a class folder, or a folder of unlabelled sounds, without a sound in it.
        MissingExtraError: a Parquet file, and pyarrow is not installed.

    Warns:
        DataWarning: a group of clips stands in more than one split or fold (see `leaks`).
    """
    read_source = _read_folder if os.path.isdir(source) else _read_file
    manifest = Manifest(source, read_source(source, labelled))
    if labels is not None:
        check_labels(manifest, labels)
    _warn_of_faults(manifest)
    return manifest


def _warn_of_faults(manifest: Manifest) -> None:
    leaking, source = leaks(manifest), manifest.source
    if leaking:
        more = ", ..." if len(leaking) > 3 else ""
        warn(
            f"{source}: groups of clips stand in more than one split or fold, so scores will be "
            f"too high: {', '.join(leaking[:3])}{more} (in all {len(leaking)})."
        )
    twice = contradictions(manifest)
    if len(twice):
        one, two = (manifest.clips[row] for row in twice[0].tolist())
        more = f"; {len(twice) - 1} more like it" if len(twice) > 1 else ""
        warn(
            f"{source}: {one.path} is listed twice with different labels: {';'.join(one.labels)} "
            f"({one.where}) and {';'.join(two.labels)} ({two.where}){more}."
        )


def check_labels(manifest: Manifest, labels: list[str]) -> None:
    """Make sure that every label of the clips is in `labels`.

    Raises:
        DataError: naming the line and the nearest label that is.
    """
    known = set(labels)
    table, column = manifest.table, manifest.table.columns.labels
    strange = [not known.issuperset(names) for names in column.values]
    rows = np.flatnonzero(np.array([*strange, False])[table.codes(column)])
    if len(rows):
        clip = table[int(rows[0])]
        label = next(label for label in clip.labels if label not in known)
        raise DataError(f"{clip.where}: {unknown_name('label', label, known)}")


def leaks(manifest: Manifest) -> list[str]:
    """The groups, sorted, whose clips stand in more than one split or in more than one fold.

    A clip without a group is its own: it leaks where its path is listed twice.
    """
    table, columns = manifest.table, manifest.table.columns
    sides = [side for side in map(table.codes, (columns.splits, columns.folds)) if np.ptp(side)]
    if not sides:
        return []
    _, first, group = np.unique(table.group_hashes(), return_index=True, return_inverse=True)
    leaking = np.logical_or.reduce([side != side[first][group] for side in sides])
    return sorted(set(table.where(leaking).groups()))


def contradictions(manifest: Manifest) -> Integers:
    """Places `(M, 2)` of a file's first clip and of a later one that has other labels."""
    table, columns = manifest.table, manifest.table.columns
    number_of: dict[frozenset[str], int] = {}
    sets = [number_of.setdefault(frozenset(v), len(number_of)) for v in columns.labels.values]
    labels = np.array(sets)[table.codes(columns.labels)]
    if not np.ptp(labels):
        return np.zeros((0, 2), np.int64)
    paths = columns.paths.hashes(table.rows)
    _, first, path = np.unique(paths, return_index=True, return_inverse=True)
    later = np.flatnonzero(labels != labels[first][path])
    return np.stack([first[path[later]], later], axis=1)


def write(manifest: Manifest, path: Path) -> None:
    """Write the clips to the CSV file `path`, their paths relative to its folder.

    Raises:
        DataError: the folder cannot be written to.
    """
    columns = manifest.table.columns
    coded = {"split": columns.splits, "fold": columns.folds, "soft_targets": columns.soft_files}
    coded |= dict.fromkeys(IN_SHARDS, columns.shards)
    used = {name for name, column in coded.items() if manifest.table.values(column)}
    used |= set() if columns.groups.are_empty(manifest.table.rows).all() else {"group"}
    names = [name for name in COLUMNS if name in used.union(REQUIRED)]
    rows = (to_row(clip, path) for clip in manifest.clips)
    write_rows(path, names, ({name: row.get(name, "") for name in names} for row in rows))


def to_row(clip: Clip, manifest: Path) -> dict[str, str]:
    """The clip as a row of the CSV file `manifest`, its paths relative to that."""
    row = {"path": _relative(clip.path, manifest), "labels": ";".join(clip.labels)}
    row |= {"split": clip.split or "", "group": clip.group or ""}
    row["fold"] = "" if clip.fold is None else str(clip.fold)
    if clip.soft_targets is not None:
        file, index = clip.soft_targets
        row["soft_targets"] = f"{_relative(file, manifest)}:{index}"
    if clip.span is not None:
        row["shard"] = _relative(clip.span.shard, manifest)
        row |= {"offset": str(clip.span.offset), "size": str(clip.span.size), "source": clip.source}
    return row


def _relative(path: Path, manifest: Path) -> str:
    folder = os.path.relpath(_resolved(path.parent), _resolved(manifest.parent))
    return Path(folder, path.name).as_posix()


@lru_cache(maxsize=10_000)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _read_folder(source: Path, labelled: bool) -> Clips:
    if os.path.isfile(source / SHARD_INDEX):
        return _read_file(source / SHARD_MANIFEST, labelled)
    with refused(DataError, f"{source}: cannot be read"):
        visible = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    check_no_shards(source, visible)
    if not labelled:
        sounds = audio.find_sounds([source], warn_skipped=True)
        return Clips.of([Clip(path, (), where=str(path)) for path in sounds])
    folders = [path for path in visible if path.is_dir()]
    if not folders:
        raise DataError(f"{source}: expected one sub-folder per class; there is none.")
    for path in visible:
        if path.suffix.lower() in audio.SOUND_SUFFIXES and path not in folders:
            raise DataError(f"{path}: lies outside the class folders of {source}.")
    names = [path.name for path in folders]
    if all(name.lower() in SPLIT_NAMES for name in names) and any(_has_folders(f) for f in folders):
        raise DataError(
            f"{source}: its folders are named after splits ({', '.join(names)}), not after "
            f"classes. Make a manifest of it: auricle prepare audiofolder {source}"
        )
    warn_of_spellings(source, names)
    return Clips.of(
        [
            Clip(path, (label_text(folder.name),), where=str(path))
            for folder in folders
            for path in audio.find_sounds([folder], warn_skipped=True)
        ]
    )


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() for entry in entries)


def _read_file(source: Path, labelled: bool) -> Clips:
    required = REQUIRED if labelled else (PATH,)
    if source.suffix.lower() in PARQUET_SUFFIXES:
        clips = clips_of(source, "row", read_parquet(source, required, COLUMNS))
    else:
        clips = clips_of(source, "line", read_columns(source, required))
    if labelled:
        check_targets(clips)
    check_files(clips)
    return clips
