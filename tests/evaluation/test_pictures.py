"""The pictures: what is drawn of few and of many classes, and that any label can be drawn."""

import pytest
import torch

from auricle.evaluation import classification_metrics, pictures
from auricle.evaluation.evaluate import judge


def metrics_of(labels, num_clips=200, strength=0.4):
    generator = torch.Generator().manual_seed(0)
    targets = torch.zeros(num_clips, len(labels))
    targets[torch.arange(num_clips), torch.arange(num_clips) % len(labels)] = 1
    scores = (strength * targets + torch.rand(targets.shape, generator=generator)) / 2
    return classification_metrics(scores, targets, labels)


@pytest.fixture
def figures(monkeypatch):
    """The figures that became pictures."""
    figures = []
    png = pictures.png
    monkeypatch.setattr(pictures, "png", lambda figure: figures.append(figure) or png(figure))
    return figures


@pytest.fixture
def drawn(figures):
    """Draw metrics and return the figure that became a picture."""

    def draw(function, metrics):
        assert function(metrics).startswith(b"\x89PNG")
        return figures[-1]

    return draw


def names(axes, which="y"):
    ticks = axes.get_yticklabels() if which == "y" else axes.get_xticklabels()
    return [tick.get_text() for tick in ticks]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_classes_are_drawn_best_first(drawn):
    metrics = metrics_of(["a", "b", "c"])
    [axes] = drawn(pictures.draw_classes, metrics).axes
    rows = sorted(metrics["classes"], key=lambda row: -row["average_precision"])
    assert names(axes) == [f"{row['label']} ({row['clips']})" for row in rows]
    assert [bar.get_width() for bar in axes.patches] == [row["average_precision"] for row in rows]
    dots = axes.collections[0].get_offsets()
    assert dots[:, 0].tolist() == [row["recall"] for row in rows]
    top, bottom = axes.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert top > bottom


def test_of_many_classes_the_best_and_the_worst_are_drawn(drawn):
    metrics = metrics_of([f"class {index}" for index in range(70)], num_clips=300)
    best, worst = drawn(pictures.draw_classes, metrics).axes
    values = sorted((row["average_precision"] for row in metrics["classes"]), reverse=True)
    assert best.get_title(loc="right") == "the 30 best of 70 classes"
    assert worst.get_title(loc="right") == "the 30 worst"
    assert [bar.get_width() for bar in best.patches] == values[:30]
    assert [bar.get_width() for bar in worst.patches] == values[-30:]


def test_no_average_precision_is_said(drawn):
    metrics = classification_metrics(torch.tensor([[0.9, 0.1]]), torch.tensor([[1, 0]]), ["a", "b"])
    [axes] = drawn(pictures.draw_classes, metrics).axes
    assert axes.get_title(loc="right") == "no class has an average precision"


def test_cells_hold_the_count_and_its_share_of_the_row(drawn):
    metrics = {
        "classes": [{"label": "a", "recall": 0.75}, {"label": "b", "recall": None}],
        "confusion_matrix": [[3, 1], [0, 0]],
    }
    axes = drawn(pictures.draw_confusion, metrics).axes[0]
    assert texts(axes) == ["3\n75%", "1\n25%"]
    assert names(axes) == ["a (4)", "b (0)"]
    assert names(axes, "x") == ["a", "b"]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]


def test_a_confusion_matrix_without_room_for_numbers_has_none(drawn):
    axes = drawn(pictures.draw_confusion, metrics_of([str(index) for index in range(35)])).axes[0]
    assert len(names(axes)) == 35
    assert texts(axes) == []


def test_of_many_classes_the_most_confused_are_drawn_with_a_column_for_the_rest(drawn):
    metrics = metrics_of([f"class {index}" for index in range(70)], num_clips=300)
    axes = drawn(pictures.draw_confusion, metrics).axes[0]
    recall_of = {row["label"]: row["recall"] for row in metrics["classes"]}
    shown = names(axes, "x")
    assert axes.get_title() == "the 30 classes with the lowest recall, of 70"
    assert shown[-1] == "(other)"
    assert len(shown) == 31
    worst = sorted(recall_of.values())[:30]
    assert sorted(recall_of[name] for name in shown[:-1]) == worst
    shares = axes.images[0].get_array()
    torch.testing.assert_close(torch.tensor(shares.sum(axis=1)), torch.ones(30).double())


def test_any_label_can_be_drawn(drawn):
    long = "Vehicle horn, car horn, honking, and much more of it"
    metrics = metrics_of(["$x_{", "a\\b", "<b>", "Gl\u00fcck", long], num_clips=20)
    for draw in (pictures.draw_classes, pictures.draw_confusion):
        axes = drawn(draw, metrics).axes[0]
        assert {"$x_{ (4)", "Vehicle horn, car horn, honki... (4)"} < set(names(axes))


def judged(num_classes, num_clips=80):
    generator = torch.Generator().manual_seed(0)
    targets = torch.eye(num_classes, dtype=torch.long)[torch.arange(num_clips) % num_classes]
    scores = (0.4 * targets + torch.rand(targets.shape, generator=generator)) / 2
    labels = [f"class {index}" for index in range(num_classes)]
    return scores, targets, judge(scores, targets, labels, torch.arange(num_clips))


def test_every_class_has_a_curve_and_the_point_where_it_decides(figures):
    scores, targets, metrics = judged(3)
    assert pictures.draw_precision_recall(scores, targets, metrics).startswith(b"\x89PNG")
    panels = figures[0].axes
    for axes, row in zip(panels, metrics["classes"], strict=True):
        assert axes.get_title() == f"{row['label']}\n{row['average_precision']:.2f}"
        recall, precision = axes.lines[0].get_data()
        assert (recall[0], recall[-1], precision[-1]) == (1.0, 0.0, 1.0)
        [point] = axes.collections[0].get_offsets().tolist()
        assert point == [row["recall"], row["precision"]]


def test_of_many_classes_the_worst_are_drawn(figures, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_CURVES", 4)
    scores, targets, metrics = judged(9)
    pictures.draw_precision_recall(scores, targets, metrics)
    shown = [float(axes.get_title().split("\n")[1]) for axes in figures[0].axes]
    values = sorted(row["average_precision"] for row in metrics["classes"])[:4]
    assert sorted(shown) == pytest.approx(values, abs=0.005)


def test_no_curve_can_be_drawn_of_one_clip(figures):
    scores, targets = torch.tensor([[0.9, 0.1]]), torch.tensor([[1, 0]])
    metrics = judge(scores, targets, ["a", "b"], torch.tensor([0]))
    assert pictures.draw_precision_recall(scores, targets, metrics).startswith(b"\x89PNG")
    assert not any(axes.get_visible() for axes in figures[0].axes)


def test_the_reliability_is_drawn_bin_by_bin(figures):
    _, _, metrics = judged(3)
    assert pictures.draw_reliability(metrics).startswith(b"\x89PNG")
    points = figures[0].axes[0].collections[0].get_offsets().tolist()
    assert points == [[row["mean_score"], row["right"]] for row in metrics["reliability"]]
