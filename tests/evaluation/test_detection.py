"""A model's events judged against strong labels."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from torch import Tensor

from auricle.data import strong
from auricle.data.strong import Event, MarkedRecording, StrongLabels
from auricle.errors import ConfigError, DataError
from auricle.evaluation import detection
from auricle.evaluation.events import Recording, psds
from auricle.evaluation.zero_shot import ByClass, by_class
from auricle.inference import Classifier
from auricle.inference.events import EventSettings
from auricle.inference.timeline import Tracking

RATE = 1000


class Levels:
    """Frame scores: dog the share of samples above 0.5, bell of those below -0.5."""

    labels = ["Dog", "Bell", "Rain"]
    thresholds = (0.5, 0.5, 0.5)
    sample_rate = RATE
    shortest_samples = 100
    longest_samples = 4 * RATE
    batches_at_once = 1
    omits_pauses = True
    frame_hop = 0.1

    def score_frames(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        frames = waveforms.unfold(1, 100, 100)
        shares = [(frames > 0.5).float().mean(dim=2), (frames < -0.5).float().mean(dim=2)]
        return torch.stack([*shares, torch.zeros_like(shares[0])], dim=2)

    score = embed = score_frames


@pytest.fixture
def labels(tmp_path) -> StrongLabels:
    """Two recordings of 10 s; the model hears all of the first and half a dog of the second."""
    random = np.random.default_rng(0)
    heard = {"one": [(1, 3, 1.0), (5, 6, -1.0)], "two": [(2, 4, 1.0)]}
    true = {
        "one": (Event(1.0, 3.0, "Dog"), Event(5.0, 6.0, "Bell")),
        "two": (Event(0.0, 4.0, "Dog"),),
    }
    recordings = []
    for name, spans in heard.items():
        samples = random.normal(0, 0.01, 10 * RATE)
        for onset, offset, value in spans:
            samples[onset * RATE : offset * RATE] += value
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        recordings.append(MarkedRecording(path, true[name], f"events.csv, {name}"))
    found = StrongLabels(tmp_path / "events.csv", tuple(recordings))
    strong.write(found, found.source)
    return found


def judged(labels, classes=None, **settings) -> detection.Detection:
    engine = Levels()
    if classes:
        model = ByClass(Classifier(engine), classes)
    else:
        model = by_class(Classifier(engine), "names", detection.as_clips(labels))
    tracking = Tracking(events=EventSettings(**settings))
    return detection.evaluate_events(model, labels, tracking)


def test_events_and_scores_are_measured_against_the_truth(labels):
    metrics = judged(labels).metrics
    assert metrics["num_recordings"] == 2
    assert metrics["hours"] == pytest.approx(20 / 3600)
    rows = {row["label"]: row for row in metrics["classes"]}
    assert set(rows) == {"Bell", "Dog"}
    assert (rows["Bell"]["event_f1"], rows["Bell"]["psds1"]) == (1.0, 1.0)
    # Of dogs one of two is found; of seconds 4 of 6; the second dog is covered by half.
    assert rows["Dog"]["event_f1"] == pytest.approx(0.5)
    assert rows["Dog"]["segment_f1"] == pytest.approx(2 * 4 / (6 + 4))
    assert rows["Dog"]["intersection_f1"] == 1.0
    assert rows["Dog"]["psds1"] == pytest.approx(0.5)
    assert rows["Dog"]["psds2"] == pytest.approx(1.0)
    assert metrics["event_based"]["micro"]["f1"] == pytest.approx(4 / 6)
    assert metrics["onset_error"] == pytest.approx(0.0)
    assert rows["Dog"]["events"] == 2
    # Hops score 0 or 1: the best threshold lies between.
    assert rows["Dog"]["threshold"] == pytest.approx(0.5)
    assert rows["Dog"]["best_f1"] == pytest.approx(2 * 40 / (60 + 40))


def test_boxes_are_ranked_by_their_own_scores(labels):
    assert judged(labels, boxes=True).metrics["psds2"] == pytest.approx(1.0)
    # The dog falls apart at thresholds above its dip, where a false alarm comes before it; its box
    # scores 0.55 as a whole, and comes first.
    scores = np.zeros((36_000, 1))
    scores[20:40, 0] = 0.8
    scores[25:35, 0] = 0.3
    scores[60:70, 0] = 0.5
    frames = Recording(3600.0, [Event(2.0, 4.0, "Dog")], scores=scores, hop=0.1)
    boxes = detection._boxes_of(frames, ["Dog"], EventSettings(boxes=True, merge_share=0.3))
    assert [round(event.score, 3) for event in boxes.events] == [0.55, 0.5]
    assert psds([boxes], ["Dog"])["psds"] == pytest.approx(1.0)
    assert psds([frames], ["Dog"])["psds"] == pytest.approx(0.99)


def test_a_class_scores_what_its_highest_label_does(labels):
    recordings = [
        MarkedRecording(each.path, tuple(replace(e, label="any") for e in each.events), "")
        for each in labels.recordings
    ]
    renamed = StrongLabels(labels.source, tuple(recordings))
    found = judged(renamed, classes={"any": ["Dog", "Bell"]})
    assert [event.label for event in found.recordings[0].events] == ["any", "any"]
    assert found.metrics["classes"][0]["labels"] == ["Dog", "Bell"]


def test_thresholds_of_events_are_given_or_the_labels_own(labels):
    model = by_class(Classifier(Levels()), "names", detection.as_clips(labels))
    tracking = Tracking(events=EventSettings(threshold={"Dog": 2.0, "Bell": 0.5}))
    own = detection.evaluate_events(model, labels, tracking)
    assert {e.label for each in own.recordings for e in each.events} == {"Bell"}
    given = detection.evaluate_events(model, labels, tracking, {"Dog": 0.5, "Bell": 2.0})
    assert {e.label for each in given.recordings for e in each.events} == {"Dog"}


def test_a_recording_that_cannot_be_read_is_left_out(labels):
    labels.recordings[1].path.write_bytes(b"no sound")
    found = judged(labels)
    assert found.files == [labels.recordings[0].path]
    assert [failure.clip.path.name for failure in found.failures] == ["two.wav"]
    labels.recordings[0].path.write_bytes(b"no sound")
    with pytest.raises(DataError, match="events.csv: no recording could be scored. "):
        judged(labels)


def test_what_is_written_is_read_again(labels, tmp_path):
    found = judged(labels)
    out = tmp_path / "report"
    out.mkdir()
    detection.write(found, out, {"model": "levels"})
    record = json.loads((out / "metrics.json").read_text())
    assert (record["model"], record["num_failed"], record["psds1"]) == (
        "levels",
        0,
        found.metrics["psds1"],
    )
    rows = list(csv.DictReader((out / "events.csv").open()))
    assert [(row["onset"], row["label"]) for row in rows] == [
        ("1.000", "Dog"),
        ("5.000", "Bell"),
        ("2.000", "Dog"),
    ]
    thresholds = detection.read_thresholds(out / "metrics.json")
    assert thresholds == pytest.approx({"Dog": 0.5, "Bell": 0.5})


@pytest.mark.parametrize("content", ["{}", "[1]", '{"classes": [{"label": "x"}]}', "no JSON"])
def test_thresholds_are_of_an_evaluation_of_events(tmp_path, content):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        detection.read_thresholds(path)
    assert str(caught.value) == f"{path}: not the metrics.json of auricle evaluate --events."


def test_the_tables_are_printed_in_80_columns(labels):
    console = Console(file=io.StringIO(), width=80)
    detection.print_tables(judged(labels), console)
    lines = console.file.getvalue().splitlines()
    assert lines[:4] == [
        "recordings       2, 0.01 h",
        "event F1         0.750 macro, 0.667 micro",
        "segment F1       0.900 macro, 0.833 micro",
        "intersection F1  1.000 macro, 1.000 micro",
    ]
    header = "class  events  event  segment  intersection  PSDS1  PSDS2  threshold"
    assert [line.rstrip() for line in lines if line.startswith("class")] == [header]
