"""FSD50K: `FSD50K.ground_truth/`, `FSD50K.dev_audio/`, `FSD50K.eval_audio/`, `FSD50K.metadata/`.

Source: Fonseca et al. 2022. Splits are official: train and val of the development set, and the
evaluation set as test. Labels are those of the ground truth (already propagated up the ontology);
a group is an uploader, where the metadata is there.
"""

from pathlib import Path

from auricle.config import parse_json
from auricle.data.manifest import Clip, Manifest
from auricle.data.prepare.listing import Listing, Request, find_root
from auricle.data.table import read_rows
from auricle.errors import DataError

GROUND_TRUTH = "FSD50K.ground_truth"
METADATA = "FSD50K.metadata"
SPLITS = {"train": "train", "val": "validation"}


def list_clips(request: Request) -> Listing:
    """The clips of both sets.

    Raises:
        DataError: a table is missing or is not FSD50K's, or metadata that is there cannot be read.
    """
    root = find_root(request.folder, GROUND_TRUTH)
    uploaders = _uploaders(root)
    clips = _list_set(root, "dev", uploaders) + _list_set(root, "eval", uploaders)
    unknown = sum(clip.group is None for clip in clips)
    note = (
        f"{unknown} of {len(clips)} clips have no group: {METADATA} does not name their uploaders"
    )
    return Listing(Manifest(root / GROUND_TRUTH, tuple(clips)), (note,) if unknown else ())


def _list_set(root: Path, name: str, uploaders: dict[str, str]) -> list[Clip]:
    table = root / GROUND_TRUTH / f"{name}.csv"
    columns = ("fname", "labels", "mids", *(["split"] if name == "dev" else []))
    clips = []
    for line, row in read_rows(table, columns):
        where = f"{table}, line {line}"
        labels = tuple(row["labels"].split(","))
        if len(labels) != len(row["mids"].split(",")):
            raise DataError(f"{where}: {row['labels']!r} and {row['mids']!r} differ in number.")
        clip = Clip(
            path=root / f"FSD50K.{name}_audio" / f"{row['fname']}.wav",
            labels=labels,
            split=_split(row["split"], where) if name == "dev" else "test",
            group=uploaders.get(row["fname"]),
            where=where,
        )
        clips.append(clip)
    return clips


def _split(name: str, where: str) -> str:
    if name not in SPLITS:
        raise DataError(f"{where}: split must be train or val, got {name!r}.")
    return SPLITS[name]


def _uploaders(root: Path) -> dict[str, str]:
    """Name of a clip to its uploader; empty without the metadata."""
    found = {}
    for name in ("dev", "eval"):
        path = root / METADATA / f"{name}_clips_info_FSD50K.json"
        if not path.is_file():
            continue
        try:
            clips = parse_json(path.read_bytes())
            found.update({fname: str(clip["uploader"]) for fname, clip in clips.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not FSD50K's metadata: expected clips by name, each with its uploader. "
                "Unpack FSD50K.metadata.zip again."
            ) from error
    return found
