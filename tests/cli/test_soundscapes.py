"""`auricle soundscapes` and `auricle evaluate --events`, as one after the other."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.data import strong

RATE = 16_000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Folders of clips of noise by label, of those that tiny_model has, and of backgrounds."""
    folder = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for label in ("dog", "rain"):
        (folder / "events" / label).mkdir(parents=True)
        for take in range(3):
            samples = random.normal(0, 0.1, RATE)
            soundfile.write(folder / "events" / label / f"{take}.wav", samples, RATE)
    (folder / "backgrounds").mkdir()
    for take in range(3):
        samples = random.normal(0, 0.01, 5 * RATE)
        soundfile.write(folder / "backgrounds" / f"{take}.wav", samples, RATE)
    return folder


def run(*words: object, code: int = 0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def scenes(sounds):
    out = sounds / "scenes"
    words = ["--count", 2, "--seconds", 4, "--most", 2, "--validation-share", 0.34]
    words += ["--test-share", 0.33, "--snr", 10, 20, "--overlap", 1]
    result = run("soundscapes", sounds / "events", sounds / "backgrounds", "--out", out, *words)
    number = sum(len(each.events) for each in strong.read(out / "events.csv").recordings)
    assert result.stdout == (
        f"{out}: 6 soundscapes of test, train, validation with {number} events\n"
    )
    return out


def test_a_folder_that_holds_something_is_left_alone(sounds, scenes):
    words = ["soundscapes", sounds / "events", sounds / "backgrounds", "--out", scenes]
    assert run(*words, code=2).stderr == (
        f"error: --out {scenes}: holds something already. Name a new folder.\n"
    )


def test_a_model_is_judged_on_soundscapes(scenes, tiny_model, tmp_path):
    words = ["evaluate", tiny_model, "--events", "--data", scenes / "events.csv", "--device", "cpu"]
    words += ["--window", 0.5]
    first = run(*words, "--split", "validation", "--out", tmp_path / "first")
    assert "recordings       2, 0.00 h" in first.stdout
    assert first.stdout.endswith(f"{tmp_path / 'first'}: metrics.json and events.csv\n")
    record = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert (record["split"], record["window"], record["thresholds"]) == ("validation", 0.5, None)
    chosen = tmp_path / "first" / "metrics.json"
    run(*words, "--split", "test", "--out", tmp_path / "second", "--thresholds", chosen)
    second = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert second["thresholds"] == str(chosen)
    timeline = ["timeline", scenes / "audio" / "test", "--model", tiny_model, "--device", "cpu"]
    run(*timeline, "--threshold", chosen)


def test_some_labels_may_be_left_out(scenes, tiny_model, tmp_path):
    words = ["evaluate", tiny_model, "--events", "--data", scenes / "events.csv", "--device", "cpu"]
    run(*words, "--without", "dog", "--out", tmp_path / "report")
    record = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert [row["label"] for row in record["classes"]] == ["rain"]


@pytest.mark.parametrize("option", [["--fold", 1], ["--calibrate"]])
def test_what_has_no_meaning_with_events_is_refused(scenes, tiny_model, tmp_path, option):
    words = ["evaluate", tiny_model, "--events", "--data", scenes / "events.csv"]
    result = run(*words, "--out", tmp_path / "report", *option, code=2)
    assert result.stderr == (
        f"error: {option[0]} has no meaning with --events. Choose recordings with --split; "
        "thresholds are in metrics.json, for --thresholds.\n"
    )


def test_labels_that_the_model_lacks_are_named(scenes, tiny_model, tmp_path):
    table = scenes / "others.csv"
    table.write_text("path,onset,offset,label\naudio/test/00000.flac,0,1,wolf\n")
    words = ["evaluate", tiny_model, "--events", "--data", table, "--out", tmp_path / "report"]
    assert run(*words, code=2).stderr.startswith(f"error: {table}: the model has no label 'wolf'")
