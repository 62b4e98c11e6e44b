"""`auricle models`: the models that come with the package."""

from typing import Annotated, Any

import typer

LABELS_SHOWN = 4


def models(
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON list, with every label and score.")
    ] = False,
) -> None:
    """List the built-in models: size, labels, scores and speed.

    `auricle predict --model NAME` takes each of them, `auricle train --from NAME` starts from it.

    Examples:

      auricle models

      auricle models --json
    """
    from auricle.config import to_json
    from auricle.inference.catalogue import catalogue  # here, so that --help waits for no torch

    rows = catalogue()
    if as_json:
        typer.echo(to_json(rows))
        return
    for row in rows:
        typer.echo("\n".join(_lines(row)))


def _lines(row: dict[str, Any]) -> list[str]:
    shown = "; ".join(row["labels"][:LABELS_SHOWN])  # names may hold commas
    more = len(row["labels"]) - LABELS_SHOWN
    size = f"{row['megabytes']:.1f} MB, {row['parameters'] / 1e6:.2f} M parameters"
    facts = {
        "size": f"{size}, hears {row['seconds']:g} s in one piece",
        "labels": f"{len(row['labels'])}: {shown}" + (f"; and {more} more" if more > 0 else ""),
        "score": _score(row["scores"]),
        "speed": _speed(row["speed"]),
    }
    return [
        f"{row['name']:<12}  {row['summary']}".rstrip(),
        *(f"  {title:<10}  {fact}" for title, fact in facts.items()),
    ]


def _score(scores: list[dict[str, Any]]) -> str:
    """The first score, which stands for the model."""
    if not scores:
        return "not recorded"
    first = scores[0]
    return f"{first['value']:.1%} {first['metric']} ({first['data']})"


def _speed(speed: dict[str, Any] | None) -> str:
    if speed is None:
        return "not recorded"
    milliseconds, hardware = speed["milliseconds"], speed["hardware"]
    return f"{milliseconds:.0f} ms for {speed['sound_seconds']:g} s of sound ({hardware})"
