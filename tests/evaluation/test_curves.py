"""Pictures of the scores: what is drawn, and of which classes."""

import pytest
import torch

from auricle.evaluation import pictures as curves
from auricle.evaluation.evaluate import judge


def judged(num_classes, num_clips=80):
    generator = torch.Generator().manual_seed(0)
    targets = torch.eye(num_classes, dtype=torch.long)[torch.arange(num_clips) % num_classes]
    scores = (0.4 * targets + torch.rand(targets.shape, generator=generator)) / 2
    labels = [f"class {index}" for index in range(num_classes)]
    return scores, targets, judge(scores, targets, labels, torch.arange(num_clips))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that became pictures."""
    figures = []
    png = curves.png
    monkeypatch.setattr(curves, "png", lambda figure: figures.append(figure) or png(figure))
    return figures


def test_every_class_has_a_curve_and_the_point_where_it_decides(drawn):
    scores, targets, metrics = judged(3)
    assert curves.draw_precision_recall(scores, targets, metrics).startswith(b"\x89PNG")
    panels = drawn[0].axes
    for axes, row in zip(panels, metrics["classes"], strict=True):
        assert axes.get_title() == f"{row['label']}\n{row['average_precision']:.2f}"
        recall, precision = axes.lines[0].get_data()
        assert (recall[0], recall[-1], precision[-1]) == (1.0, 0.0, 1.0)
        [point] = axes.collections[0].get_offsets().tolist()
        assert point == [row["recall"], row["precision"]]


def test_of_many_classes_the_worst_are_drawn(drawn, monkeypatch):
    monkeypatch.setattr(curves, "MOST_CURVES", 4)
    scores, targets, metrics = judged(9)
    curves.draw_precision_recall(scores, targets, metrics)
    shown = [float(axes.get_title().split("\n")[1]) for axes in drawn[0].axes]
    values = sorted(row["average_precision"] for row in metrics["classes"])[:4]
    assert sorted(shown) == pytest.approx(values, abs=0.005)


def test_no_curve_can_be_drawn_of_one_clip(drawn):
    scores, targets = torch.tensor([[0.9, 0.1]]), torch.tensor([[1, 0]])
    metrics = judge(scores, targets, ["a", "b"], torch.tensor([0]))
    assert curves.draw_precision_recall(scores, targets, metrics).startswith(b"\x89PNG")
    assert not any(axes.get_visible() for axes in drawn[0].axes)


def test_the_reliability_is_drawn_bin_by_bin(drawn):
    _, _, metrics = judged(3)
    assert curves.draw_reliability(metrics).startswith(b"\x89PNG")
    points = drawn[0].axes[0].collections[0].get_offsets().tolist()
    assert points == [[row["mean_score"], row["right"]] for row in metrics["reliability"]]
