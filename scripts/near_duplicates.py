"""Find sounds that share a recording, whether cut, recoded, resampled, or played a little faster.

    python scripts/near_duplicates.py --recall FOLDER [--clips 200] [--seed 0]

prints how many copies of clips in FOLDER are found after each of several changes, and how many
pairs of clips of different folders in it are taken for one recording.

A clip is described around its onsets, so that a copy that is cut elsewhere is described at the same
moments: 0.4 s of band levels, without each band's mean and each moment's, as the low orders
of a cosine transform. What matches is then compared band by band over up to two seconds.

Shapes: N clips, T frames, B bands, A onsets, D numbers of a description, S samples at 16 kHz.
"""

import argparse
import hashlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
import soundfile
import soxr
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
Levels = NDArray[np.float32]  # (T, B)

SAMPLE_RATE = 16_000
FRAME, HOP = 1024, 256  # 64 and 16 ms
BANDS, LOWEST_HZ, HIGHEST_HZ = 32, 100.0, 5000.0  # what an 11 kHz copy still holds
FLOOR = 1e-5  # of the loudest moment of a band's clip: 50 dB below it
REACH = 4  # frames to either side in which an onset is the steepest: eight a second at most
BEFORE, WINDOW = 3, 24  # frames of a description before its onset, and of all of it
ORDERS = (12, 9)  # of the cosine transform: over the bands, and over time
ALIKE = 0.88  # product of two descriptions from which on the clips are compared
AROUND = 62  # frames to either side of an onset that are compared: a second
JITTER = 2  # frames by which onsets of copies may be apart
LEAST_FRAMES = 24  # that two clips must share, or all of them, to be one recording
LEAST_CHANGE = 0.15  # deviation of the levels (natural logarithm of power): a steady tone has none
# Correlation of the levels of one recording, and by how much it may be less without the largest
# component. Of copies it is 0.75 and more with and without it; of strangers without it 0.3 at most.
SAME, DETAIL = 0.7, 0.15
TILE = 512, 4096  # descriptions of either side that are compared at once: what a cache holds
TWIN = 0.99  # correlation of coarse pictures of two clips that start together


@dataclass
class Fingerprints:
    """Descriptions of clips, to find those that share a recording."""

    levels: list[NDArray[np.float16]] = field(default_factory=list)
    onsets: list[NDArray[np.int32]] = field(default_factory=list)
    descriptions: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, waveform: Waveform) -> None:
        """Describe one more clip, (S,)."""
        levels = band_levels(waveform)
        onsets = find_onsets(levels)
        self.levels.append(levels.astype(np.float16))
        self.onsets.append(onsets)
        self.descriptions.append(describe(levels, onsets))

    def stored(self) -> dict[str, NDArray[np.generic]]:
        """Arrays to save, from which `restore` makes the same."""
        return {
            "levels": np.concatenate(self.levels),
            "frames": np.array([len(each) for each in self.levels]),
            "onsets": np.concatenate(self.onsets),
            "counts": np.array([len(each) for each in self.onsets]),
            "descriptions": np.concatenate(self.descriptions),
        }

    @classmethod
    def restore(cls, stored: Mapping[str, NDArray[Any]]) -> "Fingerprints":
        """The fingerprints that gave `stored`."""
        by_clip = np.cumsum(stored["counts"])[:-1]
        return cls(
            np.split(stored["levels"], np.cumsum(stored["frames"])[:-1]),
            np.split(stored["onsets"], by_clip),
            np.split(stored["descriptions"], by_clip),
        )

    def subset(self, chosen: Sequence[int]) -> "Fingerprints":
        """The fingerprints of some of the clips, in this order."""
        return Fingerprints(
            [self.levels[index] for index in chosen],
            [self.onsets[index] for index in chosen],
            [self.descriptions[index] for index in chosen],
        )

    def pairs(self, others: "Fingerprints") -> Iterator[tuple[int, int, float]]:
        """Clips of these and of `others` that share a recording, and how alike they are.

        Compared with themselves, each pair comes once, the earlier clip first.
        """
        ours, theirs = self._owners(), others._owners()
        if not len(ours) or not len(theirs):
            return
        seen: set[tuple[int, int]] = set()
        for rows, columns, products in _candidates(
            np.concatenate(self.descriptions), np.concatenate(others.descriptions)
        ):
            keys = np.stack([ours[rows], theirs[columns], rows, columns], axis=1)
            chosen = keys[:, 0] < keys[:, 1] if others is self else slice(None)
            for first, second, alike in self._confirmed(keys[chosen], products[chosen], others):
                if (first, second) not in seen:
                    seen.add((first, second))
                    yield first, second, alike

    def _owners(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.onsets)), [len(each) for each in self.onsets])

    def _confirmed(
        self, keys: NDArray[np.int64], products: NDArray[np.float32], others: "Fingerprints"
    ) -> Iterator[tuple[int, int, float]]:
        """Of the candidates the pairs that are alike over a longer time, each once, best first."""
        order = np.lexsort((-products, keys[:, 1], keys[:, 0]))
        places, theirs = np.concatenate(self.onsets), np.concatenate(others.onsets)
        tries, last, done = 0, (-1, -1), False
        for first, second, row, column in keys[order].tolist():
            if (first, second) != last:
                tries, last, done = 0, (first, second), False
            tries += 1
            if done or tries > 4:
                continue
            alike = likeness(
                self.levels[first], int(places[row]), others.levels[second], int(theirs[column])
            )
            if alike > SAME:
                done = True
                yield first, second, alike


def _candidates(
    ours: NDArray[np.float32], theirs: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Pairs of descriptions that are alike: rows of either side, and their products."""
    for start in range(0, len(ours), TILE[0]):
        found = []
        for other in range(0, len(theirs), TILE[1]):
            products = ours[start : start + TILE[0]] @ theirs[other : other + TILE[1]].T
            places = np.flatnonzero(products.ravel() > ALIKE)
            rows, columns = np.divmod(places, products.shape[1])
            found.append((start + rows, other + columns, products.ravel()[places]))
        rows, columns, products = (np.concatenate(part) for part in zip(*found, strict=True))
        yield rows, columns, products


class Recordings:
    """Known recordings, and which of them share a part with another sound."""

    def __init__(self, waveforms: list[Waveform]) -> None:
        """Take the fingerprints of `waveforms`, (S,) each."""
        self.known = Fingerprints()
        for waveform in waveforms:
            self.known.add(waveform)

    def find(self, clip: Waveform) -> int | None:
        """Index of the recording that shares most with `clip` (S,), if there is one."""
        one = Fingerprints()
        one.add(clip)
        found = max(one.pairs(self.known), key=lambda pair: pair[2], default=None)
        return None if found is None else found[1]


def band_levels(waveform: Waveform) -> Levels:
    """Logarithm of the power in each band, (T, B), not below the clip's floor."""
    padded = np.pad(waveform, (0, max(FRAME - len(waveform), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    power = np.abs(scipy.fft.rfft(frames * np.hanning(FRAME).astype(np.float32))) ** 2
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * FRAME / SAMPLE_RATE
    # Neighbouring low bands may share a bin; none is empty.
    starts, ends = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    sums = np.pad(np.cumsum(power, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    bands = (sums[:, ends] - sums[:, starts]) / (ends - starts)
    return np.log(bands + FLOOR * max(float(bands.max()), 1e-9)).astype(np.float32)


def find_onsets(levels: Levels) -> NDArray[np.int32]:
    """Frames at which the levels rise most steeply, and whose window lies inside the clip, (A,).

    A clip that is shorter than one window has one, wherever it is.
    """
    if len(levels) < WINDOW:
        return np.array([BEFORE], dtype=np.int32)
    smooth = scipy.ndimage.uniform_filter1d(levels, 3, axis=0, mode="nearest")
    rise = np.zeros(len(levels))
    rise[1:-1] = np.maximum(smooth[2:] - smooth[:-2], 0).sum(axis=1)
    is_steepest = rise == scipy.ndimage.maximum_filter1d(rise, 2 * REACH + 1)
    is_steepest[:BEFORE] = False
    is_steepest[len(levels) - WINDOW + BEFORE + 1 :] = False
    return np.flatnonzero(is_steepest & (rise > 0)).astype(np.int32)


def describe(levels: Levels, onsets: NDArray[np.int32]) -> NDArray[np.float32]:
    """Descriptions of length one, or zero where nothing changes, (A, D)."""
    windows = [levels[onset - BEFORE : onset - BEFORE + WINDOW] for onset in onsets]
    if not windows:
        return np.zeros((0, ORDERS[0] * (ORDERS[1] - 1)), dtype=np.float32)
    if len(levels) < WINDOW:
        windows = [np.pad(levels, ((0, WINDOW - len(levels)), (0, 0)), mode="edge")]
    patches = centred(np.stack(windows), 0.5)
    orders = scipy.fft.dctn(patches, axes=(1, 2), norm="ortho")[:, 1 : ORDERS[1], : ORDERS[0]]
    vectors = orders.reshape(len(windows), -1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    is_steady = patches.std(axis=(1, 2)) < LEAST_CHANGE
    vectors = vectors / np.maximum(lengths, 1e-6)
    vectors[is_steady] = 0
    return vectors.astype(np.float32)


def centred(patches: NDArray[np.floating], common: float = 1.0) -> NDArray[np.floating]:
    """Patches (..., T, B) without each band's mean and a share of each moment's.

    What is common to all bands says when something sounds, but all strokes fade alike: a half of it
    helps to find candidates, and none of it to tell whether they are one recording.
    """
    patches = patches - patches.mean(axis=-2, keepdims=True)
    return patches - common * patches.mean(axis=-1, keepdims=True)


def likeness(
    first: NDArray[np.float16], onset: int, second: NDArray[np.float16], other: int
) -> float:
    """How alike the levels of two clips are, a second to either side of an onset of each.

    The correlation without each patch's largest component, at the shift that is best with it: any
    two strokes share that component (a colour that fades), one recording shares the rest, too.
    """
    shifted = [
        _patches(first, onset, second, other + shift) for shift in range(-JITTER, JITTER + 1)
    ]
    pairs = [pair for pair in shifted if pair is not None]
    if not pairs:
        return 0.0
    alike, best = max(((_correlation(*pair), pair) for pair in pairs), key=lambda each: each[0])
    if alike <= SAME:
        return alike
    return min(alike, _correlation(*map(_without_largest, best)) + DETAIL)


def _patches(
    first: NDArray[np.float16], onset: int, second: NDArray[np.float16], other: int
) -> tuple[Levels, Levels] | None:
    """What the two clips share around these frames; None: too little, or nothing changes."""
    before = min(onset, other, AROUND)
    after = min(len(first) - onset, len(second) - other, AROUND)
    if before < 0 or before + after < LEAST_FRAMES and len(first) != len(second):
        return None
    one = centred(first[onset - before : onset + after].astype(np.float32))
    two = centred(second[other - before : other + after].astype(np.float32))
    return (one, two) if min(one.std(), two.std()) >= LEAST_CHANGE else None


def _without_largest(patch: Levels) -> Levels:
    left, sizes, right = np.linalg.svd(patch, full_matrices=False)
    return patch - sizes[0] * np.outer(left[:, 0], right[0])


def _correlation(one: Levels, two: Levels) -> float:
    length = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / max(length, 1e-9)


def digest(waveform: Waveform) -> str:
    """Hash of the sound as 16-bit samples: equal for copies, however they are stored."""
    samples = np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()


def picture(waveform: Waveform) -> Waveform:
    """Coarse picture of a clip, (256,): loudness of 16 bands in 16 equal parts of its time."""
    size = max(len(waveform) // 16, 64)
    parts = np.pad(waveform, (0, max(16 * size - len(waveform), 0)))[: 16 * size].reshape(16, size)
    power = np.abs(np.fft.rfft(parts * np.hanning(size), 512)) ** 2
    edges = np.geomspace(2, power.shape[1], 17).astype(int)
    levels = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6).ravel()
    levels -= levels.mean()
    return (levels / max(float(np.linalg.norm(levels)), 1e-6)).astype(np.float32)


class Pictures:
    """Coarse pictures of clips, to find a clip that looks like an earlier one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows = np.zeros((1024, 256), dtype=np.float32)
        self.lengths = np.zeros(1024)
        self.count = 0

    def is_new(self, clip: Waveform) -> bool:
        """Whether no clip before looks like this one and is as long (within 2 %); remembers it."""
        row, seen = picture(clip), slice(self.count)
        close = self.rows[seen] @ row > TWIN
        if np.any(close & (abs(self.lengths[seen] / len(clip) - 1) < 0.02)):
            return False
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
            self.lengths = np.concatenate([self.lengths, np.zeros_like(self.lengths)])
        self.rows[self.count], self.lengths[self.count] = row, len(clip)
        self.count += 1
        return True


def read_narrow(path: Path) -> Waveform:
    """A sound file in mono at 16 kHz."""
    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(waveform.mean(axis=1), rate, SAMPLE_RATE, "HQ"), np.float32)


def _excerpt(seconds: float) -> Callable[[Waveform, np.random.Generator], Waveform]:
    """A part of a clip, not the silence between two sounds: there is nothing to find in that."""
    length = round(seconds * SAMPLE_RATE)

    def cut(clip: Waveform, generator: np.random.Generator) -> Waveform:
        starts = generator.integers(max(len(clip) - length, 0) + 1, size=20)
        parts = [clip[start : start + length] for start in starts]
        enough = 0.1 * np.square(clip).mean()
        return next((part for part in parts if np.square(part).mean() > enough), parts[0])

    return cut


def _played(factor: float) -> Callable[[Waveform, np.random.Generator], Waveform]:
    return lambda clip, _: np.asarray(soxr.resample(clip, factor * SAMPLE_RATE, SAMPLE_RATE))


def _through(rate: int) -> Callable[[Waveform, np.random.Generator], Waveform]:
    def copy(clip: Waveform, _: np.random.Generator) -> Waveform:
        return np.asarray(soxr.resample(soxr.resample(clip, SAMPLE_RATE, rate), rate, SAMPLE_RATE))

    return copy


def _coded(clip: Waveform, _: np.random.Generator) -> Waveform:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * clip, SAMPLE_RATE, format="OGG", subtype="VORBIS")
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0])


CHANGES: dict[str, Callable[[Waveform, np.random.Generator], Waveform]] = {
    "softer, through Vorbis": _coded,
    "through 8 kHz": _through(8000),
    "0.5 % faster": _played(1.005),
    "1 % slower": _played(0.99),
    "3 s of it": _excerpt(3),
    "1 s of it": _excerpt(1),
    "1 s of it, 0.5 % faster": lambda clip, generator: _played(1.005)(
        _excerpt(1)(clip, generator), generator
    ),
    "0.5 s of it": _excerpt(0.5),
}


def measure_recall(paths: list[Path], generator: np.random.Generator) -> list[str]:
    """A line for each change: in how many of the clips its copy finds the clip itself."""
    clips = [read_narrow(path) for path in paths]
    known = Fingerprints()
    for clip in clips:
        known.add(clip)
    lines = []
    for name, change in CHANGES.items():
        copies = Fingerprints()
        for clip in clips:
            copies.add(change(clip, generator))
        found = {first for first, second, _ in copies.pairs(known) if first == second}
        lines.append(f"{name}: found {len(found)} of {len(clips)} ({len(found) / len(clips):.1%})")
    strangers = [
        (first, second)
        for first, second, _ in known.pairs(known)
        if paths[first].parent != paths[second].parent
    ]
    lines.append(
        f"pairs of clips of different folders taken for one recording: {len(strangers)} of "
        f"{len(clips) * (len(clips) - 1) // 2}"
    )
    return lines + [f"  {paths[first]} {paths[second]}" for first, second in strangers[:20]]


def main() -> None:
    """Read the arguments and print what is found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--recall", type=Path, required=True, help="folder of sounds")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    suffixes = {".flac", ".wav", ".ogg", ".opus"}
    paths = sorted(path for path in arguments.recall.rglob("*") if path.suffix in suffixes)
    if not paths:
        sys.exit(f"{arguments.recall}: no sounds.")
    generator = np.random.default_rng(arguments.seed)
    chosen = generator.permutation(len(paths))[: arguments.clips]
    print("\n".join(measure_recall([paths[index] for index in chosen], generator)))


if __name__ == "__main__":
    main()
