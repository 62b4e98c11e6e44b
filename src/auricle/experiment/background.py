"""Ordinary sound that is none of one's classes, as embeddings: shipped, of a folder, or synthetic.

A built-in model may have the embeddings of such sound beside it, `background.safetensors`, made by
`scripts/background.py`. They are of one encoder, so its digest lies with them: they serve every
model with that encoder, whatever its head.

Shapes: B clips, D width of the embedding.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from auricle import audio
from auricle.checkpoint import Checkpoint
from auricle.config import to_json
from auricle.data import synthesis
from auricle.errors import AudioError, DataError, UserError
from auricle.inference import windows
from auricle.inference.engine import TorchEngine
from auricle.inference.names import BUILTIN
from auricle.inference.windows import DEFAULT_LIMITS, Limits, Sound

FILE = "background.safetensors"
SYNTHETIC_CLIPS, SYNTHETIC_SECONDS = 300, 4.0
SILENT = "silent: no part of it is loud enough to be scored. Check the recording."


@dataclass(frozen=True)
class Background:
    """Embeddings `(B, D)` of ordinary sound, and where they come from, in a few words."""

    embeddings: Tensor
    source: str


def digest(checkpoint: Checkpoint) -> str:
    """SHA-256 of what makes embeddings: the front end, and all weights but those of the head."""
    found = hashlib.sha256(to_json(checkpoint.config.front_end.to_dict()).encode())
    for name, value in sorted(checkpoint.model.state_dict().items()):
        if not name.startswith("head."):
            found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def choose(folder: Path | None, engine: TorchEngine) -> Background:
    """The sounds of `folder`; without one what comes with the encoder, or else synthetic sound.

    Raises:
        UserError: there is no sound in the folder that can be scored.
    """
    if folder is not None:
        return of_folder(engine, folder)
    return shipped(engine.checkpoint) or synthetic(engine)


def shipped(checkpoint: Checkpoint) -> Background | None:
    """The background that lies beside the built-in model with the encoder of `checkpoint`."""
    encoder = None
    for path in sorted(BUILTIN.glob(f"*/{FILE}")):
        with safe_open(path, "pt") as file:
            encoder = encoder or digest(checkpoint)
            if file.metadata()["encoder"] == encoder:
                embeddings = file.get_tensor("embeddings").float()
                return Background(embeddings, f"ordinary sounds that come with {path.parent.name}")
    return None


def write(embeddings: Tensor, checkpoint: Checkpoint, folder: Path, about: str) -> None:
    """Write the embeddings `(B, D)`, of the encoder of `checkpoint`, into `folder`.

    Args:
        about: what sounds they are of.
    """
    metadata = {"encoder": digest(checkpoint), "about": about}
    save_file({"embeddings": embeddings.half()}, folder / FILE, metadata)
    (folder / FILE).chmod(0o644)  # safetensors writes for the owner alone


def of_folder(engine: TorchEngine, folder: Path) -> Background:
    """The sounds of a folder, at any depth; those that cannot be scored are left out.

    Raises:
        AudioError: there is no sound in it.
        DataError: none can be scored.
    """
    paths = audio.find_sounds([folder])
    found = [each for each in embed(engine, paths) if not isinstance(each, UserError)]
    if not found:
        raise DataError(f"--background {folder}: none of its {len(paths)} sounds can be scored.")
    return Background(torch.stack(found), f"{len(found)} sounds of {folder.name}")


def synthetic(engine: TorchEngine, seed: int = 0) -> Background:
    """Sound from random synthesisers, the same for the same seed."""
    waveforms = [[each] for each in synthesised(SYNTHETIC_CLIPS, engine.sample_rate, seed)]
    embeddings = [
        windows.join(found).values
        for found in windows.grouped(windows.run(engine, engine.embed, waveforms))
        if not isinstance(found, UserError)
    ]
    return Background(torch.stack(embeddings), f"{len(embeddings)} synthetic sounds")


def synthesised(count: int, sample_rate: int, seed: int = 0) -> Iterator[Tensor]:
    """Yield `count` waveforms of random synthesisers; torch's global generator stays as it is."""
    for number in range(count):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + number)
            yield synthesis.synthesise(round(SYNTHETIC_SECONDS * sample_rate), sample_rate)


def embed(
    engine: TorchEngine, sounds: Iterable[Sound], limits: Limits = DEFAULT_LIMITS
) -> Iterator[Tensor | UserError]:
    """Yield the embedding `(D,)` of each sound file, or its error; silence is an error here."""
    for found in windows.grouped(windows.run_files(engine, engine.embed, sounds, limits)):
        if isinstance(found, UserError):
            yield found
            continue
        whole = windows.join(found)
        yield AudioError(SILENT) if whole.is_silent else whole.values
