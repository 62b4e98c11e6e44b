"""A manifest whose sounds were all heard: the faulty ones listed, the others measured."""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auricle.data.listening import Listening, listen
from auricle.data.manifest import Clip, Manifest
from auricle.data.statistics import StoredStatistics, digest, settings_of, write_statistics
from auricle.data.table import write_rows
from auricle.errors import AudioError, DataError
from auricle.features import FilterbankConfig, Statistics

MOST_MEASURED = 5000  # clips: the mean is then known to about 0.05, a hundredth of the std
TRAIN = "train"

Advance = Callable[[int], None]  # told how many more clips were heard


@dataclass(frozen=True)
class FaultyClip:
    """A clip that cannot be used: the kind of the fault, and what the decoder says of it."""

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
        processes: that listen at the same time; None for one on every core.

    Raises:
        DataError: every clip is faulty.
        MissingExtraError: a sound needs a package that is not installed.
    """
    chosen = sample(manifest)
    task = Listening(manifest.table, range(len(manifest.table)), frozenset(chosen.rows))
    faults, whole, statistics = [], [], Statistics()
    for finding in listen(task, front_end, processes):
        advance(1)
        if finding.fault is None:
            whole.append(finding.row)
            statistics.add(finding.statistics or Statistics())
        else:
            faults.append(FaultyClip(manifest.table[finding.row], *finding.fault))
    if not whole:
        raise DataError(
            f"{manifest.source}: every clip is faulty. The first is {faults[0].clip.path}: "
            f"{faults[0].kind} ({faults[0].detail})."
        )
    measured = Measured(statistics, chosen, len(task.measured.intersection(whole)))
    rest = replace(manifest, clips=manifest.table.where(np.array(whole)))
    return Checked(rest, tuple(faults), measured)


def measure_sample(
    manifest: Manifest, front_end: FilterbankConfig, processes: int | None, advance: Advance
) -> Measured:
    """Decode only the clips of `sample`.

    Raises:
        AudioError: one of them is faulty.
        MissingExtraError: as `check`.
    """
    chosen = sample(manifest)
    task = Listening(manifest.table, chosen.rows, frozenset(chosen.rows))
    statistics = Statistics()
    for finding in listen(task, front_end, processes):
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
    """How many clips of the manifest are faulty, by kind, and which labels were lost with them."""
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
        DataError: the place cannot be written to.
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
