"""Label maps: what the labels of a model make of the classes of some data."""

from importlib import resources
from pathlib import Path

import pytest
import torch

from auricle.convert.assembly import read_labels
from auricle.data import Clip, Manifest
from auricle.errors import ConfigError, DataError
from auricle.evaluation.zero_shot import by_class, map_names

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
