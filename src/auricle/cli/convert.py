"""`auricle convert`: weights of other projects to a checkpoint, and back."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auricle.checkpoint import Checkpoint

NAMES_SHOWN = 4


class Layout(StrEnum):
    """What can be written."""

    auricle = "auricle"
    huggingface = "huggingface"
    ast = "ast"


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
    """Read an AST, an EfficientAT MobileNet, an EAT or ASDA, or a DeiT, ViT or DINOv2.

    Only tensors are read: nothing in a .pth or .pt file is run. An image model, or one that was
    pretrained without labels, becomes a start for training (auricle train --from OUT).

    Examples:

      auricle convert audioset_10_10_0.4593.pth ast-audioset

      auricle convert EAT-base_epoch30_ft.pt eat-audioset

      auricle convert runs/mine/best for-transformers --to huggingface

      auricle convert deit_base.safetensors start --stride 10 --frames 1024
    """
    from auricle.convert import write
    from auricle.errors import CheckpointError

    if out.exists():
        raise CheckpointError(f"{out}: exists already. Choose a new name, or remove it first.")
    checkpoint = _read(source, stride, frames)
    lost = write(checkpoint, out, to.value)
    for line in _describe(checkpoint):
        typer.echo(line)
    typer.echo(f"wrote      {out} ({to.value})")
    for what in lost:
        typer.echo(f"lost       {what}")


def _read(source: str, stride: int | None, frames: int | None) -> "Checkpoint":
    from auricle.convert import can_read, read
    from auricle.errors import CheckpointError

    path = Path(source).expanduser()
    if can_read(path):
        return read(path, stride, frames)
    if stride is not None or frames is not None:
        raise CheckpointError(
            f"{source}: --stride and --frames are for files of weights that do not show them."
        )
    from auricle.inference import resolve

    return resolve(source)


def _describe(checkpoint: "Checkpoint") -> list[str]:
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
