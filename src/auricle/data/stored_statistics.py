"""Mean and std of a manifest's training clips, in a JSON file beside it.

`esc50.csv` has them in `esc50.statistics.json`. The file says which clips and which filterbank they
are of, and is found only while the manifest is as it was.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auricle.config import parse_json, to_json
from auricle.errors import DataError
from auricle.features import FilterbankConfig

NOT_MEASURED = {"mean", "std", "padding"}  # settings of a filterbank that change no log-mel value


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


def place_of(manifest: Path) -> Path:
    """Where the statistics of a manifest stand."""
    return manifest.with_name(f"{manifest.stem}.statistics.json")


def digest(manifest: Path) -> str:
    """SHA-256 of the manifest's file."""
    with manifest.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(statistics: StoredStatistics, manifest: Path) -> None:
    """Write the statistics beside `manifest`.

    Raises:
        DataError: the place cannot be written to.
    """
    path = place_of(manifest)
    try:
        path.write_text(to_json(asdict(statistics), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}).") from error


def find(manifest: Path, split: str | None, front_end: FilterbankConfig) -> StoredStatistics | None:
    """The statistics beside `manifest`, if they are of this split, filterbank and content."""
    path = place_of(manifest)
    if not (manifest.is_file() and path.is_file()):
        return None
    try:
        found = StoredStatistics(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None  # damaged, or of another program: measured again
    asked = (split, settings_of(front_end), digest(manifest))
    return found if (found.split, found.front_end, found.manifest_sha256) == asked else None
