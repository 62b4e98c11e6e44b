"""`auricle prepare`: a public data set, as downloaded, to a manifest."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.front_ends import FrontEnd, front_end_settings

if TYPE_CHECKING:
    from auricle.data import Manifest
    from auricle.data.check import Measured
    from auricle.features import FilterbankConfig

NAMES = """
esc50, esc10, speech_commands_v1, speech_commands_v2, speech_commands_v1_12, speech_commands_v2_12,
speech_commands_12, audioset, audioset_balanced, fsd50k, urbansound8k, folder, audiofolder or table.
"""


Out = Annotated[
    Path | None,
    typer.Option(
        help="The manifest to write.", show_default="FOLDER/manifest.csv, or TABLE.manifest.csv"
    ),
]
Pack = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Pack the clips into shards there.", show_default=False),
]
SampleRate = Annotated[
    int | None,
    typer.Option(
        help="In Hz, of what is checked, measured and packed.", show_default="the front end's own"
    ),
]
TestFolder = Annotated[
    Path | None,
    typer.Option(
        help="The official test archive of speech_commands_v1_12 or _v2_12, unpacked.",
        show_default="looked for in FOLDER",
    ),
]
ColumnNames = Annotated[
    str | None,
    typer.Option(
        metavar="OURS=THEIRS,...",
        help="Of a table: which of its columns is path, labels, split, fold, group.",
        show_default="usual names",
    ),
]


def prepare(  # noqa: PLR0913 - one parameter for each option
    name: Annotated[str, typer.Argument(help=" ".join(NAMES.split()))],
    folder: Annotated[
        Path, typer.Argument(help="Where the data set lies, as downloaded; of a table the file.")
    ],
    out: Out = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the public archives into FOLDER first.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Decode every sound, list and leave out the faulty; --statistics, too."
        ),
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option("--statistics", help="Measure mean and std of up to 5000 training clips."),
    ] = False,
    pack: Pack = None,
    front_end: FrontEnd = "fbank",
    sample_rate: SampleRate = None,
    test_folder: TestFolder = None,
    columns: ColumnNames = None,
) -> None:
    """Write the manifest of a data set: what is where, with its official splits or folds.

    docs/data.md says for each data set what has to lie in the folder. Exit code 0: all is well; 1:
    --check found faulty sounds, and the manifest lists the others, or --pack left out some that
    cannot be read; 2: something that was asked for could not be made.

    Examples:

      auricle prepare esc50 ESC-50-master --out esc50.csv --check

      auricle prepare speech_commands_v2 speech_commands --download

      auricle prepare table clips.csv --columns path=wav,labels=species
    """
    from auricle.data import download as archives
    from auricle.data.prepare import parse_columns
    from auricle.data.prepare import prepare as prepare_data_set

    settings = front_end_settings(front_end, "prepare", sample_rate=sample_rate)
    given = parse_columns(columns) if columns else {}
    out = out or _beside(folder)
    if download:
        archives.download(name, folder)
    listing = prepare_data_set(name, folder, out, test_folder, given)
    manifest, num_faults = listing.manifest, 0
    typer.echo(f"{out}: {len(manifest.clips)} clips, {len(manifest.labels)} labels")
    for note in listing.notes:
        typer.echo(note)
    if check:
        manifest, num_faults = _check(manifest, settings, out)
    elif statistics:
        _measure(manifest, settings, out)
    if pack:
        num_faults += _pack(manifest, pack, settings.sample_rate)
    if num_faults:
        raise typer.Exit(1)


def _beside(folder: Path) -> Path:
    """Where the manifest goes unless told otherwise: into the folder, or beside the table."""
    if folder.is_file():
        return folder.with_name(f"{folder.stem}.manifest.csv")
    return folder / "manifest.csv"


def _pack(manifest: "Manifest", folder: Path, sample_rate: int) -> int:
    """Pack the clips into shards in `folder`; how many were left out."""
    from auricle.data import shards

    packed = shards.pack(manifest, folder, sample_rate)
    num_packed = shards.count_clips(folder)
    typer.echo(f"{folder}: {len(packed)} shards of {num_packed} clips")
    return len(manifest.clips) - num_packed


def _check(
    manifest: "Manifest", front_end: "FilterbankConfig", out: Path
) -> tuple["Manifest", int]:
    from auricle.data import check, write

    with _counting("checked", len(manifest.clips)) as advance:
        checked = check.check(manifest, front_end, None, advance)
    listed = check.write_faults(checked.faults, out)
    typer.echo(f"checked: {check.summary(checked, manifest)}")
    if checked.faults:
        write(checked.manifest, out)
        left = len(checked.manifest.clips)
        typer.echo(f"{listed}: the faulty clips; {out} has the other {left}")
    _store(checked.measured, front_end, out)
    return checked.manifest, len(checked.faults)


def _measure(manifest: "Manifest", front_end: "FilterbankConfig", out: Path) -> None:
    from auricle.data import check

    with _counting("measured", len(check.sample(manifest).rows)) as advance:
        measured = check.measure_sample(manifest, front_end, None, advance)
    _store(measured, front_end, out)


def _store(measured: "Measured", front_end: "FilterbankConfig", out: Path) -> None:
    from auricle.data import check
    from auricle.data.statistics import statistics_file

    stored = check.store(measured, front_end, out)
    typer.echo(f"{statistics_file(out)}: {stored.summary()}")


@contextlib.contextmanager
def _counting(done: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal while the block runs; call what it gives with the clips just done."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), f"clips {done}", TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(done, total=total)
        yield lambda count: bar.advance(task, count)
