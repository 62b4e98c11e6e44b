"""Commands that take a model's name, with a public one."""

import pytest
import soundfile
import torch
from typer.testing import CliRunner

import auricle
from auricle import checkpoint
from auricle.cli.main import app


@pytest.fixture
def here(publish, monkeypatch, tmp_path):
    """A folder with a sound, and ced-tiny on the server."""
    publish("ced-tiny")
    monkeypatch.chdir(tmp_path)
    soundfile.write("noise.wav", 0.1 * torch.randn(16_000).numpy(), 16_000)
    return tmp_path


def run(*words: str) -> str:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_predict_embed_and_describe(here):
    assert run("predict", "noise.wav", "--model", "ced-tiny", "--top", "2").count("%") == 2
    run("embed", "noise.wav", "--model", "ced-tiny", "--out", "vectors.npy")
    facts = run("describe", "ced-tiny")
    assert "ced-tiny: ced\n" in facts
    assert "license" in facts and "Apache-2.0" in facts


def test_convert_and_average(here):
    run("convert", "ced-tiny", "mine")
    assert checkpoint.load("mine").config.provenance["name"] == "ced-tiny"
    run("average", "ced-tiny", "mine", "--out", "both")
    assert len(auricle.load_model("both").state_dict()) == len(
        auricle.load_model("ced-tiny").state_dict()
    )


def test_a_folder_of_sounds_does_not_hide_a_public_model_of_its_name(here):
    (here / "ced-tiny").mkdir()
    assert len(auricle.Classifier.load("ced-tiny").labels) == 527
    run("convert", "ced-tiny", "mine")
    (here / "ced-tiny").rmdir()
    (here / "mine").rename("ced-tiny")
    run("describe", "ced-tiny")  # now that of the folder
