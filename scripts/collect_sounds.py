"""Collect freely licensed recorded sounds from packages, to distil from a teacher.

    python scripts/collect_sounds.py OUT --not-like DATA/esc10/audio

Needs apt, dpkg, pip and npm, about 20 GB and an hour or two. Writes OUT/clips (FLAC of 16 bits,
mono, 32 kHz, at most 10 s each; what was recorded at a lower rate is resampled),
OUT/manifest.csv (path, labels, group, split, source; no labels: a teacher says what it hears) and
OUT/sources.csv (clip, file, registry, package, version, licence: all that the package states, code
and fonts included, since it names files of its source, not its own). A further run adds packages
that are new in the list. Copies and near copies are left out, and so is every file of which a part
is one of the recordings in the folder of `--not-like`, with all files that are named alike. More
than `--may-miss` packages that cannot be had are an error, after the others were collected.
"""

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
from near_duplicates import SAMPLE_RATE as NARROW_RATE
from near_duplicates import Pictures, Recordings, Waveform, digest
from sound_packages import SOUND, Package, check_clients, fetch, licences, listed, unpack
from sound_tables import SYNTHESIS, Row, read_sources, write_tables

SAMPLE_RATE = 32_000
PIECE_SECONDS = 10.0
SHORTEST_SECONDS = 0.3
MAX_PIECES = 30
MUSIC = re.compile(r"music|soundtrack|/moh/|[/_-]theme|/(songs?|tracks?)[/0-9]", re.IGNORECASE)
MUSIC_PIECES = 4  # there is enough of it
QUIETEST = 10 ** (-60 / 20)  # root mean square of what counts as sound


@dataclass
class Collection:
    """What was kept so far, and why the rest was not."""

    out: Path
    known: Recordings
    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    pictures: Pictures = field(default_factory=Pictures)
    found: dict[int, int] = field(default_factory=dict)  # row: known recording
    dropped: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Read the arguments, collect, and say what came of it."""
    arguments = read_arguments()
    check_clients()
    paths = sorted(arguments.not_like.rglob("*.flac"))
    collection = Collection(arguments.out, read_known(paths, arguments.not_like))
    compared, listed_now = arguments.out / "not_like", digests(paths)
    is_new = not compared.exists() or compared.read_text() != listed_now
    missing = collect(collection, resume(collection, compares=is_new))
    write_wanted(collection)  # also where no package is new, but a known recording is
    remove_others(collection)
    compared.write_text(listed_now)  # last: a run that is broken off compares again
    for row, known in collection.found.items():
        print(f"left out with its family: {collection.rows[row].file}, part is {paths[known].name}")
    hours = sum(np.array(collection.seconds)[wanted(collection)]) / 3600
    print(f"{hours:.1f} hours; not kept: {dict(collection.dropped)}")
    check_missing(missing, arguments.may_miss)


def read_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for everything")
    parser.add_argument("--not-like", type=Path, required=True, help="folder of test recordings")
    parser.add_argument(
        "--may-miss", type=int, default=20, help="packages that may fail (default: 20)"
    )
    return parser.parse_args()


def collect(collection: Collection, done: Container[tuple[str, str, str]]) -> list[str]:
    """Add package by package, and write the tables after each; returns those that failed.

    Args:
        done: registry, name and version of those that were added before.
    """
    missing = []
    for package in listed():
        if (package.registry, package.name, package.version) in done:
            continue
        before = len(collection.rows)
        try:
            archive = fetch(package, collection.out / "packages")
            folder = collection.out / "files" / package.registry / package.name
            unpack(archive, folder)
        except OSError as error:
            print(f"left out: {error}", flush=True)
            missing.append(package.name)
            continue
        add_package(collection, package, folder)
        print(f"{package.name}: {len(collection.rows) - before} clips", flush=True)
        write_wanted(collection)
    return missing


def check_missing(missing: list[str], may_miss: int) -> None:
    """Refuse to call a collection done that lacks many packages.

    Raises:
        SystemExit: naming them.
    """
    if len(missing) > may_miss:
        raise SystemExit(
            f"{len(missing)} packages cannot be had: {', '.join(missing)}. A further run tries "
            f"them again; --may-miss {len(missing)} goes on without them."
        )


def digests(paths: list[Path]) -> str:
    """What tells one list of known recordings from another."""
    return "\n".join(sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths))


def resume(collection: Collection, compares: bool = False) -> set[tuple[str, str, str]]:
    """Take up what an earlier run collected, and say of which packages and versions.

    Args:
        compares: look for the known recordings in these clips, too.
    """
    for row in read_sources(collection.out):
        if row.registry != SYNTHESIS:
            piece, _ = soundfile.read(collection.out / row.clip, dtype="float32")
            narrow = resample(piece, SAMPLE_RATE, NARROW_RATE)
            collection.digests.add(digest(narrow))
            collection.pictures.is_new(narrow)
            if compares and (known := collection.known.find(narrow)) is not None:
                collection.found[len(collection.rows)] = known
            collection.seconds.append(len(piece) / SAMPLE_RATE)
            collection.rows.append(row)
    return {(row.registry, row.package, row.version) for row in collection.rows}


def read_known(paths: list[Path], folder: Path) -> Recordings:
    """Fingerprints of the recordings that nothing may be like.

    Raises:
        SystemExit: there is none.
    """
    if not paths:
        raise SystemExit(f"{folder}: no FLAC files to compare with.")
    sounds = (soundfile.read(path, dtype="float32") for path in paths)
    return Recordings([resample(waveform, rate, NARROW_RATE) for waveform, rate in sounds])


def add_package(collection: Collection, package: Package, folder: Path) -> None:
    """Cut every sound file of a package and add the pieces that are new and not silent."""
    origin = (package.registry, package.name, package.version, licences(folder))
    for path in choose(sorted(folder.rglob("*")), package.most):
        name = str(path.relative_to(folder))
        most = MUSIC_PIECES if MUSIC.search(name) else MAX_PIECES
        for number, (piece, rate) in enumerate(read_pieces(path, most, collection.dropped)):
            stem = hashlib.sha256(f"{package.name}/{name}".encode()).hexdigest()[:10]
            clip = f"clips/{package.name}/{stem}_{number:02d}.flac"
            add_piece(collection, Row(clip, name, *origin), resample(piece, rate, SAMPLE_RATE))


def choose(paths: list[Path], most: int | None) -> list[Path]:
    """Sound files among `paths`; if there are more than `most`, evenly spread ones."""
    sounds = [path for path in paths if path.is_file() and SOUND.search(path.name)]
    if most is None or len(sounds) <= most:
        return sounds
    return [sounds[index * len(sounds) // most] for index in range(most)]


def read_pieces(path: Path, most: int, dropped: Counter[str]) -> Iterator[tuple[Waveform, int]]:
    """Pieces of a file in mono at its own rate; a file that is not readable is counted."""
    try:
        with soundfile.SoundFile(path) as file:
            for start, end in cut(file.frames, round(PIECE_SECONDS * file.samplerate), most):
                file.seek(start)
                piece = file.read(end - start, dtype="float32", always_2d=True)
                if len(piece) >= SHORTEST_SECONDS * file.samplerate:
                    yield piece.mean(axis=1), file.samplerate
    except soundfile.LibsndfileError:
        dropped["unreadable files"] += 1


def cut(length: int, piece: int, most: int) -> list[tuple[int, int]]:
    """Starts and ends of at most `most` pieces of `length` samples, spread over all of it.

    What is shorter than one piece stays whole; a rest shorter than half a piece is left out.
    """
    count = max((length + piece // 2) // piece, 1)
    chosen = [index * count // min(count, most) for index in range(min(count, most))]
    return [(index * piece, min((index + 1) * piece, length)) for index in chosen]


def add_piece(collection: Collection, row: Row, piece: Waveform) -> bool:
    """Write a piece unless it is silent, a copy or nearly one; whether it was written."""
    narrow = resample(piece, SAMPLE_RATE, NARROW_RATE)
    if np.sqrt(np.mean(narrow**2)) < QUIETEST:
        collection.dropped["silent pieces"] += 1
        return False
    key = digest(narrow)
    if key in collection.digests:
        collection.dropped["copies"] += 1
        return False
    collection.digests.add(key)
    if not collection.pictures.is_new(narrow):
        collection.dropped["near copies"] += 1
        return False
    known = collection.known.find(narrow)
    if known is not None:
        collection.found[len(collection.rows)] = known
    collection.seconds.append(len(piece) / SAMPLE_RATE)
    collection.rows.append(row)
    save(collection.out / row.clip, piece, SAMPLE_RATE)
    return True


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """soxr at high quality, held within full scale."""
    return np.clip(soxr.resample(waveform, from_rate, to_rate, "HQ"), -1, 1)


def save(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Write a FLAC file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, sample_rate, subtype="PCM_16")


def wanted(collection: Collection) -> np.ndarray:
    """Whether each clip is of another family than every known recording found, (N,)."""
    families = {collection.rows[index].group for index in collection.found}
    return np.array([row.group not in families for row in collection.rows], dtype=bool)


def write_wanted(collection: Collection) -> None:
    """Write the tables of the clips that are wanted."""
    kept = [collection.rows[row] for row in np.flatnonzero(wanted(collection))]
    write_tables(collection.out, kept, synthetic=False)


def remove_others(collection: Collection) -> None:
    """Delete the clips that are not wanted."""
    for row, is_wanted in zip(collection.rows, wanted(collection), strict=True):
        if not is_wanted:
            (collection.out / row.clip).unlink()
            collection.dropped["related to known recordings"] += 1


if __name__ == "__main__":
    main()
