"""Every clip of a manifest scored once, whole; faulty clips are set aside.

Scores may be those of a classifier, embeddings, or anything else that is a tensor for each clip.

Shapes: N clips.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from auricle.data import Clip, Manifest
from auricle.errors import AudioError, DataError, UserError
from auricle.inference import Classifier, Ensemble
from auricle.inference.windows import Limits, Sound

Scorer: TypeAlias = Classifier | Ensemble  # what can be evaluated
ScoreFiles: TypeAlias = Callable[[Sequence[Sound], Limits], Iterator[Tensor | UserError]]
Progress: TypeAlias = Callable[[int], object]  # called with a number of clips that were scored


def no_progress(num_clips: int) -> None:
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
class ScoredClips:
    """The clips that could be scored, their scores `(N, ...)`, and the others."""

    clips: list[Clip]
    scores: Tensor
    failures: list[Failure]


def score_clips(
    score_files: ScoreFiles, manifest: Manifest, batch_size: int, progress: Progress = no_progress
) -> ScoredClips:
    """Score every clip of `manifest`, long ones window by window.

    Args:
        score_files: such as `Classifier.score_files`.
        batch_size: windows that are scored together at most.
        progress: called with 1 for each clip once it is scored.

    Raises:
        DataError: no clip can be scored.
        CheckpointError: the model's scores are not numbers.
        MissingExtraError: a clip needs PyAV, which is not installed.
    """
    clips: list[Clip] = []
    rows: list[Tensor] = []
    failures: list[Failure] = []
    outcomes = score_files([clip.sound for clip in manifest.clips], Limits(windows=batch_size))
    for clip, outcome in zip(manifest.clips, outcomes, strict=True):
        if isinstance(outcome, AudioError):
            failures.append(Failure(clip, str(outcome)))
        elif isinstance(outcome, UserError):
            raise type(outcome)(str(Failure(clip, str(outcome)))) from outcome
        else:
            clips.append(clip)
            rows.append(outcome)
        progress(1)
    if not clips:
        raise DataError(
            f"{manifest.source}: none of its {len(failures)} clips can be scored. "
            f"The first: {failures[0]}"
        )
    return ScoredClips(clips, torch.stack(rows), failures)
