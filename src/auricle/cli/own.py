"""`auricle train --data FOLDER --from MODEL`: how good the model is, and what to do next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from auricle.cli import judging, running
from auricle.errors import ConfigError

if TYPE_CHECKING:
    from auricle.experiment.own_sounds import OwnReport, Request
    from auricle.training import Machine


def train(
    request: "Request", out: Path | None, overwrite: bool, resume: bool, machine: "Machine"
) -> None:
    """Make a model for one's own sounds, and print the report.

    Raises:
        ConfigError: options that do not go together.
    """
    from auricle import experiment
    from auricle.experiment.own_sounds import train_own_sounds

    if (machine.devices, machine.nodes) != (1, 1):
        raise ConfigError(
            "own sounds are learned on one device. Several take a recipe: auricle train RECIPE."
        )
    if resume and (overwrite or out is None):
        raise ConfigError("--resume goes on in the folder of --out; name it, without --overwrite.")
    if request.settings and (request.quick or request.add):
        option = "--add" if request.add else "--speed quick"
        raise ConfigError(
            f"{request.settings[0]!r} is a setting of fine-tuning, which {option} leaves out."
        )
    if request.add and request.keep_validation:
        raise ConfigError("--add learns from all clips; leave out --keep-validation.")
    folder = out or experiment.new_folder(request.source.resolve().stem)
    try:
        found = train_own_sounds(request, folder, overwrite, resume, machine, judging.counting)
    except KeyboardInterrupt as error:
        running.leave(error, f"stopped; the same command with --out {folder} --resume goes on.")
    typer.echo("\n".join(lines(found)))
    for failure in found.left_out:
        typer.echo(f"error: {failure}", err=True)


def lines(found: "OwnReport") -> list[str]:
    """The report, a line for each of its parts."""
    shown: list[tuple[str, str]] = []
    left_out = f", {len(found.left_out)} left out" if found.left_out else ""
    shown.append(("clips", f"{found.clips} of {found.recordings} recordings{left_out}"))
    more = ", ..." if len(found.labels) > running.LABELS_SHOWN else ""
    names = ", ".join(found.labels[: running.LABELS_SHOWN])
    shown.append(("classes", f"{len(found.labels)}: {names}{more}"))
    shown.append(("quick way", _quick(found.quick)))
    if found.background is not None:
        text = found.background
        if found.false_alarms is not None:
            text += f"; {found.false_alarms:.1%} of them are taken for a class"
        shown.append(("background", text))
    if found.old is not None:
        before, after = found.old["before"], found.old["after"]
        shown.append(("old classes", f"accuracy {before:.1%} before, {after:.1%} now"))
    shown.append(("fine-tuning", _fine_tuning(found)))
    shown.append(("kept", f"{found.kept}; learned from {found.learned_from} clips"))
    if found.test is not None:
        shown.append(("test", f"{_accuracy(found.test)} of {found.test['judged']} clips"))
    shown += [("listen to", text) for text in found.listen_to]
    shown += [("record next", text) for text in found.record_next]
    if found.quick["judged"]:
        shown.append(("report", str(found.folder / "report" / "report.html")))
    model = found.folder / "best"
    shown.append(("model", str(model)))
    shown.append(("next", f"auricle predict SOUND --model {model}"))
    titles = [title for title, _ in shown]
    first = [title if title not in titles[:row] else "" for row, title in enumerate(titles)]
    return [f"{title:12} {text}" for title, (_, text) in zip(first, shown, strict=True)]


def _quick(numbers: dict[str, Any]) -> str:
    took = f"{numbers['seconds']:.0f} s"
    if not numbers["judged"]:
        return f"cannot be judged: no class has a second recording; {took}"
    error = f"calibration error {numbers['calibration_error']:.2f}"
    return f"{_accuracy(numbers)} of {numbers['judged']} held-out clips, {error}; {took}"


def _accuracy(numbers: dict[str, Any]) -> str:
    ends = numbers["interval"]
    interval = f" (95 % interval {ends[0]:.1%} to {ends[1]:.1%})" if ends else ""
    return f"accuracy {numbers['accuracy']:.1%}{interval}"


def _fine_tuning(found: "OwnReport") -> str:
    if found.fine_tuned is None:
        return f"left out: {found.why_not}"
    numbers = found.fine_tuned
    return (
        f"accuracy {numbers['accuracy']:.1%} of {numbers['validated']} validation clips, the quick "
        f"way {numbers['quick_accuracy']:.1%}; {numbers['epochs']} epochs, "
        f"{numbers['seconds']:.0f} s"
    )
