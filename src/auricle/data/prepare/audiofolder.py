"""Hugging Face's AudioFolder: folders named after splits, with class folders or metadata in them.

With `metadata.csv` or `metadata.jsonl`, at the top or in the folders of the splits, the clips and
labels are those that its lines name: `file_name`, relative to the metadata's folder, and a label.
Without, a clip's label is the name of the folder it lies in. What lies in no folder of a split has
no split.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auricle import audio
from auricle.config import parse_json
from auricle.data.manifest import Clip, Manifest
from auricle.data.prepare.column_names import clip_from, guess
from auricle.data.prepare.listing import Listing, Request
from auricle.data.reading import SPLIT_NAMES
from auricle.data.table import read_rows
from auricle.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl")


def list_clips(request: Request) -> Listing:
    """The clips of the folder.

    Raises:
        DataError: not a folder, metadata that cannot be used, or a sound in no class folder.
        AudioError: there is no sound.
    """
    folder = request.folder
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder. For a list of clips give the name table.")
    tables = sorted(path for name in METADATA for path in folder.rglob(name))
    sounds = audio.find_sounds([folder])
    if not tables:
        return Listing(Manifest(folder, tuple(_from_folders(folder, path) for path in sounds)))
    clips = [clip for table in tables for clip in _from_table(folder, table)]
    unlisted = len({path.resolve() for path in sounds} - {clip.path.resolve() for clip in clips})
    note = f"{unlisted} sounds stand in no metadata file and were left out"
    return Listing(Manifest(folder, tuple(clips)), (note,) if unlisted else ())


def _from_folders(folder: Path, path: Path) -> Clip:
    parents = path.relative_to(folder).parts[:-1]
    split = _split(folder, path)
    if len(parents) < (1 if split is None else 2):
        raise DataError(
            f"{path}: lies in no class folder, and there is no metadata.csv or metadata.jsonl "
            "that would name its label."
        )
    return Clip(path, (parents[-1],), split=split, where=str(path))


def _split(folder: Path, path: Path) -> str | None:
    """The split whose name the highest folder of `path` bears."""
    try:
        first = path.relative_to(folder).parts[0]
    except ValueError:  # metadata may name files elsewhere
        return None
    return SPLIT_NAMES.get(first.lower())


def _from_table(folder: Path, table: Path) -> Iterator[Clip]:
    rows = _read_jsonl(table) if table.suffix == ".jsonl" else read_rows(table, ())
    columns: dict[str, str] = {}
    for line, row in rows:
        # Every line of JSON has its own keys; an empty field is often left out.
        columns = columns or guess(table, row, {})
        clip = clip_from(row, columns, table.parent, f"{table}, line {line}")
        split = clip.split or _split(folder, clip.path)
        yield Clip(clip.path, clip.labels, split, clip.fold, clip.group, where=clip.where)


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}).") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}: expected an object, such as "
                '{"file_name": "a.wav", "label": "dog"}.'
            )
        yield number, row
