"""`auricle compare`: is one model better than another, on the same clips?"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auricle.evaluation import Comparison, Difference

COMPARISON_FILE = "compare.json"


def compare(
    a: Annotated[
        str,
        typer.Argument(
            help="Folder of an evaluation; several (seeds, folds) with commas between them.",
            show_default=False,
        ),
    ],
    b: Annotated[str, typer.Argument(help="What to compare it with.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for compare.json.")] = None,
) -> None:
    """Compare two models by their evaluations of the same clips.

    Prints how often each is right, the difference A minus B with its 95 % interval, and the p-value
    of "both are equally good". With two or more runs (seeds) on each side both hold what other
    clips and other seeds could have given; with one, what other clips could: McNemar's exact test.
    Clips that share a group count as one draw.

    Examples:

      auricle compare reports/ham reports/ast

      auricle compare ham-0,ham-1,ham-2 ast-0,ast-1,ast-2 --out reports/ham-ast
    """

    from auricle.config import to_json
    from auricle.errors import DataError, refused
    from auricle.evaluation import compare as compare_evaluations

    comparison = compare_evaluations(_folders(a), _folders(b))
    typer.echo("\n".join(_lines(a, b, comparison)))
    if out is not None:
        record = {"a": a, "b": b} | asdict(comparison)
        with refused(DataError, f"{out}: cannot be written to"):
            out.mkdir(parents=True, exist_ok=True)
            (out / COMPARISON_FILE).write_text(to_json(record, indent=2) + "\n", "utf-8")


def _folders(words: str) -> list[Path]:
    """One folder, or those between commas; a folder whose own name holds a comma is one."""
    if Path(words).is_dir():
        return [Path(words)]
    return [Path(word.strip()) for word in words.split(",") if word.strip()] or [Path(words)]


def _lines(a: str, b: str, comparison: "Comparison") -> list[str]:
    runs_a, runs_b = comparison.runs
    lines = [f"A           {a}", f"B           {b}"]
    units = f"{comparison.num_clips} clips"
    if comparison.num_groups < comparison.num_clips:
        units += f" in {comparison.num_groups} groups"
    lines += [f"compared    {units}; evaluations: {runs_a} of A, {runs_b} of B", ""]
    lines += _difference("accuracy", comparison.accuracy, comparison.accuracy_difference, 100)
    if comparison.only_a is not None:
        lines.append(f"  only one is right: A {comparison.only_a} clips, B {comparison.only_b}")
    smallest = f"{100 * comparison.smallest:.1f} points" if comparison.smallest else "not defined"
    lines.append(f"  smallest true difference that 4 in 5 such comparisons show: {smallest}")
    if comparison.mean_ap is None or comparison.mean_ap_difference is None:
        return [*lines, "mAP         not compared: an evaluation holds no scores for it"]
    return lines + _difference("mAP", comparison.mean_ap, comparison.mean_ap_difference, 1)


def _difference(
    name: str, values: tuple[float, float], difference: "Difference", scale: int
) -> list[str]:
    digits, unit = (1, " %") if scale == 100 else (3, "")
    a, b = (f"{scale * value:.{digits}f}{unit}" for value in values)
    interval = "not defined: all draws of the clips give the same"
    if difference.low is not None and difference.high is not None:
        ends = (difference.low, difference.high)
        interval = " to ".join(f"{scale * end:+.{digits}f}" for end in ends)
    mean = f"{scale * difference.mean:+.{digits}f}"
    lines = [f"{name:<12}A {a}, B {b}"]
    lines.append(f"  A - B     {mean} (95 % interval {interval}), p = {difference.p_value:.3g}")
    if difference.holds_runs:
        return [*lines, "  interval and p hold what other clips and other runs (seeds) could give"]
    return [*lines, "  interval and p hold what other clips could give, not other runs (seeds)"]
