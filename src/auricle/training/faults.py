"""Clips that could not be read: skipped, reported once each, counted; too many end a run."""

import csv
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from auricle.atomic import write_text
from auricle.errors import DataError, DataWarning
from auricle.training.processes import gather, is_first

FAULTS_FILE = "faults.csv"


class Faults:
    """The faulty clips that this process met, and at every `check` those of all processes.

    Args:
        folder: of the run; holds them as `faults.csv`.
        num_clips: of an epoch, over all processes, by side (training, validation).
        max_share: of these, more of which end the training.
    """

    def __init__(self, folder: Path, num_clips: dict[str, int], max_share: float):
        self.folder = folder
        self.num_clips = num_clips
        self.max_share = max_share
        self.reasons: dict[str, str] = {}  # by path, of all epochs
        self.counts = dict.fromkeys(num_clips, 0)  # of this process in the present epoch

    def start(self, side: str) -> None:
        """Count anew."""
        self.counts[side] = 0

    def note(self, side: str, faults: Iterable[tuple[str, str]]) -> None:
        """Take in the `(path, reason)` of a batch, and warn of those that are new."""
        for path, reason in faults:
            self.counts[side] += 1
            if path not in self.reasons:
                self.reasons[path] = reason
                warnings.warn(f"skipped: {reason}", DataWarning, stacklevel=2)

    def too_many(self, side: str) -> bool:
        """Whether this process alone has met more than all together may."""
        return self._is_over(side, self.counts[side])

    def check(self, side: str) -> int:
        """How many of the epoch's clips were faulty, over all processes; all must call.

        Raises:
            DataError: they are too many; `faults.csv` has those that were met.
        """
        parts = gather((self.counts[side], self.reasons))
        self.reasons = {path: reason for part in parts for path, reason in part[1].items()}
        self._write()
        count, total = sum(part[0] for part in parts), self.num_clips[side]
        if count and count == total:
            raise DataError(
                f"none of the {total} {side} clips can be heard. The first: "
                f"{next(iter(self.reasons.values()))}"
            )
        if not self._is_over(side, count):
            return count
        raise DataError(
            f"{count} of {total} {side} clips ({count / total:.1%}) cannot be read, more than "
            f"data.max_faulty_share={self.max_share:g} allows. The first: "
            f"{next(iter(self.reasons.values()))} {self.folder / FAULTS_FILE} lists those that "
            "were met. Move them away, or raise data.max_faulty_share; of clips with labels, "
            "auricle prepare --check leaves all out beforehand."
        )

    def _is_over(self, side: str, count: int) -> bool:
        return count > self.max_share * self.num_clips[side]

    def _write(self) -> None:
        if not (self.reasons and is_first()):
            return
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerows([("path", "reason"), *self.reasons.items()])
        write_text(self.folder / FAULTS_FILE, lines.getvalue())
