"""Strong labels: tables of which events a recording holds, with onset and offset.

    path,onset,offset,label,split,group
    farm/0001.wav,2.35,4.1,Bark,train,farm

Such a CSV file has a line for each event, paths relative to its folder, times in seconds; `split`
and `group` are as in a manifest and may be missing. A line without onset, offset and label stands
for a recording without events. Read and written are, too: DCASE's TSV (filename, onset, offset,
event_label), Raven's selection tables and Audacity's label tracks. The latter two belong to the
sound beside them: `farm.wav` has `farm.txt` or `farm.Table.1.selections.txt`.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from auricle import audio
from auricle.config import label_text
from auricle.data.reading import parse_split, split_name, warn
from auricle.data.table import read_rows, write_rows
from auricle.errors import AudioError, DataError, quoted

COLUMNS = ("path", "onset", "offset", "label", "split", "group")
REQUIRED = COLUMNS[:4]
DCASE_COLUMNS = ("filename", "onset", "offset", "event_label")
RAVEN_ONSET, RAVEN_OFFSET = "Begin Time (s)", "End Time (s)"
RAVEN_FILES = ("Begin Path", "Begin File")  # columns that name the sound, if there are any
RAVEN_LABELS = ("Annotation", "Label", "Species", "Common Name")
RAVEN_COLUMNS = ("Selection", "View", "Channel", RAVEN_ONSET, RAVEN_OFFSET)
RAVEN_BAND = ("Low Freq (Hz)", "High Freq (Hz)")
TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
OF_RAVEN = re.compile(r"\.Table\.\d+|\.selections$")  # in a table's name, after the sound's
ROUNDING_SECONDS = 0.05  # by which tables round; two that differ by less agree


@dataclass(frozen=True)
class Event:
    """A label from `onset` to `offset`, in seconds from the start of a recording.

    Attributes:
        score: how sure it is, from 0 to 1; None: somebody marked it.
    """

    onset: float
    offset: float
    label: str
    score: float | None = None


@dataclass(frozen=True)
class MarkedRecording:
    """A sound file and its events in order; `where` is the first line about it."""

    path: Path
    events: tuple[Event, ...]
    where: str
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class StrongLabels:
    """The recordings of a table, or of the tables in a folder, in order."""

    source: Path
    recordings: tuple[MarkedRecording, ...]

    @property
    def labels(self) -> list[str]:
        """Names of all labels, sorted."""
        return sorted({event.label for each in self.recordings for event in each.events})

    def select(self, split: str | None) -> "StrongLabels":
        """The recordings of a split; None: all.

        Raises:
            DataError: there are none.
        """
        if split is None:
            return self
        name = split_name(split)
        chosen = tuple(each for each in self.recordings if each.split == name)
        if not chosen:
            known = sorted({each.split for each in self.recordings if each.split})
            raise DataError(
                f"{self.source}: no recording has split {name!r}. Splits: "
                f"{', '.join(known) or 'none'}."
            )
        return replace(self, recordings=chosen)

    def without(self, labels: Sequence[str]) -> "StrongLabels":
        """The same recordings without the events of some labels."""
        recordings = tuple(
            replace(each, events=tuple(e for e in each.events if e.label not in labels))
            for each in self.recordings
        )
        return replace(self, recordings=recordings)


@dataclass(frozen=True)
class _Row:
    where: str
    path: Path
    event: Event | None
    split: str | None = None
    group: str | None = None


@dataclass
class _Table:
    """A table's text by lines, the sounds' folder, and the sound it belongs to if there is one."""

    path: Path
    sounds: Path
    rows: list[_Row] = field(default_factory=list)

    def add(self, line: int, name: str, times: tuple[str, str], label: str, **more: str) -> None:
        """Check a line and append it.

        Raises:
            DataError: naming the line.
        """
        where = f"{self.path}, line {line}"
        if not name:
            raise DataError(f"{where}: names no sound file.")
        split, group = parse_split(more.get("split", ""), where), more.get("group") or None
        event = None
        if any(map(str.strip, (*times, label))):
            onset, offset = (
                _seconds(text, word, where)
                for text, word in zip(times, ("onset", "offset"), strict=True)
            )
            if offset <= onset:
                raise DataError(f"{where}: ends at {offset:g} s, but starts at {onset:g} s.")
            if not label.strip():
                raise DataError(f"{where}: has no label.")
            event = Event(onset, offset, label_text(label.strip()))
        self.rows.append(_Row(where, self.sounds / name, event, split, group))


def read(source: Path, sounds: Path | None = None) -> StrongLabels:
    """Read a table of events, or all tables in a folder, in any of the forms above.

    Args:
        sounds: folder that names of sounds are relative to; None: the table's own.

    Raises:
        DataError: naming the line: an event without times or label, that ends before it starts,
            lies outside its recording, or overlaps with another one of its label; a missing sound;
            two tables that disagree about a sound.

    Warns:
        DataWarning: sounds of a folder that no table is about.
    """
    if not source.is_dir():
        rows = _read_table(source, sounds)
        if rows is None:
            raise DataError(
                f"{source}: not a table of events. The first line has to name the columns "
                f"{','.join(REQUIRED)}, or those of DCASE ({', '.join(DCASE_COLUMNS)}) or of Raven "
                f"({RAVEN_ONSET}, ...); in an Audacity label track it is: onset, tab, offset, tab, "
                "label."
            )
        return StrongLabels(source, _recordings(source, [rows]))
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    found = [_read_table(path, sounds) for path in paths]
    tables = [rows for rows in found if rows]
    if not tables:
        raise DataError(f"{source}: holds no table of events ({', '.join(TABLE_SUFFIXES)}).")
    recordings = _recordings(source, tables)
    marked = {each.path for each in recordings}
    others = [path for path in _sounds_in(sounds or source) if path not in marked]
    if others:
        warn(
            f"{source}: {len(others)} sounds have no events in any table and are left out; the "
            f"first is {others[0].name}."
        )
    return StrongLabels(source, recordings)


def write(labels: StrongLabels, path: Path) -> None:
    """Write a CSV file with a line for each event, paths relative to its folder.

    Raises:
        DataError: it cannot be written.
    """
    rows = []
    for each in labels.recordings:
        name = each.path.relative_to(path.parent).as_posix()
        common = {"path": name, "split": each.split or "", "group": each.group or ""}
        for event in each.events:
            times = {"onset": f"{event.onset:.3f}", "offset": f"{event.offset:.3f}"}
            rows.append(common | times | {"label": event.label})
        if not each.events:
            rows.append(common | dict.fromkeys(("onset", "offset", "label"), ""))
    write_rows(path, COLUMNS, rows)


def dcase(file: str, events: Sequence[Event]) -> str:
    """Return lines of a DCASE table about a sound file, without the header."""
    return _tabbed([file, f"{e.onset:.3f}", f"{e.offset:.3f}", e.label] for e in events)


def audacity(events: Sequence[Event]) -> str:
    """Return a label track, which Audacity imports with File > Import > Labels."""
    return _tabbed([f"{e.onset:.6f}", f"{e.offset:.6f}", e.label] for e in events)


def raven(file: str, events: Sequence[Event], highest_hz: float) -> str:
    """Return a selection table of Raven, its boxes up to `highest_hz`."""
    header = [*RAVEN_COLUMNS, *RAVEN_BAND, RAVEN_FILES[1], RAVEN_LABELS[0], "Score"]
    lines = [
        [str(number), "Spectrogram 1", "1", f"{e.onset:.6f}", f"{e.offset:.6f}"]
        + ["0.0", f"{highest_hz:.1f}", file, e.label, "" if e.score is None else f"{e.score:.6f}"]
        for number, e in enumerate(events, start=1)
    ]
    return _tabbed([header, *lines])


def _tabbed(rows: Iterable[Sequence[str]]) -> str:
    """Lines of values between tabs; a tab inside of a value would end it."""
    return "".join("\t".join(re.sub(r"\s", " ", text) for text in row) + "\n" for row in rows)


def _seconds(text: str, word: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise DataError(
            f"{where}: {word} must be a number of seconds, got {quoted(text)}."
        ) from None
    if not 0 <= value < float("inf"):
        raise DataError(f"{where}: {word} lies outside the recording, at {text.strip()} s.")
    return value


def _read_table(path: Path, sounds: Path | None) -> list[_Row] | None:
    """The rows of a table in any form; None for a file that is no table of events."""
    lines = _lines(path)
    header = lines[0][1] if lines else [""]
    table = _Table(path, sounds or path.parent)
    if set(DCASE_COLUMNS).issubset(header):
        for line, row in _named(path, lines):
            name, onset, offset, label = (row[column] for column in DCASE_COLUMNS)
            table.add(line, name, (onset, offset), label)
    elif RAVEN_ONSET in header:
        _add_raven(table, lines)
    elif _is_track(header):
        _add_track(table, lines)
    elif path.suffix.lower() == ".csv" and "onset" in header[0]:
        for line, row in read_rows(path, REQUIRED):
            more = {name: row.get(name, "") for name in ("split", "group")}
            table.add(line, row["path"], (row["onset"], row["offset"]), row["label"], **more)
    else:
        return None
    return table.rows


def _add_track(table: _Table, lines: list[tuple[int, list[str]]]) -> None:
    name = _own_sound(table)
    for line, row in lines:
        if row[0] != "\\":  # Audacity's line of frequencies, after the one of times
            onset, offset, *label = [*row, ""][: max(3, len(row))]
            table.add(line, name, (onset, offset), " ".join(label))


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a file that are not blank, split at tabs, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeError as error:
        raise DataError(f"{path}: not text in UTF-8. Save it as such.") from error
    rows = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [(rows.line_num, row) for row in rows if any(map(str.strip, row))]


def _named(path: Path, lines: list[tuple[int, list[str]]]) -> list[tuple[int, dict[str, str]]]:
    header = [name.strip() for name in lines[0][1]]
    for line, row in lines[1:]:
        if len(row) > len(header):
            raise DataError(f"{path}, line {line}: expected {len(header)} values, got {len(row)}.")
    padding = [""] * len(header)  # spreadsheets leave out tabs at the end of a line
    return [(line, dict(zip(header, [*row, *padding], strict=False))) for line, row in lines[1:]]


def _add_raven(table: _Table, lines: list[tuple[int, list[str]]]) -> None:
    header = lines[0][1]
    label = next((name for name in RAVEN_LABELS if name in header), None)
    if label is None or RAVEN_OFFSET not in header:
        raise DataError(
            f"{table.path}: a selection table with labels has the column {RAVEN_OFFSET} and one of "
            f"{', '.join(RAVEN_LABELS)}. It has: {', '.join(header)}."
        )
    of_file = next((name for name in RAVEN_FILES if name in header), None)
    own = "" if of_file else _own_sound(table)
    seen = set()  # Raven lists a selection once for each view: waveform, spectrogram
    for line, row in _named(table.path, lines):
        # A path of the machine where it was marked: the name is what both have.
        name = re.split(r"[/\\]", row[of_file])[-1] if of_file else own
        selection = (name, row.get("Selection") or line)
        if selection not in seen:
            seen.add(selection)
            table.add(line, name, (row[RAVEN_ONSET], row[RAVEN_OFFSET]), row[label])


def _is_track(first: list[str]) -> bool:
    try:
        return len(first) >= 2 and bool([float(text) for text in first[:2]])
    except ValueError:
        return False


def _own_sound(table: _Table) -> str:
    """The name of the sound that a table without names belongs to.

    Raises:
        DataError: there is none, or more than one.
    """
    stem = OF_RAVEN.sub("", table.path.stem)
    names = [path.name for path in _sounds_in(table.sounds) if stem in (path.name, path.stem)]
    if len(names) != 1:
        found = " and ".join(names) or "nothing"
        raise DataError(
            f"{table.path}: belongs to a sound called {stem} beside it, where there is {found}."
        )
    return names[0]


def _sounds_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SOUND_SUFFIXES)


def _recordings(source: Path, tables: list[list[_Row]]) -> tuple[MarkedRecording, ...]:
    """Join the rows of all tables by sound; every sound is looked for, and its length read."""
    by_sound: dict[Path, list[list[_Row]]] = {}
    for rows in tables:
        of_table: dict[Path, list[_Row]] = {}
        for row in rows:
            of_table.setdefault(row.path, []).append(row)
        for path, found in of_table.items():
            by_sound.setdefault(path, []).append(found)
    if not by_sound:
        raise DataError(f"{source}: lists no recordings.")
    missing = [found[0][0] for path, found in by_sound.items() if not path.is_file()]
    if missing:
        more = f" {len(missing)} files are missing in all." if len(missing) > 1 else ""
        raise DataError(f"{missing[0].where}: no such file: {missing[0].path}.{more}")
    return tuple(_recording(path, found) for path, found in by_sound.items())


def _recording(path: Path, tables: list[list[_Row]]) -> MarkedRecording:
    first = tables[0]
    for other in tables[1:]:
        _check_agreement(first, other)
        _check_agreement(other, first)
    rows = sorted((row for row in first if row.event), key=_onset)
    _check_overlaps(rows)
    try:
        seconds = audio.duration(path)
    except AudioError as error:
        raise DataError(f"{first[0].where}: {error}") from error
    for row in rows:
        if row.event and row.event.offset > seconds + ROUNDING_SECONDS:
            raise DataError(
                f"{row.where}: ends at {row.event.offset:g} s, but {path.name} lasts "
                f"{seconds:.3f} s."
            )
    events = [
        replace(row.event, offset=min(row.event.offset, seconds)) for row in rows if row.event
    ]
    named = first[0]
    return MarkedRecording(path, tuple(events), named.where, named.split, named.group)


def _onset(row: _Row) -> float:
    return row.event.onset if row.event else 0.0


def _check_overlaps(rows: list[_Row]) -> None:
    last: dict[str, _Row] = {}
    for row in rows:
        assert row.event is not None  # for the type checker
        before = last.get(row.event.label)
        if before and before.event and before.event.offset > row.event.onset:
            line = before.where.rpartition(", ")[2]
            raise DataError(
                f"{row.where}: {_told(row.event)} overlaps with {_told(before.event)} ({line}). "
                "One label is one event at a time: join them."
            )
        last[row.event.label] = row


def _check_agreement(rows: list[_Row], others: list[_Row]) -> None:
    for row in rows:
        event = row.event
        if event and not any(other.event and _agree(event, other.event) for other in others):
            table = others[0].where.rpartition(", ")[0]
            raise DataError(
                f"{row.where}: has {_told(event)} in {row.path.name}, which {table} has not. Two "
                "tables about one sound have to agree: keep one of them."
            )


def _agree(event: Event, other: Event) -> bool:
    apart = max(abs(event.onset - other.onset), abs(event.offset - other.offset))
    return event.label == other.label and apart <= ROUNDING_SECONDS


def _told(event: Event) -> str:
    return f"{event.label} from {event.onset:g} to {event.offset:g} s"
