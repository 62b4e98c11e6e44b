"""Count what a teacher hears in a collection of sounds, and where the collection is thin.

    python scripts/sound_coverage.py OUT --teacher FOLDER [--page docs/results/sounds.md]

OUT is a folder of `collect_sounds.py`, FOLDER holds teacher.py and its weights. What was heard is
kept in OUT/heard.npz, so that later runs listen to new clips only. A clip counts for a label from
a probability of 0.3. OUT/heard.csv is the manifest with the label that is heard best in each clip,
by which `training.sampling` may weigh them; it is what a teacher says, not a truth. `--page` writes
the tables as Markdown, and all packages with their licences into packages.csv in a folder beside it
that is named like it.
"""

import argparse
import csv
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml
from numpy.typing import NDArray
from sound_tables import read_sources, write
from teacher_targets import CERTAIN, listen, load_module

from auricle.inference import ontology

ESC10 = Path(__file__).parents[1] / "src/auricle/label_maps/esc10.yaml"
SAMPLE_RATE = 32_000
SAVE_EVERY = 500
THIN = 10  # clips; a label with fewer counts as thin
KINDS_SHOWN, PACKAGES_SHOWN, LICENCES_SHOWN = 10, 40, 4
COLUMNS = ("registry", "package", "version", "clips", "minutes", "licences")
INTRODUCTION = """# The sounds that the tagger is distilled from

Recorded sound from packages of Debian 12, PyPI and npm (`scripts/sound_packages.csv` pins each
version), cut into clips of at most 10 s at 32 kHz, and sound made by `scripts/synthesise_sounds.py`
(formulas, SoundFonts, espeak-ng). No label was written by hand: a teacher, EfficientAT's mn04_as,
says what it hears, and below a clip counts for a label from a probability of 0.3. Copies are left
out, and so is every recording of which a part is a clip of ESC-10, as far as
`scripts/near_duplicates.py` finds it. A fifth of the clips is speech, so the words of SC-12's
training part, which could be used too, were left out. No audio is in this repository:

    python scripts/collect_sounds.py sounds --not-like DATA/esc10/audio
    python scripts/synthesise_sounds.py sounds
    python scripts/sound_coverage.py sounds --teacher TEACHER --page docs/results/sounds.md

Most of the recordings are of games: much speech, music, weapons and steps, little of a home or a
street. Rain, surf, helicopters, engines, chainsaws, fire and clocks are for a good part synthetic.
Splits never share a recording. `sounds/packages.csv` lists all packages with all their licences.
"""


@dataclass(frozen=True)
class Heard:
    """Rows of the manifest, and the teacher's probabilities (N, C) for its `labels`."""

    rows: list[dict[str, str]]
    seconds: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    labels: list[str]

    def clips(self, names: list[str]) -> int:
        """In how many clips at least one of the labels `names` is heard."""
        columns = [self.labels.index(name) for name in names]
        return int((self.probabilities[:, columns] > CERTAIN).any(axis=1).sum())


def main() -> None:
    """Read the arguments, listen to what is new, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the collection")
    parser.add_argument("--teacher", type=Path, required=True, help="folder with teacher.py")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    heard = hear(arguments.out, arguments.teacher)
    write_heard(arguments.out / "heard.csv", heard)
    sources = packages(arguments.out, heard)
    page = "\n".join([INTRODUCTION, *summary(heard), *largest(sources), *coverage(heard)])
    print(page)
    if arguments.page is not None:
        arguments.page.write_text(page + "\n", encoding="utf-8")
        write(arguments.page.with_suffix("") / "packages.csv", COLUMNS, sources)


def hear(out: Path, folder: Path) -> Heard:
    """What the teacher in `folder` hears in every clip of the manifest."""
    torch.set_num_threads(1)
    module = load_module(folder / "teacher.py")
    teacher = module.load_teacher(folder)
    store = out / "heard.npz"
    known: dict[str, NDArray[np.float16]] = {}
    who = digest_of(folder)
    if store.exists():
        with np.load(store) as file:
            if "teacher" not in file or str(file["teacher"]) != who:
                raise SystemExit(f"{store}: another teacher heard these sounds. Remove the file.")
            known = dict(zip(file["keys"].tolist(), file["probabilities"], strict=True))
    rows = read(out / "manifest.csv")
    # A clip that was made anew has another size.
    keys = [f"{row['path']}:{(out / row['path']).stat().st_size}" for row in rows]
    for count, (row, key) in enumerate(zip(rows, keys, strict=True)):
        if key not in known:
            logits, _ = listen(module, teacher, out / row["path"])
            known[key] = logits.sigmoid().half().numpy()
            if count % SAVE_EVERY == 0:
                _save(store, known, who)
    known = {key: known[key] for key in keys}
    _save(store, known, who)
    probabilities = np.stack([known[key] for key in keys]).astype(np.float32)
    seconds = [soundfile.info(out / row["path"]).frames / SAMPLE_RATE for row in rows]
    return Heard(rows, np.array(seconds), probabilities, list(teacher.labels))


def write_heard(path: Path, heard: Heard) -> None:
    """The manifest with the label that is heard best in each clip."""
    best = heard.probabilities.argmax(axis=1)
    labelled = zip(heard.rows, best, strict=True)
    rows = [tuple({**row, "labels": heard.labels[label]}.values()) for row, label in labelled]
    write(path, tuple(heard.rows[0]), rows)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summary(heard: Heard) -> list[str]:
    """Clips, hours and groups of each split."""
    lines = ["| split | clips | hours | recordings |", "| --- | ---: | ---: | ---: |"]
    splits = np.array([row["split"] for row in heard.rows])
    groups = np.array([row["group"] for row in heard.rows])
    for split in ("train", "validation", "test", "all"):
        chosen = np.full(len(splits), True) if split == "all" else splits == split
        hours, count = heard.seconds[chosen].sum() / 3600, len(set(groups[chosen]))
        lines.append(f"| {split} | {chosen.sum()} | {hours:.1f} | {count} |")
    return lines


def coverage(heard: Heard) -> list[str]:
    """Clips by the ten classes of ESC-10, by the kinds below the ontology's roots, thin labels."""
    lines = ["", "## The classes of ESC-10", "", "| class | clips |", "| --- | ---: |"]
    for name, labels in yaml.safe_load(ESC10.read_text(encoding="utf-8")).items():
        lines.append(f"| {name} | {heard.clips([labels] if isinstance(labels, str) else labels)} |")
    lines += ["", "## Kinds of sound", "", "| kind | clips | most heard labels |"]
    lines += ["| --- | ---: | --- |"]
    for kind in ontology.read().values():
        if not kind.parents:
            for below in kind.children:
                lines += _kind(heard, kind.name, ontology.read()[below])
    counts = {label: heard.clips([label]) for label in heard.labels}
    for title, low, high in (("none", 0, 1), (f"fewer than {THIN}", 1, THIN)):
        names = [label for label, count in counts.items() if low <= count < high]
        lines += ["", f"Labels with {title} ({len(names)}): {'; '.join(sorted(names))}."]
    return lines


def packages(out: Path, heard: Heard) -> list[tuple[str, ...]]:
    """Clips, minutes and licences of every package, the largest first; as `COLUMNS`."""
    sources = {row.clip: row for row in read_sources(out)}
    seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row, length in zip(heard.rows, heard.seconds, strict=True):
        source = sources[row["path"]]
        key = (source.registry, source.package, source.version, source.licence)
        seconds[key].append(length)
    return [
        (*key[:3], str(len(lengths)), f"{sum(lengths) / 60:.1f}", key[3])
        for key, lengths in sorted(seconds.items(), key=lambda item: -sum(item[1]))
    ]


def largest(sources: list[tuple[str, ...]]) -> list[str]:
    """The packages that bring most, and all registries, as a table."""
    lines = ["", "## Where it is from", "", "| registry | packages | clips | hours |"]
    lines += ["| --- | ---: | ---: | ---: |"]
    for registry in sorted({row[0] for row in sources}):
        rows = [row for row in sources if row[0] == registry]
        count, minutes = sum(int(row[3]) for row in rows), sum(float(row[4]) for row in rows)
        lines.append(f"| {registry} | {len(rows)} | {count} | {minutes / 60:.1f} |")
    lines += ["", "| package | version | clips | minutes | licences |"]
    lines += ["| --- | --- | ---: | ---: | --- |"]
    for _, *names, licence in sources[:PACKAGES_SHOWN]:
        lines.append(f"| {' | '.join(names)} | {shortened(licence)} |")
    return lines


def shortened(licences: str) -> str:
    """The first few of a list of licences."""
    names = licences.split("; ")
    more = f" and {len(names) - LICENCES_SHOWN} more" if len(names) > LICENCES_SHOWN else ""
    return ", ".join(names[:LICENCES_SHOWN]) + more


def _kind(heard: Heard, root: str, kind: ontology.Kind) -> list[str]:
    names = {each.name for each in _under(kind)} & set(heard.labels)
    if not names:
        return []
    counts = sorted(((heard.clips([name]), name) for name in names), reverse=True)
    most = "; ".join(f"{name} {count}" for count, name in counts[:KINDS_SHOWN] if count)
    return [f"| {root}: {kind.name} | {heard.clips(sorted(names))} | {most} |"]


def _under(kind: ontology.Kind) -> list[ontology.Kind]:
    below = [each for child in kind.children for each in _under(ontology.read()[child])]
    return [kind, *below]


def digest_of(folder: Path) -> str:
    """What tells one teacher's weights from another's."""
    weights = sorted(folder.glob("*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()


def _save(store: Path, known: dict[str, NDArray[np.float16]], who: str) -> None:
    beside = store.with_suffix(".part.npz")
    probabilities = np.stack(list(known.values()))
    np.savez(beside, keys=list(known), probabilities=probabilities, teacher=who)
    beside.replace(store)


if __name__ == "__main__":
    main()
