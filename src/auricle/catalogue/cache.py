"""The files of public models: fetched once, checked, and taken from the cache ever after.

A model's folder holds its files and, written last, a receipt with size, time and SHA-256 of each.
A whole folder is used without a network; a file that changed since its receipt is refused. Where
the table knows no SHA-256, the first one that was fetched is the one that is kept to.
"""

import os
import sys
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from auricle import atomic
from auricle.catalogue.table import PublicModel, find, names
from auricle.config import Settings, from_dict, parse_json, to_json
from auricle.errors import CheckpointError, refused
from auricle.fetch import checksum
from auricle.fetch import fetch as fetch_file

CACHE_VARIABLE = "AURICLE_CACHE"
LICENSE_VARIABLE = "AURICLE_ACCEPT_LICENSE"
RECEIPT = "receipt.json"


class FileRecord(Settings):
    """What a file was when it was fetched."""

    bytes: int
    changed_ns: int  # time of its last change
    sha256: str


class Receipt(Settings):
    """What is in a folder of the cache, where it came from, and on what terms."""

    source: str
    license: str | None
    files: dict[str, FileRecord]


def cache_folder() -> Path:
    """The folder of all public models: `$AURICLE_CACHE`, or where the platform keeps caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_cache_path("auricle", False)


def is_cached(name: str) -> bool:
    """Whether the public model `name` can be used without a network."""
    return _receipt(_folder(name, find(name))) is not None


def rows() -> list[dict[str, Any]]:
    """The table as plain JSON values, a row for each model: its entry, name, address and state."""
    return [
        {
            "name": name,
            **find(name).to_dict(),
            "address": find(name).address,
            "size": find(name).size,
            "cached": is_cached(name),
        }
        for name in names()
    ]


def fetch(name: str) -> Path:
    """Path of the public model `name`, for `convert.read`: a folder, or a file of weights.

    What is in the cache is used as it is; what is not is fetched, its source and licence shown on
    stderr before.

    Raises:
        CheckpointError: no public model is called so, it has no public address, its licence forbids
            uses and was not accepted, or a file in the cache was changed.
        DownloadError: a file cannot be fetched, or is not what was published.
    """
    model = find(name)
    folder = _folder(name, model)
    receipt = _receipt(folder) or _fetch_all(name, model, folder)
    _check_unchanged(name, folder, receipt)
    return folder if model.is_on_hub else folder / model.files[-1].name


def _folder(name: str, model: PublicModel) -> Path:
    return cache_folder() / name / model.version


def _fetch_all(name: str, model: PublicModel, folder: Path) -> Receipt:
    if not model.files:
        raise CheckpointError(
            f"{name}: no public address of its weights is known. Ask for them at {model.address}, "
            "and give the path of the file instead of the name."
        )
    from filelock import FileLock  # Speed: what is in the cache needs none

    _check_license(name, model)
    advice = f" Choose another folder with the environment variable {CACHE_VARIABLE}."
    with refused(CheckpointError, f"{folder}: cannot be written to", advice):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of two processes the second finds what the first fetched
            receipt = _receipt(folder)
            if receipt is None:
                receipt = _fetch_files(name, model, folder)
                atomic.write_text(folder / RECEIPT, to_json(receipt.to_dict(), indent=2))
    return receipt


def _fetch_files(name: str, model: PublicModel, folder: Path) -> Receipt:
    print(
        f"{name}: fetching from {model.address} ({model.size}; licence of the weights: "
        f"{model.license or 'not stated'}) into {folder}",
        file=sys.stderr,
    )
    paths = [fetch_file(file, folder, f"put it into {folder}") for file in model.files]
    found = {path.name: _record(path) for path in paths}
    weights = found[paths[-1].name]
    if model.sha256 not in (None, weights.sha256):  # fetched files were checked: put there by hand
        raise CheckpointError(
            f"{paths[-1]}: is not the file that was published: sha256:{weights.sha256}, not "
            f"sha256:{model.sha256}. Delete it and run the same again."
        )
    return Receipt(source=model.address, license=model.license, files=found)


def _check_license(name: str, model: PublicModel) -> None:
    """Refuse a licence that forbids uses unless the user said that it was read."""
    if model.forbids is None or name in os.environ.get(LICENSE_VARIABLE, "").split(","):
        return
    raise CheckpointError(
        f"{name}: the licence of its weights ({model.license or 'not stated'}) forbids: "
        f"{model.forbids}; see {model.address}. Nothing was fetched. If your use is permitted, set "
        f"{LICENSE_VARIABLE}={name} and run the same again."
    )


def _receipt(folder: Path) -> Receipt | None:
    """The receipt of a folder that holds all of its files, or None."""
    try:
        receipt = from_dict(Receipt, parse_json((folder / RECEIPT).read_bytes()), RECEIPT)
    except (OSError, ValueError):
        return None
    return receipt if all((folder / file).is_file() for file in receipt.files) else None


def _check_unchanged(name: str, folder: Path, receipt: Receipt) -> None:
    for file, known in receipt.files.items():
        path = folder / file
        status = path.stat()
        # Speed: hashing a large model takes a second, so only where size or time are others.
        if (status.st_size, status.st_mtime_ns) == (known.bytes, known.changed_ns):
            continue
        found = _record(path).sha256
        if found != known.sha256:
            raise CheckpointError(
                f"{path}: was changed after it was fetched: sha256:{found}, not "
                f"sha256:{known.sha256}. Delete {folder} to fetch {name} again."
            )


def _record(path: Path) -> FileRecord:
    status = path.stat()
    digest = checksum(path).removeprefix("sha256:")
    return FileRecord(bytes=status.st_size, changed_ns=status.st_mtime_ns, sha256=digest)
