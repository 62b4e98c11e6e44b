"""`auricle models`, `describe`, `convert` and `average`: checkpoints, without any sound."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.errors import CheckpointError

if TYPE_CHECKING:
    from auricle.checkpoint import Checkpoint

NAMES_SHOWN = 4
LABELS_SHOWN = 12  # by describe, which is about one model


class Layout(StrEnum):
    """What can be written."""

    auricle = "auricle"
    huggingface = "huggingface"
    ast = "ast"


def models(
    with_public: Annotated[
        bool,
        typer.Option("--all", help="Also public models, which are fetched when they are used."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON list, with every label and score.")
    ] = False,
) -> None:
    """List the built-in models: size, labels, scores and speed; with --all public ones, too.

    `auricle predict --model NAME` takes each of them, `auricle train --from NAME` starts from it.

    Examples:

      auricle models

      auricle models --all

      auricle models --json
    """
    from auricle import catalogue
    from auricle.config import to_json
    from auricle.inference.description import built_in_models  # here: --help waits for no torch

    built_in, public = built_in_models(), catalogue.rows() if with_public else []
    if as_json:
        typer.echo(to_json(built_in + public))
        return
    for row in built_in:
        typer.echo("\n".join(_row_lines(row)))
    for row in public:
        typer.echo("\n".join(_public_lines(row)))
    if public:
        typer.echo(f"\nPublic models are kept in {catalogue.cache_folder()}")


def describe(
    model: Annotated[
        str,
        typer.Argument(
            help="Built-in or public name, checkpoint folder or file, hub id, or a size such as "
            "ast-base or ham_ast-tiny.",
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
    typer.echo(to_json(facts) if as_json else "\n".join(_fact_lines(facts)))


def convert(
    source: Annotated[
        str, typer.Argument(help="A file or folder of weights, a built-in model or a hub id.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder; with --to ast a .pth file.")],
    to: Annotated[Layout, typer.Option(help="The layout to write.")] = Layout.auricle,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Step between patches, if the weights do not show it.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Longest clip in frames, if they do not show it.")
    ] = None,
) -> None:
    """Read an AST, an EfficientAT MobileNet, an EAT, ASDA, CED or PaSST, or a DeiT, ViT or DINOv2.

    Only tensors are read: nothing in a .pth or .pt file is run. An image model, or one that was
    pretrained without labels, becomes a start for training (auricle train --from OUT).

    Examples:

      auricle convert audioset_10_10_0.4593.pth ast-audioset

      auricle convert EAT-base_epoch30_ft.pt eat-audioset

      auricle convert runs/mine/best for-transformers --to huggingface

      auricle convert deit_base.safetensors start --stride 10 --frames 1024
    """
    from auricle.convert import write

    if out.exists():
        raise CheckpointError(f"{out}: exists already. Choose a new name, or remove it first.")
    checkpoint = _read(source, stride, frames)
    lost = write(checkpoint, out, to.value)
    for line in _converted_lines(checkpoint):
        typer.echo(line)
    typer.echo(f"wrote      {out} ({to.value})")
    for what in lost:
        typer.echo(f"lost       {what}")


def average(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: checkpoint folders or files, built-in names, or hub ids.",
            metavar="MODELS...",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="New folder for the averaged checkpoint.", show_default=False)
    ],
) -> None:
    """Average the weights of several checkpoints of one model into a new checkpoint.

    The checkpoints must be alike in everything but their weights: usually they are epochs of one
    run, as in the AST paper. Nothing is known yet of how good the new one is: evaluate it.

    Example:

      auricle average runs/mine/epoch-6 runs/mine/epoch-7 runs/mine/epoch-8 --out runs/mine/average
    """
    from auricle import averaging, checkpoint
    from auricle.inference import names, resolve  # here, so that --help does not wait for torch

    names.check_distinct(models)
    checkpoint.check_new(out)
    averaged = averaging.average([(model, resolve(model)) for model in models])
    checkpoint.save(averaged, out)
    typer.echo(f"{out}: the average of {len(models)} checkpoints")


def _row_lines(row: dict[str, Any]) -> list[str]:
    size = f"{row['megabytes']:.1f} MB, {row['parameters'] / 1e6:.2f} M parameters"
    facts = {
        "size": f"{size}, scores {row['seconds']:g} s in one piece",
        "labels": _shorten(row["labels"], NAMES_SHOWN),
        "score": _score(row["scores"]),
        "speed": _speed(row["speed"]),
    }
    return [
        f"{row['name']:<12}  {row['summary']}".rstrip(),
        *(f"  {title:<10}  {fact}" for title, fact in facts.items()),
    ]


def _public_lines(row: dict[str, Any]) -> list[str]:
    forbids = f"; forbids {row['forbids']}" if row["forbids"] else ""
    revision = row["revision"][:12] if row["revision"] else "unknown: the newest"
    place = f"{row['address']}, revision {revision}"
    facts = {
        "size": f"{row['size']}, {row['parameters']:g} M parameters",
        "licence": f"{row['license'] or 'not stated'}{forbids}",
        "score": f"{row['score']:.1f}% mAP (AudioSet; as published, not measured here)",
        "from": place
        if row["url"] or row["weights"]
        else f"no address known; see {row['address']}",
        "cached": "yes" if row["cached"] else "no",
    }
    return [
        f"{row['name']:<12}  {row['summary']}",
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


def _fact_lines(facts: dict[str, Any]) -> list[str]:
    clip = f"one clip of {facts['seconds']:.2f} s ({facts['frames']} frames)"
    lambdas = ", ".join(f"{number:.2f}" for number in facts["learned_lambdas"])  # block by block
    return [
        f"{facts['name']}: {facts['model']}",
        *_aligned(
            {
                "multiply-adds": f"{facts['multiply_adds'] / 1e9:,.3f} G for {clip}",
                "tokens": f"{facts['tokens']:,} for the same clip",
                "activation": facts["activation"],
                "labels": _shorten(facts["labels"], LABELS_SHOWN),
                "parameters": f"{facts['parameters']:,}",
            }
        ),
        *_aligned({f"  {name}": f"{count:,}" for name, count in facts["parameters_of"].items()}),
        *(_aligned({"learned lambda": lambdas}) if lambdas else []),
        *_section("settings", facts["settings"]),
        *_section("front end", facts["front_end"]),
        *_section("metrics", facts["metrics"]),
        *_section("provenance", facts["provenance"]),
    ]


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


def _shorten(labels: list[str], num_shown: int) -> str:
    shown = "; ".join(labels[:num_shown])  # names may hold commas
    more = f"; and {len(labels) - num_shown} more" if len(labels) > num_shown else ""
    return f"{len(labels)}: {shown}{more}"


def _read(source: str, stride: int | None, frames: int | None) -> "Checkpoint":
    from auricle.convert import can_read, read

    path = Path(source).expanduser()
    if can_read(path):
        return read(path, stride, frames)
    if stride is not None or frames is not None:
        raise CheckpointError(
            f"{source}: --stride and --frames are for files of weights that do not show them."
        )
    from auricle.inference import resolve

    return resolve(source)


def _converted_lines(checkpoint: "Checkpoint") -> list[str]:
    """What was read, a fact a line."""
    config, front_end = checkpoint.config, checkpoint.config.front_end
    sizes, reads = checkpoint.model.config.summary
    size = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    provenance = {"source": config.model, "layout": "auricle", **config.provenance}
    labels = _some(config.labels) if config.labels else "none: a start for training"
    lines = [
        f"read       {provenance['source']} ({provenance['layout']})",
        f"model      {config.model}: {sizes}, {size / 1e6:.1f} M parameters",
        f"input      {reads}",
        f"front end  {front_end.name}: {front_end.sample_rate} Hz, mean {front_end.mean:g}, std "
        f"{front_end.std:g}, padding {front_end.padding.mode} {front_end.padding.frames}",
        f"labels     {labels}",
    ]
    dropped = provenance.get("dropped", [])
    if dropped:
        lines.append(f"dropped    {_some(dropped)}")
    return lines + [f"note       {note}" for note in provenance.get("notes", [])]


def _some(names: list[str]) -> str:
    """How many there are, and the first of them; config.json holds all."""
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{len(names)}: {shown}{', ...' if len(names) > NAMES_SHOWN else ''}"
