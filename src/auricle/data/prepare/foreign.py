"""Sounds in the order of other people: tables, class folders, and Hugging Face's AudioFolder.

A table is a CSV or Parquet file whose columns have usual names or are named by the user.

An AudioFolder is folders named after splits, with class folders or metadata in them. With
`metadata.csv` or `metadata.jsonl`, at the top or in the folders of the splits, the clips and labels
are those that its lines name: `file_name`, relative to the metadata's folder, and a label. Without,
a clip's label is the name of the folder it lies in. What lies in no folder of a split has no split.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from auricle import audio
from auricle.config import label_text, parse_json
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest, read
from auricle.data.prepare.listing import Listing, Request
from auricle.data.reading import SPLIT_NAMES, native_path, parse_fold, parse_split
from auricle.data.table import PARQUET_SUFFIXES, read_parquet, read_rows
from auricle.errors import ConfigError, DataError, refused, require, unknown_name

# Usual names of each of our columns, the likeliest first; capitals do not matter.
USUAL_NAMES = {
    "path": (
        "path", "file", "file_name", "filename", "filepath", "file_path", "audio_path", "audio",
        "wav", "sound", "fname",
    ),
    "labels": (
        "labels", "label", "class", "classes", "category", "class_name", "tags", "tag", "target",
    ),
    "split": ("split", "subset", "set", "partition"),
    "fold": ("fold",),
    "group": (
        "group", "speaker", "speaker_id", "recording", "recording_id", "src_file", "source",
        "session", "uploader",
    ),
}  # fmt: skip
REQUIRED = ("path", "labels")
SEPARATORS = (";", "|")  # of labels in one value; a comma may be part of a name

METADATA = ("metadata.csv", "metadata.jsonl")  # of an AudioFolder


def list_table(request: Request) -> Listing:
    """The clips of the table, with a note which columns were taken for which.

    Raises:
        DataError: it cannot be read, a column is not found, or a row holds an impossible value.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    table = request.folder
    if table.is_dir():
        raise DataError(f"{table}: is a folder. Give the CSV or Parquet file that lists the clips.")
    is_parquet = table.suffix.lower() in PARQUET_SUFFIXES
    lines = [] if is_parquet else read_rows(table, ())
    rows = _read_parquet(table) if is_parquet else ((f"{table}, line {n}", row) for n, row in lines)
    columns: dict[str, str] = {}
    clips = []
    for where, row in rows:
        columns = columns or _guess(table, row, request.columns)
        clips.append(_clip_from(row, columns, table.parent, where))
    taken = ", ".join(f"{ours}={theirs}" for ours, theirs in columns.items())
    return Listing(Manifest(table, tuple(clips)), (f"columns: {taken}",))


def _read_parquet(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    parquet = require("pyarrow.parquet", "train", "reading a Parquet table")
    try:
        with refused(DataError, f"{table}: cannot be read"):
            names = parquet.read_schema(table).names
    except ValueError as error:  # pyarrow's own error is one
        raise DataError(f"{table}: not a Parquet file, or a damaged one. Copy it again.") from error
    for lines, columns in read_parquet(table, (), names):
        for index, line in enumerate(lines):
            yield f"{table}, row {line}", {name: columns[name][index] for name in names}


def list_folder(request: Request) -> Listing:
    """Every sound below a sub-folder, labelled with the name of that sub-folder.

    Raises:
        DataError: no sub-folder, a sound outside of them, or not a folder.
        AudioError: a sub-folder without sounds.
    """
    _check_is_folder(request.folder)
    return Listing(read(request.folder))


def _check_is_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder. For a list of clips give the name table.")


def list_audiofolder(request: Request) -> Listing:
    """The clips of the folder.

    Raises:
        DataError: not a folder, metadata that cannot be used, or a sound in no class folder.
        AudioError: there is no sound.
    """
    folder = request.folder
    _check_is_folder(folder)
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
        columns = columns or _guess(table, row, {})
        clip = _clip_from(row, columns, table.parent, f"{table}, line {line}")
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


def parse_columns(text: str) -> dict[str, str]:
    """`path=file,labels=class` to our names of columns and the table's.

    Raises:
        ConfigError: it has another form, or names a column that we do not have.
    """
    columns = {}
    for pair in text.split(","):
        ours, separator, theirs = (part.strip() for part in pair.partition("="))
        if not (ours and separator and theirs):
            raise ConfigError(
                f"--columns: expected OURS=THEIRS,... such as path=file, got {text!r}."
            )
        if ours not in USUAL_NAMES:
            raise ConfigError(f"--columns: {unknown_name('column', ours, USUAL_NAMES)}")
        columns[ours] = theirs
    return columns


def _guess(table: Path, names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our names of columns to those of a `table` that has the columns `names`.

    Args:
        given: by the user, which goes before the usual names.

    Raises:
        DataError: the table lacks a column that was given, or one for path or labels.
    """
    present = list(names)
    for theirs in given.values():
        if theirs not in present:
            raise DataError(f"{table}: {unknown_name('column', theirs, present)}")
    lower = {name.lower(): name for name in reversed(present)}
    chosen = dict(given)
    for ours, usual in USUAL_NAMES.items():
        likely = next((lower[name] for name in usual if name in lower), None)
        if ours not in chosen and likely is not None:
            chosen[ours] = likely
    for ours in REQUIRED:
        if ours not in chosen:
            raise DataError(
                f"{table}: no column with a usual name for {ours} ({', '.join(USUAL_NAMES[ours])})."
                f" It has: {', '.join(present) or 'nothing'}. Name it: --columns {ours}=COLUMN."
            )
    return chosen


def _clip_from(
    row: Mapping[str, Any], columns: Mapping[str, str], folder: Path, where: str
) -> Clip:
    """The clip of a row; `columns` are our names to the table's, paths are relative to `folder`.

    Several labels are a list, or text with semicolons or bars between them.

    Raises:
        DataError: the path or the labels are empty, the split is none of `SPLIT_NAMES`, or the fold
            is not a whole number.
    """
    texts = {ours: _text(row.get(theirs)) for ours, theirs in columns.items() if ours != "labels"}
    labels = _labels(row.get(columns["labels"]))
    for ours, value in (("path", texts["path"]), ("labels", labels)):
        if not value:
            raise DataError(f"{where}: the column {columns[ours]!r} is empty.")
    return Clip(
        path=folder / native_path(folder, texts["path"]),
        labels=labels,
        split=parse_split(texts.get("split", ""), where),
        fold=parse_fold(texts.get("fold", ""), where),
        group=texts.get("group") or None,
        where=where,
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _labels(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        names = [_text(name) for name in value]
    else:
        separator = next((mark for mark in SEPARATORS if mark in _text(value)), ";")
        names = [name.strip() for name in _text(value).split(separator)]
    return tuple(dict.fromkeys(label_text(name) for name in names if name))
