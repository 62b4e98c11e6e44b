"""Speech Commands, a subset for twelve words: a folder with `clips.csv` and the sounds it lists.

Source: Warden 2018 (version 0.02). The columns are path, label, speaker, split and word; the
splits are those of the table. A clip of silence has no speaker.
"""

from auricle.data.manifest import Clip, Manifest
from auricle.data.prepare.listing import Listing, Request
from auricle.data.reading import parse_split
from auricle.data.table import read_rows

TABLE = "clips.csv"


def list_clips(request: Request) -> Listing:
    """The clips of the data set: label from `label`, group from `speaker`.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    table = request.folder / TABLE
    clips = []
    for line, row in read_rows(table, ("path", "label", "speaker", "split")):
        where = f"{table}, line {line}"
        clip = Clip(
            path=request.folder / row["path"],
            labels=(row["label"],),
            split=parse_split(row["split"], where),
            group=row["speaker"] or None,
            where=where,
        )
        clips.append(clip)
    return Listing(Manifest(table, tuple(clips)))
