"""Clips of own sounds with their embeddings: made once, and kept beside the model.

`training_clips.safetensors` holds `clips` `(N, D)` and `background` `(B, D)`, float16; its metadata
the digest of the encoder, and for each clip its name, labels, group, and its file's size and time.

Shapes: N clips, B of the background, D width of the embedding.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from auricle.atomic import file_beside
from auricle.checkpoint import Checkpoint
from auricle.config import to_json
from auricle.data import Clip, Manifest
from auricle.evaluation.evaluate import Failure, Progress, no_progress, score_clips
from auricle.experiment import background
from auricle.experiment.background import Background
from auricle.inference.engine import TorchEngine

CLIPS_FILE = "training_clips.safetensors"
BATCH_SIZE = 32

Counting: TypeAlias = Callable[[int], AbstractContextManager[Progress]]


def nothing_counted(total: int) -> AbstractContextManager[Progress]:
    """Progress that nobody watches."""
    return nullcontext(no_progress)


@dataclass(frozen=True)
class Material:
    """Clips, what the encoder makes of them `(N, D)`, and by what a changed file is known."""

    clips: list[Clip]
    embeddings: Tensor
    stamps: list[str]

    def and_then(self, other: "Material") -> "Material":
        """These clips and then those of `other`."""
        embeddings = torch.cat([self.embeddings, other.embeddings])
        return Material(self.clips + other.clips, embeddings, self.stamps + other.stamps)

    @property
    def labels(self) -> list[str]:
        """Names of all labels, sorted."""
        return sorted({label for clip in self.clips for label in clip.labels})


@dataclass(frozen=True)
class Stored:
    """What a model for own sounds learned from, as it lies beside it."""

    material: Material
    others: Background


def store(
    path: Path, manifest: Manifest, material: Material, others: Background, encoder: Checkpoint
) -> None:
    """Write beside a model what it learned from, so that more can be added."""
    clips = [
        {
            "name": clip.name_in(manifest.source),
            "labels": clip.labels,
            "group": clip.group,
            "stamp": stamp,
        }
        for clip, stamp in zip(material.clips, material.stamps, strict=True)
    ]
    metadata = {
        "encoder": background.digest(encoder),
        "background": others.source,
        "clips": to_json(clips),
    }
    embeddings = {"clips": material.embeddings.half(), "background": others.embeddings.half()}
    with file_beside(path) as part:
        save_file(embeddings, part, metadata)
        part.chmod(0o644)  # safetensors writes for the owner alone


def stored(folder: Path, encoder: Checkpoint) -> Stored | None:
    """What lies in `folder`, None where nothing does, or it is damaged or of another encoder."""
    try:
        with safe_open(folder / CLIPS_FILE, "pt") as file:
            metadata = file.metadata()
            if metadata["encoder"] != background.digest(encoder):
                return None
            clips, others = (file.get_tensor(name).float() for name in ("clips", "background"))
        rows = json.loads(metadata["clips"])
        known = [
            Clip(Path(row["name"]), tuple(row["labels"]), group=row["group"], source=row["name"])
            for row in rows
        ]
        material = Material(known, clips, [row["stamp"] for row in rows])
        return Stored(material, Background(others, metadata["background"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def embedded(
    engine: TorchEngine,
    manifest: Manifest,
    known: Stored | None,
    counting: Counting = nothing_counted,
) -> tuple[Material, list[Failure]]:
    """The clips with their embeddings, and those that cannot be scored or are silent.

    Args:
        known: embeddings of clips whose files need not be read again if they did not change.

    Raises:
        DataError: no clip is left.
    """
    rows: dict[tuple[str, str], Tensor] = {}
    if known is not None:
        material = known.material
        for clip, stamp, row in zip(
            material.clips, material.stamps, material.embeddings, strict=True
        ):
            rows[clip.source, stamp] = row
    named = [((clip.name_in(manifest.source), stamp_of(clip)), clip) for clip in manifest.clips]
    unknown = {key: clip for key, clip in named if key not in rows}
    failures: list[Failure] = []
    if unknown:
        embed = partial(background.embed, engine)
        unread = replace(manifest, clips=list(unknown.values()))
        with counting(len(unknown)) as advance:
            scored = score_clips(embed, unread, BATCH_SIZE, advance)
        failures = scored.failures
        key_of = {clip: key for key, clip in unknown.items()}
        rows |= {key_of[clip]: row for clip, row in zip(scored.clips, scored.scores, strict=True)}
    kept = [(key, clip) for key, clip in named if key in rows]
    embeddings = torch.stack([rows[key].float() for key, _ in kept])
    return Material([clip for _, clip in kept], embeddings, [key[1] for key, _ in kept]), failures


def stamp_of(clip: Clip) -> str:
    """Size and time of a clip's file; empty where they cannot be had."""
    try:
        found = clip.path.stat()
    except OSError:  # within a shard, or gone
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
