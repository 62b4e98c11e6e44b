"""How `auricle predict` tells thresholds, silence and groups: a model of AudioSet's labels."""

import csv
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli import output
from auricle.cli.main import app
from auricle.features import FbankConfig, PaddingConfig
from auricle.inference import Classifier, Prediction, Recognition, records

RATE = 16_000
SCORES = {"Dog": 0.75, "Bark": 0.5, "Speech": 0.25, "Rain": 0.1}
NEVER = [1.0] * 4


@pytest.fixture
def model(tmp_path):
    """The folder of a model that gives every sound SCORES."""
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    front_end = FbankConfig(num_mels=32, padding=PaddingConfig(frames=16))
    built = checkpoint.create("ast", settings, front_end, list(SCORES), "sigmoid")
    for parameter in built.parameters():
        torch.nn.init.zeros_(parameter)
    last = [each for each in built.model.parameters() if each.shape == (len(SCORES),)][-1]
    last.data = torch.tensor(list(SCORES.values())).logit()
    checkpoint.save(built, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sounds(tmp_path):
    """Five seconds: noise, silence, and silence with half a second of noise at its end."""
    noise = np.random.default_rng(0).normal(size=5 * RATE, scale=0.1)
    late = np.where(np.arange(5 * RATE) < 4.5 * RATE, 0.0, noise)
    for name, samples in {"noise": noise, "silence": 0 * noise, "late": late}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    return tmp_path


@pytest.fixture
def ask(model, sounds):
    """What `auricle predict` prints for a sound, with thresholds or without."""

    def run(name, *words, thresholds=None):
        if thresholds:
            checkpoint.store_thresholds(model, thresholds, {})
        words = ["predict", str(sounds / f"{name}.wav"), "--model", str(model), *words]
        result = CliRunner().invoke(app, [*words, "--device", "cpu"])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return run


def test_labels_below_their_thresholds_are_told_apart(ask):
    text = ask("noise", thresholds=[0.8, 0.4, 0.3, 0.05])
    assert text.splitlines()[1:] == [
        "   50.0%  Bark",
        "   10.0%  Rain",
        "  below their thresholds:",
        "   75.0%  Dog",
        "   25.0%  Speech",
    ]


def test_a_threshold_that_all_reach_adds_nothing(ask):
    assert ask("noise", thresholds=[0.01] * 4) == ask("noise")


def test_where_no_label_reaches_its_threshold_nothing_is_recognised(ask):
    assert ask("noise", "--top", "2", thresholds=NEVER).splitlines()[1:] == [
        "  nothing recognised; best guesses:",
        "   75.0%  Dog",
        "   50.0%  Bark",
    ]


def test_a_terminal_is_told_the_same(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    heard = Recognition(0.0, 5.0, [Prediction("Dog", 0.75, False)], [], silence=False)
    for told in (heard, dataclasses.replace(heard, silence=True)):
        output.show_bars(records.Answer(Path("a.wav"), "tiny", records.Part(told), []))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "a.wav 5.0 s",
        "  nothing recognised; best guesses:",
        f"   75.0%  {'█' * 18}        Dog",
        "a.wav 5.0 s",
        "  silence, below -70 dBFS",
    ]


@pytest.mark.parametrize("thresholds", [None, [0.01] * 4])
def test_silence_is_told_as_such(ask, thresholds):
    for words in ([], ["--group"]):
        assert ask("silence", *words, thresholds=thresholds).splitlines()[1:] == [
            "  silence, below -70 dBFS"
        ]
    record = json.loads(ask("silence", "--json"))
    assert record["silence"] is True
    assert record["recognised"] == (None if thresholds is None else [])
    assert len(record["labels"]) == 4


def test_json_lists_what_is_recognised(ask):
    record = json.loads(ask("noise", "--json", "--top", "1", thresholds=[0.8, 0.4, 0.3, 0.05]))
    assert record["labels"] == [{"label": "Dog", "score": 0.75}]
    assert record["recognised"] == [
        {"label": "Bark", "score": 0.5},
        {"label": "Rain", "score": 0.1},
    ]
    assert record["silence"] is False


def test_csv_tells_silence_and_recognition_of_each_window(ask):
    text = ask("late", "--csv", "--top", "2", thresholds=[0.8, 0.4, 0.3, 0.3])
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["silence"] for row in rows[::2]] == ["1", "1", "1", "0"]
    assert [row["recognised"] for row in rows] == ["0"] * 6 + ["1", "0"]
    assert [row["label"] for row in rows] == ["Dog", "Bark"] * 3 + ["Bark", "Dog"]
    assert json.loads(ask("late", "--json"))["silence"] is False  # half a second is heard


def test_groups_show_the_way_to_what_was_heard(ask):
    assert ask("noise", "--group").splitlines()[1:] == [
        "   75.0%  Animal > Domestic animals, pets > Dog > Bark (50.0%)",
        "   25.0%  Human sounds > Human voice > Speech",
        "   10.0%  Natural sounds > Water > Rain",
    ]
    assert ask("noise", "--group", "--top", "2", thresholds=[0.8, 0.9, 0.2, 0.9]).splitlines()[
        1:
    ] == [
        "   25.0%  Human sounds > Human voice > Speech",
        "  below their thresholds:",
        "   75.0%  Animal > Domestic animals, pets > Dog > Bark (50.0%)",
    ]


def test_groups_come_besides_the_labels_in_json(ask):
    record = json.loads(ask("noise", "--group", "--json", "--top", "1"))
    assert record["labels"] == [{"label": "Dog", "score": 0.75}]
    assert record["groups"] == [
        {
            "label": "Animal",
            "score": 0.75,
            "recognised": None,
            "path": [
                {"label": "Domestic animals, pets", "score": 0.75},
                {"label": "Dog", "score": 0.75},
                {"label": "Bark", "score": 0.5},
            ],
        }
    ]


def test_groups_in_csv_have_their_path_in_a_column(ask):
    lines = ask("noise", "--group", "--csv", "--top", "1", thresholds=NEVER).splitlines()
    assert lines[0] == "file,start,end,label,score,recognised,silence,path"
    assert len(lines) == 1 + 4
    assert lines[1].endswith(
        'noise.wav,0.0,2.025,Animal,0.75,0,0,"Domestic animals, pets > Dog > Bark"'
    )


def test_groups_of_other_labels_are_refused_before_any_sound_is_heard(sounds, tiny_model):
    words = ["predict", str(sounds / "noise.wav"), "--group", "--model", str(tiny_model)]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: 4 of the model's 4 labels are not names of the AudioSet ontology: 'dog', 'cat', "
        "'rain' and 1 more. Only AudioSet's labels can be grouped: choose a model that gives them, "
        "or ask for labels instead of groups.\n"
    )


def test_python_gives_the_same_groups(model, sounds):
    classifier = Classifier.load(model, device="cpu")
    groups = classifier.group_file(sounds / "noise.wav", top=2)
    assert [group.names[-1] for group in groups] == ["Bark", "Speech"]
    assert classifier.thresholds is None


def test_only_selected_labels_are_named(ask):
    assert ask("noise", "--labels", "Animal").splitlines()[1:] == [
        "   75.0%  Dog",
        "   50.0%  Bark",
    ]
    without = ask("noise", "--without", "/m/0bt9lr", "--json")
    labels = [entry["label"] for entry in json.loads(without)["labels"]]
    assert labels == ["Speech", "Rain"]
    assert ask("noise", "--min-score", "0.2", "--group").splitlines()[1:] == [
        "   75.0%  Animal > Domestic animals, pets > Dog > Bark (50.0%)",
        "   25.0%  Human sounds > Human voice > Speech",
    ]
    assert ask("noise", "--min-score", "0.9").splitlines()[1:] == ["  no label reaches --min-score"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--labels", "Dogg"], "unknown label 'Dogg'. Did you mean 'Dog'?"),
        (["--without", "Rian"], "unknown label 'Rian'. Did you mean 'Rain'?"),
    ],
)
def test_an_unknown_label_is_refused_with_the_nearest(model, sounds, words, message):
    words = ["predict", str(sounds / "noise.wav"), "--model", str(model), *words]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {message} Known: Bark, Dog, Rain, Speech.\n"


def test_a_selection_that_leaves_nothing_is_refused(model, sounds):
    words = ["predict", str(sounds / "noise.wav"), "--model", str(model), "--labels", "Rain"]
    result = CliRunner().invoke(app, [*words, "--without", "Rain"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == ("error: no label is left to name. Leave out fewer, or select more.\n")
