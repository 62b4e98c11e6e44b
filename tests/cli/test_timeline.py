"""`auricle timeline`: events of files as a user asks for them."""

import csv
import io

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli.main import app
from auricle.data import strong
from auricle.features import FbankConfig, PaddingConfig

RATE = 16_000
SCORES = {"Dog": 0.75, "Bark": 0.6, "Speech": 0.25, "Rain": 0.55}
NOTE = "{} gives no frame scores: a window of 1 s is scored every 0.1 s.\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a model that gives every sound SCORES."""
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    front_end = FbankConfig(num_mels=32, padding=PaddingConfig(frames=16))
    built = checkpoint.create("ast", settings, front_end, list(SCORES), "sigmoid")
    for parameter in built.parameters():
        torch.nn.init.zeros_(parameter)
    last = [each for each in built.model.parameters() if each.shape == (len(SCORES),)][-1]
    last.data = torch.tensor(list(SCORES.values())).logit()
    folder = tmp_path_factory.mktemp("models") / "model"
    checkpoint.save(built, folder)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Two recordings of 5 s, silent but for noise: a.wav from 1 to 2.5 s, b.wav from 0 to 1 s."""
    noise = np.random.default_rng(0).normal(size=5 * RATE, scale=0.1)
    times = np.arange(5 * RATE) / RATE
    for name, onset, offset in (("a", 1.0, 2.5), ("b", 0.0, 1.0)):
        samples = np.where((times >= onset) & (times < offset), noise, 0.0)
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    return tmp_path


@pytest.fixture
def ask(model, folder):
    """Runs `auricle timeline` on sounds of the folder, and gives what it prints."""

    def run(names, *words, code=0, command="timeline"):
        files = [str(folder / f"{name}.wav") for name in names]
        words = [command, *files, "--model", str(model), *words, "--device", "cpu"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, result.output
        return result

    return run


def test_a_table_says_what_is_heard_when(ask, folder, model):
    result = ask("ab")
    assert result.stdout.splitlines() == [
        str(folder / "a.wav"),
        "  0:00:01.0 - 0:00:02.5  Bark  60 %",
        "  0:00:01.0 - 0:00:02.5  Rain  55 %",
        str(folder / "b.wav"),
        "  0:00:00.0 - 0:00:01.0  Bark  60 %",
        "  0:00:00.0 - 0:00:01.0  Rain  55 %",
    ]
    assert result.stderr == NOTE.format(model)


def test_predict_with_events_is_the_same(ask):
    options = ["--labels", "Dog", "--min-score", "0.3"]
    assert ask("ab", "--events", *options, command="predict").stdout == ask("ab", *options).stdout
    for option in (["--group"], ["--aggregate", "max"]):
        result = ask("a", "--events", *option, command="predict", code=2)
        assert result.stderr == (
            f"error: {option[0]} has no meaning with --events, which gives labels and their times. "
            "Leave one of them out.\n"
        )


def test_thresholds_are_for_all_or_by_label(ask):
    def labels(*words):
        return {row["label"] for row in csv.DictReader(io.StringIO(ask("a", *words).stdout))}

    assert labels("--format", "csv", "--threshold", "0.7") == {"Dog"}
    assert labels("--format", "csv", "--threshold", "Speech=0.2") == {"Bark", "Rain", "Speech"}
    # A name of the ontology stands for all under it.
    assert labels("--format", "csv", "--threshold", "Animal=0.9") == {"Rain"}
    both = ["--threshold", "0.7", "--threshold", "Rain=0.5"]
    assert labels("--format", "csv", *both) == {"Dog", "Rain"}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--threshold", "2"], "--threshold 2: a score is a number from 0 to 1, got '2'."),
        (["--threshold", "Dog=x"], "--threshold Dog=x: a score is a number from 0 to 1, got 'x'."),
        (["--drop-if", "Dog:x"], "--drop-if Dog:x: a score is a number from 0 to 1, got 'x'."),
        (["--hop", "0"], "the hop must be from 0.01 to 60 seconds, got 0."),
        (["--min-length", "-1"], "min_length must be a number of seconds, got -1."),
        (
            ["--format", "raven"],
            "--format raven: one raven document cannot hold 2 recordings. Name a folder with "
            "--out, and each gets a file in it.",
        ),
    ],
)
def test_what_cannot_be_is_one_line(ask, words, message):
    assert ask("ab", *words, code=2).stderr.splitlines() == [f"error: {message}"]


def test_a_folder_takes_a_document_for_each_recording(ask, folder):
    out = folder / "tables"
    result = ask("ab", "--format", "raven", "--out", str(out))
    assert result.stdout == ""
    assert sorted(path.name for path in out.iterdir()) == [
        "a.wav.Table.1.selections.txt",
        "b.wav.Table.1.selections.txt",
    ]
    labels = strong.read(out, folder)
    assert [(event.onset, event.offset) for event in labels.recordings[0].events] == [
        (1.0, 2.5)
    ] * 2
    ask("ab", "--format", "csv", "--out", str(out))
    assert (out / "b.wav.csv").read_text().startswith("file,start,end,label,score\n")


def test_a_folder_that_cannot_be_written_is_named_before_any_sound(ask, folder):
    (folder / "taken").write_text("a file")
    for option in ("--out", "--cut"):
        result = ask("a", option, str(folder / "taken"), code=2)
        assert result.stderr == (
            f"error: {option} {folder / 'taken' / 'a.wav'}: cannot be written (File exists). "
            "Name another place.\n"
        )


def test_a_bad_file_is_reported_and_the_others_go_on(ask, folder, model):
    (folder / "a.wav").write_bytes(b"no sound at all")
    result = ask("ab", code=1)
    assert result.stdout.startswith(str(folder / "b.wav"))
    assert f"error: {folder / 'a.wav'}: " in result.stderr


def test_a_picture_and_the_cut_out_events(ask, folder):
    ask("ab", "--plot", str(folder / "pictures"), "--cut", str(folder / "clips"))
    pictures = sorted((folder / "pictures").iterdir())
    assert [path.name for path in pictures] == ["a.wav.png", "b.wav.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    clips = sorted(path.name for path in (folder / "clips").iterdir())
    assert clips == [
        "a.wav_0-00-01.0_Bark.wav",
        "a.wav_0-00-01.0_Rain.wav",
        "b.wav_0-00-00.0_Bark.wav",
        "b.wav_0-00-00.0_Rain.wav",
    ]
    assert soundfile.info(folder / "clips" / clips[0]).duration == 1.5


def test_clips_of_sounds_of_one_name_are_kept_apart(ask, folder):
    (folder / "c").mkdir()
    (folder / "a.wav").rename(folder / "c" / "b.wav")
    ask(["b", "c/b"], "--cut", str(folder / "clips"), "--labels", "Rain")
    assert sorted(path.name for path in (folder / "clips").iterdir()) == [
        "b.wav-2_0-00-01.0_Rain.wav",
        "b.wav_0-00-00.0_Rain.wav",
    ]


def test_of_what_is_dropped_nothing_is_left_but_its_length(ask, folder):
    words = ["--drop-if", "Speech:0.2", "--cut", str(folder / "clips")]
    result = ask("a", *words, "--plot", str(folder / "a.png"))
    # All 1.5 s, and half a window to each side.
    assert result.stdout.splitlines()[1:] == ["  no events", "  dropped: 2.5 s"]
    assert list((folder / "clips").iterdir()) == []
    assert "dropped:" not in ask("a", "--drop-if", "Speech").stdout  # its threshold is 0.5
