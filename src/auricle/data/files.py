"""Checks that the files of a manifest exist, before any sound is opened.

Shapes: N clips.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from auricle.config import parse_json
from auricle.data.clips import Clip, Clips
from auricle.data.columns import NOTHING, CodedBuilder, Integers
from auricle.data.soft_targets import check_rows
from auricle.errors import DataError, refused

SHARD_INDEX = "shards.json"  # in a folder of shards; written last
SHARD_MANIFEST = "manifest.csv"  # beside it
SHARD_SUFFIX = ".tar"
FEWEST_TO_LIST = 16  # clips named in a folder; for fewer, each is looked for


def check_files(clips: Sequence[Clip]) -> None:
    """Make sure that every sound and every row of soft targets is there; opens no sound.

    Raises:
        DataError: naming the line of the first that is missing, and how many are; or a shard that
            is missing or not whole.
    """
    table = Clips.of(clips)
    missing = _missing_files(table)
    if missing:
        clip = table[missing[0]]
        more = f" {len(missing)} files are missing in all." if len(missing) > 1 else ""
        kind = "a link to nothing" if os.path.islink(clip.path) else "no such file"
        raise DataError(f"{clip.where}: {kind}: {clip.path}.{more}")
    _check_shards(table.values(table.columns.shards))
    soft = table.where(table.codes(table.columns.soft_files) != NOTHING)
    check_rows((clip.where, *clip.soft_targets) for clip in soft if clip.soft_targets is not None)


def _missing_files(table: Clips) -> list[int]:
    """The places of clips that are files of their own, and not there, in order."""
    rows = np.flatnonzero(table.codes(table.columns.shards) == NOTHING)
    folders = CodedBuilder()
    folders.add(path.rpartition("/")[0] for path in table.where(rows).paths())
    folder_of = np.concatenate(folders.codes)
    in_order = rows[np.argsort(folder_of, kind="stable")]
    ends = np.bincount(folder_of, minlength=len(folders.code_of)).cumsum()
    missing: list[int] = []
    for folder, inside in zip(folders.code_of, np.split(in_order, ends)[:-1], strict=True):
        missing += _missing_in(folder, table, inside)
    return sorted(missing)


def _missing_in(folder: str, table: Clips, rows: Integers) -> list[int]:
    paths = list(table.where(rows).paths())
    present: set[str] = set()
    if len(paths) >= FEWEST_TO_LIST:
        # Speed: 2 million files took 2.6 s by the folder and 5.2 s one by one on a local disk; a
        # network disk needs a round trip for each.
        present = _files_in(folder)
        if present.issuperset([path.rpartition("/")[2] for path in paths]):
            return []
    # A name that was not listed may be there all the same: in other letters, or unlistable.
    # Not Path.is_file, which raises where a folder above may not be searched (as does is_dir).
    return [
        row
        for row, path in zip(rows.tolist(), paths, strict=True)
        if path.rpartition("/")[2] not in present and not os.path.isfile(path)
    ]


def _files_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def _check_shards(shards: Iterable[Path]) -> None:
    """Make sure that every shard is there, of the size in the index of its folder (DataError)."""
    indices: dict[Path, dict[str, int]] = {}
    for shard in shards:
        index = shard.parent / SHARD_INDEX
        if index not in indices:
            indices[index] = _read_index(index)
        expected = indices[index].get(shard.name)
        with refused(DataError, f"{shard}: cannot be read", " Copy it again."):
            size = shard.stat().st_size
        if size != expected:
            raise DataError(
                f"{shard}: has {size} bytes, {expected or 'none'} by {index}: it is cut short or "
                "was changed. Copy it again, or pack its clips again."
            )


def _read_index(index: Path) -> dict[str, int]:
    try:
        with refused(DataError, f"{index}: cannot be read", " Copy it again."):
            return dict(parse_json(index.read_bytes())["shards"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{index}: not an index of shards. Copy it again.") from error


def check_no_shards(folder: Path, paths: Iterable[Path]) -> None:
    """Refuse a folder with shards and no index: packing them was not finished (DataError)."""
    if any(path.suffix == SHARD_SUFFIX for path in paths):
        raise DataError(
            f"{folder}: holds shards, but no {SHARD_INDEX}: packing or copying them was not "
            "finished. Do it again."
        )
