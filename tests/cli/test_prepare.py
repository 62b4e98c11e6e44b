"""`auricle prepare`: where the manifest goes, what is printed, and when the exit code is 1."""

import importlib
import json
import re
import sys

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.data import download, measure_statistics, read
from auricle.data.prepare import DATA_SETS
from auricle.features import EfficientATConfig

module = importlib.import_module("auricle.cli.prepare")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path):
    """Speech Commands in small: three clips, two splits."""
    lines = ["path,label,speaker,split,word", "0.wav,yes,a,train,yes", "1.wav,no,b,test,no"]
    lines.append("2.wav,no,c,train,no")
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "clips.csv").write_text("\n".join(lines))
    for index in range(3):
        noise = np.random.default_rng(index).normal(0, 0.1 / (index + 1), 8000)
        soundfile.write(folder / f"{index}.wav", noise, 16_000)
    return folder


def test_the_manifest_lies_in_the_data_set_unless_told_otherwise(folder):
    inside, outside = folder / "manifest.csv", folder / "other" / "words.csv"
    assert run("prepare", "speech_commands_12", folder) == f"{inside}: 3 clips, 2 labels\n"
    assert run("prepare", "speech_commands_12", folder, "--out", outside) == (
        f"{outside}: 3 clips, 2 labels\n"
    )
    assert [clip.path.resolve() for clip in read(inside).clips] == [
        clip.path.resolve() for clip in read(outside).clips
    ]


def test_the_manifest_of_a_table_lies_beside_it_and_columns_may_be_named(folder):
    table = folder / "clips.csv"
    assert run("prepare", "table", table, "--columns", "labels=word") == (
        f"{folder / 'clips.manifest.csv'}: 3 clips, 2 labels\n"
        "columns: labels=word, path=path, split=split, group=speaker\n"
    )


def test_the_help_names_every_data_set():
    assert set(re.findall(r"\w{3,}", module.NAMES)) == DATA_SETS.keys()


def test_whole_clips_are_checked_and_measured_with_exit_code_0(folder):
    out = folder / "manifest.csv"
    shown = run("prepare", "speech_commands_12", folder, "--check")
    stored = json.loads((folder / "manifest.statistics.json").read_text())
    assert shown.splitlines() == [
        f"{out}: 3 clips, 2 labels",
        "checked: 0 of 3 clips are faulty",
        f"{folder / 'manifest.statistics.json'}: mean {stored['mean']:.7f} and "
        f"std {stored['std']:.7f}, of 2 of 2 clips of the split train",
    ]


def test_faulty_clips_are_listed_left_out_and_make_exit_code_1(folder):
    (folder / "1.wav").write_bytes(b"")
    out = folder / "manifest.csv"
    result = call("prepare", "speech_commands_12", folder, "--check")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:3] == [
        f"{out}: 3 clips, 2 labels",
        "checked: 1 of 3 clips are faulty (1 empty)",
        f"{folder / 'manifest.faults.csv'}: the faulty clips; {out} has the other 2",
    ]
    assert [clip.path.name for clip in read(out).clips] == ["0.wav", "2.wav"]
    assert (folder / "manifest.faults.csv").read_text() == (
        "path,reason\n1.wav,empty: is empty (0 bytes). Copy or record it again\n"
    )
    assert (folder / "manifest.statistics.json").exists()


def test_statistics_that_are_stored_are_printed_until_the_manifest_changes(folder):
    shown = run("prepare", "speech_commands_12", folder, "--statistics")
    assert "checked" not in shown
    stored = json.loads((folder / "manifest.statistics.json").read_text())
    words = ("statistics", folder / "manifest.csv", "--split", "train")
    result = call(*words)
    assert result.stderr == f"from {folder / 'manifest.statistics.json'}: 2 of 2 clips\n"
    values = yaml.safe_load(result.stdout)
    assert values == pytest.approx({"mean": stored["mean"], "std": stored["std"]}, abs=1e-6)
    with (folder / "manifest.csv").open("a") as manifest:
        manifest.write("\n")
    again = call(*words)
    assert again.stderr == ""
    assert yaml.safe_load(again.stdout) == pytest.approx(values, abs=1e-6)


def test_statistics_of_other_clips_are_measured(folder):
    run("prepare", "speech_commands_12", folder, "--statistics")
    for words in (["--not-fold", "1"], ["--split", "test"], ["--num-mels", "40"]):
        result = call("statistics", folder / "manifest.csv", *words)
        assert not result.stderr.startswith("from ")


def test_what_is_whole_is_packed(folder, tmp_path):
    (folder / "1.wav").write_bytes(b"")
    target = tmp_path / "shards"
    words = ("--check", "--pack", target, "--sample-rate", 8000)
    result = call("prepare", "speech_commands_12", folder, *words)
    assert result.exit_code == 1
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == f"{target}: 1 shards of 2 clips"
    clips = read(target).clips
    assert [clip.group for clip in clips] == ["a", "c"]
    assert soundfile.info(clips[0].sound()).samplerate == 8000


def test_what_packing_leaves_out_is_not_counted_and_makes_exit_code_1(folder, tmp_path):
    (folder / "1.wav").write_bytes(b"")
    target = tmp_path / "shards"
    result = call("prepare", "speech_commands_12", folder, "--pack", target)
    assert result.exit_code == 1
    assert f"{target}: 1 of 3 clips cannot be read and are left out" in result.stderr
    assert result.stdout.splitlines()[-1] == f"{target}: 1 shards of 2 clips"


def test_the_table_that_a_manifest_is_made_from_is_not_written_over(folder):
    before = (folder / "clips.csv").read_text()
    table = folder / "clips.csv"
    for words in (["speech_commands_12", folder], ["table", table]):
        result = call("prepare", *words, "--out", folder / ".." / "words" / "clips.csv")
        assert result.exit_code == 2
        assert result.stderr == (
            f"error: {folder / '..' / 'words' / 'clips.csv'}: is the table that the manifest is "
            "made from, and would be lost. Choose another --out.\n"
        )
    assert table.read_text() == before


def test_archives_are_fetched_first(folder, monkeypatch):
    table = (folder / "clips.csv").read_text()
    (folder / "clips.csv").unlink()
    fetched = []

    def fetch(name, target):
        fetched.append((name, target))
        (target / "clips.csv").write_text(table)

    monkeypatch.setattr(download, "download", fetch)
    run("prepare", "speech_commands_12", folder, "--download")
    assert fetched == [("speech_commands_12", folder)]


@pytest.mark.parametrize(
    "words, message",
    [
        (["esc50", "nowhere"], "nowhere: holds no meta/esc50.csv, nor does a folder in it. "
         "Give the folder that the archive of the data set was unpacked to."),
        (["table", "x.csv", "--columns", "x"],
         "--columns: expected OURS=THEIRS,... such as path=file, got 'x'."),
        (["esc50", ".", "--columns", "path=x"],
         "esc50: its columns are known; name columns only for a table."),
        (["esc50", ".", "--front-end", "fbanks"],
         "--front-end: unknown front end 'fbanks'. Did you mean 'fbank'? Known: ced, efficientat, "
         "fbank."),
        (["esc50", ".", "--test-folder", "x"],
         "esc50: has no test archive of its own; leave the test folder out."),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_line_and_exit_code_2(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("prepare", *words)
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")


def test_packed_shards_are_not_to_be_prepared(folder, tmp_path):
    target = tmp_path / "shards"
    run("prepare", "speech_commands_12", folder, "--pack", target)
    for words in (["folder", target], ["esc50", target], ["table", target / "manifest.csv"]):
        result = call("prepare", *words)
        assert result.exit_code == 2
        assert result.stderr == (
            f"error: {target}: holds packed shards, which are prepared already. Train on them with "
            f"data.source={target}; auricle evaluate and auricle statistics take the folder, too.\n"
        )


def test_the_log_mel_values_of_another_front_end_are_measured(folder):
    words = ("--front-end", "efficientat")
    run("prepare", "speech_commands_12", folder, "--statistics", *words)
    result = call("statistics", folder / "manifest.csv", "--split", "train", *words)
    assert result.stderr == f"from {folder / 'manifest.statistics.json'}: 2 of 2 clips\n"
    found = yaml.safe_load(result.stdout)
    clips = read(folder / "manifest.csv").select("train")
    expected = measure_statistics(clips, EfficientATConfig())
    assert found == pytest.approx({"mean": expected.mean, "std": expected.std}, abs=1e-6)
    assert call("statistics", folder / "manifest.csv", "--split", "train").stderr == ""


def test_a_person_at_a_terminal_sees_how_far_the_check_is(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with module._counting("checked", 3) as advance:
        advance(2)
    assert "2/3 clips checked" in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().err)
