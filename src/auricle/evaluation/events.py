"""How good events with onset and offset are: events or frame scores in, numbers out; numpy only.

Conventions: T frames, C labels, K true events. Times are in seconds and compared after rounding to
a microsecond, so that a collar of exactly 200 ms holds. Every number is a fraction. A label without
a true event has no recall and no F1 (None) and does not count in the macro average.

Metrics:
    event_based: an event is found where onset and offset lie within collars of a true one of its
        label, each matched once, as many as possible. Source: Mesaros et al. 2016 (sed_eval).
    segment_based: presence of a label in each segment of a second. Source: the same.
    intersection_based: a detection is relevant where true events of its label make up at least
        `dtc` of it; a true event is found where relevant detections cover at least `gtc` of it.
        Source: Bilen et al. 2020.
    psds: area under the curve of true events found against false alarms an hour, over all
        thresholds at once, as exact as the scores are. Source: Bilen et al. 2020 for the score,
        Ebbers et al. 2022 for taking each threshold at which something changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from auricle.data.strong import Event

Floats: TypeAlias = NDArray[np.float64]
Spans: TypeAlias = Floats  # (K, 2), onset and offset

DECIMALS = 6  # of a second
SECONDS_IN_HOUR = 3600.0


@dataclass(frozen=True)
class Recording:
    """What is true of a recording and what was answered.

    Attributes:
        seconds: its length.
        truth: the true events; those of one label do not overlap.
        events: those that were found; for `psds` without `scores` each with its own score.
        scores: `(T, C)` in the order of the labels, or None; larger means surer.
        hop: seconds from one frame to the next; frame `t` is the time from `t * hop` on.
    """

    seconds: float
    truth: Sequence[Event]
    events: Sequence[Event] = ()
    scores: NDArray[np.floating[Any]] | None = None
    hop: float = 0.0


@dataclass(frozen=True)
class PSDS:
    """Settings of the polyphonic sound detection score.

    Attributes:
        dtc, gtc: share of a detection, and of a true event, that has to be covered.
        cttc: share of a detection that another label's events have to make up for it to count as a
            cross trigger; None: not counted.
        cross_trigger_weight: of cross triggers an hour among the false alarms.
        instability_weight: of the deviation across labels, taken from their mean.
        most_false_alarms: an hour, up to which the area counts.
    """

    dtc: float
    gtc: float
    cttc: float | None = None
    cross_trigger_weight: float = 0.0
    instability_weight: float = 1.0
    most_false_alarms: float = 100.0


# The two scenarios of DCASE: times that have to be right; labels that must not be mixed up.
PSDS1 = PSDS(dtc=0.7, gtc=0.7)
PSDS2 = PSDS(dtc=0.1, gtc=0.1, cttc=0.3, cross_trigger_weight=0.5)


def event_based(
    recordings: Sequence[Recording],
    labels: Sequence[str],
    collar: float = 0.2,
    offset_share: float = 0.2,
) -> dict[str, Any]:
    """Return F1 of events within collars: `micro`, `macro`, and a row for each label.

    Args:
        collar: seconds that an onset or offset may be off.
        offset_share: share of the true event's length by which its offset may be off, where that is
            more than the collar.
    """

    def count(truth: Spans, found: Spans, seconds: float) -> tuple[int, int, int]:
        allowed = np.maximum(collar, offset_share * (truth[:, 1] - truth[:, 0]))
        difference = np.abs(found[:, None] - truth)  # (found, K, 2)
        near = np.round(difference - np.stack([np.full(len(truth), collar), allowed], 1), DECIMALS)
        hits = _matched((near <= 0).all(axis=2))
        return hits, len(found) - hits, len(truth) - hits

    return _f1(recordings, labels, count)


def segment_based(
    recordings: Sequence[Recording], labels: Sequence[str], segment_seconds: float = 1.0
) -> dict[str, Any]:
    """Return F1 of a label's presence in segments: `micro`, `macro`, and a row for each label."""

    def count(truth: Spans, found: Spans, seconds: float) -> tuple[int, int, int]:
        number = int(np.ceil(np.round(seconds / segment_seconds, DECIMALS)))
        edges = np.round(np.arange(number + 1) * segment_seconds, DECIMALS)
        is_true, is_found = _active(truth, edges), _active(found, edges)
        hits = int((is_true & is_found).sum())
        return hits, int(is_found.sum()) - hits, int(is_true.sum()) - hits

    return _f1(recordings, labels, count)


def intersection_based(
    recordings: Sequence[Recording], labels: Sequence[str], dtc: float = 0.5, gtc: float = 0.5
) -> dict[str, Any]:
    """Return F1 of events by how much they cover: `micro`, `macro`, and a row for each label.

    A detection that is not relevant is a false alarm, a true event that is not covered a miss.
    """

    def count(truth: Spans, found: Spans, seconds: float) -> tuple[int, int, int]:
        common = _intersections(found, truth)
        relevant = _reaches(common.sum(axis=1), dtc * (found[:, 1] - found[:, 0]))
        covered = (common * relevant[:, None]).sum(axis=0)
        hits = int(_reaches(covered, gtc * (truth[:, 1] - truth[:, 0])).sum())
        return hits, int((~relevant).sum()), len(truth) - hits

    return _f1(recordings, labels, count)


def psds(
    recordings: Sequence[Recording], labels: Sequence[str], settings: PSDS = PSDS1
) -> dict[str, Any]:
    """Return the polyphonic sound detection score: `psds`, and `classes` with each label's alone.

    From frame scores where recordings have them: each of their values is a threshold, and what is
    at or above it in a row is a detection. Else from events, whose times do not depend on a
    threshold. A label's own score has nothing subtracted for instability.
    """
    seconds = sum(recording.seconds for recording in recordings)
    lengths = np.array([_total(recordings, label) for label in labels])
    curves = []
    for column, label in enumerate(labels):
        steps = [_steps(recording, labels, column, settings) for recording in recordings]
        number = sum(event.label == label for each in recordings for event in each.truth)
        counts = _at_each_threshold(np.concatenate(steps))
        rates = counts[:, 2] / seconds
        if settings.cross_trigger_weight and len(labels) > 1:
            others = np.delete(np.arange(len(labels)), column)
            per_second = counts[:, 3:][:, others] / np.maximum(lengths[others], 1e-12)
            rates = rates + settings.cross_trigger_weight * per_second.mean(axis=1)
        curves.append(_rising(rates * SECONDS_IN_HOUR, counts[:, 1] / max(number, 1), settings))
    alarms = np.unique(np.concatenate([each for each, _ in curves]))
    found = np.stack([_value_at(alarms, *curve) for curve in curves])
    joint = found.mean(axis=0) - settings.instability_weight * found.std(axis=0)
    areas = [_area(*curve, settings) for curve in curves]
    return {
        "psds": _area(alarms, np.maximum(joint, 0.0), settings),
        "classes": [
            {"label": label, "psds": area} for label, area in zip(labels, areas, strict=True)
        ],
    }


def _f1(
    recordings: Sequence[Recording],
    labels: Sequence[str],
    count: Callable[[Spans, Spans, float], tuple[int, int, int]],
) -> dict[str, Any]:
    """Return F1 from hits, false alarms and misses, which `count` finds label by label."""
    rows, totals = [], np.zeros(3, np.int64)
    for label in labels:
        counts = np.sum(
            [
                count(_spans(each.truth, label), _spans(each.events, label), each.seconds)
                for each in recordings
            ],
            axis=0,
        )
        totals += counts
        rows.append({"label": label} | _rates(*counts.tolist()))
    defined = [row["f1"] for row in rows if row["f1"] is not None]
    macro = float(np.mean(defined)) if defined else None
    return {"micro": _rates(*totals.tolist()), "macro": {"f1": macro}, "classes": rows}


def _rates(hits: int, false_alarms: int, misses: int) -> dict[str, Any]:
    found, true = hits + false_alarms, hits + misses
    return {
        "precision": hits / found if found else None,
        "recall": hits / true if true else None,
        "f1": 2 * hits / (found + true) if true else None,
        "hits": hits,
        "false_alarms": false_alarms,
        "misses": misses,
    }


def _spans(events: Sequence[Event], label: str) -> Spans:
    times = [(event.onset, event.offset) for event in events if event.label == label]
    return np.array(times, np.float64).reshape(-1, 2)


def _total(recordings: Sequence[Recording], label: str) -> float:
    """Seconds of all true events of a label."""
    return sum(float(np.diff(_spans(each.truth, label)).sum()) for each in recordings)


def _active(spans: Spans, edges: Floats) -> NDArray[np.bool_]:
    """Whether anything of `spans` lies in each segment between `edges`."""
    spans = np.round(spans, DECIMALS)
    active: NDArray[np.bool_] = (edges[:-1] < spans[:, 1:]) & (edges[1:] > spans[:, :1])
    return np.asarray(active.any(axis=0))


def _intersections(found: Spans, truth: Spans) -> Floats:
    """Seconds `(found, K)` that each pair has in common."""
    ends = np.minimum(found[:, None, 1], truth[:, 1])
    return np.maximum(ends - np.maximum(found[:, None, 0], truth[:, 0]), 0.0)


def _reaches(seconds: Any, least: Any) -> Any:
    return np.round(seconds, DECIMALS) >= np.round(least, DECIMALS)


def _matched(near: NDArray[np.bool_]) -> int:
    """The size of the largest matching of pairs `(found, K)` that are near each other."""
    partner: dict[int, int] = {}  # of a true event

    def assign(found: int, tried: set[int]) -> bool:
        for true in np.flatnonzero(near[found]).tolist():
            if true not in tried:
                tried.add(true)
                if true not in partner or assign(partner[true], tried):
                    partner[true] = found
                    return True
        return False

    return sum(assign(found, set()) for found in range(len(near)))


class _Sweep:
    """Counts of one label in one recording while its detections come and go.

    Attributes:
        counts: true events found, false alarms, and cross triggers with each of the C labels.
    """

    def __init__(
        self, recording: Recording, labels: Sequence[str], column: int, settings: PSDS
    ) -> None:
        self.settings, self.column, self.num_labels = settings, column, len(labels)
        spans = [_spans(recording.truth, label) for label in labels]
        self.truth = np.concatenate(spans)
        self.label_of = np.repeat(np.arange(len(labels)), [len(each) for each in spans])
        self.own = self.label_of == column
        self.needed = settings.gtc * np.diff(self.truth[self.own])[:, 0]
        self.covered = np.zeros(len(self.needed))
        self.counts = np.zeros(2 + len(labels))

    def change(self, onset: float, offset: float, sign: int) -> None:
        """A detection comes (`sign` 1) or goes (-1)."""
        common = _intersections(np.array([[onset, offset]]), self.truth)[0]
        length = offset - onset
        if _reaches(common[self.own].sum(), self.settings.dtc * length):
            self.covered += sign * common[self.own]
            self.counts[0] = _reaches(self.covered, self.needed).sum()
            return
        self.counts[1] += sign
        if self.settings.cttc is not None:
            by_label = np.bincount(self.label_of, common, self.num_labels)
            has_truth = np.bincount(self.label_of, minlength=self.num_labels) > 0
            self.counts[2:] += sign * has_truth * _reaches(by_label, self.settings.cttc * length)
            self.counts[2 + self.column] = 0


def _steps(
    recording: Recording, labels: Sequence[str], column: int, settings: PSDS
) -> NDArray[np.float64]:
    """Rows of a threshold, and by how much the counts of `_Sweep` change as it is reached."""
    sweep = _Sweep(recording, labels, column, settings)
    rows, before = [], sweep.counts.copy()
    for threshold, changes in _detections(recording, labels, column):
        for change in changes:
            sweep.change(*change)
        rows.append([threshold, *(sweep.counts - before)])
        before = sweep.counts.copy()
    return np.array(rows).reshape(-1, 3 + len(labels))


Change: TypeAlias = tuple[float, float, int]  # onset, offset, sign of `_Sweep.change`


def _detections(
    recording: Recording, labels: Sequence[str], column: int
) -> Iterator[tuple[float, list[Change]]]:
    """Yield thresholds, from the highest, and which detections come and go at each."""
    if recording.scores is None:
        events = [event for event in recording.events if event.label == labels[column]]
        for event in sorted(events, key=lambda event: -(event.score or 0.0)):
            yield event.score or 0.0, [(event.onset, event.offset, 1)]
        return
    scores = recording.scores[:, column]
    times = np.minimum(np.arange(len(scores) + 1) * recording.hop, recording.seconds)
    end_of: dict[int, int] = {}  # first frame of a detection to the frame after its last
    start_of: dict[int, int] = {}
    for threshold in np.unique(scores)[::-1]:
        frames = np.flatnonzero(scores == threshold)
        changes = []
        for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            start, end = int(run[0]), int(run[-1]) + 1
            if start in start_of:  # a detection ends where the run begins
                before = start_of.pop(start)
                del end_of[before]
                changes.append((times[before], times[start], -1))
                start = before
            if end in end_of:
                after = end_of.pop(end)
                del start_of[after]
                changes.append((times[end], times[after], -1))
                end = after
            end_of[start], start_of[end] = end, start
            changes.append((times[start], times[end], 1))
        yield float(threshold), changes


def _at_each_threshold(steps: Floats) -> Floats:
    """Return the counts of all recordings together, from a threshold above all scores down."""
    steps = steps[np.argsort(-steps[:, 0], kind="stable")]
    totals = np.concatenate([steps[:, :1], np.cumsum(steps[:, 1:], axis=0)], axis=1)
    last = np.append(np.diff(steps[:, 0]) != 0, True)[: len(steps)]
    nothing = np.zeros((1, steps.shape[1]))
    return np.concatenate([nothing, totals[last]])


def _rising(alarms: Floats, found: Floats, settings: PSDS) -> tuple[Floats, Floats]:
    """Return the best share of events found at up to each number of false alarms."""
    order = np.lexsort((found, alarms))
    alarms, found = alarms[order], np.maximum.accumulate(found[order])
    last = np.append(np.diff(alarms) > 0, True) & (alarms <= settings.most_false_alarms)
    return alarms[last], found[last]


def _value_at(places: Floats, alarms: Floats, found: Floats) -> Floats:
    """Values of a staircase at `places`; nothing is found before its first step."""
    index = np.searchsorted(alarms, places, side="right") - 1
    return np.where(index < 0, 0.0, found[index])


def _area(alarms: Floats, found: Floats, settings: PSDS) -> float:
    """Area under a staircase up to the most false alarms, as a share."""
    widths = np.diff(np.append(alarms, settings.most_false_alarms))
    return float((widths * found).sum() / settings.most_false_alarms)
