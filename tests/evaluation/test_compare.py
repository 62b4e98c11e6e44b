"""Comparing stored evaluations: pairing, seeds, folds, groups, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from auricle.errors import DataError
from auricle.evaluation import classification_metrics, compare, paired_difference

LABELS = ["ant", "bee", "cat"]


@pytest.fixture
def stored(tmp_path):
    """Write an evaluation of clips 0.wav, 1.wav, ... as `auricle evaluate` leaves it."""

    def write(name, places, seed, skill=1.0, groups=None, labels=None):
        folder = tmp_path / name
        folder.mkdir()
        generator = torch.Generator().manual_seed(seed)
        named = labels or [LABELS[place % 3] for place in places]
        targets = torch.eye(3)[[LABELS.index(label) for label in named]]
        noise = torch.rand(len(places), 3, generator=generator)
        scores = (skill * targets + noise) / (1 + skill)
        correct = scores.argmax(dim=1) == targets.argmax(dim=1)
        lines = ["file,labels,predicted,correct" + (",group" if groups else "")]
        for index, place in enumerate(places):
            line = f"{place}.wav,{named[index]},?,{int(correct[index])}"
            lines.append(line + (f",{groups[index]}" if groups else ""))
        (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
        metadata = {"labels": json.dumps(LABELS)}
        save_file({"scores": scores}, folder / "scores.safetensors", metadata=metadata)
        return folder, correct.long(), scores, targets.long()

    return write


def test_two_runs_are_paired_clip_by_clip(stored):
    a, correct_a, scores_a, targets = stored("a", range(120), seed=0)
    b, correct_b, scores_b, _ = stored("b", range(120), seed=1, skill=0.3)
    found = compare([a], [b])
    assert (found.num_clips, found.num_groups, found.runs) == (120, 120, (1, 1))
    assert found.accuracy == (correct_a.double().mean().item(), correct_b.double().mean().item())
    assert found.accuracy_difference == paired_difference(correct_a[None], correct_b[None], 0)
    assert found.accuracy_difference.p_value < 0.05
    assert found.only_a == int((correct_a > correct_b).sum())
    assert found.only_b == int((correct_b > correct_a).sum())
    expected = [classification_metrics(s, targets, LABELS)["mAP"] for s in (scores_a, scores_b)]
    assert found.mean_ap == pytest.approx(expected, abs=1e-9)
    difference = found.mean_ap_difference
    assert 0 < difference.low < difference.mean == pytest.approx(expected[0] - expected[1])
    assert difference.p_value < 0.05


def test_the_order_of_the_clips_does_not_matter(stored, tmp_path):
    a, *_ = stored("a", range(60), seed=0)
    b, *_ = stored("b", range(60), seed=1, skill=0.5)
    head, *lines = (b / "predictions.csv").read_text().splitlines()
    turned = tmp_path / "turned"
    turned.mkdir()
    (turned / "predictions.csv").write_text("\n".join([head, *reversed(lines)]) + "\n")
    found, expected = compare([a], [turned]), compare([a], [b])
    assert found.accuracy_difference == expected.accuracy_difference
    assert found.mean_ap is None  # no scores are stored there
    turned_scores = load_file(b / "scores.safetensors")["scores"].flip(0).contiguous()
    metadata = {"labels": json.dumps(LABELS)}
    save_file({"scores": turned_scores}, turned / "scores.safetensors", metadata=metadata)
    same = compare([b], [turned]).mean_ap_difference
    assert (same.mean, same.low, same.high, same.p_value) == (0.0, None, None, 1.0)


def test_seeds_are_averaged_and_folds_are_joined(stored):
    halves = (range(0, 60), range(60, 120))
    a = [stored(f"a{s}{f}", halves[f], seed=10 * s + f) for s in range(2) for f in range(2)]
    b = [stored(f"b{f}", halves[f], seed=50 + f, skill=0.4) for f in range(2)]
    found = compare([run[0] for run in a], [run[0] for run in b])
    assert (found.num_clips, found.runs) == (120, (4, 2))
    correct = [run[1] for run in a]
    runs_a = torch.stack([torch.cat(correct[:2]), torch.cat(correct[2:])])
    runs_b = torch.cat([run[1] for run in b])[None]
    assert found.accuracy_difference == paired_difference(runs_a, runs_b, 0)
    assert found.only_a is found.only_b is None
    each = [classification_metrics(run[2], run[3], LABELS)["mAP"] for run in a]
    assert found.mean_ap[0] == pytest.approx(sum(each) / 4, abs=1e-9)


def test_the_interval_of_the_map_holds_runs_where_each_fold_has_several(stored):
    halves = (range(0, 60), range(60, 120))
    a = [stored(f"a{s}{f}", halves[f], seed=10 * s + f)[0] for s in range(2) for f in range(2)]
    b = [stored(f"b{s}{f}", halves[f], 50 + 9 * s + f, 0.4)[0] for s in range(2) for f in range(2)]
    both = compare(a, b)
    assert both.mean_ap_difference.holds_runs and both.accuracy_difference.holds_runs
    one = compare(a, b[:2])
    assert not one.mean_ap_difference.holds_runs and not one.accuracy_difference.holds_runs
    # Seeds of which one learned nothing scatter, which the interval has to hold.
    bad = [stored(f"c{f}", halves[f], seed=70 + f, skill=0.0)[0] for f in range(2)]
    wide = compare([*a[:2], *bad], b).mean_ap_difference
    assert wide.standard_error > 3 * both.mean_ap_difference.standard_error


def test_groups_are_drawn_whole(stored):
    groups = [f"speaker {place // 6}" for place in range(120)]
    a, correct_a, *_ = stored("a", range(120), seed=0, groups=groups)
    b, correct_b, *_ = stored("b", range(120), seed=1, skill=0.6, groups=groups)
    found = compare([a], [b])
    assert found.num_groups == 20
    numbers = torch.arange(20).repeat_interleave(6)
    expected = paired_difference(correct_a[None], correct_b[None], 0, numbers)
    assert found.accuracy_difference == expected


def test_a_clip_that_is_listed_twice_is_two_clips(stored):
    a, *_ = stored("a", [0, 1, 0], seed=0, labels=["ant", "bee", "ant"])
    b, *_ = stored("b", [0, 1, 0], seed=1, labels=["ant", "bee", "ant"])
    assert compare([a], [b]).num_clips == 3


# --- what is refused


def refusal(a, b):
    with pytest.raises(DataError) as caught:
        compare(a, b)
    return str(caught.value)


def test_other_clips_are_refused_by_name(stored):
    a, *_ = stored("a", range(20), seed=0)
    b, *_ = stored("b", range(4, 24), seed=0)
    assert refusal([a], [b]) == (
        "A scored 4 clips that B did not: 0.wav, 1.wav, 2.wav, 3.wav. Compare evaluations of the "
        "same clips."
    )
    c, *_ = stored("c", range(3), seed=0)
    assert refusal([c], [a]) == (
        "B scored 17 clips that A did not: 3.wav, 4.wav, 5.wav, 6.wav, 7.wav, 8.wav, 9.wav, "
        "10.wav, 11.wav, 12.wav, 13.wav, 14.wav and 5 more. Compare evaluations of the same clips."
    )


def test_other_labels_are_refused_by_name(stored):
    a, *_ = stored("a", range(3), seed=0)
    b, *_ = stored("b", range(3), seed=0, labels=["ant", "cat", "cat"])
    assert refusal([a], [b]) == (
        f"{b}: '1.wav' is labelled 'cat' there and 'bee' in A. Compare evaluations of the same "
        "data."
    )
    assert refusal([a, b], [a]) == (
        f"{b}: '1.wav' is labelled 'cat' there and 'bee' in A. Compare evaluations of the same "
        "data."
    )


def test_a_missing_fold_is_refused(stored):
    a, *_ = stored("a", range(6), seed=0)
    b, *_ = stored("b", range(3), seed=1)
    assert refusal([a, b], [a]) == (
        "A scored '0.wav' 2 times and '3.wav' 1 times. Every clip must be scored equally often: "
        "give all folds for all seeds."
    )


def test_a_folder_twice_is_refused(stored):
    a, *_ = stored("a", range(6), seed=0)
    again = a / ".." / "a"
    assert refusal([a], [a, again]) == f"{a}: named twice for B. Name each evaluation once."


def test_a_folder_without_an_evaluation_is_refused(stored, tmp_path):
    a, *_ = stored("a", range(6), seed=0)
    assert refusal([a], [tmp_path]) == (
        f"{tmp_path}: holds no predictions.csv, so it is not an evaluation. "
        "Make one with: auricle evaluate MODEL --data DATA --out FOLDER"
    )


def test_damaged_evaluations_are_refused(stored):
    a, *_ = stored("a", range(6), seed=0)
    b, *_ = stored("b", range(6), seed=1)
    (b / "scores.safetensors").write_bytes(b"no tensors")
    assert refusal([a], [b]).startswith(f"{b / 'scores.safetensors'}: damaged (")
    path = b / "predictions.csv"
    path.write_text(path.read_text().replace("?,0", "?,no").replace("?,1", "?,yes"))
    assert refusal([a], [b]).startswith(f"{path}: the column 'correct' holds 0 or 1, got '")
    path.write_text("file,labels,correct\n")
    assert refusal([a], [b]) == f"{path}: lists no clips."


def test_scores_of_other_clips_are_refused(stored):
    a, *_ = stored("a", range(6), seed=0)
    b, *_ = stored("b", range(6), seed=1)
    save_file(
        {"scores": torch.rand(5, 3)}, b / "scores.safetensors", {"labels": json.dumps(LABELS)}
    )
    assert refusal([a], [b]) == (
        f"{b / 'scores.safetensors'}: holds scores of 5 clips, predictions.csv lists 6. "
        "Evaluate again."
    )


def test_rounds_that_draw_no_class_to_rank_count_for_nothing(stored):
    a, *_ = stored("a", [0, 1], seed=0)
    b, *_ = stored("b", [0, 1], seed=0)
    difference = compare([a], [b]).mean_ap_difference
    assert (difference.mean, difference.standard_error, difference.p_value) == (0, 0, 1)
