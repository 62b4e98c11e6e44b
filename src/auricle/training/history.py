"""What a run leaves behind: numbers in `metrics.jsonl`, weights in folders, clips not read."""

import csv
import io
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch import Tensor

from auricle.atomic import write_text
from auricle.config import to_json
from auricle.errors import DataError, DataWarning
from auricle.training.machine import gather, is_first
from auricle.training.settings import Diverged

METRICS_FILE = "metrics.jsonl"
STATE_FILE = "state.ckpt"  # from which an unfinished run goes on
Record = dict[str, Any]  # the numbers of one epoch
Weights = dict[str, Tensor]
SHOWN = ("train_loss", "validation_loss", "accuracy", "mAP")  # in the line for people


@dataclass(eq=False)
class History:
    """The epochs so far, in memory and in the run's folder.

    Of validated epochs the best score wins, of equal scores the lower loss, then the earlier epoch;
    where none is validated yet, every epoch is the best so far.
    """

    folder: Path
    best_by: str  # the number that chooses the best epoch; larger is better
    # Writes weights to a folder, with their epoch's numbers beside them.
    save: Callable[[Path, Record, Weights], None]
    resumes: bool = False  # from the state that is in the folder
    records: list[Record] = field(default_factory=list)
    best: Record | None = None
    average: Record | None = None  # of the weights averaged over epochs

    def add(self, record: Record, weights: Weights | None) -> None:
        """Save the weights of an epoch to `last/`, perhaps to `best/`, and note its numbers.

        Args:
            weights: None where another process writes.

        Raises:
            Diverged: the loss is not a number; what was saved before stays.
        """
        if not math.isfinite(record["train_loss"]):
            raise Diverged(f"epoch {record['epoch']}: the training loss is {record['train_loss']}.")
        is_best = self._note(record)
        if weights is None:
            return
        self.save(self.folder / "last", record, weights)
        if is_best:
            self.save(self.folder / "best", record, weights)
        self._write()

    def add_average(self, record: Record, weights: Weights | None) -> None:
        """Save the average of several epochs' weights to `average/`, and note its numbers."""
        self.average = record
        if weights is not None:
            self.save(self.folder / "average", record, weights)

    def restore(self, records: list[Record], writes: bool) -> None:
        """Take over the epochs of a run that is resumed, and forget those it had not completed.

        Args:
            writes: whether this is the process that writes.
        """
        self.records, self.best = [], None
        for record in records:
            self._note(record)
        if writes:
            self._write()

    def epochs_since_best(self) -> int:
        """How many epochs in a row were no better."""
        return 0 if self.best is None else self.records[-1]["epoch"] - self.best["epoch"]

    def line(self, num_epochs: int) -> str:
        """The last epoch for people: `epoch 3/25  train_loss 0.4120  12.0 s  98 clips/s  best`.

        Before the last one also the time that the others will take, as long as those so far.
        """
        record = self.records[-1]
        numbers = [f"{name} {record[name]:.4f}" for name in SHOWN if record.get(name) is not None]
        parts = [f"epoch {record['epoch']}/{num_epochs}", *numbers]
        parts += [f"{record['seconds']:.1f} s", f"{record['clips_per_second']:.0f} clips/s"]
        epochs_left = num_epochs - record["epoch"]
        if epochs_left:
            mean = sum(each["seconds"] for each in self.records) / len(self.records)
            parts.append(f"{timedelta(seconds=round(mean * epochs_left))} left")
        # Where nothing scores the epochs, none is better than another.
        is_best = record is self.best and record.get(self.best_by) is not None
        return "  ".join([*parts, "best"] if is_best else parts)

    def _note(self, record: Record) -> bool:
        """Add an epoch; whether it is the best so far."""
        self.records.append(record)
        if self.best is not None and not self._beats(record, self.best):
            return False
        self.best = record
        return True

    def _write(self) -> None:
        lines = [to_json(record) + "\n" for record in self.records]
        write_text(self.folder / METRICS_FILE, "".join(lines))

    def _beats(self, record: Record, other: Record) -> bool:
        if "validation_loss" not in other:
            return True
        if "validation_loss" not in record:
            return False
        return self._rank(record) > self._rank(other)

    def _rank(self, record: Record) -> tuple[float, float]:
        score = record.get(self.best_by)  # None: the clips do not define it
        return -math.inf if score is None else score, -record["validation_loss"]


FAULTS_FILE = "faults.csv"


@dataclass(eq=False)
class Faults:
    """The faulty clips that this process met, and at every `check` those of all processes."""

    folder: Path  # of the run; holds them as `faults.csv`
    num_clips: dict[str, int]  # of an epoch, over all processes, by side (training, validation)
    max_share: float  # of these, more of which end the training
    reasons: dict[str, str] = field(default_factory=dict)  # by path, of all epochs
    counts: Counter[str] = field(default_factory=Counter)  # of this process in the present epoch

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
                f"none of the {total} {side} clips can be read. The first: "
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
