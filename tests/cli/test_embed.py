"""`auricle embed`: vectors of each window in Parquet, or as an array with a table beside it."""

import csv
import os

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.inference import Classifier

RATE = 16_000


@pytest.fixture
def embed(tiny_model):
    def run(*words):
        command = ["embed", *map(str, words), "--model", str(tiny_model), "--device", "cpu"]
        return CliRunner().invoke(app, command)

    return run


@pytest.fixture
def sounds(tmp_path):
    """A folder with a second of noise, five seconds of it, and what is no sound."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, seconds in (("a.wav", 1), ("c.wav", 5)):
        soundfile.write(folder / name, random.normal(0, 0.1, seconds * RATE), RATE)
    (folder / "b.wav").write_text("not a sound")
    return folder


def test_parquet_holds_a_vector_for_each_window(embed, sounds, tiny_model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "vectors.parquet"
    result = embed(sounds, "--out", out)
    assert result.exit_code == 1  # b.wav
    assert result.stdout == f"{out}: 5 vectors of 3 files\n"
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {sounds / 'b.wav'}: ")
    table = parquet.read_table(out)
    assert table.column_names == ["file", "start", "end", "vector"]
    rows = table.to_pylist()
    assert [row["file"] for row in rows] == [str(sounds / "a.wav")] + [str(sounds / "c.wav")] * 4
    assert [(row["start"], row["end"]) for row in rows[:2]] == [(0.0, 1.0), (0.0, 2.0249375)]
    classifier = Classifier.load(tiny_model, device="cpu")
    expected = classifier.embed_file(sounds / "a.wav").numpy()
    np.testing.assert_allclose(rows[0]["vector"], expected, atol=1e-5)
    expected = classifier.embed_file(sounds / "c.wav").numpy()
    found = np.mean([row["vector"] for row in rows[1:]], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_array_has_a_table_of_its_rows_beside_it(embed, sounds, tmp_path):
    result = embed(sounds / "a.wav", sounds / "c.wav", "--out", tmp_path / "vectors.npy")
    assert (result.exit_code, result.stderr) == (0, "")
    vectors = np.load(tmp_path / "vectors.npy")
    assert (vectors.shape, vectors.dtype) == ((5, 16), np.float32)
    with (tmp_path / "vectors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"file": str(sounds / "a.wav"), "start": "0.0", "end": "1.0"}
    assert len(rows) == 5


def test_where_no_file_can_be_used_nothing_is_written(embed, sounds, tmp_path):
    result = embed(sounds / "b.wav", "--out", tmp_path / "vectors.npy")
    assert (result.exit_code, result.stdout) == (1, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sounds"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("v.txt", "vectors are written as .parquet or .npy. Name such a file."),
        ("folder.npy", "cannot be written (Is a directory). Name another place."),
        ("sounds/a.wav/v.npy", "cannot be written (File exists). Name another place."),
    ],
)
def test_an_impossible_place_is_refused_before_any_sound(embed, sounds, tmp_path, name, message):
    (tmp_path / "folder.npy").mkdir()
    out = tmp_path / name
    result = embed(sounds, "--out", out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: --out {out}: {message}\n"


def test_one_channel_is_read_where_asked(embed, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (2, RATE))
    soundfile.write(tmp_path / "both.wav", noise.T, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "second.wav", noise[1], RATE, subtype="FLOAT")
    assert embed(tmp_path / "both.wav", "--channel", 2, "--out", tmp_path / "a.npy").exit_code == 0
    assert embed(tmp_path / "second.wav", "--out", tmp_path / "b.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    result = embed(tmp_path / "both.wav", "--channel", "left", "--out", tmp_path / "a.npy")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --channel left: give the number of a channel, counted from 1, or mix.\n",
    )


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.npy"])
def test_a_file_name_that_is_no_text_is_escaped(embed, sounds, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = sounds / os.fsdecode(b"d\xff.wav")
    try:
        (sounds / "a.wav").rename(path)
    except OSError:
        pytest.skip("this file system takes only text for names")
    result = embed(path, "--out", tmp_path / name)
    assert (result.exit_code, result.stderr) == (0, "")
    if name.endswith("npy"):
        [row] = csv.DictReader((tmp_path / "vectors.csv").open(encoding="utf-8"))
        assert row["file"] == f"{sounds}/d\\udcff.wav"


def test_a_full_disk_is_named(embed, sounds, tmp_path, monkeypatch):
    def save(*_):
        raise OSError("96 requested and 0 written")  # numpy's words, without a number

    monkeypatch.setattr(np, "save", save)
    result = embed(sounds / "a.wav", "--out", tmp_path / "vectors.npy")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: --out {tmp_path / 'vectors.npy'}: cannot be written (96 requested and 0 written). "
        "Name another place.\n"
    )
