"""What a model's scores say about a sound: best labels, recognised labels, silence.

Shapes: S samples, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool1d, pad

from auricle.features.filterbank import SILENCE_DBFS, clip_power

FRAME_SECONDS = 0.02
PAUSE_SECONDS = 0.5  # chosen with GUARD_SECONDS by benchmarks/pauses.py
GUARD_SECONDS = 0.04
BELOW_DB = 40.0  # the level of all, from which on softer parts may be a pause
SILENCE = "Silence"  # AudioSet's label for what `Segment.is_silent` measures


@dataclass(frozen=True)
class Prediction:
    """A label and its score, from 0 to 1.

    Attributes:
        recognised: whether the score reaches the label's threshold, in a sound that is not silent;
            None: the model has no thresholds.
    """

    label: str
    score: float
    recognised: bool | None = None


@dataclass(frozen=True)
class Segment:
    """A part of a recording, in seconds, and what the model computed for it.

    Attributes:
        values: the scores `(C,)`, or the embedding.
        level: see `level`; of a recording in several windows, that of the loudest.
    """

    start: float
    end: float
    values: Tensor
    level: float

    @property
    def is_silent(self) -> bool:
        """Whether no window of it is as loud as SILENCE_DBFS."""
        return self.level < SILENCE_DBFS


@dataclass(frozen=True)
class Recognition:
    """The answer about a part of a recording, in seconds.

    Attributes:
        best: as many labels as were asked for, best first; fewer where fewer were selected.
        recognised: every label whose score reaches its threshold, best first; none of a silent
            sound. None: the model has no thresholds.
        silence: whether there is nothing to be heard, whatever the scores are.
    """

    start: float
    end: float
    best: list[Prediction]
    recognised: list[Prediction] | None
    silence: bool

    @property
    def shown(self) -> list[Prediction]:
        """As many labels as `best` holds, those that are recognised first."""
        others = [guess for guess in self.best if not guess.recognised]
        return [*(self.recognised or []), *others][: len(self.best)]


def level(waveform: Tensor) -> float:
    """How loud samples `(S,)` are: RMS in dB below full scale (a full sine has -3), zero: -inf.

    A constant offset is no sound and is left out.
    """
    power = clip_power(waveform.double()[None], torch.tensor([len(waveform)])).item()
    return 10 * math.log10(power) if power else -math.inf


def is_silent(waveform: Tensor) -> bool:
    """Whether samples `(S,)` are below SILENCE_DBFS."""
    return level(waveform) < SILENCE_DBFS


def without_pauses(waveform: Tensor, sample_rate: int, shortest: int = 0) -> Tensor:
    """Return samples `(S,)` without pauses: silence of more than PAUSE_SECONDS, or at an end.

    A frame is silent if its RMS, without its own offset, is below SILENCE_DBFS, and BELOW_DB below
    that of all, so that a soft recording keeps what a loud one does. Of a pause
    GUARD_SECONDS next to each sound stay, more where the sound alone has not `shortest` samples;
    what is joined is silent, so that a cut is not audible. Where no frame sounds the waveform is
    returned as it is.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    if len(waveform) <= size:
        return waveform
    frames = pad(waveform[None], (0, -len(waveform) % size), "reflect").view(-1, size)
    silence = min(SILENCE_DBFS, level(waveform) - BELOW_DB)
    sounds = frames.var(dim=1, correction=0) >= 10 ** (silence / 10)
    if sounds.all() or not sounds.any():
        return waveform
    reach = round(PAUSE_SECONDS / 2 / FRAME_SECONDS)
    guard = max(round(GUARD_SECONDS / FRAME_SECONDS), math.ceil(shortest / size))
    near = _widened(pad(sounds.float(), (reach, reach)), reach)
    filled = 1 - _widened(1 - near, reach)[reach : reach + len(frames)]  # short pauses sound, too
    kept = _widened(filled, guard) > 0
    if kept.all():
        return waveform
    return waveform[kept.repeat_interleave(size)[: len(waveform)]]


def _widened(values: Tensor, reach: int) -> Tensor:
    """Return the largest of the values `(N,)` within `reach` positions of each."""
    return max_pool1d(values[None], 2 * reach + 1, stride=1, padding=reach)[0]


def reached(segment: Segment, thresholds: Sequence[float] | None) -> list[bool] | None:
    """For each class whether it is recognised: its score is at least its threshold."""
    if thresholds is None:
        return None
    found = segment.values.double() >= torch.tensor(thresholds, dtype=torch.float64)
    return [False] * len(found) if segment.is_silent else found.tolist()


@dataclass(frozen=True)
class Selection:
    """Which of a model's labels answers name.

    Attributes:
        columns: positions of the labels; None: all.
        min_score: from which score on a label or group is named.
    """

    columns: frozenset[int] | None = None
    min_score: float = 0.0

    def of(self, segment: Segment, labels: Sequence[str]) -> list[int]:
        """Return the columns of the labels that an answer about `segment` may name.

        "Silence" is none of them in a segment that is not silent: its level is measured, and
        models call loud noise so.
        """
        return [
            column
            for column, label in enumerate(labels)
            if (self.columns is None or column in self.columns)
            and (label != SILENCE or segment.is_silent)
        ]


EVERYTHING = Selection()


def recognise(
    segment: Segment,
    labels: Sequence[str],
    thresholds: Sequence[float] | None,
    top: int,
    selection: Selection = EVERYTHING,
) -> Recognition:
    """Return the `top` best of the C `labels` in `segment`, and which are recognised."""
    found = reached(segment, thresholds)
    allowed = set(selection.of(segment, labels))
    best: list[Prediction] = []
    recognised: list[Prediction] = []
    for score, index in zip(*map(Tensor.tolist, segment.values.topk(len(labels))), strict=True):
        if index not in allowed or score < selection.min_score:
            continue
        is_found = None if found is None else found[index]
        if len(best) < top or is_found:  # Speed: of hundreds of labels few are named
            named = Prediction(labels[index], score, is_found)
            best += [named] * (len(best) < top)
            recognised += [named] * bool(is_found)
    answered = None if found is None else recognised
    return Recognition(segment.start, segment.end, best, answered, segment.is_silent)
