"""Speech Commands: all its words, twelve classes of them, and subsets of these.

Source: Warden 2018. Version 1 has 30 words, version 2 has 35, a folder each. What stands in
`validation_list.txt` or `testing_list.txt` is of that split, all else is trained on. The speaker is
the part of a name before `_nohash_`; the official lists never part one.

With twelve classes (TensorFlow's code for the paper) there are ten commands, `_unknown_` and
`_silence_`. To every split come unknown words and silence, a tenth of the number of its commands
each. Unknown words are drawn with a fixed seed from the clips of the other words in that split;
silence is background noise, cut so that no two splits share a sample. The official test archive,
where it is given or lies in the folder, takes the place of the test split.

A subset is a folder with `clips.csv` (path, label, speaker, split, word) and the sounds it lists;
the splits are those of the table, and a clip of silence has no speaker.

Shapes: S samples.
"""

import math
import random
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from auricle import audio
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest
from auricle.data.prepare.listing import Listing, Request, find_root
from auricle.data.reading import parse_split
from auricle.data.table import read_rows
from auricle.errors import DataError, DataWarning

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS_V1 = (
    *COMMANDS, *DIGITS,
    "bed", "bird", "cat", "dog", "happy", "house", "marvin", "sheila", "tree", "wow",
)  # fmt: skip
NEW_IN_V2 = ("backward", "follow", "forward", "learn", "visual")
UNKNOWN = "_unknown_"
SILENCE = "_silence_"
CLASSES = (*COMMANDS, UNKNOWN, SILENCE)
EXTRA_SHARE = 0.1  # of unknown words, and of silence, relative to the commands
SEED = 59185  # TensorFlow's
SAMPLE_RATE = 16_000  # Hz, of Speech Commands
# Of every recording, in time: the train split has its beginning, the others what follows.
PARTS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
SUBSET_TABLE = "clips.csv"


@dataclass(frozen=True)
class Version:
    """One of the two releases."""

    number: int
    words: tuple[str, ...]
    num_clips: int  # in its archive, all words


V1 = Version(1, WORDS_V1, 64_721)
V2 = Version(2, (*WORDS_V1, *NEW_IN_V2), 105_829)


def list_all(request: Request, version: Version) -> Listing:
    """The clips of all words, as `list_words`, with a note of those that are missing."""
    manifest = list_words(request.folder, version)
    return Listing(manifest, tuple(missing_clips(manifest, version)))


def list_words(folder: Path, version: Version) -> Manifest:
    """Every clip of a word, labelled with it; official splits, groups are speakers.

    Raises:
        DataError: a list or a word is missing, a list names clips that are not there, or it is the
            other version.
    """
    root = find_root(folder, LISTS["test"])
    present = _find(root, version)
    split_of = {
        name: split for split in LISTS for name in _read_list(root / LISTS[split], root, present)
    }
    clips = [
        Clip(
            path=root / name,
            labels=(name.partition("/")[0],),
            split=split_of.get(name, "train"),
            group=speaker_of(name),
            where=str(root / name),
        )
        for name in present
    ]
    return Manifest(root, tuple(clips))


def missing_clips(manifest: Manifest, version: Version) -> list[str]:
    """A note for the user if there are fewer clips than in the archive."""
    present = len(manifest.clips)
    if present >= version.num_clips:
        return []
    splits = Counter(clip.split for clip in manifest.clips)
    counts = ", ".join(f"{splits[name]} {name}" for name in ("train", "validation", "test"))
    return [
        f"{present} of the {version.num_clips} clips of version {version.number} are there "
        f"({counts}); the others are missing"
    ]


def speaker_of(name: str) -> str | None:
    """`bed/0a7c2a8d_nohash_1.wav` to `0a7c2a8d`; None for a name of another form.

    In the test archives the unknown words stand before the speaker: `bed_0a7c2a8d_nohash_1.wav`.
    """
    before, mark, _ = name.rpartition("/")[2].partition("_nohash_")
    return before.rpartition("_")[2] if mark else None


def _find(root: Path, version: Version) -> dict[str, None]:
    """The sounds of all words as `word/file`, in order; a dictionary for its order and speed."""
    absent = [word for word in version.words if not (root / word).is_dir()]
    if absent:
        raise DataError(
            f"{root}: {len(absent)} of the {len(version.words)} words of version {version.number} "
            f"are missing: {', '.join(absent)}. {_other_version(absent)}"
        )
    if version is V1 and (root / NEW_IN_V2[0]).is_dir():
        raise DataError(
            f"{root}: is version 2, which has the word {NEW_IN_V2[0]!r}; choose a name with v2."
        )
    files = (path for word in sorted(version.words) for path in sorted((root / word).glob("*.wav")))
    return dict.fromkeys(f"{path.parent.name}/{path.name}" for path in files)


def _other_version(absent: list[str]) -> str:
    if set(absent) == set(NEW_IN_V2):
        return "This is version 1; choose a name with v1."
    return "Unpack the archive again."


def _read_list(path: Path, root: Path, present: dict[str, None]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read. It belongs to the archive; unpack it again."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    missing = [name for name in names if name not in present]
    if missing:
        raise DataError(
            f"{root}: {len(missing)} of the {len(names)} clips that {path.name} lists are missing, "
            f"the first is {missing[0]}. Unpack the archive again."
        )
    return names


def list_12(request: Request, version: Version) -> Listing:
    """The clips of the twelve classes."""
    words = list_words(request.folder, version)
    archive = _test_folder(request, words.source, version)
    splits = ("train", "validation") if archive else ("train", "validation", "test")
    commands = [clip for clip in words.clips if clip.labels[0] in COMMANDS and clip.split in splits]
    counts = Counter(clip.split for clip in commands)
    extra = {split: math.ceil(EXTRA_SHARE * counts[split]) for split in splits}
    folder = request.out.with_name(f"{request.out.stem}_silence")
    clips = [
        *commands,
        *_draw_unknown(words.clips, extra),
        *cut_silence(words.source / "_background_noise_", extra, folder),
        *(_list_archive(archive) if archive else []),
    ]
    notes = [*missing_clips(words, version), f"clips of silence were written to {folder}"]
    notes.append(f"the test split is {f'the archive {archive}' if archive else 'testing_list.txt'}")
    return Listing(Manifest(words.source, tuple(clips)), tuple(notes))


def _test_folder(request: Request, root: Path, version: Version) -> Path | None:
    if request.test_folder is not None:
        return request.test_folder
    name = f"speech_commands_test_set_v0.0{version.number}"
    inside = [folder / name for folder in (root, request.folder)]
    return next((folder for folder in inside if folder.is_dir()), None)


def _draw_unknown(clips: Sequence[Clip], counts: dict[str, int]) -> list[Clip]:
    """As many clips of other words as `counts` gives each split; all where there are fewer."""
    drawn = []
    for split, count in counts.items():
        others = [c for c in clips if c.split == split and c.labels[0] not in COMMANDS]
        drawn += random.Random(SEED).sample(others, min(count, len(others)))
    return [replace(clip, labels=(UNKNOWN,)) for clip in drawn]


def _list_archive(folder: Path) -> list[Clip]:
    """The clips of the test archive: a folder per class."""
    absent = [name for name in CLASSES if not (folder / name).is_dir()]
    if absent:
        raise DataError(
            f"{folder}: {len(absent)} of the {len(CLASSES)} class folders of the test archive are "
            f"missing: {', '.join(absent)}. Unpack the archive again."
        )
    warnings.warn(
        f"{folder}: its clips of silence may come from the recordings that those of the other "
        "splits are cut from. Look at the scores without _silence_, too.",
        DataWarning,
        stacklevel=2,
    )
    return [
        Clip(path, (name,), split="test", group=speaker_of(path.name), where=str(path))
        for name in CLASSES
        for path in audio.find_sounds([folder / name])
    ]


def cut_silence(noise: Path, counts: dict[str, int], folder: Path) -> list[Clip]:
    """Write one-second clips of the recordings in `noise` to `folder`.

    Args:
        counts: clips by split. They are spread evenly over the recordings, and in each over the
            split's part of it; clips of one split may overlap.

    Raises:
        DataError: there is no recording, or one is too short for a second in every part, or
            `folder` cannot be written to.
    """
    recordings = sorted(noise.glob("*.wav"))
    if not recordings:
        raise DataError(
            f"{noise}: there are no recordings of background noise (*.wav). "
            "They belong to the archive; unpack it again."
        )
    clips = []
    for index, recording in enumerate(recordings):
        waveform = audio.load(recording, SAMPLE_RATE)
        for split, count in counts.items():
            share = len(range(index, count, len(recordings)))
            starts = _starts(recording, len(waveform), split, share)
            clips += [_write(waveform, start, recording, split, folder) for start in starts]
    return clips


def _starts(recording: Path, size: int, split: str, count: int) -> list[int]:
    """First samples of the clips of a split, `count` of them if the part is long enough."""
    first, end = (round(share * size) for share in PARTS[split])
    last = end - SAMPLE_RATE
    if last < first:
        raise DataError(
            f"{recording}: {size / SAMPLE_RATE:.1f} s are too few to give each split a second of "
            "its own; 10 s are needed."
        )
    return sorted(set(np.linspace(first, last, count).round().astype(int).tolist()))


def _write(waveform: Tensor, start: int, recording: Path, split: str, folder: Path) -> Clip:
    path = folder / f"{split}_{recording.stem}_{start}.wav"
    samples = (audio.crop(waveform, start, SAMPLE_RATE) * 2**15).round()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # As 16-bit numbers, because soundfile's own conversion would change them by one step.
        soundfile.write(path, samples.clamp(-(2**15), 2**15 - 1).to(torch.int16), SAMPLE_RATE)
    except (OSError, soundfile.SoundFileError) as error:
        raise DataError(f"{path}: cannot be written ({error}).") from error
    group = f"{recording.stem}, part for {split}"
    return Clip(path, (SILENCE,), split=split, group=group, where=str(path))


def list_subset(request: Request) -> Listing:
    """The clips of the data set: label from `label`, group from `speaker`.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    table = request.folder / SUBSET_TABLE
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
