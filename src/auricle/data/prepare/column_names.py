"""Tables of other people: which of their columns is which of ours, and their rows as clips."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from auricle.config import label_text
from auricle.data.manifest import Clip
from auricle.data.reading import native_path, parse_fold, parse_split
from auricle.errors import ConfigError, DataError, unknown_name

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


def parse(text: str) -> dict[str, str]:
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


def guess(table: Path, names: Iterable[str], given: Mapping[str, str]) -> dict[str, str]:
    """Our names of columns to those of a `table` that has the columns `names`.

    Args:
        given: what the user said, which goes before the usual names.

    Raises:
        DataError: the table lacks a column that was given, or one for path or labels.
    """
    present = list(names)
    for theirs in given.values():
        if theirs not in present:
            raise DataError(f"{table}: {unknown_name('column', theirs, present)}")
    lower = {name.lower(): name for name in reversed(present)}
    found = dict(given)
    for ours, usual in USUAL_NAMES.items():
        likely = next((lower[name] for name in usual if name in lower), None)
        if ours not in found and likely is not None:
            found[ours] = likely
    for ours in REQUIRED:
        if ours not in found:
            raise DataError(
                f"{table}: no column with a usual name for {ours} ({', '.join(USUAL_NAMES[ours])})."
                f" It has: {', '.join(present) or 'nothing'}. Name it: --columns {ours}=COLUMN."
            )
    return found


def clip_from(row: Mapping[str, Any], columns: Mapping[str, str], folder: Path, where: str) -> Clip:
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
