"""From EfficientAT's weights to a model of one's own sounds, as a user would go."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import Classifier, checkpoint, models
from auricle.cli.main import app
from auricle.convert.efficientat import their_name

TRAINING = ["training.epochs=1", "data.workers=0", "training.precision=32-true"]


def auricle(*words: object):
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Two classes of short sounds, of different lengths, at different rates."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for label, frequency in (("low", 200), ("high", 3000)):
        (folder / label).mkdir()
        for number in range(6):
            rate = (16_000, 32_000, 44_100)[number % 3]
            time = np.arange(int(rate * (0.2 + 0.1 * number))) / rate
            tone = 0.3 * np.sin(2 * np.pi * frequency * time) + random.normal(0, 0.01, len(time))
            soundfile.write(folder / label / f"{number}.wav", tone, rate)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """What convert makes of a released file with random weights."""
    folder = tmp_path_factory.mktemp("start")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = models.build("mobilenet", {"size": "mn01"}).state_dict()
    torch.save({their_name(name, state): value for name, value in state.items()}, folder / "mn.pt")
    printed = auricle("convert", folder / "mn.pt", folder / "mn").stdout
    assert printed.splitlines()[:4] == [
        "read       mn.pt (efficientat)",
        "model      mobilenet: width 0.1, depth 15, 0.1 M parameters",
        "input      128 mel bins, 1000 frames",
        "front end  efficientat: 32000 Hz, mean -4.5, std 2.5, padding mask 0",
    ]
    return folder / "mn"


def test_it_is_trained_on_a_folder_of_sounds_and_names_them(start, sounds, tmp_path):
    words = [*TRAINING, "--background", sounds / "low"]
    auricle("train", "--data", sounds, "--from", start, "--out", tmp_path / "run", *words)
    run = tmp_path / "run" / "fine_tuned"
    trained, initial = checkpoint.load(run / "best"), checkpoint.load(start)
    assert sorted(trained.labels) == ["None of these", "high", "low"]
    assert trained.config.front_end == initial.config.front_end
    norms = [each.model.stem.norm for each in (trained, initial)]
    assert norms[0].num_batches_tracked > norms[1].num_batches_tracked == 0
    printed = auricle(
        "predict", sounds / "low" / "0.wav", "--model", tmp_path / "run" / "best", "--json"
    ).stdout
    assert len(json.loads(printed)["labels"]) == 3


def test_the_quick_way_leaves_everything_but_the_head_as_it_was(start, sounds, tmp_path):
    words = ["--background", sounds / "low", "--speed", "quick"]
    auricle("train", "--data", sounds, "--from", start, "--out", tmp_path / "run", *words)
    before = checkpoint.load(start).model.state_dict()
    after = checkpoint.load(tmp_path / "run" / "best").model.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["head.linear.weight", "head.linear.bias"]


def test_a_recipe_for_another_front_end_is_refused(start, sounds, tmp_path):
    words = ["model.name=mobilenet", "model.width=0.1", f"initial_weights={start}", *TRAINING]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"data: {{source: {sounds}, validation_share: 0.4}}\nmodel: {{}}\n"
        "training: {batch_size: 4, loss: ce, optimizer: {learning_rate: 0.001}}\n"
    )
    result = CliRunner().invoke(app, ["train", str(recipe), *words, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "error: front_end.name is fbank, the initial weights were trained with efficientat. "
        "Use that, or front_end.statistics=dataset."
    )
    words.append("front_end.name=efficientat")
    auricle("train", recipe, *words, "--out", tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "last").config.front_end.name == "efficientat"


def test_long_recordings_are_heard_in_windows_of_ten_seconds(start, tmp_path):
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", random.normal(0, 0.1, 23 * 8000), 8000)
    classifier = Classifier.load(start, device="cpu")
    assert classifier.window_seconds == 10.0
    starts = [segment.start for segment in classifier.segments(tmp_path / "long.wav")]
    assert starts == [0.0, 5.0, 10.0, 13.0]
    auricle("predict", tmp_path / "long.wav", "--model", start, "--plot", tmp_path / "long.png")
    assert (tmp_path / "long.png").stat().st_size > 10_000


def test_published_sizes_are_described_with_the_front_end_they_hear_through():
    facts = json.loads(auricle("describe", "mobilenet-mn10", "--json").stdout)
    assert facts["front_end"]["name"] == "efficientat"
    assert (facts["frames"], facts["seconds"], facts["tokens"]) == (1000, 10.0, 4 * 32)
    assert facts["multiply_adds"] == pytest.approx(0.54e9, rel=0.01)  # EfficientAT's README
