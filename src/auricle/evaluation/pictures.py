"""Pictures of an evaluation as PNG: classes, confusion, precision against recall, calibration.

matplotlib is optional and is imported where it draws. Figures are made without its global state,
so no display is needed, and without a date, so the same metrics give the same file.

Shapes: N clips, C classes.
"""

import io
import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from auricle.errors import require
from auricle.evaluation.metrics import double_precision, require_torchmetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 130
MOST_BARS = 60  # of more classes only the best and the worst are drawn
ENDS_DRAWN = 30  # how many of these
MOST_ROWS = 60  # of a confusion matrix; of more classes the worst are drawn
WORST_DRAWN = 30  # how many of these
MOST_NUMBERED = 20  # rows of a confusion matrix whose cells have room for numbers
LONGEST_NAME = 32  # characters of a label
INK = "#222222"
FAINT = "#d9d9d9"
BLUE = "#3b75af"
ORANGE = "#e1812c"
MOST_CURVES = 36  # of more classes those with the lowest average precision are drawn
COLUMNS = 6
PANEL_INCHES = 1.7
TICKS = (0.0, 0.5, 1.0)


def require_matplotlib() -> None:
    """Make sure that pictures can be drawn (MissingExtraError)."""
    require("matplotlib.figure", "plot", "drawing pictures")


def draw_classes(metrics: dict[str, Any]) -> bytes:
    """Bars of average precision, best first, with a dot at each class's recall.

    Of more than 60 classes the 30 best and, in a second panel, the 30 worst are drawn. Classes
    that have no average precision are left out.
    """
    rows = [row for row in metrics["classes"] if row["average_precision"] is not None]
    rows.sort(key=lambda row: (-row["average_precision"], row["label"]))
    if len(rows) <= MOST_BARS:
        panels = [("" if rows else "no class has an average precision", rows)]
    else:
        best, worst = rows[:ENDS_DRAWN], rows[-ENDS_DRAWN:]
        panels = [
            (f"the {ENDS_DRAWN} best of {len(rows)} classes", best),
            (f"the {ENDS_DRAWN} worst", worst),
        ]
    height = 1.5 + 0.27 * max(1, len(panels[0][1]))
    figure = new_figure(7.0 * len(panels), height)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, shown) in zip(all_axes, panels, strict=True):
        _draw_bars(axes, shown, title)
    handles = all_axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    return png(figure)


def _draw_bars(axes: "Axes", rows: list[dict[str, Any]], title: str) -> None:
    positions = range(len(rows))
    values = [row["average_precision"] for row in rows]
    axes.barh(positions, values, height=0.7, color=BLUE, label="average precision")
    axes.scatter(
        [row["recall"] for row in rows],
        positions,
        s=26,
        color=ORANGE,
        edgecolors="white",
        linewidths=0.8,
        zorder=3,
        clip_on=False,
        label="recall",
    )
    for position, value in zip(positions, values, strict=True):
        axes.text(1.03, position, f"{value:.2f}", va="center", fontsize=8, color=INK)
    names = [f"{short(row['label'])} ({row['clips']})" for row in rows]
    axes.set_yticks(positions, names, fontsize=9, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # best on top
    axes.set_xlim(0, 1)
    axes.set_title(title, fontsize=10, loc="right")
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    plain(axes)


def draw_confusion(metrics: dict[str, Any]) -> bytes:
    """The confusion matrix: rows are the clips' classes, columns the best-scored classes.

    A cell's colour, and its second number, are the share of the row's clips. Of more than 60
    classes the 30 with the lowest recall are drawn, with all other columns as one.
    """
    labels = [row["label"] for row in metrics["classes"]]
    counts: list[list[int]] = metrics["confusion_matrix"]
    columns, title = labels, ""
    if len(labels) > MOST_ROWS:
        worst = _worst(metrics["classes"])
        title = f"the {len(worst)} classes with the lowest recall, of {len(labels)}"
        shown = [[counts[index][column] for column in worst] for index in worst]
        rest = (sum(counts[index]) - sum(row) for index, row in zip(worst, shown, strict=True))
        counts = [[*row, others] for row, others in zip(shown, rest, strict=True)]
        labels = [labels[index] for index in worst]
        columns = [*labels, "(other)"]
    side = 2.6 + (0.62 if len(labels) <= MOST_NUMBERED else 0.24) * len(labels)
    figure = new_figure(side + 0.8, side)
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= MOST_NUMBERED:
        _number_cells(axes, counts, shares)
    rows = [f"{short(label)} ({sum(row)})" for label, row in zip(labels, counts, strict=True)]
    _name_cells(axes, rows, [short(name) for name in columns])
    axes.set_title(title, fontsize=10)
    plain(axes)
    bar = figure.colorbar(image, ax=axes, fraction=0.035, pad=0.02, format="{x:.0%}")
    bar.outline.set_visible(False)
    return png(figure)


def _name_cells(axes: "Axes", rows: list[str], columns: list[str]) -> None:
    size, rotation = (9, 45) if len(rows) <= MOST_NUMBERED else (7.5, 90)
    axes.set_yticks(range(len(rows)), rows, fontsize=size, parse_math=False)
    axes.set_xticks(range(len(columns)), columns, fontsize=size, parse_math=False)
    for tick in axes.get_xticklabels():
        tick.set(rotation=rotation, ha="right", va="center", rotation_mode="anchor")
    axes.set(xlabel="best-scored class", ylabel="label (clips)")


def _worst(classes: list[dict[str, Any]]) -> list[int]:
    """Indices of the classes with the lowest recall, in the order of the labels."""
    judged = [index for index, row in enumerate(classes) if row["recall"] is not None]
    return sorted(sorted(judged, key=lambda index: classes[index]["recall"])[:WORST_DRAWN])


def _number_cells(axes: "Axes", counts: list[list[int]], shares: list[list[float]]) -> None:
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                ink = "white" if shares[i][j] > 0.55 else INK
                text = f"{count}\n{shares[i][j]:.0%}"
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)


def short(name: str) -> str:
    """A label cut so that it leaves room for the drawing."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 3] + "..."


def plain(axes: "Axes") -> None:
    """No frame and no tick marks: the values are the drawing."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, colors=INK)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that size in inches; it makes room for its labels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: "Figure") -> bytes:
    """The figure as the bytes of a PNG file."""
    file = io.BytesIO()
    # The version of matplotlib in the file would make equal pictures differ.
    figure.savefig(
        file, format="png", dpi=DOTS_PER_INCH, bbox_inches="tight", metadata={"Software": None}
    )
    return file.getvalue()


def draw_precision_recall(scores: Tensor, targets: Tensor, metrics: dict[str, Any]) -> bytes:
    """A small panel for each class: precision over recall, and a dot where it now decides.

    Of more than 36 classes the 36 with the lowest average precision are drawn. Classes that have
    none are left out.

    Args:
        scores, targets: `(N, C)`.
        metrics: of `judge`.
    """
    judged = [
        index
        for index, row in enumerate(metrics["classes"])
        if row["average_precision"] is not None
    ]
    worst = sorted(judged, key=lambda index: metrics["classes"][index]["average_precision"])
    shown = sorted(worst[:MOST_CURVES])
    columns = min(COLUMNS, max(1, len(shown)))
    num_rows = max(1, math.ceil(len(shown) / columns))
    figure = new_figure(PANEL_INCHES * columns + 0.4, (PANEL_INCHES + 0.2) * num_rows + 0.4)
    panels = figure.subplots(num_rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, index in zip(panels, shown, strict=False):
        _draw_curve(axes, scores[:, index], targets[:, index], metrics["classes"][index])
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return png(figure)


def _draw_curve(axes: "Axes", scores: Tensor, targets: Tensor, row: dict[str, Any]) -> None:
    with double_precision():
        curve = require_torchmetrics().binary_precision_recall_curve
        precision, recall, _ = curve(scores.double(), targets.long())
    axes.step(recall.tolist(), precision.tolist(), where="post", color=BLUE, linewidth=1.2)
    if row["precision"] is not None:
        axes.scatter([row["recall"]], [row["precision"]], s=18, color=ORANGE, zorder=3)
    title = f"{short(row['label'])}\n{row['average_precision']:.2f}"
    axes.set_title(title, fontsize=8, parse_math=False)
    _unit_square(axes)


def draw_reliability(metrics: dict[str, Any]) -> bytes:
    """For each bin of scores the share that is right, a dot as large as the bin is full."""
    rows = metrics["reliability"]
    figure = new_figure(4.2, 4.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, zorder=1)
    scores, right = ([row[key] for row in rows] for key in ("mean_score", "right"))
    largest = max(row["count"] for row in rows)
    axes.plot(scores, right, color=BLUE, linewidth=1, zorder=2)
    sizes = [20 + 160 * row["count"] / largest for row in rows]
    axes.scatter(scores, right, s=sizes, color=BLUE, edgecolors="white", zorder=3)
    axes.set_xlabel("mean score of the bin", fontsize=9)
    axes.set_ylabel("share that is right", fontsize=9)
    _unit_square(axes)
    return png(figure)


def _unit_square(axes: "Axes") -> None:
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.06), xticks=TICKS, yticks=TICKS)
    axes.tick_params(labelsize=8)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_color(INK)
    plain(axes)
