"""Classes of a label map, and what they are among all labels of a model."""

from importlib import resources
from pathlib import Path

import pytest
import torch

from auricle.convert.assembly import read_labels
from auricle.data import Clip, Manifest
from auricle.errors import ConfigError, DataError
from auricle.evaluation.zero_shot import (
    ByClass,
    among_all_labels,
    by_class,
    evaluate_zero_shot,
    map_names,
)
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


KNOWN = ["Dog", "Bark", "Cat", "Sea waves"]


class Listener:
    """Only its labels matter here."""

    labels = KNOWN


def manifest_of(*names):
    clips = [Clip(Path(f"{name}.wav"), (name,), where=f"clips.csv, line {name}") for name in names]
    return Manifest(Path("clips.csv"), clips)


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "map.yaml"
        path.write_text(text)
        return str(path)

    return write


def refusal(source, *names, listener=None):
    with pytest.raises((ConfigError, DataError)) as caught:
        by_class(listener or Listener(), source, manifest_of(*names))
    return str(caught.value)


def test_a_class_scores_what_its_highest_label_scores(written):
    source = written("hound: [dog, BARK]\nsea: sea_waves\ncat: Cat\n")
    scorer = by_class(Listener(), source, manifest_of("hound", "sea"))
    assert scorer.labels == ["hound", "sea", "cat"]
    assert scorer.classes == {"hound": ["Dog", "Bark"], "sea": ["Sea waves"], "cat": ["Cat"]}
    scores = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.5, 0.0, 0.0, 0.9]])
    expected = torch.tensor([[0.4, 0.2, 0.3], [0.5, 0.9, 0.0]])
    assert torch.equal(scorer.highest(scores), expected)
    belongs = [[True, True, False, False], [False, False, False, True], [False, False, True, False]]
    assert scorer.belongs.tolist() == belongs


def test_without_a_map_classes_are_the_labels_of_their_names():
    scorer = by_class(Listener(), "names", manifest_of("sea_waves", "dog"))
    assert scorer.classes == {"dog": ["Dog"], "sea_waves": ["Sea waves"]}


def test_a_name_that_the_model_lacks_is_refused_with_the_nearest():
    assert refusal("names", "dogs", "dog", "xyzzy") == (
        "clips.csv: the model has no label 'dogs' (nearest: 'Dog'), 'xyzzy'. Say in a label map "
        "which of its labels make up each class."
    )


def test_a_label_that_holds_the_word_is_near():
    listener = Listener()
    listener.labels = ["Chicken, rooster", "Roost", "Cat"]
    assert "'rooster' (nearest: 'Chicken, rooster', 'Roost')" in refusal(
        "names", "rooster", listener=listener
    )


def test_a_label_of_a_map_that_the_model_lacks_is_refused(written):
    source = written("hound: [Dog, Growl]")
    assert refusal(source, "hound") == (
        f"{source}: the model has no label 'Growl'. Say in a label map which of its labels make up "
        "each class."
    )


def test_clips_of_a_class_that_a_map_lacks_are_refused(written):
    source = written("hound: Dog")
    assert refusal(source, "hound", "hond") == (
        f"clips.csv, line hond: {source}: unknown class 'hond'. Did you mean 'hound'? Known: hound."
    )


def test_a_label_counts_for_one_class(written):
    source = written("hound: [Dog, Bark]\npuppy: bark")
    assert refusal(source, "hound") == (
        f"{source}: the label 'Bark' stands for 'hound' and for 'puppy'. A label counts for one "
        "class."
    )


@pytest.mark.parametrize(
    ("text", "shown"), [("hound: []", "[]"), ("hound:", "None"), ("hound: [1]", "[1]")]
)
def test_a_class_needs_labels(written, text, shown):
    source = written(text)
    assert refusal(source, "hound") == (
        f"{source}: hound: expected a label or a list of labels, got {shown}."
    )


def test_an_empty_map_is_refused(written):
    source = written("{}")
    assert refusal(source, "hound") == f"{source}: names no class."


def test_an_unknown_map_is_refused():
    assert refusal("esc-10", "dog") == (
        "no file, and unknown label map 'esc-10'. Did you mean 'esc10'? Known: esc10."
    )


@pytest.mark.parametrize("name", map_names())
def test_the_maps_of_the_package_fit_audioset(name):
    listener = Listener()
    listener.labels = read_labels("audioset")
    scorer = by_class(listener, name, manifest_of())
    text = resources.files("auricle").joinpath("label_maps", f"{name}.yaml").read_text()
    assert len(scorer.labels) == 10
    assert all(f"\n{label}:" in text for label in scorer.labels)
