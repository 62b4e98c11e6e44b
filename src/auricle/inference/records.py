"""What a model answers about a recording, as plain values, and in the formats of programs."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auricle.config import to_json
from auricle.data import strong
from auricle.data.strong import Event
from auricle.errors import ConfigError, printable, unknown_name
from auricle.inference.ontology import Group
from auricle.inference.recognition import Prediction, Recognition
from auricle.inference.timeline import Timeline, clock

SCORE_DIGITS = 6  # more would be noise of the arithmetic
SECOND_DIGITS = 3
STEP = " > "  # from a kind of sound to one under it: names hold commas
COLUMNS = ("file", "start", "end", "label", "score", "recognised", "silence")
GROUP_COLUMNS = (*COLUMNS, "path")
EVENT_COLUMNS = ("file", "start", "end", "label", "score")
TENTHS_UP_TO = 600.0  # seconds of a recording whose events are shown with tenths of them


@dataclass(frozen=True)
class Part:
    """What is in a stretch of a recording, and its groups where they were asked for."""

    recognition: Recognition
    groups: list[Group] | None = None

    @property
    def lines(self) -> list[Prediction] | list[Group]:
        """Groups or labels, those that are recognised first."""
        return self.recognition.shown if self.groups is None else self.groups


@dataclass(frozen=True)
class Answer:
    """What is in one file: as a whole, and in each of its windows."""

    file: Path
    model: str
    whole: Part
    windows: Iterable[Part]


@dataclass(frozen=True)
class Format:
    """How answers are written.

    Attributes:
        text: an answer as text that ends its last line.
        header: what comes before the first answer, given whether there are groups.
    """

    text: Callable[[Answer], str]
    header: Callable[[bool], str] = lambda has_groups: ""


def record(answer: Answer) -> dict[str, Any]:
    """Return the answer about the whole file as JSON values; the keys are in docs/predict.md."""
    found = answer.whole.recognition
    values: dict[str, Any] = {
        "file": str(answer.file),
        "duration": round(found.end, SECOND_DIGITS),
        "model": answer.model,
        "labels": _scored(found.best),
        "recognised": None if found.recognised is None else _scored(found.recognised),
        "silence": found.silence,
    }
    if answer.whole.groups is not None:
        values["groups"] = [
            entry | {"recognised": group.recognised, "path": _scored(group.path)}
            for entry, group in zip(_scored(answer.whole.groups), answer.whole.groups, strict=True)
        ]
    return values


def rows(answer: Answer) -> list[list[Any]]:
    """Return a row for each label or group of each window: COLUMNS, or GROUP_COLUMNS."""
    return [
        [
            printable(str(answer.file)),
            round(part.recognition.start, SECOND_DIGITS),
            round(part.recognition.end, SECOND_DIGITS),
            line.label,
            round(line.score, SCORE_DIGITS),
            "" if line.recognised is None else int(line.recognised),
            int(part.recognition.silence),
            *([STEP.join(line.names[1:])] if isinstance(line, Group) else []),
        ]
        for part in answer.windows
        for line in part.lines
    ]


def sections(part: Part) -> list[tuple[str, list[Prediction | Group]]]:
    """Return headings and what stands under each; the first has none if anything is recognised."""
    from auricle.features.filterbank import SILENCE_DBFS

    if part.recognition.silence:
        return [(f"silence, below {SILENCE_DBFS:.0f} dBFS", [])]
    if not part.lines:
        return [("no label reaches --min-score", [])]
    found: list[Prediction | Group] = [line for line in part.lines if line.recognised is not False]
    guesses: list[Prediction | Group] = [line for line in part.lines if line.recognised is False]
    heading = "below their thresholds:" if found else "nothing recognised; best guesses:"
    return [("", found)] * bool(found) + [(heading, guesses)] * bool(guesses)


def title(line: Prediction | Group) -> str:
    """Return a label; or a group with the way down to its best kind, and the score of that."""
    if not isinstance(line, Group) or not line.path:
        return line.label
    own, last = f"{line.score:.1%}", f"{line.path[-1].score:.1%}"
    return STEP.join(line.names) + ("" if own == last else f" ({last})")


def table(answer: Answer) -> str:
    """Return the file's name, then a line for each label or group.

    What is not recognised stands under a heading of its own; silence has no labels.
    """
    lines = [printable(str(answer.file))]
    for heading, entries in sections(answer.whole):
        lines += [f"  {heading}"] * bool(heading)
        lines += [f"  {entry.score:6.1%}  {title(entry)}" for entry in entries]
    return "\n".join(lines) + "\n"


def json_line(answer: Answer) -> str:
    """Return one JSON object on one line."""
    return to_json(record(answer)) + "\n"


def csv_lines(answer: Answer) -> str:
    """Return a line for each label or group of each window."""
    return _csv(rows(answer))


def _csv_header(has_groups: bool) -> str:
    return _csv([list(GROUP_COLUMNS if has_groups else COLUMNS)])


def _csv(rows: list[list[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


FORMATS = {
    "table": Format(table),
    "json": Format(json_line),
    "csv": Format(csv_lines, _csv_header),
}


def choose_format(name: str) -> Format:
    """Return the format called so; ConfigError: there is none."""
    if name not in FORMATS:
        raise ConfigError(unknown_name("format", name, FORMATS))
    return FORMATS[name]


@dataclass(frozen=True)
class EventAnswer:
    """What is heard in one file from when to when; `highest_hz` is what the model hears up to."""

    file: Path
    model: str
    timeline: Timeline
    highest_hz: float

    @property
    def events(self) -> list[Event]:
        """The events, by onset."""
        return self.timeline.events


@dataclass(frozen=True)
class EventFormat:
    """How events are written.

    Attributes:
        text: an answer as text that ends its last line.
        header: what comes before the first answer.
        suffix: of a file that holds one answer, if a format can hold no more than one.
    """

    text: Callable[[EventAnswer], str]
    header: str = ""
    suffix: str | None = None


def event_table(answer: EventAnswer) -> str:
    """Return the file's name, then a line for each event, by onset.

    Times are whole seconds around the event, or tenths in a recording up to TENTHS_UP_TO.
    """
    timeline = answer.timeline
    lines = [printable(str(answer.file))]
    digits = 1 if timeline.seconds <= TENTHS_UP_TO else 0
    for event in answer.events:
        ticks = 10**digits
        onset = math.floor(event.onset * ticks + 1e-6) / ticks
        offset = math.ceil(event.offset * ticks - 1e-6) / ticks
        times = f"{clock(onset, digits)} - {clock(offset, digits)}"
        lines.append(f"  {times}  {event.label}  {_percent(event)}")
    if not answer.events:
        lines.append("  no events")
    if timeline.dropped.any():
        lines.append(f"  dropped: {timeline.dropped_seconds:.1f} s")
    return "\n".join(lines) + "\n"


def event_record(answer: EventAnswer) -> dict[str, Any]:
    """Return an answer with events as JSON values; the keys are in docs/events.md."""
    timeline = answer.timeline
    return {
        "file": str(answer.file),
        "duration": round(timeline.seconds, SECOND_DIGITS),
        "model": answer.model,
        "hop": timeline.hop,
        "frame_scores": timeline.is_framed,
        "events": [
            {"start": start, "end": end, "label": label, "score": score}
            for _, start, end, label, score in event_rows(answer)
        ],
        "dropped": round(timeline.dropped_seconds, SECOND_DIGITS),
    }


def event_rows(answer: EventAnswer) -> list[list[Any]]:
    """Return a row of EVENT_COLUMNS for each event."""
    return [
        [
            printable(str(answer.file)),
            round(event.onset, SECOND_DIGITS),
            round(event.offset, SECOND_DIGITS),
            event.label,
            round(event.score or 0.0, SCORE_DIGITS),
        ]
        for event in answer.events
    ]


def _webvtt(answer: EventAnswer) -> str:
    """Return subtitles for a player: a cue for each event."""
    cues = []
    for event in answer.events:
        times = " --> ".join(clock(at, 3).zfill(12) for at in (event.onset, event.offset))
        label = event.label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"\n{times}\n{label} {_percent(event)}\n")
    return "WEBVTT\n" + "".join(cues)


def _textgrid(answer: EventAnswer) -> str:
    """Return a TextGrid of Praat: a tier for each label, whose intervals fill the recording."""
    tiers: dict[str, list[Event]] = {}
    for event in answer.events:
        tiers.setdefault(event.label, []).append(event)
    end = answer.timeline.seconds
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0"]
    lines += [f"xmax = {end:.6f}", "tiers? <exists>" if tiers else "tiers? <absent>"]
    lines += [f"size = {len(tiers)}", "item []:"] if tiers else []
    for number, (label, events) in enumerate(tiers.items(), start=1):
        edges = [0.0, *(at for event in events for at in (event.onset, event.offset)), end]
        texts = ["", *(text for _ in events for text in (label, ""))]
        filled = [
            (start, stop, text)
            for start, stop, text in zip(edges[:-1], edges[1:], texts, strict=True)
            if stop > start
        ]
        lines += [f"    item [{number}]:", '        class = "IntervalTier"']
        lines += [f"        name = {_praat(label)}", "        xmin = 0"]
        lines += [f"        xmax = {end:.6f}", f"        intervals: size = {len(filled)}"]
        for at, (start, stop, text) in enumerate(filled, start=1):
            lines += [f"        intervals [{at}]:", f"            xmin = {start:.6f}"]
            lines += [f"            xmax = {stop:.6f}", f"            text = {_praat(text)}"]
    return "\n".join(lines) + "\n"


def _praat(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _percent(event: Event) -> str:
    return f"{100 * (event.score or 0.0):.0f} %"


EVENT_FORMATS = {
    "table": EventFormat(event_table),
    "json": EventFormat(lambda answer: to_json(event_record(answer)) + "\n"),
    "csv": EventFormat(lambda answer: _csv(event_rows(answer)), _csv([list(EVENT_COLUMNS)])),
    "dcase": EventFormat(
        lambda answer: strong.dcase(str(answer.file), answer.events),
        "\t".join(strong.DCASE_COLUMNS) + "\n",
    ),
    "raven": EventFormat(
        lambda answer: strong.raven(answer.file.name, answer.events, answer.highest_hz),
        suffix=".Table.1.selections.txt",
    ),
    "audacity": EventFormat(lambda answer: strong.audacity(answer.events), suffix=".txt"),
    "vtt": EventFormat(_webvtt, suffix=".vtt"),
    "textgrid": EventFormat(_textgrid, suffix=".TextGrid"),
}


def choose_event_format(name: str) -> EventFormat:
    """Return the format of events called so; ConfigError: there is none."""
    if name not in EVENT_FORMATS:
        raise ConfigError(unknown_name("format", name, EVENT_FORMATS))
    return EVENT_FORMATS[name]


def _scored(entries: Sequence[Prediction | Group]) -> list[dict[str, Any]]:
    return [{"label": entry.label, "score": round(entry.score, SCORE_DIGITS)} for entry in entries]
