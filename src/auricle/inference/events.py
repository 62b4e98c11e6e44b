"""Frame scores become events: from where to where each label is heard. Pure functions, numpy only.

Shapes: T frames, C labels. Frame `t` is the time from `t * hop` on, in seconds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from auricle.data.strong import Event
from auricle.errors import ConfigError
from auricle.inference import ontology

Frames: TypeAlias = NDArray[np.floating[Any]]  # (T,), the scores of one label
Mask: TypeAlias = NDArray[np.bool_]  # (T,)
Span: TypeAlias = tuple[int, int]  # first frame, and the one after the last
PerLabel: TypeAlias = float | Mapping[str, float]

DEFAULT_THRESHOLD = 0.5  # of a label that a mapping does not name


@dataclass(frozen=True)
class EventSettings:
    """How scores become events; times in seconds, a value for all labels or by label.

    Attributes:
        threshold: an event's score reaches it.
        boxes: take extents from where scores change most, whatever the threshold is (`_boxes`), and
            an event's mean as its score; else extents from hysteresis, and the highest score.
        release: share of the threshold, above which an event lasts by hysteresis.
        median_seconds: length of a median filter over the scores.
        step_seconds: length of the step filter that finds boxes.
        merge_share: boxes are one where the scores between them have at least this share of the
            lesser box's.
        max_gap: events of a label are one where no more is between them.
        min_length: shorter events are left out.
        max_length: longer events are divided into equal parts.
        remainder: what is left of a parent's event beside a child's is an event where it is longer.
    """

    threshold: PerLabel = DEFAULT_THRESHOLD
    boxes: bool = False
    release: float = 0.5
    median_seconds: PerLabel = 0.0
    step_seconds: float = 1.0
    merge_share: float = 0.5
    max_gap: float = 0.5
    min_length: float = 0.0
    max_length: float = math.inf
    remainder: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that leave no events.

        Raises:
            ConfigError: a share outside 0 to 1, a length below 0, or lengths out of order.
        """
        for name in ("release", "merge_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name):g}.")
        for name in ("step_seconds", "max_gap", "min_length", "remainder"):
            if not 0 <= getattr(self, name) < math.inf:
                value = getattr(self, name)
                raise ConfigError(f"{name} must be a number of seconds, got {value:g}.")
        if not self.max_length > 0 or self.max_length < self.min_length:
            raise ConfigError(
                f"max_length must be above 0 and at least min_length ({self.min_length:g} s), got "
                f"{self.max_length:g}."
            )


def find_events(
    scores: NDArray[np.floating[Any]],
    hop: float,
    labels: Sequence[str],
    settings: EventSettings = EventSettings(),
) -> list[Event]:
    """Return the events in scores `(T, C)`, by onset; a label is never twice at one time.

    Where the labels are AudioSet's, a kind of sound and one under it are one event at a time: the
    most specific one that reaches its threshold.
    """
    return find_in_columns(list(scores.T), hop, labels, settings)


def find_in_columns(
    columns: Sequence[Frames],
    hop: float,
    labels: Sequence[str],
    settings: EventSettings = EventSettings(),
    dropped: Mask | None = None,
) -> list[Event]:
    """`find_events` of scores by label, `(T,)` each, which may be made as they are asked for.

    Args:
        dropped: frames `(T,)` in which there is no event, nor one across them.
    """
    events: list[Event] = []
    covered: dict[str, Mask] = {}  # by label, where something under it is an event
    kinds_above = {label: ontology.ancestors(label) for label in labels}
    # What is under a kind has all kinds above that, and it besides: children come first.
    for column in sorted(range(len(labels)), key=lambda at: -len(kinds_above[labels[at]])):
        label, scores = labels[column], _filtered(columns[column], hop, labels[column], settings)
        found = _spans_of(scores, hop, label, settings)
        nothing = np.zeros(len(scores), np.bool_)
        found = _outside(found, scores, hop, label, settings, covered.get(label, nothing))
        if dropped is not None:
            found = [part for span in found for part in _without(span, dropped)]
        found = _divided(found, hop, settings)
        for first, last in found:
            for above in kinds_above[label]:
                covered.setdefault(above, nothing.copy())[first:last] = True
            score = _score(scores, (first, last), settings)
            events.append(Event(first * hop, last * hop, label, score))
    return sorted(events, key=lambda event: (event.onset, -event.offset, event.label))


def of_label(value: PerLabel, label: str, default: float = DEFAULT_THRESHOLD) -> float:
    """Return a setting's value for a label."""
    return value.get(label, default) if isinstance(value, Mapping) else value


def _filtered(scores: Frames, hop: float, label: str, settings: EventSettings) -> Frames:
    """Scores after the label's median filter, whose length in frames is odd."""
    reach = round(of_label(settings.median_seconds, label, 0.0) / hop) // 2
    if not reach or not len(scores):
        return scores
    padded = np.pad(scores, reach, mode="edge")
    return np.asarray(np.median(sliding_window_view(padded, 2 * reach + 1), axis=1))


def _spans_of(scores: Frames, hop: float, label: str, settings: EventSettings) -> list[Span]:
    """Events of one label alone, in order, before what else is heard counts."""
    threshold = of_label(settings.threshold, label)
    if not len(scores) or scores.max() < threshold:
        return []
    if settings.boxes:
        spans = _boxes(scores, hop, settings)
    else:
        spans = _runs(scores >= settings.release * threshold)
    spans = [span for span in spans if _score(scores, span, settings) >= threshold]
    joined: list[Span] = []
    for first, last in spans:
        if joined and (first - joined[-1][1]) * hop <= settings.max_gap + 1e-9:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _score(scores: Frames, span: Span, settings: EventSettings) -> float:
    part = scores[slice(*span)]
    return float(part.mean() if settings.boxes else part.max())


def _boxes(scores: Frames, hop: float, settings: EventSettings) -> list[Span]:
    """Return extents from the steepest point of a rise to that of the fall after it.

    A rise is where the mean of the scores over half a step after a frame is above that before it, a
    fall where it is below; nothing is heard before the first frame and after the last.

    Source: sound event bounding boxes by change detection (Ebbers et al. 2024), with the merging
    threshold relative to the scores. Two rises without a fall between them are one here.
    """
    half = max(1, round(settings.step_seconds / 2 / hop))
    sums = np.cumsum(np.concatenate([np.zeros(half + 1), scores, np.zeros(half)]))
    total = sums[half:] - sums[:-half]  # of the half step from each frame on
    change = np.round(total[half:] - total[:-half], 9)  # sums are not exact
    signs = np.sign(change)
    turning = np.flatnonzero(signs)
    if not len(turning):
        return []
    stretches = np.split(turning, np.flatnonzero(np.diff(signs[turning])) + 1)
    steepest = [int(stretch[np.abs(change[stretch]).argmax()]) for stretch in stretches]
    boxes: list[Span] = []
    for first, last in zip(steepest[::2], steepest[1::2], strict=True):  # the first one is a rise
        if boxes and _are_one(scores, boxes[-1], (first, last), settings.merge_share):
            boxes[-1] = (boxes[-1][0], last)
        else:
            boxes.append((first, last))
    return boxes


def _are_one(scores: Frames, box: Span, following: Span, share: float) -> bool:
    gap = scores[box[1] : following[0]]
    lesser = min(scores[slice(*box)].mean(), scores[slice(*following)].mean())
    return not len(gap) or bool(gap.mean() >= share * lesser)


def _outside(
    spans: list[Span],
    scores: Frames,
    hop: float,
    label: str,
    settings: EventSettings,
    covered: Mask,
) -> list[Span]:
    """Events, of those with something more specific in them what is beside that and still sure."""
    kept: list[Span] = []
    for span in spans:
        if not covered[slice(*span)].any():
            kept.append(span)
            continue
        kept += [
            (first, last)
            for first, last in _without(span, covered)
            if (last - first) * hop > settings.remainder
            and _score(scores, (first, last), settings) >= of_label(settings.threshold, label)
        ]
    return kept


def _divided(spans: list[Span], hop: float, settings: EventSettings) -> list[Span]:
    """Spans that are long enough, the too long ones in equal parts."""
    parts: list[Span] = []
    for first, last in spans:
        seconds = (last - first) * hop
        if seconds < settings.min_length - 1e-9:
            continue
        number = max(1, math.ceil(seconds / settings.max_length - 1e-9))
        edges = np.linspace(first, last, min(number, last - first) + 1).round().astype(int).tolist()
        parts += zip(edges[:-1], edges[1:], strict=True)
    return parts


def _without(span: Span, mask: Mask) -> list[Span]:
    """The parts of a span outside a mask."""
    return [(span[0] + first, span[0] + last) for first, last in _runs(~mask[slice(*span)])]


def _runs(mask: Mask) -> list[Span]:
    """Where a mask is true, from and to."""
    steps = np.diff(np.pad(mask, 1).astype(np.int8))
    firsts, lasts = np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist()
    return list(zip(firsts, lasts, strict=True))
