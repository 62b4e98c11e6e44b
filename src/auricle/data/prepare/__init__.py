"""Data sets, as downloaded, to manifests. A new one: a function here and a line in DATA_SETS."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from auricle.data.manifest import read, write
from auricle.data.prepare import audioset, environmental, foreign, speech_commands
from auricle.data.prepare.foreign import parse_columns
from auricle.data.prepare.listing import (
    Listing,
    Request,
    check_complete,
    check_labels_can_be_written,
    check_not_packed,
    check_source_is_kept,
)
from auricle.errors import DataError, unknown_name

DATA_SETS: dict[str, Callable[[Request], Listing]] = {
    "esc50": environmental.list_esc50,
    "esc10": partial(environmental.list_esc50, only_esc10=True),
    "speech_commands_v1": partial(speech_commands.list_all, version=speech_commands.V1),
    "speech_commands_v2": partial(speech_commands.list_all, version=speech_commands.V2),
    "speech_commands_v1_12": partial(speech_commands.list_12, version=speech_commands.V1),
    "speech_commands_v2_12": partial(speech_commands.list_12, version=speech_commands.V2),
    "speech_commands_12": speech_commands.list_subset,
    "audioset": audioset.list_clips,
    "audioset_balanced": partial(audioset.list_clips, names=("balanced_train", "eval")),
    "fsd50k": environmental.list_fsd50k,
    "urbansound8k": environmental.list_urbansound8k,
    "folder": foreign.list_folder,
    "audiofolder": foreign.list_audiofolder,
    "table": foreign.list_table,
}
WITH_TEST_FOLDER = ("speech_commands_v1_12", "speech_commands_v2_12")
WITH_COLUMNS = ("table",)


def prepare(
    name: str,
    folder: Path,
    out: Path,
    test_folder: Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> Listing:
    """Write the manifest of the data set `name`, which lies in `folder`, to the file `out`.

    Args:
        test_folder: of the official test archive; only for Speech Commands with twelve classes.
        columns: our name of a column (path, labels, split, fold, group) to the table's; only for
            a table.

    Returns:
        The manifest as it can be read from `out`, and what to know about it.

    Raises:
        DataError: an unknown name, a folder that does not hold the data set as downloaded or holds
            shards, sounds it lists that are missing, or a place that cannot be written to.

    Warns:
        DataWarning: a group of clips stands in more than one split or fold.
    """
    if name not in DATA_SETS:
        raise DataError(unknown_name("data set", name, DATA_SETS))
    if test_folder is not None and name not in WITH_TEST_FOLDER:
        raise DataError(f"{name}: has no test archive of its own; leave the test folder out.")
    if columns and name not in WITH_COLUMNS:
        raise DataError(f"{name}: its columns are known; name columns only for a table.")
    check_not_packed(folder)
    listing = DATA_SETS[name](Request(folder, out, test_folder, columns or {}))
    clips = listing.manifest.clips
    if not clips:
        raise DataError(f"{listing.manifest.source}: lists no clips.")
    check_labels_can_be_written(clips)
    check_complete(folder, clips)
    check_source_is_kept(listing.manifest.source, out)
    write(listing.manifest, out)
    return Listing(read(out), listing.notes)
