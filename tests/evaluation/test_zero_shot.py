"""Classes of a label map, and what they are among all labels of a model."""

from pathlib import Path

import pytest
import torch

from auricle.data import Clip, Manifest
from auricle.errors import DataError
from auricle.evaluation.zero_shot import ByClass, among_all_labels, evaluate_zero_shot
from auricle.inference import Classifier

LABELS = ["Dog", "Bark", "Cat", "Waves", "Music", "Speech", "Wind"]
SCORES = torch.tensor(
    [
        [0.1, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0],  # a dog, first by its narrower label
        [0.2, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7],  # a dog, neither first nor among five
        [0.2, 0.0, 0.3, 0.4, 0.5, 0.0, 0.7],  # a dog, the fifth
        [0.0, 0.0, 0.4, 0.3, 0.0, 0.0, 0.0],  # the sea, second
    ]
)
THRESHOLDS = [0.15, 0.85, 0.5, 0.31, 0.5, 0.65, 0.75]


@pytest.fixture
def model(function_engine):
    """Answers one clip after the other with a row of SCORES."""
    rows = iter(SCORES)
    engine = function_engine(lambda waveform: next(rows), LABELS)
    return ByClass(Classifier(engine), {"dog": ["Dog", "Bark"], "sea": ["Waves"]})


@pytest.fixture
def manifest(tone, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    clips = []
    for number, label in enumerate(["dog", "dog", "dog", "sea"]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tone.numpy(), 16_000)
        clips.append(Clip(path, (label,), where=f"clips.csv, line {number + 2}"))
    return Manifest(Path("clips.csv"), clips)


def test_classes_compete_with_each_other_and_with_all_labels(model, manifest):
    found = evaluate_zero_shot(model, manifest, thresholds=THRESHOLDS)
    assert found.labels == ["dog", "sea"]
    assert found.metrics["accuracy"] == 0.5  # the second and the third are taken for the sea
    torch.testing.assert_close(found.scores[0], torch.tensor([0.9, 0.0]))
    assert found.metrics["all_labels"] == {
        "first": 0.25,
        "among_five": 0.75,
        "recognised": 0.75,
        "nothing_recognised": 0.25,
    }


def test_a_model_without_thresholds_recognises_nothing_and_says_so(model, manifest):
    found = evaluate_zero_shot(model, manifest)
    assert set(found.metrics["all_labels"]) == {"first", "among_five"}


def test_a_clip_without_a_right_label_does_not_count():
    right = torch.zeros(4, 7).bool()
    right[0, 1] = True
    found = torch.zeros(4, 7).bool()
    assert among_all_labels(SCORES, right, found) == {
        "first": 1.0,
        "among_five": 1.0,
        "recognised": 0.0,
        "nothing_recognised": 1.0,
    }


def test_a_class_that_the_map_lacks_is_refused(model, manifest):
    model = ByClass(model.scorer, {"dog": ["Dog"]})
    with pytest.raises(DataError) as caught:
        evaluate_zero_shot(model, manifest)
    assert str(caught.value) == (
        "clips.csv, line 5: the model does not know 1 of the 2 labels: 'sea'. Correct them, leave "
        "their clips out with --without, or say with `auricle evaluate --classes` which of the "
        "model's labels they are."
    )
