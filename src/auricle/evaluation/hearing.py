"""Every clip of a manifest heard once, whole, and what came of it; faulty clips are set aside.

What is heard may be scores, embeddings, or anything else that is a tensor for each clip.

Shapes: N clips, B clips of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from auricle import audio
from auricle.data import Clip, Manifest
from auricle.errors import AudioError, CheckpointError, DataError

Outcome: TypeAlias = Tensor | AudioError
Progress: TypeAlias = Callable[[int], object]  # called with a number of clips that were scored


class Listener(Protocol):
    """What hears sounds of any length."""

    @property
    def sample_rate(self) -> int:
        """Of the waveforms that it takes, in Hz."""

    @property
    def window_seconds(self) -> float:
        """Length of the longest sound that is heard in one piece."""

    def score_waveforms(self, waveforms: list[Tensor]) -> Tensor:
        """Scores `(B, ...)` of waveforms `(S,)`."""

    def score_file(self, source: audio.Source) -> Tensor:
        """Scores of one sound file of any length."""


class Scorer(Listener, Protocol):
    """What can be evaluated: `inference.Classifier`, or anything that hears like it."""

    @property
    def labels(self) -> list[str]:
        """C names, in the order of the scores."""


def silent(num_clips: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Failure:
    """A clip that could not be scored, and why."""

    clip: Clip
    reason: str

    def __str__(self) -> str:
        """The reason, with the file where it does not name it itself."""
        path = str(self.clip.path)
        return self.reason if path in self.reason else f"{path}: {self.reason}"


@dataclass(frozen=True)
class Heard:
    """The clips that could be scored, their scores `(N, ...)`, and the others."""

    clips: list[Clip]
    scores: Tensor
    failures: list[Failure]


def hear(
    listener: Listener, manifest: Manifest, batch_size: int, progress: Progress = silent
) -> Heard:
    """What `listener` hears in every clip of `manifest`, long ones window by window.

    Args:
        progress: called with the number of clips of each batch once they are scored.

    Raises:
        DataError: no clip can be scored.
        CheckpointError: the model's scores are not numbers.
    """
    clips: list[Clip] = []
    rows: list[Tensor] = []
    failures: list[Failure] = []
    for start in range(0, len(manifest.clips), batch_size):
        batch = manifest.clips[start : start + batch_size]
        for clip, outcome in zip(batch, _outcomes(listener, batch), strict=True):
            if isinstance(outcome, AudioError):
                failures.append(Failure(clip, str(outcome)))
            else:
                clips.append(clip)
                rows.append(_checked(outcome, clip))
        progress(len(batch))
    if not clips:
        raise DataError(
            f"{manifest.source}: none of its {len(failures)} clips can be scored. "
            f"The first: {failures[0]}"
        )
    return Heard(clips, torch.stack(rows), failures)


def _outcomes(listener: Listener, clips: Sequence[Clip]) -> list[Outcome]:
    """For each clip its scores `(C,)`, or the error that left none."""
    outcomes: dict[int, Outcome] = {}
    waveforms: dict[int, Tensor] = {}
    for index, clip in enumerate(clips):
        try:
            if _is_long(listener, clip):
                outcomes[index] = listener.score_file(clip.sound())
            else:
                waveforms[index] = audio.load(clip.sound(), listener.sample_rate)
        except AudioError as error:
            outcomes[index] = error
    outcomes |= _score_together(listener, waveforms)
    return [outcomes[index] for index in range(len(clips))]


def _is_long(listener: Listener, clip: Clip) -> bool:
    """Whether the clip takes windows: one of hours must not be held with a batch of others."""
    duration = audio.probe(clip.sound()).duration
    return duration is None or duration > listener.window_seconds


def _score_together(listener: Listener, waveforms: dict[int, Tensor]) -> dict[int, Outcome]:
    if not waveforms:
        return {}
    try:
        scores = listener.score_waveforms(list(waveforms.values()))
    except AudioError as error:
        if len(waveforms) == 1:
            return dict.fromkeys(waveforms, error)
        # One of them is too short for the model; the others are not at fault.
        alone = [_score_together(listener, {key: waveforms[key]}) for key in waveforms]
        return {key: outcome for each in alone for key, outcome in each.items()}
    return dict(zip(waveforms, scores, strict=True))


def _checked(scores: Tensor, clip: Clip) -> Tensor:
    if not scores.isfinite().all():
        raise CheckpointError(
            f"{clip.path}: the model gives scores that are not numbers. Its weights are damaged, "
            "or its training diverged."
        )
    return scores.cpu()
