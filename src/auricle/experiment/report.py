"""What came of a run, in memory and as `result.json`, the last file that a run writes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auricle.atomic import write_text
from auricle.config import to_json
from auricle.errors import ConfigError
from auricle.training.history import Record

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    folder: Path
    best: Record  # the numbers of the best epoch
    last: Record  # and of the last
    average: Record | None  # of the weights averaged over epochs, if training.average_epochs
    num_train: int  # clips
    num_validation: int  # clips
    labels: list[str]
    seconds: float  # of all epochs, over all parts of a resumed run
    parameters: int
    peak_memory_gb: float | None  # of the process that finished the run; None: not known


def write_report(report: Report) -> None:
    """Write `result.json`: with it the run is finished."""
    values: dict[str, Any] = asdict(report)
    del values["folder"]
    write_text(report.folder / RESULT_FILE, to_json(values, indent=2) + "\n")


def read_report(folder: Path) -> Report | None:
    """The report of the finished run in `folder`; None if it is not finished.

    Raises:
        ConfigError: `result.json` is damaged.
    """
    path = folder / RESULT_FILE
    if not path.exists():
        return None
    try:
        return Report(folder, **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not readable as the result of a run ({error}).") from error
