"""Evaluation of a classifier, shown with one that knows the pitch of a tone, and is never wrong."""

import csv
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from rich.console import Console
from safetensors import safe_open

from auricle import data
from auricle.errors import CheckpointError, DataError, MissingExtraError
from auricle.evaluation import evaluate, leave_out, page, report
from auricle.inference import Classifier

PITCHES = {"high": 2000.0, "low": 200.0, "middle": 700.0}  # Hz
ASKED = {"model": "pitch", "data": "tones.csv", "split": None, "fold": None, "without": []}


def pitch_scores(waveform):
    """The share of the power that lies near each pitch."""
    spectrum = np.abs(np.fft.rfft(waveform.numpy())) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    power = [spectrum[np.abs(hertz - pitch) < 50].sum() for pitch in PITCHES.values()]
    return (torch.tensor(power, dtype=torch.float32) / sum(power)).round(decimals=6)


@pytest.fixture
def engine(function_engine):
    return function_engine(pitch_scores, PITCHES)


@pytest.fixture
def classifier(engine):
    return Classifier(engine)


@pytest.fixture
def tones(tmp_path):
    """Five tones: two high, two low, one middle; the last is called low, which is wrong."""
    names = ["high", "low", "middle", "high", "low"]
    lines = ["path,labels,split,fold"]
    for index, name in enumerate(names):
        write_tone(tmp_path / f"{index}.wav", PITCHES["high" if index == 4 else name])
        lines.append(f"{index}.wav,{name},{'train' if index < 2 else 'test'},{index}")
    return manifest_of(tmp_path, lines)


def write_tone(path, pitch, seconds=0.5):
    times = np.arange(round(16_000 * seconds)) / 16_000
    soundfile.write(path, 0.5 * np.sin(2 * math.pi * pitch * times), 16_000)


def manifest_of(folder, lines):
    source = folder / "tones.csv"
    source.write_text("\n".join(lines) + "\n")
    return data.read(source)


def tones_labels(tones):
    return [clip.labels[0] for clip in tones.clips]


@pytest.fixture
def no_pictures(monkeypatch):
    """They take a second each, and most tests of the report are not about them."""
    monkeypatch.setattr(page, "_pictures", lambda evaluation: [])


def printed(evaluation):
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        report.print_tables(evaluation, console)
    return [line.rstrip() for line in capture.get().splitlines()]


# --- scoring


def test_every_clip_is_scored_and_judged(classifier, tones):
    evaluation = evaluate(classifier, tones)
    assert evaluation.chosen == ["high", "low", "middle", "high", "high"]
    assert evaluation.metrics["accuracy"] == 4 / 5
    assert evaluation.metrics["confusion_matrix"] == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert evaluation.targets.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert evaluation.failures == []


def test_the_batch_size_changes_nothing(classifier, engine, tones):
    whole = evaluate(classifier, tones, batch_size=5)
    parts = evaluate(classifier, tones, batch_size=2)
    assert engine.batches == [5, 2, 2, 1]
    assert torch.equal(parts.scores, whole.scores)
    assert parts.metrics == whole.metrics


def test_a_long_clip_is_scored_window_by_window(classifier, engine, tmp_path):
    write_tone(tmp_path / "short.wav", 200)
    write_tone(tmp_path / "long.wav", 2000, seconds=2.1)
    tones = manifest_of(tmp_path, ["path,labels", "long.wav,high", "short.wav,low"])
    evaluation = evaluate(classifier, tones)
    assert evaluation.chosen == ["high", "low"]
    assert engine.lengths == [32_000, 32_000, 8000]
    assert engine.batches == [2, 1]


def test_clips_that_cannot_be_scored_are_left_out_and_listed(classifier, tones):
    folder = tones.source.parent
    (folder / "1.wav").write_text("this is not a sound")
    write_tone(folder / "3.wav", 2000, seconds=0.05)
    evaluation = evaluate(classifier, tones)
    assert [clip.path.name for clip in evaluation.clips] == ["0.wav", "2.wav", "4.wav"]
    assert evaluation.chosen == ["high", "middle", "high"]
    assert [failure.clip.path.name for failure in evaluation.failures] == ["1.wav", "3.wav"]
    assert str(evaluation.failures[0]).count(str(folder / "1.wav")) == 1
    assert (
        str(evaluation.failures[1])
        == f"{folder / '3.wav'}: the sound lasts 50 ms; this model needs at least 100 ms."
    )
    assert evaluation.metrics["num_clips"] == 3


def test_nothing_to_score_is_refused(classifier, tmp_path):
    write_tone(tmp_path / "a.wav", 200, seconds=0.05)
    tones = manifest_of(tmp_path, ["path,labels", "a.wav,low"])
    with pytest.raises(DataError) as caught:
        evaluate(classifier, tones)
    assert str(caught.value) == (
        f"{tones.source}: none of its 1 clips can be scored. "
        f"The first: {tmp_path / 'a.wav'}: the sound lasts 50 ms; this model needs at least 100 ms."
    )


def test_scores_that_are_not_numbers_are_refused(classifier, engine, tones):
    engine.row = lambda waveform: torch.tensor([math.nan, 0, 0])
    with pytest.raises(CheckpointError) as caught:
        evaluate(classifier, tones)
    assert str(caught.value) == (
        f"{tones.clips[0].path}: the model gives scores that are not numbers. "
        "Its weights are damaged, or its training diverged."
    )


def test_labels_that_the_model_does_not_know_are_named(classifier, tones):
    folder = tones.source.parent
    lines = ["path,labels", "0.wav,hihg", "1.wav,low", "2.wav,zzz;hihg"]
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest_of(folder, lines))
    assert str(caught.value) == (
        f"{folder / 'tones.csv'}, line 2: the model does not know 2 of the 3 labels: 'hihg' "
        "(nearest: 'high'), 'zzz'. Correct them, leave their clips out with --without, or say with "
        "`auricle evaluate --classes` which of the model's labels they are."
    )


@pytest.mark.filterwarnings("ignore:.*listed twice")
def test_a_long_list_of_unknown_labels_is_cut(classifier, tones):
    lines = ["path,labels"] + [f"0.wav,{letter * 3}" for letter in "abcdefijkmnopq"]
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest_of(tones.source.parent, lines))
    assert str(caught.value) == (
        f"{tones.source}, line 2: the model does not know 14 of the 14 labels: 'aaa', 'bbb', "
        "'ccc', 'ddd', 'eee', 'fff', 'iii', 'jjj', 'kkk', 'mmm', 'nnn', 'ooo' and 2 more. "
        "Correct them, leave their clips out with --without, or say with "
        "`auricle evaluate --classes` which of the model's labels they are."
    )


def test_a_clip_with_soft_targets_only_cannot_be_judged(classifier, tones, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    data.save_soft_targets(teacher, torch.rand(1, 2), ["low", "high"])
    unlabelled = replace(tones.clips[0], labels=(), soft_targets=(teacher, 0))
    with pytest.raises(DataError) as caught:
        evaluate(classifier, replace(tones, clips=(unlabelled,)))
    assert str(caught.value) == (
        f"{tones.source}, line 2: to be evaluated, a clip needs labels of its own."
    )


def test_a_missing_torchmetrics_is_noticed_before_any_scoring(
    classifier, engine, tones, monkeypatch
):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional", None)
    with pytest.raises(MissingExtraError):
        evaluate(classifier, tones)
    assert engine.batches == []


# --- leaving labels out


def test_clips_of_a_label_can_be_left_out(classifier, tones):
    evaluation = evaluate(classifier, leave_out(tones, ["low"]))
    assert evaluation.metrics["num_clips"] == 3
    assert evaluation.metrics["accuracy"] == 1.0
    assert evaluation.metrics["classes_without_positives"] == ["low"]
    assert evaluation.labels == list(PITCHES)  # the model may still answer with it


def test_clips_with_several_labels_are_left_out_for_one_of_them(tones):
    lines = ["path,labels", "0.wav,low;high", "1.wav,low", "2.wav,middle"]
    kept = leave_out(manifest_of(tones.source.parent, lines), ["high"])
    assert [clip.labels for clip in kept.clips] == [("low",), ("middle",)]


@pytest.mark.parametrize(
    "labels, message",
    [
        (["lwo"], "unknown label 'lwo'. Did you mean 'low'? Known: high, low, middle."),
        (["high", "low", "middle"], "without high, low, middle no clip is left."),
    ],
)
def test_leaving_out_the_unknown_or_everything_is_refused(tones, labels, message):
    with pytest.raises(DataError) as caught:
        leave_out(tones, labels)
    assert str(caught.value) == f"{tones.source}: {message}"


# --- the report


def test_metrics_json_holds_what_was_asked_and_measured(classifier, tones, tmp_path, no_pictures):
    (tmp_path / "2.wav").write_text("this is not a sound")
    evaluation = evaluate(classifier, tones)
    report.write(evaluation, tmp_path / "out", ASKED)
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(stored) == [
        "auricle",
        "model",
        "data",
        "split",
        "fold",
        "without",
        "num_clips",
        "single_label",
        "accuracy",
        "accuracy_interval",
        "mAP",
        "mAUC",
        "d_prime",
        "macro_f1",
        "undefined",
        "classes_without_positives",
        "classes_without_negatives",
        "calibration_error",
        "intervals",
        "resampled",
        "num_failed",
        "failed",
        "classes",
        "confusion_matrix",
        "reliability",
        "worst",
    ]
    assert stored["model"] == "pitch"
    assert stored["accuracy"] == 3 / 4
    assert stored["classes_without_positives"] == ["middle"]
    assert stored["num_failed"] == 1
    assert stored["failed"][0]["file"] == "2.wav"
    assert stored["failed"][0]["reason"] == evaluation.failures[0].reason
    assert stored["classes"] == evaluation.metrics["classes"]


def test_what_is_not_defined_is_null_with_its_reason_everywhere(
    classifier, tones, tmp_path, no_pictures
):
    lines = ["path,labels", "0.wav,high", "1.wav,low", "2.wav,middle"]  # all are right
    evaluation = evaluate(classifier, manifest_of(tones.source.parent, lines))
    report.write(evaluation, tmp_path / "out", ASKED)
    text = (tmp_path / "out" / "metrics.json").read_text()
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert (stored["mAUC"], stored["d_prime"]) == (1.0, None)
    assert stored["intervals"]["d_prime"] is stored["intervals"]["mAUC"] is None
    same = "other draws of these clips give the same value"
    assert stored["undefined"] == {
        "d_prime": "infinite, as mAUC is exactly 1",
        **{f"intervals.{name}": same for name in ("mAP", "mAUC", "macro_f1", "d_prime")},
    }
    page = (tmp_path / "out" / "report.html").read_text()
    for row in (
        f'<td>mAP</td><td class="number">1.000</td><td>not defined: {same}</td><td>-</td>',
        f"<td>d&#x27;</td><td>not defined: infinite, as mAUC is exactly 1</td>"
        f"<td>not defined: {same}</td>",
    ):
        assert row in page
    assert printed(evaluation)[1:6] == [
        "accuracy    100.0% (95 % interval 43.9% to 100.0%)",
        f"mAP         1.000 (95 % interval not defined: {same})",
        f"mAUC        1.000 (95 % interval not defined: {same})",
        "d'          not defined: infinite, as mAUC is exactly 1",
        f"macro F1    1.000 (95 % interval not defined: {same})",
    ]


def test_ends_that_three_digits_cannot_tell_apart_get_more():
    assert report.end_texts([0.99961, 0.99987], False) == ["0.9996", "0.9999"]
    assert report.end_texts([0.9, 0.95], True) == ["90.0%", "95.0%"]


def test_predictions_csv_holds_a_line_for_each_scored_clip(
    classifier, tones, tmp_path, no_pictures
):
    evaluation = evaluate(classifier, tones)
    report.write(evaluation, tmp_path / "out", ASKED)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav"]
    assert [row["correct"] for row in rows] == ["1", "1", "1", "1", "0"]
    assert list(rows[4].items())[:4] == [
        ("file", "4.wav"),
        ("labels", "low"),
        ("predicted", "high"),
        ("correct", "0"),
    ]
    assert [row["fold"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert "group" not in rows[0]
    scores = [[float(row[f"score:{label}"]) for label in PITCHES] for row in rows]
    torch.testing.assert_close(torch.tensor(scores), evaluation.scores, atol=5e-7, rtol=0)


def test_predictions_csv_of_many_classes_holds_the_five_best(
    classifier, tones, tmp_path, no_pictures
):
    classifier.engine.labels = [*PITCHES, *(f"other {index}" for index in range(48))]
    classifier.engine.row = lambda waveform: torch.arange(51) / 100
    report.write(evaluate(classifier, tones), tmp_path / "out", ASKED)
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert lines[0] == (
        "file,labels,predicted,correct,fold,label_1,score_1,label_2,score_2,label_3,"
        "score_3,label_4,score_4,label_5,score_5"
    )
    assert lines[1] == (
        "0.wav,high,other 47,0,0,other 47,0.5,other 46,0.49,other 45,0.48,other 44,0.47,"
        "other 43,0.46"
    )


def test_the_same_evaluation_gives_the_same_bytes(classifier, tones, tmp_path):
    evaluation = evaluate(classifier, tones)
    for name in ("first", "second"):
        report.write(evaluation, tmp_path / name, ASKED)
    written = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert written == ["metrics.json", "predictions.csv", "report.html", "scores.safetensors"]
    for name in written:
        first, second = (tmp_path / folder / name for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes(), name


def test_multi_label_clips_have_no_confusion_matrix(classifier, tones, tmp_path):
    lines = ["path,labels", "0.wav,high;low", "1.wav,low", "2.wav,middle"]
    evaluation = evaluate(classifier, manifest_of(tones.source.parent, lines))
    report.write(evaluation, tmp_path / "out", ASKED)
    assert "confusion_matrix" not in json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "Confusion matrix" not in (tmp_path / "out" / "report.html").read_text()


def test_all_scores_are_kept_for_comparisons(classifier, tones, tmp_path, no_pictures):
    evaluation = evaluate(classifier, tones)
    report.write(evaluation, tmp_path / "out", ASKED)
    with safe_open(tmp_path / "out" / "scores.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("scores"), evaluation.scores)
        assert json.loads(file.metadata()["labels"]) == list(PITCHES)
    assert (tmp_path / "out" / "scores.safetensors").stat().st_mode & 0o777 == 0o644


def test_clips_of_one_group_are_drawn_together(classifier, tones):
    lines = ["path,labels,group"] + [
        f"{index}.wav,{label},{group}"
        for index, (label, group) in enumerate(zip(tones_labels(tones), "aabbb", strict=True))
    ]
    metrics = evaluate(classifier, manifest_of(tones.source.parent, lines)).metrics
    assert metrics["resampled"] == {"unit": "groups", "number": 2, "rounds": 1000}
    assert metrics["intervals"]["accuracy"] == [2 / 3, 1.0]  # of b and of a
    assert evaluate(classifier, tones).metrics["resampled"]["unit"] == "clips"


def test_progress_is_told_of_every_clip(classifier, tones):
    counts = []
    evaluate(classifier, tones, batch_size=2, progress=counts.append)
    assert counts == [1] * 5


def test_the_table_lists_the_classes_best_first(classifier, tones):
    lines = printed(evaluate(classifier, tones))
    assert lines[:8] == [
        "clips       5",
        "accuracy    80.0% (95 % interval 37.6% to 96.4%)",
        "mAP         0.789 (95 % interval 0.174 to 0.985)",
        "mAUC        0.861 (95 % interval 0.231 to 0.992)",
        "d'          1.535 (95 % interval -1.038 to 3.422)",
        "macro F1    0.822 (95 % interval 0.128 to 0.993)",
        "ECE         0.200",
        "",
    ]
    assert [line.split() for line in lines[8:]] == [
        ["class", "clips", "AP", "AUC", "precision", "recall"],
        ["middle", "1", "1.000", "1.000", "1.000", "1.000"],
        ["low", "2", "0.700", "0.750", "1.000", "0.500"],
        ["high", "2", "0.667", "0.833", "0.667", "1.000"],
    ]


def test_the_table_says_which_classes_have_no_clip(classifier, tones):
    lines = printed(evaluate(classifier, leave_out(tones, ["low"])))
    assert "no clip of  low" in lines
    assert lines[-1].split() == ["low", "0", "-", "-", "-", "-"]


def test_the_table_of_many_classes_shows_the_best_and_the_worst(classifier, tones):
    classifier.engine.labels = [*PITCHES, *(f"[other {index}]" for index in range(48))]
    classifier.engine.row = lambda waveform: torch.arange(51) / 100
    lines = printed(evaluate(classifier, tones))
    first = next(place for place, line in enumerate(lines) if line.startswith("class"))
    names = [line.partition("  ")[0] for line in lines[first + 1 :]]
    assert len(names) == 21
    assert set(names[:3]) == set(PITCHES)
    assert names[10] == "... 31 more in metrics.json"
    assert names[-1] == "[other 9]"


def test_an_absent_matplotlib_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError) as caught:
        report.prepared(tmp_path / "out").__enter__()
    assert str(caught.value) == (
        "drawing pictures needs the package 'matplotlib', which is not installed. "
        "Install it with: pip install 'auricle[plot]'"
    )


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DataError) as caught:
        report.prepared(tmp_path / "out").__enter__()
    assert str(caught.value) == f"{tmp_path / 'out'}: cannot be written to (File exists)."
