"""Collections of everyday sounds, each with its table: ESC-50 and ESC-10, UrbanSound8K, FSD50K.

ESC-50 (Piczak 2015), and every data set in its layout: `meta/esc50.csv` and `audio/`. The five
folds are official; clips cut from one recording (`src_file`) stand in one fold, but for four
recordings (131943, 134049, 209698, 234879; nine clips), which are reported as a leak and left as
they are. ESC-10 is the clips that its table marks as such, in the same folds; it does not part any
recording, and the sounds of the other classes may be missing.

UrbanSound8K (Salamon et al. 2014): `metadata/UrbanSound8K.csv` and `audio/fold1` to `audio/fold10`.
The ten folds are official; the slices of one recording (`fsID`) stand in one fold.

FSD50K (Fonseca et al. 2022): `FSD50K.ground_truth/`, `FSD50K.dev_audio/`, `FSD50K.eval_audio/`,
`FSD50K.metadata/`. Splits are official: train and val of the development set, and the evaluation
set as test. Labels are those of the ground truth (already propagated up the ontology); a group is
an uploader, where the metadata is there.
"""

from pathlib import Path

from auricle.config import parse_json
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.prepare.listing import Listing, Request, find_root
from auricle.data.reading import parse_fold, parse_split
from auricle.data.table import read_rows
from auricle.errors import DataError

ESC50 = "meta/esc50.csv"
URBANSOUND8K = "metadata/UrbanSound8K.csv"
FSD50K = "FSD50K.ground_truth"
FSD50K_METADATA = "FSD50K.metadata"


def list_esc50(request: Request, only_esc10: bool = False) -> Listing:
    """The clips of ESC-50: label from `category`, group from `src_file`.

    Args:
        only_esc10: take those with True in the column `esc10`.

    Raises:
        DataError: the table is missing, is not ESC-50's, or marks no clip.
    """
    root = find_root(request.folder, ESC50)
    table = root / ESC50
    columns = ("filename", "fold", "category", *(["esc10"] if only_esc10 else []), "src_file")
    clips = []
    for line, row in read_rows(table, columns):
        where = f"{table}, line {line}"
        path, fold = root / "audio" / row["filename"], parse_fold(row["fold"], where)
        if not only_esc10 or row["esc10"] == "True":
            group = row["src_file"] or None
            clips.append(Clip(path, (row["category"],), None, fold, group, where=where))
    if only_esc10 and not clips:
        raise DataError(f"{table}: no clip has True in the column esc10; is it ESC-50's table?")
    return Listing(Manifest(table, tuple(clips)))


def list_urbansound8k(request: Request) -> Listing:
    """The clips of UrbanSound8K: label from `class`, group from `fsID`.

    Raises:
        DataError: the table is missing or is not UrbanSound8K's.
    """
    root = find_root(request.folder, URBANSOUND8K)
    table = root / URBANSOUND8K
    clips = []
    for line, row in read_rows(table, ("slice_file_name", "fsID", "fold", "class")):
        where = f"{table}, line {line}"
        path = root / "audio" / f"fold{row['fold']}" / row["slice_file_name"]
        fold, group = parse_fold(row["fold"], where), row["fsID"] or None
        clips.append(Clip(path, (row["class"],), None, fold, group, where=where))
    return Listing(Manifest(table, tuple(clips)))


def list_fsd50k(request: Request) -> Listing:
    """The clips of both sets of FSD50K.

    Raises:
        DataError: a table is missing or is not FSD50K's, or metadata that is there cannot be read.
    """
    root = find_root(request.folder, FSD50K)
    uploaders = _uploaders(root)
    clips = _list_set(root, "dev", uploaders) + _list_set(root, "eval", uploaders)
    unknown = sum(clip.group is None for clip in clips)
    note = (
        f"{unknown} of {len(clips)} clips have no group: {FSD50K_METADATA} does not name their "
        "uploaders"
    )
    return Listing(Manifest(root / FSD50K, tuple(clips)), (note,) if unknown else ())


def _list_set(root: Path, name: str, uploaders: dict[str, str]) -> list[Clip]:
    table = root / FSD50K / f"{name}.csv"
    columns = ("fname", "labels", "mids", *(["split"] if name == "dev" else []))
    clips = []
    for line, row in read_rows(table, columns):
        where = f"{table}, line {line}"
        labels = tuple(row["labels"].split(","))
        if len(labels) != len(row["mids"].split(",")):
            raise DataError(f"{where}: {row['labels']!r} and {row['mids']!r} differ in number.")
        path = root / f"FSD50K.{name}_audio" / f"{row['fname']}.wav"
        split = parse_split(row["split"], where) if name == "dev" else "test"
        clips.append(Clip(path, labels, split, None, uploaders.get(row["fname"]), where=where))
    return clips


def _uploaders(root: Path) -> dict[str, str]:
    """Name of a clip to its uploader; empty without the metadata."""
    uploaders = {}
    for name in ("dev", "eval"):
        path = root / FSD50K_METADATA / f"{name}_clips_info_FSD50K.json"
        if not path.is_file():
            continue
        try:
            clips = parse_json(path.read_bytes())
            uploaders.update({fname: str(clip["uploader"]) for fname, clip in clips.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not FSD50K's metadata: expected clips by name, each with its uploader. "
                "Unpack FSD50K.metadata.zip again."
            ) from error
    return uploaders
