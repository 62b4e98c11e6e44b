"""Find sounds that are the same recording, whether cut, coded or scaled differently.

Shapes: N recordings, W windows, S samples at 16 kHz, B bands, T frames, F frequencies.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

SAMPLE_RATE = 16_000
WINDOW = 5 * SAMPLE_RATE  # a longer clip is looked at in windows, each by half over the one before
FRAME = 1024
HOP = 256  # a quarter: frames of a shifted copy then still show nearly the same
BANDS = 16
MAX_FRAMES = 1024  # room for two windows at any offset
SAMPLES = 2 * WINDOW + 3840  # the same for their samples, and a length that is quick to transform
CANDIDATES = 5  # recordings that are compared sample by sample
EDGE = 800  # 50 ms: ends fade in and out, or two cut ends would look alike
AROUND = 80  # 5 ms to each side belong to one peak
# Peak of the whitened correlation, and how far it stands out from the next one. Recoded copies of
# the 400 clips of ESC-10 reach 0.7 and 20 and more, three quarters of one 0.1 and 3 in 84 of 100
# cases; of 1,200 pairs of strangers none does.
SAME, SHARP = 0.1, 3.0
TWIN = 0.99  # correlation of coarse pictures of two clips that start together


class Recordings:
    """Known recordings of at most 5 s, and which of them are part of another sound."""

    def __init__(self, waveforms: list[Waveform]) -> None:
        """Take the fingerprints of `waveforms`, (S,) each."""
        bands = np.stack([_bands(waveform[:WINDOW]) for waveform in waveforms])
        self.bands = np.ascontiguousarray(bands.conj().transpose(2, 1, 0))  # (F, B, N)
        self.spectra = [_spectrum(waveform[:WINDOW]) for waveform in waveforms]

    def find(self, clip: Waveform) -> int | None:
        """Index of a recording that is a part of `clip` (S,), if there is one."""
        parts = list(windows(clip))
        for part, candidates in zip(parts, self.nearest(parts), strict=True):
            spectrum = _spectrum(part)
            for index in candidates:
                if _aligned(spectrum, self.spectra[index]):
                    return int(index)
        return None

    def nearest(self, parts: list[Waveform]) -> NDArray[np.int64]:
        """For each part the recordings whose loudness changes most alike, (W, CANDIDATES)."""
        spectra = np.stack([_bands(part) for part in parts]).transpose(2, 0, 1)  # (F, W, B)
        products = np.ascontiguousarray((spectra @ self.bands).transpose(1, 2, 0))
        highest = scipy.fft.irfft(products, MAX_FRAMES).max(axis=2)
        return np.argsort(-highest, axis=1)[:, :CANDIDATES]


def windows(clip: Waveform) -> Iterator[Waveform]:
    """Parts of at most 5 s that together cover `clip`, each by half over the one before."""
    last = max(len(clip) - WINDOW, 0)
    for start in [*range(0, last, WINDOW // 2), last]:
        yield clip[start : start + WINDOW]


def digest(waveform: Waveform) -> str:
    """Hash of the sound as 16-bit samples: equal for copies, however they are stored."""
    samples = np.round(np.clip(waveform, -1, 1) * 32767).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()


def envelope(waveform: Waveform) -> Waveform:
    """Changes of loudness in bands, (B, T): length one over all of it."""
    length = max(len(waveform), FRAME + 5 * HOP)
    padded = np.pad(waveform, (0, length - len(waveform)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    power = np.abs(scipy.fft.rfft(frames * np.hanning(FRAME).astype(np.float32))) ** 2
    edges = np.geomspace(6, power.shape[1], BANDS + 1).astype(int)  # 90 Hz to 8 kHz
    bands = np.add.reduceat(power, edges[:-1], axis=1)
    levels = np.log(bands + 1e-5 * bands.max() + 1e-9)
    changes = (levels[4:] - levels[:-4]).T  # over one frame's length
    return (changes / max(float(np.linalg.norm(changes)), 1e-6)).astype(np.float32)


def same_recording(first: Waveform, second: Waveform) -> bool:
    """Whether one offset lines the two, of 5 s at most, up sample by sample."""
    return _aligned(_spectrum(first), _spectrum(second))


def picture(waveform: Waveform) -> Waveform:
    """Coarse picture of a clip, (B * 16,): loudness of 16 bands in 16 equal parts of its time."""
    size = max(len(waveform) // 16, 64)
    parts = np.pad(waveform, (0, max(16 * size - len(waveform), 0)))[: 16 * size].reshape(16, size)
    power = np.abs(np.fft.rfft(parts * np.hanning(size), 512)) ** 2
    edges = np.geomspace(2, power.shape[1], BANDS + 1).astype(int)
    levels = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6).ravel()
    levels -= levels.mean()
    return (levels / max(float(np.linalg.norm(levels)), 1e-6)).astype(np.float32)


class Pictures:
    """Coarse pictures of clips, to find a clip that looks like an earlier one."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows = np.zeros((1024, BANDS * 16), dtype=np.float32)
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


def _bands(waveform: Waveform) -> NDArray[np.complex64]:
    return scipy.fft.rfft(envelope(waveform), MAX_FRAMES)


def _spectrum(waveform: Waveform) -> NDArray[np.complex64]:
    edge = np.hanning(2 * min(EDGE, len(waveform) // 4)).astype(np.float32)
    half = len(edge) // 2
    ends = np.concatenate([edge[:half], np.ones(len(waveform) - 2 * half, np.float32), edge[half:]])
    return scipy.fft.rfft(waveform * ends, SAMPLES)


def _aligned(first: NDArray[np.complex64], second: NDArray[np.complex64]) -> bool:
    """Whether one offset stands out (Knapp and Carter 1976, the phase transform)."""
    product = first * second.conj()
    heights = np.abs(scipy.fft.irfft(product / np.maximum(np.abs(product), 1e-9)))
    place = int(heights.argmax())
    peak = float(heights[place])
    if peak <= SAME:
        return False
    heights[np.arange(place - AROUND, place + AROUND + 1) % len(heights)] = 0
    return peak > SHARP * float(heights.max())
