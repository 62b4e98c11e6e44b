"""Frame scores become events: hysteresis, filters, lengths, boxes, kinds of the ontology."""

import numpy as np
import pytest

from auricle.data.strong import Event
from auricle.errors import ConfigError
from auricle.inference.events import EventSettings, find_events, find_in_columns

HOP = 0.5


def spans(values: list[float], hop: float = HOP, **settings) -> list[tuple[float, float]]:
    """Onset and offset of what is found in the scores of one label, without joining."""
    asked = EventSettings(**({"max_gap": 0.0} | settings))
    found = find_events(np.array(values)[:, None], hop, ["x"], asked)
    return [(event.onset, event.offset) for event in found]


def test_an_event_lasts_as_long_as_scores_stay_above_the_release():
    assert spans([0.1, 0.3, 0.6, 0.3, 0.2, 0.3, 0.1]) == [(0.5, 2.0)]  # release at 0.25
    assert spans([0.1, 0.3, 0.6, 0.3, 0.2, 0.3, 0.1], release=1.0) == [(1.0, 1.5)]
    assert spans([0.6, 0.3, 0.6]) == [(0.0, 1.5)]  # to the edges


def test_an_event_has_its_highest_score():
    [event] = find_events(np.array([[0.3], [0.9], [0.6]]), HOP, ["x"])
    assert event == Event(0.0, 1.5, "x", 0.9)


def test_no_scores_and_low_scores_have_no_events():
    assert find_events(np.zeros((0, 1)), HOP, ["x"]) == []
    assert spans([0.49] * 9) == []
    assert spans([0.49] * 9, boxes=True) == []


def test_thresholds_and_median_filters_are_by_label():
    scores = np.array([[0.1, 0.1], [0.4, 0.4], [0.1, 0.1]])
    labels = ["x", "y"]
    found = find_events(scores, HOP, labels, EventSettings(threshold={"x": 0.4, "y": 0.41}))
    assert [event.label for event in found] == ["x"]
    filtered = EventSettings(threshold=0.4, median_seconds={"x": 1.5})
    assert [event.label for event in find_events(scores, HOP, labels, filtered)] == ["y"]
    unnamed = EventSettings(threshold={"x": 0.4})  # y has 0.5
    assert [event.label for event in find_events(scores, HOP, labels, unnamed)] == ["x"]


def test_a_median_filter_takes_spikes_and_fills_holes():
    assert spans([0, 1, 0, 0, 1, 1, 0, 1, 1], median_seconds=1.5) == [(2.0, 4.5)]


def test_gaps_are_joined_up_to_their_length():
    values = [1, 0, 1, 0, 0, 1]
    assert spans(values, max_gap=0.5) == [(0.0, 1.5), (2.5, 3.0)]
    assert spans(values, max_gap=1.0) == [(0.0, 3.0)]


def test_short_events_are_left_out_after_gaps_are_joined():
    values = [1, 0, 1, 0, 0, 1]
    assert spans(values, max_gap=0.5, min_length=1.5) == [(0.0, 1.5)]


def test_long_events_are_divided_into_equal_parts():
    assert spans([1.0] * 8, max_length=1.5) == [(0.0, 1.5), (1.5, 2.5), (2.5, 4.0)]
    assert spans([1.0] * 8, max_length=4.0) == [(0.0, 4.0)]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"release": 1.5}, "release must lie between 0 and 1, got 1.5."),
        ({"max_gap": -1.0}, "max_gap must be a number of seconds, got -1."),
        (
            {"min_length": 2.0, "max_length": 1.0},
            "max_length must be above 0 and at least min_length (2 s), got 1.",
        ),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ConfigError) as caught:
        EventSettings(**settings)
    assert str(caught.value) == message


def boxes(values: list[float], **settings) -> list[Event]:
    asked = EventSettings(boxes=True, **({"threshold": 0.1, "max_gap": 0.0} | settings))
    return find_events(np.array(values)[:, None], 0.1, ["x"], asked)


def test_a_box_does_not_depend_on_the_threshold():
    # An event at 0.6 that falls to 0.2 for what is left: the frames say two things at 0.1 and 0.3.
    values = [0.0] * 20 + [0.1] + [0.6] * 20 + [0.2] * 3 + [0.0] * 20
    for threshold in (0.1, 0.3, 0.5):
        [box] = boxes(values, threshold=threshold)
        assert (box.onset, box.offset) == pytest.approx((2.1, 4.1))
        assert box.score == pytest.approx(0.6)  # the mean
    assert boxes(values, threshold=0.61) == []


def test_boxes_reach_the_edges():
    [box] = boxes([0.8] * 30)
    assert (box.onset, box.offset) == pytest.approx((0.0, 3.0))


def test_boxes_are_merged_where_the_scores_between_them_stay_up():
    values = [0.0] * 10 + [0.8] * 10 + [0.5] * 10 + [0.8] * 10 + [0.0] * 10
    [box] = boxes(values, merge_share=0.6)
    assert (box.onset, box.offset) == pytest.approx((1.0, 4.0))
    two = boxes(values, merge_share=0.7)
    assert [(box.onset, box.offset) for box in two] == [
        pytest.approx((1.0, 2.0)),
        pytest.approx((3.0, 4.0)),
    ]


def scores_of(num_frames: int, *events: Event) -> tuple[np.ndarray, list[str]]:
    labels = list(dict.fromkeys(event.label for event in events))
    scores = np.zeros((num_frames, len(labels)))
    for event in events:
        first, last = round(event.onset / HOP), round(event.offset / HOP)
        scores[first:last, labels.index(event.label)] = event.score
    return scores, labels


def found(*events: Event, **settings) -> list[tuple[float, float, str]]:
    scores, labels = scores_of(40, *events)
    answer = find_events(scores, HOP, labels, EventSettings(**settings))
    return [(event.onset, event.offset, event.label) for event in answer]


def test_a_kind_and_what_is_under_it_are_one_event():
    above = [Event(4, 10, name, 0.9) for name in ("Animal", "Domestic animals, pets", "Dog")]
    assert found(*above, Event(4, 10, "Bark", 0.6)) == [(4.0, 10.0, "Bark")]
    # What is not sure is not named.
    assert found(*above, Event(4, 10, "Bark", 0.4)) == [(4.0, 10.0, "Dog")]


def test_what_is_left_of_a_kind_is_an_event_where_it_is_long_and_sure():
    child = Event(6, 8, "Bark", 0.6)
    # 0.5 s before and 4 s after; only the latter is longer than the remainder of 1 s.
    assert found(Event(5.5, 12, "Animal", 0.9), child) == [
        (6.0, 8.0, "Bark"),
        (8.0, 12.0, "Animal"),
    ]
    # After the bark the animal is below its threshold, though above the release.
    unsure = (Event(5, 8, "Animal", 0.9), Event(8, 12, "Animal", 0.3))
    assert found(*unsure, child) == [(6.0, 8.0, "Bark")]


def test_a_kind_elsewhere_and_other_kinds_stay():
    assert found(
        Event(0, 3, "Animal", 0.9),
        Event(4, 6, "Dog", 0.9),
        Event(4, 6, "Rain", 0.9),
        Event(4, 6, "Bark of tree", 0.9),  # no name of the ontology
    ) == [
        (0.0, 3.0, "Animal"),
        (4.0, 6.0, "Bark of tree"),
        (4.0, 6.0, "Dog"),
        (4.0, 6.0, "Rain"),
    ]


def test_a_label_is_never_twice_at_one_time():
    random = np.random.default_rng(0)
    labels = ["Animal", "Dog", "Bark", "Howl", "Rain"]
    scores = random.random((400, len(labels))).cumsum(axis=0) % 1.0
    for boxed in (False, True):
        events = find_events(scores, HOP, labels, EventSettings(boxes=boxed, max_length=3.0))
        assert len(events) > 20
        for label in labels:
            own = sorted((e.onset, e.offset) for e in events if e.label == label)
            assert all(a[1] <= b[0] for a, b in zip(own, own[1:], strict=False))
        barks = [event for event in events if event.label == "Bark"]
        for event in events:
            if event.label in ("Animal", "Dog"):
                assert all(event.offset <= b.onset or event.onset >= b.offset for b in barks)


def test_nothing_is_found_in_what_is_dropped_nor_across_it():
    dropped = np.zeros(10, np.bool_)
    dropped[4:6] = True
    columns = [np.ones(10)]
    settings = EventSettings(max_gap=5.0, min_length=1.0)
    events = find_in_columns(columns, HOP, ["x"], settings, dropped)
    assert [(event.onset, event.offset) for event in events] == [(0.0, 2.0), (3.0, 5.0)]
