"""AudioSet: the official segment lists, and a folder of the clips that could be downloaded.

Source: Gemmeke et al. 2017. Nobody has all clips, so those that are missing are counted, by list.
The labels are the display names of `class_labels_indices.csv`; a group is a video. A clip may be
called YTID_START_END, YTID_START or YTID, with Y before it, with any suffix of a sound and in any
sub-folder; START is in seconds or milliseconds.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from auricle import audio
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.prepare.listing import Listing, Request
from auricle.data.table import read_rows
from auricle.errors import DataError, unknown_name

LISTS = {"balanced_train": "train", "unbalanced_train": "train", "eval": "test"}  # to split
CLASSES = "class_labels_indices.csv"
LENGTH = 11  # characters of a YTID
TIMES = re.compile(r"(?:_(\d+(?:\.\d+)?)){1,2}")
START_TOLERANCE = 1.0  # seconds: names hold whole ones


@dataclass(frozen=True)
class Segment:
    """A line of a list."""

    start: float  # seconds into the video
    mids: str  # separated by commas
    where: str


def list_clips(request: Request, names: Sequence[str] = tuple(LISTS)) -> Listing:
    """The clips of those of the lists `names` that are there.

    Raises:
        DataError: a list or the class labels are missing or not AudioSet's, or there is no clip.
        AudioError: there is no sound at all.
    """
    folder = request.folder
    segments = _read_lists(folder, names)
    classes = _find(folder, CLASSES)
    if not segments or classes is None:
        expected = CLASSES if segments else " or ".join(f"{name}_segments.csv" for name in names)
        raise DataError(
            f"{folder}: holds no {expected}, nor does a folder in it. Put AudioSet's lists there; "
            "they are public, unlike the clips."
        )
    display_names = {
        row["mid"]: row["display_name"] for _, row in read_rows(classes, ("mid", "display_name"))
    }
    sounds = _match(audio.find_sounds([folder]), segments)
    if not sounds.paths:
        raise DataError(
            f"{folder}: none of its {sounds.others} sounds is a clip of {', '.join(segments)}. "
            "A clip is called YTID_START_END, YTID_START or YTID, with or without a Y before it."
        )
    clips = [
        _clip(ytid, sounds.paths[ytid], segment, LISTS[name], display_names)
        for name, table in segments.items()
        for ytid, segment in table.items()
        if ytid in sounds.paths
    ]
    notes = [_count(name, segments.get(name), sounds) for name in names]
    if sounds.others:
        notes.append(f"{sounds.others} other sounds were left out (of no list, or a second copy)")
    return Listing(Manifest(folder, tuple(clips)), tuple(notes))


def _read_lists(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Segment]]:
    """The segments of every list that is there, by name of the list."""
    tables = {name: _find(folder, f"{name}_segments.csv") for name in names}
    return {name: read_segments(table) for name, table in tables.items() if table is not None}


def _count(name: str, segments: dict[str, Segment] | None, sounds: "_Sounds") -> str:
    if segments is None:
        return f"{name}: there is no {name}_segments.csv, so none of its clips were taken"
    present = sum(ytid in sounds.paths for ytid in segments)
    missing = len(segments) - present
    return f"{name}: {present} of {len(segments)} clips are there, {missing} are missing"


def read_segments(path: Path) -> dict[str, Segment]:
    """The lines of a list by YTID, in order.

    Raises:
        DataError: it cannot be read, or a line is not `YTID, start, end, "mids"`.
    """
    segments = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            for row in reader:
                if not row or row[0].startswith("# "):
                    continue
                ytid, start, _, mids = row
                segments[ytid] = Segment(float(start), mids, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected YTID, start_seconds, end_seconds, "
            '"positive_labels". Download the list again.'
        ) from error
    return segments


@dataclass(frozen=True)
class _Sounds:
    paths: dict[str, Path]  # by YTID
    others: int  # files that are of no segment, or of one that has a file already


def _match(files: list[Path], segments: dict[str, dict[str, Segment]]) -> _Sounds:
    starts = {ytid: segment.start for table in segments.values() for ytid, segment in table.items()}
    paths: dict[str, Path] = {}
    others = 0
    for file in files:
        ytid = next((y for y, start in _readings(file.stem) if _is_of(starts.get(y), start)), None)
        if ytid is None or ytid in paths:
            others += 1
        else:
            paths[ytid] = file
    return _Sounds(paths, others)


def _readings(stem: str) -> Iterator[tuple[str, float | None]]:
    """Readings of a file's name: YTID and start, None where it holds none."""
    for offset in (0, 1) if stem.startswith("Y") else (0,):
        ytid, rest = stem[offset : offset + LENGTH], stem[offset + LENGTH :]
        if not rest:
            yield ytid, None
        elif TIMES.fullmatch(rest):
            yield ytid, float(rest.split("_")[1])


def _is_of(expected: float | None, start: float | None) -> bool:
    """Return whether `start`, in seconds or milliseconds, is that of a segment at `expected`."""
    if expected is None:
        return False
    if start is None:
        return True
    return any(abs(value - expected) <= START_TOLERANCE for value in (start, start / 1000))


def _clip(
    ytid: str, path: Path, segment: Segment, split: str, display_names: dict[str, str]
) -> Clip:
    mids = segment.mids.split(",")
    for mid in mids:
        if mid not in display_names:
            message = unknown_name("label", mid, display_names)
            raise DataError(f"{segment.where}: {message} See {CLASSES}.")
    labels = tuple(display_names[mid] for mid in mids)
    return Clip(path, labels, split=split, group=ytid, where=segment.where)


def _find(folder: Path, name: str) -> Path | None:
    candidates = [folder / name, *sorted(folder.glob(f"*/{name}"))]
    return next((path for path in candidates if path.is_file()), None)
