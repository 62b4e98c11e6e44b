"""The AudioSet ontology, and scores rolled up to its roots."""

import csv
import json

import pytest

from auricle.convert.assembly import read_labels
from auricle.errors import CheckpointError, ConfigError
from auricle.inference import Group, Prediction, ontology

ROOTS = [
    "Human sounds",
    "Animal",
    "Music",
    "Natural sounds",
    "Sounds of things",
    "Source-ambiguous sounds",
    "Channel, environment and background",
]


def names_under(name):
    kinds = ontology.read()
    [start] = ontology.ids_of([name])
    found, waiting = set(), [start]
    while waiting:
        kind = kinds[waiting.pop()]
        found.add(kind.name)
        waiting += kind.children
    return found


def test_it_holds_every_kind_and_seven_roots():
    kinds = ontology.read().values()
    assert len(kinds) == 632
    assert [kind.name for kind in kinds if not kind.parents] == ROOTS
    assert set.union(*map(names_under, ROOTS)) == {kind.name for kind in kinds}


def test_it_is_the_published_one(shared_data):
    published = json.loads((shared_data / "audioset" / "ontology.json").read_text())
    kinds = ontology.read()
    assert list(kinds) == [kind["id"] for kind in published]
    for kind in published:
        ours = kinds[kind["id"]]
        assert ours.name == kind["name"]
        assert set(ours.children) == set(kind["child_ids"])


def test_the_labels_of_audioset_are_in_it_with_their_ids(shared_data):
    with (shared_data / "audioset" / "class_labels_indices.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels = read_labels("audioset")
    assert [row["display_name"] for row in rows] == labels
    assert ontology.ids_of(labels) == [row["mid"] for row in rows]


def test_parents_are_as_good_as_the_best_under_them():
    [group] = ontology.groups(["Bark", "Dog", "Purr"], [0.75, 0.5, 0.25])
    assert group == Group(
        "Animal",
        0.75,
        (
            Prediction("Domestic animals, pets", 0.75),
            Prediction("Dog", 0.75),
            Prediction("Bark", 0.75),
        ),
    )
    assert group.names == ["Animal", "Domestic animals, pets", "Dog", "Bark"]


def test_the_way_down_ends_before_less_than_half():
    [group] = ontology.groups(["Animal", "Dog", "Bark"], [0.8, 0.4, 0.39])
    assert group.names == ["Animal", "Domestic animals, pets", "Dog"]
    [group] = ontology.groups(["Animal", "Dog"], [0.8, 0.3])
    assert (group.label, group.score, group.path) == ("Animal", 0.8, ())


def test_what_has_several_parents_counts_for_each():
    """A bell is an instrument, and a thing."""
    groups = ontology.groups(["Bell", "Speech"], [0.9, 0.1])
    assert [(group.label, group.score) for group in groups] == [
        ("Music", 0.9),
        ("Sounds of things", 0.9),
        ("Human sounds", 0.1),
    ]


def test_roots_without_a_label_are_left_out():
    assert [group.label for group in ontology.groups(["Rain"], [0.0])] == ["Natural sounds"]


def test_a_group_is_recognised_by_what_is_under_it_and_leads_there():
    labels, scores = ["Dog", "Bark", "Cat", "Meow", "Speech"], [0.3, 0.2, 0.5, 0.1, 0.6]
    reached = [False, True, False, False, False]
    animal, human = ontology.groups(labels, scores, reached)
    assert (animal.label, animal.score, animal.recognised) == ("Animal", 0.5, True)
    assert [(step.label, step.score, step.recognised) for step in animal.path] == [
        ("Domestic animals, pets", 0.5, True),
        ("Dog", 0.3, True),
        ("Bark", 0.2, True),
    ]
    assert (human.label, human.score, human.recognised) == ("Human sounds", 0.6, False)


def test_a_recognised_way_ends_where_nothing_more_is():
    [group] = ontology.groups(["Dog", "Bark"], [0.5, 0.45], [True, False])
    assert group.names[-1] == "Dog"


def test_other_labels_are_refused():
    labels = ["Dog", "Dogs", "clock_tick", "qqqq", "rain"]
    with pytest.raises(CheckpointError) as caught:
        ontology.groups(labels, [0.0] * 5)
    assert str(caught.value) == (
        "4 of the model's 5 labels are not names of the AudioSet ontology: 'Dogs', 'clock_tick', "
        "'qqqq' and 1 more. Only AudioSet's labels can be grouped: choose a model that gives them, "
        "or ask for labels instead of groups."
    )


@pytest.mark.parametrize(
    "names, expected",
    [
        (["Dog"], ["Dog", "Bark"]),
        (["dog"], ["Dog", "Bark"]),
        (["/m/0bt9lr"], ["Dog", "Bark"]),
        (["Bark", "Rain"], ["Bark", "Rain"]),
        (["Animal"], ["Dog", "Bark", "Growling"]),
        (["Cat"], ["Growling"]),  # no label itself; a growl is of dogs and of cats
        (["my own"], ["my own"]),
        ([], []),
    ],
)
def test_a_name_stands_for_a_label_and_everything_under_it(names, expected):
    labels = ["Dog", "Bark", "Rain", "Growling", "my own"]
    if names in (["Dog"], ["dog"], ["/m/0bt9lr"]):
        expected = [*expected, "Growling"]
    columns = ontology.columns_of(names, labels)
    assert [labels[column] for column in sorted(columns)] == expected


def test_a_name_without_a_label_is_refused_with_the_nearest():
    for name, hint in (("dogg", " Did you mean 'Dog'?"), ("Music", ""), ("/m/0", "")):
        with pytest.raises(ConfigError) as caught:
            ontology.columns_of([name], ["Dog", "Rain"])
        assert str(caught.value) == f"unknown label {name!r}.{hint} Known: Dog, Rain."
