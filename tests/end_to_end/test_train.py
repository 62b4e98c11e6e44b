"""`auricle train` as a user calls it: three synthetic classes, a tiny AST and a tiny HAM-AST."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from auricle import Classifier, audio, checkpoint
from auricle.cli.main import app

SAMPLE_RATE = 16_000
CLASSES = ["high", "low", "noise"]
TINY = {
    "max_frames": 64,
    "stride": [16, 16],
    "width": 32,
    "depth": 1,
    "num_heads": 2,
}
MODELS = {
    "ast": {"name": "ast", **TINY},
    "ham_ast": {
        "name": "ham_ast",
        **TINY,
        "conformer": {"num_blocks": 1, "kernel_size": 3, "feedforward_ratio": 1.0},
    },
}


def sound(kind: str, random: np.random.Generator) -> np.ndarray:
    """Half a second of a class: a low tone, a high tone, or noise, never twice the same."""
    times = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    if kind == "noise":
        return random.normal(0, 0.1, len(times))
    hertz = {"low": 300, "high": 3000}[kind] * random.uniform(0.97, 1.03)
    return 0.3 * np.sin(2 * np.pi * (hertz * times + random.uniform()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A sub-folder of ten sounds for each class."""
    root = tmp_path_factory.mktemp("data") / "beeps"
    random = np.random.default_rng(0)
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for number in range(10):
            soundfile.write(root / kind / f"{number}.wav", sound(kind, random), SAMPLE_RATE)
    return root


def recipe(folder: Path, path: Path, model: str) -> Path:
    """A recipe file for the sounds in `folder`."""
    values = {
        "data": {"source": str(folder), "validation_share": 0.3, "workers": 0},
        "front_end": {"num_mels": 32, "statistics": "dataset"},
        "model": MODELS[model],
        "augmentation": {"gain_db": 3.0},
        "mixup": {"rate": 0.2},
        "masking": {"frequency_mask": 4, "time_mask": 4},
        "training": {
            "epochs": 12,
            "batch_size": 4,
            "loss": "ce",
            "optimizer": {"learning_rate": 5e-3},
            "gradient_clip": 1.0,
        },
    }
    path.write_text(yaml.safe_dump(values))
    return path


def train(*words: object) -> str:
    """Run `auricle train` and return what it printed."""
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module", params=list(MODELS))
def trained(request, folder, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp(request.param)
    train(recipe(folder, root / "beeps.yaml", request.param), "--out", root / "run")
    return root / "run"


def test_a_tiny_model_learns_three_classes(trained):
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 13))
    assert records[-1]["accuracy"] == 1.0
    assert records[-1]["train_loss"] < records[0]["train_loss"]


def test_the_classifier_gives_the_scores_of_the_checkpoint(trained, folder):
    paths = sorted(folder.rglob("*.wav"))
    loaded = checkpoint.load(trained / "best")
    classifier = Classifier.load(trained / "best", device="cpu")
    for path in paths[::5]:
        waveform = audio.load(path, SAMPLE_RATE)
        with torch.inference_mode():
            expected = loaded.score(waveform[None], torch.tensor([len(waveform)]))[0]
        found = {p.label: p.score for p in classifier.classify_file(path, top=3)}
        scores = torch.tensor([found[label] for label in CLASSES])
        torch.testing.assert_close(scores, expected, atol=1e-6, rtol=0)


def test_the_best_model_names_the_sounds(trained, folder):
    classifier = Classifier.load(trained / "best", device="cpu")
    right = [
        classifier.classify_file(path, top=1)[0].label == path.parent.name
        for path in sorted(folder.rglob("*.wav"))
    ]
    assert all(right)


def test_the_run_folder_explains_itself(trained):
    assert sorted(path.name for path in trained.iterdir()) == [
        "best",
        "last",
        "logs",
        "metrics.jsonl",
        "recipe.yaml",
        "result.json",
    ]
    resolved = yaml.safe_load((trained / "recipe.yaml").read_text())
    stored = checkpoint.load(trained / "best").config
    assert resolved["front_end"]["mean"] == stored.front_end.mean
    assert resolved["data"]["labels"] == CLASSES
    assert stored.metrics["accuracy"] == 1.0
    assert stored.provenance["seed"] == 0
    assert stored.activation == "softmax"
    assert (trained / "logs" / "csv" / "metrics.csv").is_file()
    assert list((trained / "logs" / "tensorboard").glob("events*"))


def test_the_resolved_recipe_gives_the_same_weights_bit_for_bit(folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    path = recipe(folder, tmp_path / "beeps.yaml", "ham_ast")
    train(path, "training.epochs=2", "training.average_decay=0.9", "--out", first)
    train(first / "recipe.yaml", "data.workers=2", "--out", second)
    weights = load_file(first / "last" / "model.safetensors")
    again = load_file(second / "last" / "model.safetensors")
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_another_seed_gives_other_weights(folder, tmp_path):
    path = recipe(folder, tmp_path / "beeps.yaml", "ast")
    for seed in (0, 1):
        words = (f"seed={seed}", "training.epochs=1", "--out", tmp_path / str(seed))
        train(path, *words)
    files = [tmp_path / seed / "last" / "model.safetensors" for seed in "01"]
    first, second = (load_file(file)["head.linear.weight"] for file in files)
    assert not torch.equal(first, second)


def test_own_sounds_in_one_command(trained, folder, tmp_path):
    out, others = tmp_path / "own", tmp_path / "clicks"
    others.mkdir()
    for number in range(6):
        clicks = np.zeros(SAMPLE_RATE // 2)
        clicks[:: 900 + 200 * number] = 0.9
        soundfile.write(others / f"{number}.wav", clicks, SAMPLE_RATE)
    words = ("--background", others, "data.workers=0", "training.epochs=2")
    printed = train("--data", folder, "--from", trained / "best", "--out", out, *words)
    lines = [line for line in printed.splitlines() if not line.startswith("quick way")]
    assert re.fullmatch(
        r"quick way    accuracy 100\.0% \(95 % interval 88\.6% to 100\.0%\) of 30 held-out clips, "
        r"calibration error 0\.\d\d; \d+ s",
        *set(printed.splitlines()).difference(lines),
    )
    tuned = "accuracy 100.0% of 6 validation clips, the quick way 100.0%; 2 epochs, "
    assert lines.pop(3).startswith(f"fine-tuning  {tuned}")
    assert lines == [
        "clips        30 of 30 recordings",
        "classes      4: high, low, noise, None of these",
        "background   6 sounds of clicks; 0.0% of them are taken for a class",
        "kept         quick way; learned from 30 clips",
        f"report       {out / 'report' / 'report.html'}",
        f"model        {out / 'best'}",
        f"next         auricle predict SOUND --model {out / 'best'}",
    ]
    sounds = [str(folder / kind / "0.wav") for kind in CLASSES]
    words = ["predict", *sounds, "--model", str(out / "best"), "--json", "--top", "1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    answers = [json.loads(line)["labels"][0]["label"] for line in result.stdout.splitlines()]
    assert answers == CLASSES
