"""Where the numbers of steps and epochs go besides `metrics.jsonl`: lightning's loggers."""

from collections.abc import Iterable
from pathlib import Path

from auricle.errors import require
from auricle.training.framework import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)

PROJECT = "auricle"  # under which services list the runs
SERVICES = {"wandb": "Weights & Biases", "mlflow": "MLflow"}  # by the package they need


def check_services(names: Iterable[str]) -> None:
    """Refuse services whose packages are missing.

    Raises:
        MissingExtraError: naming the package.
    """
    for name in names:
        require(name, "track", f"logging to {SERVICES[name]}")


def loggers(folder: Path, names: tuple[str, ...]) -> list[Logger]:
    """CSV and TensorBoard in `folder`/logs, and the services called `names`."""
    built = {"wandb": _wandb, "mlflow": _mlflow}
    return [
        CSVLogger(folder, name="logs", version=_free(folder / "logs", "csv")),
        TensorBoardLogger(folder, name="logs", version="tensorboard", flush_secs=60),
        *[built[name](folder) for name in names],
    ]


def _free(folder: Path, name: str) -> str:
    """`name`, or name-2, ...: a resumed run leaves the logs of its earlier parts alone."""
    number, found = 1, name
    while (folder / found).exists():
        number += 1
        found = f"{name}-{number}"
    return found


def _wandb(folder: Path) -> Logger:
    return WandbLogger(name=folder.name, project=PROJECT, save_dir=folder / "logs")


def _mlflow(folder: Path) -> Logger:
    # Where MLFLOW_TRACKING_URI says, else beside the other logs.
    return MLFlowLogger(
        experiment_name=PROJECT, run_name=folder.name, save_dir=str(folder / "logs" / "mlflow")
    )
