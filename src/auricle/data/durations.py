"""How long clips are. Shapes: N clips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from auricle import audio
from auricle.data.clips import Clip
from auricle.errors import AudioError


def durations(clips: Sequence[Clip]) -> Tensor:
    """Seconds of each clip `(N,)`, float64; 0 for one that cannot be read.

    Where the header does not tell, the sound is decoded; of a clip in a shard all bytes are read.

    Raises:
        MissingExtraError: MP4, M4A, AAC or WebM, and PyAV is not installed.
    """
    return torch.tensor([_duration(clip) for clip in clips], dtype=torch.float64)


def _duration(clip: Clip) -> float:
    try:
        return audio.duration(clip.sound())
    except AudioError:
        return 0.0  # whoever loads the clip says what is wrong with it
