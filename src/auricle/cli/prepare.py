"""`auricle prepare` and `auricle statistics`: a data set to a manifest, mean and deviation."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli import judging, output
from auricle.errors import ConfigError, unknown_name

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
FrontEnd = Annotated[
    str,
    typer.Option(help="Whose log-mel values: fbank (AST, HAM-AST) or efficientat (MobileNet)."),
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

    settings = _front_end_settings(front_end, "prepare", sample_rate=sample_rate)
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


def statistics(
    data: Annotated[
        Path,
        typer.Argument(
            help="Manifest, or folder with a sub-folder per class.", readable=False
        ),  # the error is ours
    ],
    split: judging.SplitOption = None,
    not_fold: Annotated[int | None, typer.Option(help="Only the clips of the other folds.")] = None,
    front_end: FrontEnd = "fbank",
    sample_rate: Annotated[
        int | None, typer.Option(help="In Hz.", show_default="the front end's own")
    ] = None,
    num_mels: Annotated[int, typer.Option(help="Mel bins.")] = 128,
) -> None:
    """Print the mean and std that a recipe takes under front_end.

    They are measured over the true frames of all clips; padding has no part in them. What auricle
    prepare has stored beside the manifest is taken, if it is of these clips and settings.

    Examples:

      auricle statistics sounds/

      auricle statistics esc50.csv --not-fold 1
    """
    from auricle.data import measure_statistics, read
    from auricle.data.statistics import find_statistics, statistics_file

    settings = _front_end_settings(
        front_end, "statistics", sample_rate=sample_rate, num_mels=num_mels
    )
    stored = None if not_fold is not None else find_statistics(data, split, settings)
    if stored is not None:
        typer.echo(
            f"from {statistics_file(data)}: {stored.num_clips} of {stored.of} clips", err=True
        )
        mean, std = stored.mean, stored.std
    else:
        measured = measure_statistics(read(data).select(split, not_fold=not_fold), settings)
        mean, std = measured.mean, measured.std
    typer.echo(f"mean: {mean:.7f}\nstd: {std:.7f}")


def _front_end_settings(name: str, where: str, **settings: int | None) -> "FilterbankConfig":
    """The settings of the front end called `name`, with its own defaults for what is None.

    Args:
        where: the command, for messages.

    Raises:
        ConfigError: there is no such front end, or it cannot have these settings.
    """
    from auricle.config import from_dict
    from auricle.features import FILTERBANKS

    if name not in FILTERBANKS:
        raise ConfigError(f"--front-end: {unknown_name('front end', name, FILTERBANKS)}")
    given = {key: value for key, value in settings.items() if value is not None}
    return from_dict(FILTERBANKS[name].config, given, where)


def _beside(folder: Path) -> Path:
    """Where the manifest goes by default: into the folder, or beside the table."""
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


def _counting(done: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """A bar on a terminal while the block runs, elsewhere nothing."""
    return output.counting(total, f"clips {done}", lambda count: None)
