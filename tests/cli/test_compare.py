"""`auricle compare`: two evaluations as the command left them."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.data import read
from auricle.data.shards import pack


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Three evaluations of eight clips: a right about seven, b about four, c about five."""
    monkeypatch.chdir(tmp_path)
    for name, correct in (("a", "11111110"), ("b", "11110000"), ("c", "10001111")):
        (tmp_path / name).mkdir()
        lines = ["file,labels,predicted,correct"]
        lines += [f"{index}.wav,x,?,{value}" for index, value in enumerate(correct)]
        (tmp_path / name / "predictions.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["compare", *words])


def test_two_evaluations_are_compared(folders):
    result = run("a", "b", "--out", "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:5] == [
        "A           a",
        "B           b",
        "compared    8 clips; evaluations: 1 of A, 1 of B",
        "",
        "accuracy    A 87.5 %, B 50.0 %",
    ]
    assert lines[5].startswith("  A - B     +37.5 (95 % interval ")
    assert lines[5].endswith(", p = 0.25")  # 3 clips against none: 2 / 2^3
    assert lines[6] == "  interval and p hold what other clips could give, not other runs (seeds)"
    assert lines[7] == "  only one is right: A 3 clips, B 0"
    assert lines[8].startswith("  smallest true difference that 4 in 5 such comparisons show: ")
    assert lines[9] == "mAP         not compared: an evaluation holds no scores for it"
    stored = json.loads((folders / "out" / "compare.json").read_text())
    assert (stored["a"], stored["b"], stored["num_clips"]) == ("a", "b", 8)
    assert stored["accuracy_difference"]["mean"] == 0.375
    assert stored["accuracy_difference"]["p_value"] == 0.25


def test_shards_are_compared_with_the_files_that_they_were_packed_from(
    folders, tiny_model, noise_clips
):
    manifest = noise_clips(fold=[1] * 4)
    manifest.write_text(manifest.read_text().replace(",a,", ",dog,").replace(",b,", ",cat,"))
    pack(read(manifest), folders / "shards", 16_000)
    for data, out in ((manifest, "files"), (folders / "shards", "packed")):
        words = ["evaluate", str(tiny_model), "--data", str(data), "--out", out]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    result = run("files", "packed")
    assert result.exit_code == 0, result.output
    assert "compared    4 clips" in result.stdout


def test_a_side_may_have_several_evaluations(folders):
    result = run("a", "b,c")
    assert result.exit_code == 0, result.output
    assert "compared    8 clips; evaluations: 1 of A, 2 of B" in result.stdout
    assert "accuracy    A 87.5 %, B 56.2 %" in result.stdout
    assert "only one is right" not in result.stdout


def test_a_model_compared_with_itself_has_no_interval(folders):
    shutil.copytree(folders / "a", folders / "again")
    lines = run("a", "again").stdout.splitlines()
    interval = "95 % interval not defined: all draws of the clips give the same"
    assert lines[5] == f"  A - B     +0.0 ({interval}), p = 1"
    assert lines[8].endswith("comparisons show: not defined")


def test_runs_on_both_sides_are_drawn_too(folders):
    shutil.copytree(folders / "a", folders / "again")
    lines = run("a,again", "b,c").stdout.splitlines()
    assert lines[6] == "  interval and p hold what other clips and other runs (seeds) could give"


def test_a_folder_whose_name_holds_a_comma_is_one(folders):
    (folders / "b").rename(folders / "b,c2")
    assert run("a", "b,c2").exit_code == 0


def test_what_is_no_evaluation_is_refused(folders):
    result = run("a", "d")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: d: holds no predictions.csv, so it is not an evaluation. Make one with: auricle "
        "evaluate MODEL --data DATA --out FOLDER\n"
    )
    assert run("a", ",").exit_code == 2


def test_a_place_that_cannot_be_written_is_said(folders):
    (folders / "taken").write_text("in the way")
    result = run("a", "b", "--out", "taken")
    assert result.exit_code == 2
    assert result.stderr == "error: taken: cannot be written to (File exists).\n"
