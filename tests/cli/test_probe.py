"""`auricle probe`, from files to files."""

import json

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle.cli.main import app


@pytest.fixture
def clips(tmp_path):
    """Twelve clips of loud and soft noise in two folds."""
    generator = torch.Generator().manual_seed(0)
    lines = ["path,labels,fold"]
    for index in range(12):
        noise = torch.rand(4800, generator=generator) - 0.5
        samples = noise * (0.01 if index % 2 else 1.0)
        soundfile.write(tmp_path / f"{index}.wav", samples.numpy(), 16_000, subtype="FLOAT")
        lines.append(f"{index}.wav,{'soft' if index % 2 else 'loud'},{index // 2 % 2}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "clips.csv"


def run(*words):
    return CliRunner().invoke(app, ["probe", *map(str, words), "--device", "cpu"])


def test_the_baseline_is_probed_and_written(clips, tmp_path):
    result = run("log-mel", "--data", clips, "--out", tmp_path / "out", "--neighbours", 3)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "embedding   256 numbers; 12 clips judged",
        "linear      accuracy 100.0% (95 % interval 75.8% to 100.0%)",
        "nearest     accuracy 100.0% (95 % interval 75.8% to 100.0%)",
        "  fold 0    linear 100.0%, nearest 100.0%",
        "  fold 1    linear 100.0%, nearest 100.0%",
        f"{tmp_path / 'out'}: probe.json, predictions.csv and scores.safetensors",
    ]
    record = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert (record["model"], record["neighbours"], record["splits"]) == ("log-mel", 3, None)


def test_the_deviation_is_read_on_wish_and_kept_on_record(clips, tiny_model, tmp_path):
    result = run(tiny_model, "--data", clips, "--deviation", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("embedding   32 numbers; 12 clips judged\n")
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["deviation"] is True


def test_a_faulty_clip_is_named_and_the_exit_code_is_1(clips, tiny_model):
    (clips.parent / "5.wav").write_text("this is not a sound")
    result = run(tiny_model, "--data", clips)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {clips.parent / '5.wav'}: ")
    assert result.stdout.startswith("embedding   16 numbers; 11 clips judged\n")


def test_one_split_alone_is_refused(clips):
    result = run("log-mel", "--data", clips, "--train-split", "train")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: --train-split and --test-split go together: name both, or neither.\n"
    )


def test_an_absent_split_leaves_no_folder_behind(clips, tmp_path):
    words = ("--train-split", "train", "--test-split", "test", "--out", tmp_path / "out")
    assert run("log-mel", "--data", clips, *words).exit_code == 2
    assert not (tmp_path / "out").exists()


def test_clips_that_were_learned_from_do_not_judge(clips, tmp_path):
    lines = clips.read_text().replace("fold", "split").replace(",0\n", ",train\n")
    clips.write_text(lines.replace(",1\n", ",test\n"))
    words = ("--train-split", "train", "--test-split", "train", "--out", tmp_path / "out")
    result = run("log-mel", "--data", clips, *words)
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --train-split and --test-split: both are 'train', so the probe would be judged on "
        "the clips that it learned from. Name two splits.\n",
    )
    assert not (tmp_path / "out").exists()
