"""The tables of a collection of sounds: manifest.csv, and sources.csv with every clip's licence."""

import csv
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

SYNTHESIS = "synthesis"  # as a registry: what `synthesise_sounds.py` made
HELD_OUT = 0.035  # share of the groups in the test part; as many are for validation
MANIFEST = ("path", "labels", "group", "split", "source")


class Row(NamedTuple):
    """Where a clip comes from: a line of sources.csv."""

    clip: str
    file: str
    registry: str
    package: str
    version: str
    licence: str

    @property
    def group(self) -> str:
        """What clips of one recording share: fire.1.ogg and fire.22.wav may be parts of one.

        Three digits or more are numbers in a catalogue, and say nothing.
        """
        stem = re.sub(r"(?<!\d)\d{1,2}(?!\d)", "", str(Path(self.file).with_suffix("")))
        return f"{self.registry}/{self.package}/{stem}"


def split_of(group: str) -> str:
    """The split of all clips of a group: always the same, whatever else is collected."""
    share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
    return "test" if share < HELD_OUT else "validation" if share < 2 * HELD_OUT else "train"


def read_sources(out: Path) -> list[Row]:
    """The lines of sources.csv in the folder `out`; none if it is not there."""
    if not (out / "sources.csv").exists():
        return []
    with (out / "sources.csv").open(newline="", encoding="utf-8") as file:
        return [Row(**row) for row in csv.DictReader(file)]


def write_tables(out: Path, rows: list[Row], *, synthetic: bool) -> None:
    """Write both tables with `rows` in place of the recorded, or of the synthetic, clips."""
    others = [row for row in read_sources(out) if (row.registry == SYNTHESIS) != synthetic]
    rows = others + rows if synthetic else rows + others
    manifest = [
        (row.clip, "", row.group, split_of(row.group), f"{row.registry}:{row.package}")
        for row in rows
    ]
    write(out / "manifest.csv", MANIFEST, manifest)
    write(out / "sources.csv", Row._fields, rows)


def write(path: Path, names: tuple[str, ...], rows: list) -> None:
    """Write a CSV file with a line of names, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
