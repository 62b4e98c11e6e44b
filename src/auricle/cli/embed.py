"""`auricle embed`: sound files to vectors, one for each window."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli import options, output
from auricle.cli.predict import DEFAULT_MODEL
from auricle.errors import UserError

if TYPE_CHECKING:
    from auricle.audio import Channel
    from auricle.inference import Engine
    from auricle.inference.vectors import Row


def embed(
    files: options.SoundsArgument,
    out: Annotated[Path, typer.Option(help="vectors.parquet, or vectors.npy.", show_default=False)],
    model: options.Model = DEFAULT_MODEL,
    channel: options.Channel = None,
    device: options.Device = "auto",
) -> None:
    """Write the embeddings of sound files, a vector for each window that predict has.

    Parquet has the columns file, start, end (in seconds) and vector. An .npy file holds the vectors
    alone; which window each row is stands in a CSV file beside it. The model needs no labels. A
    file that cannot be used is reported on stderr, the others go on, and the exit code is then 1.

    Examples:

      auricle embed recordings/ --out vectors.parquet

      auricle embed dog.wav cat.wav --model runs/pretrained/last --out vectors.npy
    """
    selected = options.channel_of(channel)
    from auricle.inference import load_embedder, vectors  # here, so that --help does not wait

    vectors.check_kind(out)
    output.check_writable("--out", out)
    engine = load_embedder(model, device)
    failures = output.Failures()
    sounds = output.find_sounds(files, failures)
    count = vectors.write(_rows(engine, sounds, selected, failures), out)
    if count:
        typer.echo(f"{out}: {count} vectors of {len(sounds)} files")
    if failures.count:
        raise typer.Exit(1)


def _rows(
    engine: "Engine", sounds: list[Path], channel: "Channel", failures: output.Failures
) -> "Iterator[Row]":
    found = output.segments(engine, engine.embed, sounds, channel)
    for sound, segments in zip(sounds, found, strict=True):
        with failures.reported(sound):
            if isinstance(segments, UserError):
                raise segments
            for segment in segments:
                yield str(sound), segment.start, segment.end, segment.values
