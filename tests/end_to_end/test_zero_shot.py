"""The converted teacher on ESC-10, as the commands measure it: with pauses, as it was trained."""

import json

import pytest
from typer.testing import CliRunner

from auricle.cli.main import app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ready(tmp_path_factory, shared_data, shared_teacher):
    """A folder with the converted teacher and the manifest of ESC-10."""
    folder = tmp_path_factory.mktemp("zero-shot")
    teacher, data = shared_teacher / "mn04_as.safetensors", shared_data / "esc10"
    run("convert", teacher, folder / "teacher")
    run("prepare", "esc10", data, "--out", folder / "esc10.csv")
    return folder


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output


def test_by_the_names_of_labels_it_names_95_percent(ready):
    words = ("--data", ready / "esc10.csv", "--classes", "esc10", "--out", ready / "zero")
    run("evaluate", ready / "teacher", *words, "--device", "cpu")
    metrics = json.loads((ready / "zero" / "metrics.json").read_text())
    assert metrics["accuracy"] == pytest.approx(382 / 400, abs=1 / 400)


def test_a_linear_probe_tells_98_percent_apart(ready):
    words = ("--data", ready / "esc10.csv", "--out", ready / "probe", "--device", "cpu")
    run("probe", ready / "teacher", *words)
    record = json.loads((ready / "probe" / "probe.json").read_text())
    assert record["linear"]["value"] == pytest.approx(394 / 400, abs=2 / 400)
