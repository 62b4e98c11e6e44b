"""The loggers a recipe can ask for, beside CSV and TensorBoard."""

import sys

import pytest

from auricle.errors import MissingExtraError
from auricle.training import progress


@pytest.mark.parametrize(
    "name, purpose", [("wandb", "logging to Weights & Biases"), ("mlflow", "logging to MLflow")]
)
def test_a_missing_package_is_named_with_the_extra_to_install(monkeypatch, name, purpose):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        progress.check_services((name,))
    assert str(caught.value) == (
        f"{purpose} needs the package '{name}', which is not installed. "
        "Install it with: pip install 'auricle[track]'"
    )


def test_services_know_the_run_by_its_folder(monkeypatch, tmp_path):
    asked = {}
    for name, logger in (("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")):
        monkeypatch.setattr(
            progress, logger, lambda _name=name, **given: asked.update({_name: given})
        )
    progress.loggers(tmp_path / "run", ("wandb", "mlflow"))
    logs = tmp_path / "run" / "logs"
    assert asked == {
        "wandb": {"name": "run", "project": "auricle", "save_dir": logs},
        "mlflow": {
            "experiment_name": "auricle",
            "run_name": "run",
            "save_dir": str(logs / "mlflow"),
        },
    }


def test_a_resumed_run_leaves_the_logs_of_its_earlier_parts_alone(tmp_path):
    (tmp_path / "logs" / "csv").mkdir(parents=True)
    assert progress.loggers(tmp_path, ())[0].version == "csv-2"
