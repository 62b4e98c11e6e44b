"""Mean and standard deviation of a data set's log-mel values: measured, and kept beside a manifest.

`esc50.csv` has those of its training clips in `esc50.statistics.json`. The file says which clips
and which filterbank they are of, and is found only while the manifest is as it was.
"""

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from auricle import audio, features
from auricle.config import parse_json, to_json, with_present_names
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.reading import split_name
from auricle.errors import AudioError, DataError, refused
from auricle.features import Filterbank, FilterbankConfig, Statistics
from auricle.progress import counted

NOT_MEASURED = {"mean", "std", "padding"}  # settings of a filterbank that change no log-mel value


def measure_statistics(
    manifest: Manifest, front_end: FilterbankConfig, skip_faulty: bool = False
) -> Statistics:
    """Statistics over the true frames of all clips; padding has no part in them.

    Args:
        skip_faulty: pass over clips that cannot be read or are shorter than one frame, as training
            does, which counts and names them.

    Raises:
        AudioError: naming the clip: it cannot be read, or is shorter than one frame; with
            `skip_faulty`, the first, where all are.
    """
    fbank = features.build(front_end)
    statistics = Statistics()
    faults: list[AudioError] = []
    with torch.inference_mode():
        for clip in counted(manifest.clips, "clips measured for mean and std"):
            try:
                statistics.add(_of_clip(clip, fbank))
            except AudioError as error:
                if not skip_faulty:
                    raise
                faults.append(error)
    if faults and len(faults) == len(manifest.clips):
        raise faults[0]
    return statistics


def _of_clip(clip: Clip, fbank: Filterbank) -> Statistics:
    """In blocks, for recordings of hours; a rest shorter than a frame has none."""
    statistics = Statistics()
    for number, block in enumerate(audio.blocks(clip.sound(), fbank.config.sample_rate)):
        if number and len(block) < fbank.shortest_size:
            break
        try:
            lengths = torch.tensor([len(block)])
            statistics.update(*fbank.log_mel(fbank.apply_min_level(block[None], lengths)))
        except AudioError as error:
            raise AudioError(f"{clip.where}: {error}") from error
    return statistics


@dataclass(frozen=True)
class StoredStatistics:
    """Mean and standard deviation of log-mel values, and what they are of."""

    mean: float
    std: float
    split: str | None  # None: of clips of any split or fold
    num_clips: int  # that were measured
    of: int  # that could have been
    front_end: dict[str, Any]
    manifest_sha256: str

    def summary(self) -> str:
        """The numbers, and how many clips they are of."""
        clips = f"{self.num_clips} of {self.of} clips"
        split = f" of the split {self.split}" if self.split else ""
        return f"mean {self.mean:.7f} and std {self.std:.7f}, of {clips}{split}"


def settings_of(front_end: FilterbankConfig) -> dict[str, Any]:
    """The settings that log-mel values depend on."""
    values = front_end.to_dict()
    return {name: value for name, value in values.items() if name not in NOT_MEASURED}


def statistics_file(manifest: Path) -> Path:
    """Path of the statistics beside a manifest."""
    return manifest.with_name(f"{manifest.stem}.statistics.json")


def digest(manifest: Path) -> str:
    """SHA-256 of the manifest's file."""
    with manifest.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_statistics(statistics: StoredStatistics, manifest: Path) -> None:
    """Write the statistics beside `manifest`; DataError: the folder cannot be written to."""
    path = statistics_file(manifest)
    with refused(DataError, f"{path}: cannot be written"):
        path.write_text(to_json(asdict(statistics), indent=2) + "\n", encoding="utf-8")


def find_statistics(
    manifest: Path, split: str | None, front_end: FilterbankConfig
) -> StoredStatistics | None:
    """The statistics beside `manifest`, if they are of this split, filterbank and content."""
    path = statistics_file(manifest)
    if not (manifest.is_file() and path.is_file()):
        return None
    try:
        stored = StoredStatistics(**parse_json(path.read_bytes()))
        if not (math.isfinite(stored.mean) and 0 < stored.std < math.inf):
            return None
        kinds = [type(front_end)]
        known = with_present_names(kinds, stored.front_end, str(path), hint=False)
        stored = replace(stored, front_end=known)
    except (OSError, ValueError, TypeError):
        return None  # damaged, or of another program: measured again
    expected = (split and split_name(split), settings_of(front_end), digest(manifest))
    return stored if (stored.split, stored.front_end, stored.manifest_sha256) == expected else None
