"""Every sound of some clips decoded once, in several processes: faulty clips, and statistics.

A clip is faulty if training would stop at it, learn nothing from it, or use less of it than there
is. Shapes: N clips.
"""

import os
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from auricle import audio, features
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.statistics import StoredStatistics, digest, settings_of, write_statistics
from auricle.data.table import write_rows
from auricle.errors import AudioError, AudioWarning, DataError, MissingExtraError
from auricle.features import Filterbank, FilterbankConfig, Statistics

MOST_MEASURED = 5000  # clips: the mean is then known to about 0.05, a hundredth of the std
TRAIN = "train"
BATCH_SIZE = 16  # clips that a process decodes before it answers

UNREADABLE = "cannot be decoded"
TOO_SHORT = "shorter than one frame"
SILENT = "silent"
# Parts of the errors and warnings of `audio.load`. Other errors are UNREADABLE, and other warnings
# no fault: all of the sound was used.
KINDS = {
    "is empty": "empty",
    "holds no samples": "empty",
    "is too short": "empty",
    "holds NaN": "not finite",
    "holds samples of up to": "beyond full scale",
    "holds samples beyond": "beyond full scale",
    "is cut short": "shorter than its header says",
    "joined streams cannot be read": "shorter than its header says",
    "follow the end": "longer than its header says",
}
SILENCE = 2**-15  # one step of 16 bits: there is no sound in what never exceeds it
SILENT_LABELS = {"silence", "_silence_"}  # of clips that may be silent; capitals do not matter

Advance = Callable[[int], None]  # gets how many more clips were decoded


@dataclass(frozen=True)
class FaultyClip:
    """A clip that cannot be used: the kind of the fault, and the decoder's message."""

    clip: Clip
    kind: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """The clips whose log-mel values are measured, as rows of a manifest."""

    split: str | None  # that they are of; None: any
    rows: tuple[int, ...]
    num_clips: int  # to choose from


@dataclass(frozen=True)
class Measured:
    """The statistics of the clips of a sample that are not faulty."""

    statistics: Statistics
    sample: Sample
    num_clips: int  # of the sample that were measured


@dataclass(frozen=True)
class Checked:
    """A manifest without its faulty clips, those, and the statistics of the others."""

    manifest: Manifest
    faults: tuple[FaultyClip, ...]
    measured: Measured


def sample(manifest: Manifest) -> Sample:
    """The clips of the split `train`, or all without such a split; of too many, a fixed draw."""
    table = manifest.table
    splits = table.columns.splits
    split = TRAIN if TRAIN in table.values(splits) else None
    chosen = np.full(len(table), True)
    if split is not None:
        chosen = table.codes(splits) == splits.code_of(split)
    rows = np.flatnonzero(chosen).tolist()
    drawn = random.Random(0).sample(rows, min(len(rows), MOST_MEASURED))
    return Sample(split, tuple(sorted(drawn)), len(rows))


def check(
    manifest: Manifest, front_end: FilterbankConfig, processes: int | None, advance: Advance
) -> Checked:
    """Decode every clip once; measure those of `sample` that are not faulty.

    Args:
        processes: that decode at the same time; None for one on every core.

    Raises:
        DataError: every clip is faulty.
        MissingExtraError: a sound needs a package that is not installed.
    """
    chosen = sample(manifest)
    clips, measured = manifest.table, frozenset(chosen.rows)
    sounds = _Sounds(clips, range(len(clips)), measured, front_end)
    faults, whole, statistics = [], [], Statistics()
    for finding in _findings(sounds, processes):
        advance(1)
        if finding.fault is None:
            whole.append(finding.row)
            statistics.add(finding.statistics or Statistics())
        else:
            faults.append(FaultyClip(clips[finding.row], *finding.fault))
    if not whole:
        raise DataError(
            f"{manifest.source}: every clip is faulty. The first is {faults[0].clip.path}: "
            f"{faults[0].kind} ({faults[0].detail})."
        )
    rest = replace(manifest, clips=clips.where(np.array(whole)))
    num_measured = len(measured.intersection(whole))
    return Checked(rest, tuple(faults), Measured(statistics, chosen, num_measured))


def measure_sample(
    manifest: Manifest, front_end: FilterbankConfig, processes: int | None, advance: Advance
) -> Measured:
    """Decode only the clips of `sample`.

    Raises:
        AudioError: one of them is faulty.
        MissingExtraError: as `check`.
    """
    chosen = sample(manifest)
    sounds = _Sounds(manifest.table, chosen.rows, frozenset(chosen.rows), front_end)
    statistics = Statistics()
    for finding in _findings(sounds, processes):
        advance(1)
        if finding.fault is not None:
            kind, detail = finding.fault
            raise AudioError(
                f"{manifest.table[finding.row].path}: {kind} ({detail}). "
                "Find all such clips with --check."
            )
        statistics.add(finding.statistics or Statistics())
    return Measured(statistics, chosen, len(chosen.rows))


def summary(checked: Checked, manifest: Manifest) -> str:
    """Count the faulty clips of the manifest by kind, and name the labels lost with them."""
    total = f"{len(checked.faults)} of {len(manifest.clips)} clips are faulty"
    if not checked.faults:
        return total
    kinds = Counter(fault.kind for fault in checked.faults)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lost = sorted(set(manifest.labels).difference(checked.manifest.labels))
    return f"{total} ({counts})" + (f"; no clip is left of {', '.join(lost)}" if lost else "")


def write_faults(faults: Sequence[FaultyClip], manifest: Path) -> Path:
    """List the faulty clips beside the manifest, in `<its stem>.faults.csv`; where to.

    Sounds are named relative to the folder. Without any, an older list is deleted.

    Raises:
        DataError: the folder cannot be written to.
    """
    path = manifest.with_name(f"{manifest.stem}.faults.csv")
    if not faults:
        path.unlink(missing_ok=True)
        return path
    rows = []
    for fault in faults:
        name = os.path.relpath(fault.clip.path.resolve(), path.resolve().parent)
        rows.append({"path": Path(name).as_posix(), "reason": f"{fault.kind}: {fault.detail}"})
    write_rows(path, ("path", "reason"), rows)
    return path


def store(measured: Measured, front_end: FilterbankConfig, manifest: Path) -> StoredStatistics:
    """Write the statistics beside the `manifest`, the file that they are of.

    Raises:
        DataError: the place cannot be written to, or no clip was measured.
    """
    stored = StoredStatistics(
        measured.statistics.mean,
        measured.statistics.std,
        measured.sample.split,
        measured.num_clips,
        measured.sample.num_clips,
        settings_of(front_end),
        digest(manifest),
    )
    write_statistics(stored, manifest)
    return stored


@dataclass(frozen=True)
class _Finding:
    """The fault of a clip, if any, as kind and detail, and its statistics if they are measured."""

    row: int  # of the clip among all
    fault: tuple[str, str] | None = None
    statistics: Statistics | None = None
    error: MissingExtraError | None = None  # a package is missing; no clip is to blame


class _Sounds(Dataset[_Finding]):
    """The findings of the clips in `rows`, computed in the process that asks for them."""

    def __init__(
        self,
        clips: Sequence[Clip],
        rows: Sequence[int],
        measured: frozenset[int],
        front_end: FilterbankConfig,
    ):
        self.clips, self.rows, self.measured = clips, rows, measured
        self.filterbank = features.build(front_end)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> _Finding:
        row = self.rows[index]
        statistics = Statistics() if row in self.measured else None
        try:
            return _Finding(row, _fault(self.clips[row], self.filterbank, statistics), statistics)
        except MissingExtraError as error:
            return _Finding(row, error=error)


def _findings(sounds: _Sounds, processes: int | None) -> Iterator[_Finding]:
    count = os.cpu_count() or 1 if processes is None else processes
    workers = count if count > 1 else 0
    for batch in DataLoader(sounds, BATCH_SIZE, num_workers=workers, collate_fn=list):
        for finding in batch:
            if finding.error is not None:
                raise finding.error
            yield finding


def _fault(
    clip: Clip, filterbank: Filterbank, statistics: Statistics | None
) -> tuple[str, str] | None:
    """Decode a clip in bounded memory; the fault, if any, as kind and detail."""
    rate, shortest = filterbank.config.sample_rate, filterbank.shortest_size
    size, peak = 0, 0.0
    with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
        warnings.simplefilter("always", AudioWarning)
        try:
            for block in audio.blocks(clip.sound(), rate):
                size += len(block)
                peak = max(peak, float(block.abs().max()))
                if statistics is not None and len(block) >= shortest:
                    statistics.update(*filterbank.log_mel(block[None]))
        except AudioError as error:
            return _kind(str(error)) or UNREADABLE, _without_name(clip, str(error))
    for warning in caught:
        kind = _kind(str(warning.message))
        if issubclass(warning.category, AudioWarning) and kind is not None:
            return kind, _without_name(clip, str(warning.message))
    if size < shortest:
        return TOO_SHORT, f"{size} samples at {rate} Hz; a frame has {shortest}"
    may_be_silent = any(label.lower() in SILENT_LABELS for label in clip.labels)
    if peak <= SILENCE and not may_be_silent:
        return SILENT, f"no sample above {SILENCE:.0e} of full scale at {rate} Hz"
    return None


def _kind(message: str) -> str | None:
    return next((kind for part, kind in KINDS.items() if part in message), None)


def _without_name(clip: Clip, message: str) -> str:
    """Remove the file's name before a message and the full stop after it."""
    return message.removeprefix(f"{clip.path}: ").removesuffix(".")


def durations(clips: Sequence[Clip]) -> Tensor:
    """Seconds of each clip `(N,)`, float64; 0 for one that cannot be read.

    Without a length in its header a sound is decoded; of a clip in a shard all bytes are read.

    Raises:
        MissingExtraError: a kind of file that PyAV reads, and PyAV is not installed.
    """
    return torch.tensor([_duration(clip) for clip in clips], dtype=torch.float64)


def _duration(clip: Clip) -> float:
    try:
        return audio.duration(clip.sound())
    except AudioError:
        return 0.0  # loading the clip reports the fault
