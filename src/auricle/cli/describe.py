"""`auricle describe`: what a model is made of, what it costs and where it comes from."""

from typing import Annotated, Any

import typer

LABELS_SHOWN = 12


def describe(
    model: Annotated[
        str,
        typer.Argument(
            help="Built-in name, checkpoint folder or file, hub id, or a size such as ast-base "
            "or ham_ast-tiny.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print a model's parameters, multiply-adds, tokens, settings, labels and origin.

    Multiply-adds and tokens are those of one clip of the longest length the model takes at once.

    Examples:

      auricle describe esc10

      auricle describe ast-base --json
    """
    from auricle.config import to_json
    from auricle.inference import description

    facts = description.describe(model)
    typer.echo(to_json(facts) if as_json else "\n".join(_lines(facts)))


def _lines(facts: dict[str, Any]) -> list[str]:
    clip = f"one clip of {facts['seconds']:.2f} s ({facts['frames']} frames)"
    return [
        f"{facts['name']}: {facts['model']}",
        *_aligned(
            {
                "multiply-adds": f"{facts['multiply_adds'] / 1e9:,.3f} G for {clip}",
                "tokens": f"{facts['tokens']:,} for the same clip",
                "activation": facts["activation"],
                "labels": _shorten(facts["labels"]),
                "parameters": f"{facts['parameters']:,}",
            }
        ),
        *_aligned({f"  {name}": f"{count:,}" for name, count in facts["parameters_of"].items()}),
        *_lambdas(facts["learned_lambdas"]),
        *_section("settings", facts["settings"]),
        *_section("front end", facts["front_end"]),
        *_section("metrics", facts["metrics"]),
        *_section("provenance", facts["provenance"]),
    ]


def _lambdas(learned: list[float]) -> list[str]:
    """Of each block with differential attention that learned its own."""
    numbers = ", ".join(f"{number:.2f}" for number in learned)
    return _aligned({"learned lambda": numbers}) if learned else []


def _section(title: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return [f"  {title}: none recorded"]
    return [f"  {title}", *_aligned({f"  {name}": value for name, value in _flatten(values)})]


def _aligned(values: dict[str, Any]) -> list[str]:
    width = max(len(name) for name in values)
    return [f"  {name:<{width}}  {value}" for name, value in values.items()]


def _flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values; nested ones get dotted names, as a recipe has them."""
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        nested = isinstance(value, dict)
        pairs += _flatten(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return pairs


def _shorten(labels: list[str]) -> str:
    shown = "; ".join(labels[:LABELS_SHOWN])  # names may hold commas
    more = f"; and {len(labels) - LABELS_SHOWN} more" if len(labels) > LABELS_SHOWN else ""
    return f"{len(labels)}: {shown}{more}"
