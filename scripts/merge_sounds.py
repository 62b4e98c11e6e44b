"""Merge collections of sounds into one manifest whose validation and test hold out whole sources.

    python scripts/merge_sounds.py OUT --collection FOLDER --folder SOUNDS \
        --not-like DATA/esc10/audio --not-like-table DATA/speech_commands_12/clips.csv \
        --teacher MODEL

OUT/manifest.csv lists all clips: path, labels (what the teacher finds likeliest, by which
`training.sampling` weighs them: no truth), group, split, source. A source is a package, a
repository, or a synthesiser. In this order:

1. Clips that share a recording with one that is never to be trained on are left out, with their
   group (`near_duplicates.py`).
2. About a tenth of the hours each are held out for validation and for test, in whole sources, so
   that both have as many hours of each kind of sound as their share says, as nearly as many random
   draws find. Synthetic sound, and sources of more than `LARGEST` of all, are always trained on.
3. Clips of held-out sources that share a recording with a clip outside their part are left out.

The rest, logits and fingerprints, is kept in OUT, so that a further run is quick.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from near_duplicates import Fingerprints, read_narrow
from numpy.typing import NDArray
from sound_tables import MANIFEST, SYNTHESIS, write

from auricle import audio, inference
from auricle.checkpoint import Checkpoint
from auricle.inference import ontology

HELD_OUT = 0.1  # share of the hours of validation, and of test
LARGEST = 0.04  # share of the hours from which on a source is always trained on
DRAWS = 20_000  # divisions of the sources that the best is chosen of
LIKELY = 0.2  # probability from which on a clip counts for a kind
REPORT_EVERY = 2000


@dataclass(frozen=True)
class Sound:
    """A clip: where it is, which recording it is a part of, and who published it."""

    path: Path
    group: str
    source: str
    seconds: float

    @property
    def is_synthetic(self) -> bool:
        """Whether a script of this project made it."""
        return self.source.startswith(f"{SYNTHESIS}:")


def main() -> None:
    """Read the arguments, merge, divide, and print what came of it."""
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    sounds = [*read_collection(arguments.collection), *read_folder(arguments.folder)]
    print(f"{len(sounds)} clips, {hours(sounds):.1f} hours", flush=True)
    prints = fingerprints([sound.path for sound in sounds], "fingerprints", arguments.out)
    known = known_recordings(arguments.not_like, arguments.not_like_table)
    tested = fingerprints(known, "known recordings", arguments.out)
    found = {first: known[second] for first, second, _ in prints.pairs(tested)}
    report_found(sounds, found, arguments.out)
    groups = {sounds[index].group for index in found}
    kept = [index for index, sound in enumerate(sounds) if sound.group not in groups]
    logits, labels = teacher_logits(sounds, arguments.teacher, arguments.out)
    probabilities = torch.from_numpy(logits).float().sigmoid().numpy()
    splits = divide(
        [sounds[index] for index in kept], kinds_of(probabilities[kept], labels), arguments.seed
    )
    split_of = {index: splits[sounds[index].source] for index in kept}
    shared = across(shared_recordings(prints, split_of), split_of)
    rows = [
        (
            str(sounds[index].path),
            labels[int(logits[index].argmax())],
            sounds[index].group,
            split,
            sounds[index].source,
        )
        for index, split in split_of.items()
        if index not in shared
    ]
    write(arguments.out / "manifest.csv", MANIFEST, rows)
    summary(sounds, split_of, shared)


def read_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--collection", type=Path, required=True, help="of collect_sounds.py")
    parser.add_argument("--folder", type=Path, required=True, help="sounds with a clips.csv")
    parser.add_argument("--not-like", type=Path, required=True, help="folder of test recordings")
    parser.add_argument(
        "--not-like-table", type=Path, required=True, help="clips.csv whose test split is known"
    )
    parser.add_argument("--teacher", required=True, help="name or path of a checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_collection(folder: Path) -> list[Sound]:
    """The clips of `collect_sounds.py` and `synthesise_sounds.py`."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [
            _sound(folder / row["path"], row["group"], row["source"])
            for row in csv.DictReader(file)
        ]


def read_folder(folder: Path) -> list[Sound]:
    """The clips of a folder whose clips.csv names repository and recording of each."""
    with (folder / "clips.csv").open(newline="", encoding="utf-8") as file:
        return [
            Sound(
                (folder / row["path"]).resolve(),
                f"{row['repository']}/{row['recording_group']}",
                f"github:{row['repository']}",
                float(row["seconds"]),
            )
            for row in csv.DictReader(file)
        ]


def _sound(path: Path, group: str, source: str) -> Sound:
    information = soundfile.info(path)
    return Sound(path.resolve(), group, source, information.frames / information.samplerate)


def known_recordings(folder: Path, table: Path) -> list[Path]:
    """The sounds in `folder`, and those of the test split of `table`."""
    with table.open(newline="", encoding="utf-8") as file:
        tested = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return [*sorted(folder.rglob("*.flac")), *(table.parent / row["path"] for row in tested)]


def fingerprints(paths: list[Path], name: str, out: Path) -> Fingerprints:
    """The fingerprints of sounds, from an earlier run where it had the same."""
    store = out / f"{name.replace(' ', '_')}.npz"
    if store.exists():
        with np.load(store) as file:
            if file["paths"].tolist() == list(map(str, paths)):
                return Fingerprints.restore(file)
    prints = Fingerprints()
    for count, path in enumerate(paths):
        prints.add(read_narrow(path))
        if count % REPORT_EVERY == 0:
            print(f"{name}: {count} of {len(paths)}", flush=True)
    stored: dict[str, Any] = prints.stored()
    np.savez(store, paths=list(map(str, paths)), **stored)
    return prints


def report_found(sounds: list[Sound], found: dict[int, Path], out: Path) -> None:
    """Write and count the clips that share a recording with a known one."""
    with (out / "not_like.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows((sounds[index].path, known) for index, known in found.items())
    print(f"{len(found)} clips share a recording with one that is tested on", flush=True)


def teacher_logits(
    sounds: list[Sound], name: str, out: Path
) -> tuple[NDArray[np.float16], list[str]]:
    """The teacher's logits (N, C) for each clip; those of an earlier run are taken from it."""
    teacher = inference.resolve(name).eval()
    store, known = out / "logits.npz", {}
    if store.exists():
        with np.load(store) as file:
            known = dict(zip(file["paths"].tolist(), file["logits"], strict=True))
    for count, sound in enumerate(sounds):
        if str(sound.path) not in known:
            known[str(sound.path)] = _logits(teacher, sound.path)
        if count % REPORT_EVERY == REPORT_EVERY - 1:
            print(f"teacher: {count + 1} of {len(sounds)}", flush=True)
            np.savez(store, paths=list(known), logits=np.stack(list(known.values())))
    np.savez(store, paths=list(known), logits=np.stack(list(known.values())))
    return np.stack([known[str(sound.path)] for sound in sounds]), teacher.labels


@torch.no_grad()
def _logits(teacher: Checkpoint, path: Path) -> NDArray[np.float16]:
    rate = teacher.config.front_end.sample_rate
    waveform = audio.load(path, rate)[: 10 * rate]
    shortest = rate // 10
    waveform = torch.nn.functional.pad(waveform, (0, max(0, shortest - len(waveform))))
    return teacher.logits(waveform[None])[0].half().numpy()


def kinds_of(probabilities: NDArray[np.float32], labels: list[str]) -> NDArray[np.float32]:
    """Whether each clip (N) is of each kind (K): a branch below the roots of the ontology."""
    tree = ontology.read()
    columns = []
    for root in tree.values():
        for below in () if root.parents else root.children:
            names = _under(tree, below)
            chosen = [index for index, label in enumerate(labels) if label in names]
            if chosen:
                columns.append((probabilities[:, chosen] >= LIKELY).any(axis=1))
    return np.stack(columns, axis=1).astype(np.float32)


def _under(tree: dict[str, ontology.Kind], key: str) -> set[str]:
    return {tree[key].name}.union(*(_under(tree, child) for child in tree[key].children))


def divide(sounds: list[Sound], kinds: NDArray[np.float32], seed: int) -> dict[str, str]:
    """The split of each source: of many random divisions the one whose parts are most alike.

    What counts is how far the hours of validation and of test, in all and of each kind, are from
    their share, as squared differences of roots: a kind with few hours counts, but less.
    """
    seconds = np.array([sound.seconds for sound in sounds])
    names = sorted({sound.source for sound in sounds})
    place = {name: index for index, name in enumerate(names)}
    table = np.zeros((len(names), kinds.shape[1] + 1))
    for sound, row, length in zip(sounds, kinds, seconds, strict=True):
        table[place[sound.source], :-1] += length * row
        table[place[sound.source], -1] += length
    fixed = {sound.source for sound in sounds if sound.is_synthetic}
    movable = [
        index
        for index, name in enumerate(names)
        if name not in fixed and table[index, -1] <= LARGEST * seconds.sum()
    ]
    if len(movable) < 3:
        sys.exit("Too few sources to hold some of them out: validation would be like training.")
    target = np.sqrt(HELD_OUT * table.sum(axis=0))
    weights = np.append(np.full(kinds.shape[1], 1.0), 10.0)
    best, least = np.zeros(len(names), dtype=int), np.inf
    generator = np.random.default_rng(seed)
    for _ in range(DRAWS):
        parts = np.zeros(len(names), dtype=int)
        order = generator.permutation(movable)
        ends = np.cumsum(table[order, -1]) / seconds.sum()
        first, second = np.searchsorted(ends, [HELD_OUT, 2 * HELD_OUT])
        parts[order[:first]], parts[order[first:second]] = 1, 2
        cost = sum(
            float((weights * (np.sqrt(table[parts == part].sum(axis=0)) - target) ** 2).sum())
            for part in (1, 2)
        )
        if cost < least:
            best, least = parts, cost
    return {name: ("train", "validation", "test")[best[place[name]]] for name in names}


def shared_recordings(prints: Fingerprints, split_of: dict[int, str]) -> list[tuple[int, int]]:
    """Pairs of a held-out clip and any other that share a recording."""
    everything = list(split_of)
    held = [index for index in everything if split_of[index] != "train"]
    pairs = prints.subset(held).pairs(prints.subset(everything))
    named = ((held[first], everything[second]) for first, second, _ in pairs)
    return [pair for pair in named if pair[0] != pair[1]]


def across(pairs: Iterable[tuple[int, int]], split_of: dict[int, str]) -> set[int]:
    """Held-out clips that share a recording with a clip of another part.

    The clip of validation is left out where the other is trained on, that of test in any case.
    """
    order = ("train", "validation", "test")
    dropped = set()
    for pair in pairs:
        if all(index in split_of for index in pair):
            first, second = sorted(pair, key=lambda index: order.index(split_of[index]))
            if split_of[first] != split_of[second]:
                dropped.add(second)
    return dropped


def hours(sounds: Iterable[Sound]) -> float:
    """Their length together."""
    return sum(sound.seconds for sound in sounds) / 3600


def summary(sounds: list[Sound], split_of: dict[int, str], shared: set[int]) -> None:
    """Print clips, hours and sources of each part."""
    print(f"{len(shared)} held-out clips left out: they share a recording with another part")
    for split in ("train", "validation", "test"):
        chosen = [
            sounds[index]
            for index, part in split_of.items()
            if part == split and index not in shared
        ]
        lengths: defaultdict[str, float] = defaultdict(float)
        for sound in chosen:
            lengths[sound.source] += sound.seconds / 60
        most = sorted(lengths.items(), key=lambda item: -item[1])[:8]
        largest = ", ".join(f"{name} {minutes:.0f} min" for name, minutes in most)
        print(f"{split}: {len(chosen)} clips, {hours(chosen):.2f} hours, {len(lengths)} sources")
        print(f"  {largest}")


if __name__ == "__main__":
    main()
