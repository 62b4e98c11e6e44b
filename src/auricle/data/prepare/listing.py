"""Request and answer of every data set, and the checks that all of them share."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auricle.data.clips import Clip
from auricle.data.files import SHARD_INDEX, SHARD_MANIFEST
from auricle.data.manifest import Manifest
from auricle.errors import DataError


@dataclass(frozen=True)
class Request:
    """The folder of a data set, and options of its manifest.

    Attributes:
        folder: as downloaded and unpacked; of a table the file.
        out: the manifest to be written; sounds that are made stand beside it.
        test_folder: of the official test archive of Speech Commands with twelve classes.
        columns: of a table: our name of a column to the table's.
    """

    folder: Path
    out: Path
    test_folder: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """The clips of a data set, and what its user should know about them."""

    manifest: Manifest
    notes: tuple[str, ...] = ()


def check_not_packed(folder: Path) -> None:
    """Refuse a folder of packed shards, or its manifest (DataError): it is prepared already."""
    parent = folder.parent if folder.name == SHARD_MANIFEST else folder
    if os.path.isfile(parent / SHARD_INDEX):
        raise DataError(
            f"{parent}: holds packed shards, which are prepared already. Train on them with "
            f"data.source={parent}; auricle evaluate and auricle statistics take the folder, too."
        )


def find_root(folder: Path, marker: str) -> Path:
    """`folder`, or the first one in it, that holds `marker`: archives bring one (or DataError)."""
    if os.path.exists(folder / marker):
        return folder
    inside = sorted(path.parents[marker.count("/")] for path in folder.glob(f"*/{marker}"))
    if not inside:
        raise DataError(
            f"{folder}: holds no {marker}, nor does a folder in it. "
            "Give the folder that the archive of the data set was unpacked to."
        )
    return inside[0]


def check_complete(folder: Path, clips: Sequence[Clip]) -> None:
    """Make sure that every sound is there; opens none.

    Raises:
        DataError: how many sounds are missing, the first of them, and what to do.
    """
    # Not Path.is_file, which raises where a folder above may not be searched.
    missing = [clip for clip in clips if not os.path.isfile(clip.path)]
    if not missing:
        return
    first = missing[0]
    parent = first.path.parent
    lost = "" if os.path.isdir(parent) else f"; there is no folder {parent}"
    raise DataError(
        f"{folder}: {len(missing)} of {len(clips)} sounds are missing, the first is {first.path} "
        f"({first.where}){lost}. Unpack the archive again, or copy the folder again whole."
    )


def check_labels_can_be_written(clips: Sequence[Clip]) -> None:
    """Refuse a label with a semicolon, which separates labels in a manifest (DataError)."""
    for clip in clips:
        for label in clip.labels:
            if ";" in label:
                raise DataError(
                    f"{clip.where}: the label {label!r} holds a semicolon, which separates labels "
                    "in a manifest. Rename it."
                )


def check_source_is_kept(source: Path, out: Path) -> None:
    """Refuse to write the manifest over the table that it is made from (DataError)."""
    if os.path.exists(out) and os.path.samefile(source, out):
        raise DataError(
            f"{out}: is the table that the manifest is made from, and would be lost. "
            "Choose another --out."
        )
