"""Metrics of events: hand-made cases whose answers can be counted, and what has to hold of all."""

import numpy as np
import pytest

from auricle.data.strong import Event
from auricle.evaluation.events import (
    PSDS,
    PSDS1,
    PSDS2,
    Recording,
    event_based,
    intersection_based,
    psds,
    segment_based,
)

TRUTH = (Event(1.0, 2.0, "dog"), Event(4.0, 6.0, "dog"), Event(0.0, 10.0, "rain"))
METRICS = (event_based, segment_based, intersection_based)


def answered(*events: Event, truth=TRUTH, seconds: float = 10.0) -> list[Recording]:
    return [Recording(seconds, truth, events)]


def dog(onset: float, offset: float) -> Event:
    return Event(onset, offset, "dog")


def counts(row: dict) -> tuple[int, int, int]:
    return row["hits"], row["false_alarms"], row["misses"]


@pytest.mark.parametrize("metric", METRICS)
def test_the_truth_itself_is_perfect(metric):
    result = metric(answered(*TRUTH), ["dog", "rain"])
    assert result["micro"]["f1"] == result["macro"]["f1"] == 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_found_has_no_precision_and_no_f1(metric):
    row = metric(answered(), ["dog"])["classes"][0]
    assert (row["precision"], row["recall"], row["f1"]) == (None, 0.0, 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_a_label_without_true_events_counts_in_the_sum_and_not_in_the_mean_of_labels(metric):
    result = metric(answered(*TRUTH, Event(3.0, 4.0, "cat")), ["dog", "rain", "cat"])
    assert result["classes"][2]["f1"] is None
    assert result["macro"]["f1"] == 1.0
    assert result["micro"]["false_alarms"] == 1


@pytest.mark.parametrize(
    "found, is_hit",
    [
        (dog(1.2, 2.2), True),  # both right at their collars
        (dog(0.8, 1.8), True),
        (dog(1.201, 2.0), False),
        (dog(1.0, 2.201), False),
        (dog(4.0, 6.4), True),  # 20 % of a true event of 2 s
        (dog(4.0, 6.401), False),
        (dog(4.0, 5.599), False),
        (Event(1.0, 2.0, "cat"), False),
    ],
)
def test_an_event_is_found_within_the_collars(found, is_hit):
    [row] = event_based(answered(found), ["dog"])["classes"]
    assert row["hits"] == is_hit


def test_a_true_event_is_matched_once_and_as_many_are_matched_as_can_be():
    truth = (dog(1.0, 2.0), dog(1.3, 2.3))
    # The first answer is near both, the second only near the first one of the truth.
    result = event_based(answered(dog(1.15, 2.15), dog(0.9, 1.9), truth=truth), ["dog"])
    assert counts(result["micro"]) == (2, 0, 0)
    twice = event_based(answered(dog(1.0, 2.0), dog(1.1, 2.1), truth=truth[:1]), ["dog"])
    assert counts(twice["micro"]) == (1, 1, 0)


def test_segments_hold_a_label_that_touches_them():
    # True: seconds 1, 4 and 5. Found: 1, 2 (touched) and 4.
    found = answered(dog(1.5, 2.01), dog(4.0, 5.0))
    assert counts(segment_based(found, ["dog"])["micro"]) == (2, 1, 1)
    # Half seconds of truth: 2, 3, 8 to 11; found: 3, 4, 8, 9.
    assert counts(segment_based(found, ["dog"], 0.5)["micro"]) == (3, 1, 3)


def test_the_last_segment_may_be_short():
    found = answered(dog(2.1, 2.4), truth=(dog(2.2, 2.5),), seconds=2.5)
    assert counts(segment_based(found, ["dog"])["micro"]) == (1, 0, 0)


def test_pieces_of_an_event_cover_it_together():
    pieces = (dog(4.0, 4.5), dog(4.8, 5.4))  # 1.1 of 2 s
    assert counts(intersection_based(answered(*pieces), ["dog"])["micro"]) == (1, 0, 1)
    assert counts(intersection_based(answered(pieces[0]), ["dog"])["micro"]) == (0, 0, 2)


def test_a_detection_over_several_events_has_to_be_filled_by_them():
    long = dog(1.0, 6.0)  # of which 3 s are true
    assert counts(intersection_based(answered(long), ["dog"], dtc=0.6)["micro"]) == (2, 0, 0)
    assert counts(intersection_based(answered(long), ["dog"], dtc=0.61)["micro"]) == (0, 1, 2)


def frames(seconds: float, *spans: tuple[float, float, float]) -> np.ndarray:
    """Scores `(T,)` with a hop of 0.1 s: 0, and each span's own."""
    scores = np.zeros(round(seconds * 10))
    for onset, offset, score in spans:
        scores[round(onset * 10) : round(offset * 10)] = score
    return scores


def scored(*columns: np.ndarray, truth=TRUTH, seconds: float = 10.0) -> Recording:
    return Recording(seconds, truth, scores=np.stack(columns, axis=1), hop=0.1)


@pytest.mark.parametrize("settings", [PSDS1, PSDS2])
def test_scores_that_are_the_truth_have_the_full_area(settings):
    recording = scored(frames(10, (1, 2, 0.9), (4, 6, 0.4)), frames(10, (0, 10, 0.2)))
    result = psds([recording], ["dog", "rain"], settings)
    assert result["psds"] == pytest.approx(1.0)
    assert [row["psds"] for row in result["classes"]] == pytest.approx([1.0, 1.0])


def test_the_area_is_that_of_the_staircase():
    # In an hour: two dogs. The surer one is right, then comes a false alarm, then the second dog.
    truth = (dog(10, 20), dog(40, 50))
    dogs = frames(3600, (10, 20, 0.9), (100, 110, 0.5), (40, 50, 0.3))
    result = psds([scored(dogs, truth=truth, seconds=3600)], ["dog"], PSDS1)
    assert result["psds"] == pytest.approx(0.5 * 1 / 100 + 1.0 * 99 / 100)


def test_frame_thresholds_couple_extent_and_boxes_do_not():
    truth = (dog(10, 20),)
    # Above 0.5 only the middle is found, above 0.2 it is joined with what follows.
    dogs = frames(3600, (10, 20, 0.5), (14, 16, 0.9), (20, 40, 0.2))
    by_frames = psds([scored(dogs, truth=truth, seconds=3600)], ["dog"], PSDS1)
    assert by_frames["psds"] == pytest.approx(1.0)
    box = Recording(3600, truth, [Event(10, 20, "dog", 0.6), Event(99, 100, "dog", 0.7)])
    assert psds([box], ["dog"], PSDS1)["psds"] == pytest.approx(0.99)


def test_cross_triggers_count_as_false_alarms_with_their_weight():
    truth = (dog(10, 20), Event(40, 50, "cat"))
    # The dog's score is also high where the cat is.
    dogs = frames(3600, (10, 20, 0.4), (40, 50, 0.9))
    cats = frames(3600, (40, 50, 0.9))
    recording = scored(dogs, cats, truth=truth, seconds=3600)
    settings = PSDS(0.1, 0.1, most_false_alarms=1000)
    plain = psds([recording], ["dog", "cat"], settings)["classes"]
    assert [row["psds"] for row in plain] == pytest.approx([0.999, 1.0])  # one alarm an hour
    crossed = PSDS(0.1, 0.1, 0.3, cross_trigger_weight=0.5, most_false_alarms=1000)
    rows = psds([recording], ["dog", "cat"], crossed)["classes"]
    # Besides, a cross trigger in 10 s of cats, 360 an hour, at half weight.
    assert [row["psds"] for row in rows] == pytest.approx([1 - 0.181, 1.0])


def test_a_score_that_depends_on_the_label_costs_stability():
    truth = (dog(10, 20), Event(40, 50, "cat"))
    recording = scored(
        frames(3600, (10, 20, 0.9)), frames(3600, (0, 3600, 0.9)), truth=truth, seconds=3600
    )
    result = psds([recording], ["dog", "cat"], PSDS1)
    assert [row["psds"] for row in result["classes"]] == [1.0, 0.0]
    assert result["psds"] == pytest.approx(0.0)  # mean 0.5, deviation 0.5
