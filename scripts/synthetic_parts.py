"""What synthetic sounds are made of: waves, noises, resonances, knocks; (S,) at 32 kHz each."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Waveform = NDArray[np.float64]
Generator = np.random.Generator

SAMPLE_RATE = 32_000


def samples(seconds: float) -> int:
    """Seconds as samples."""
    return round(seconds * SAMPLE_RATE)


def time_axis(seconds: float) -> Waveform:
    """The time of every sample, in seconds."""
    return np.arange(samples(seconds)) / SAMPLE_RATE


def log_uniform(generator: Generator, low: float, high: float) -> float:
    """A random number, evenly spread in octaves."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def wave(generator: Generator, frequency: Waveform) -> Waveform:
    """A sine, square, triangle or sawtooth wave whose frequency in Hz is given sample by sample."""
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    kind = generator.integers(4)
    if kind == 0:
        return np.sin(phase)
    if kind == 1:
        return signal.square(phase)
    return signal.sawtooth(phase, 0.5 if kind == 2 else 1.0)


def white(generator: Generator, seconds: float) -> Waveform:
    """White noise of standard deviation 1."""
    return generator.standard_normal(samples(seconds))


def coloured(generator: Generator, seconds: float, slope: float) -> Waveform:
    """Noise of standard deviation 1 whose power falls with frequency to the `slope`."""
    spectrum = np.fft.rfft(white(generator, seconds))
    frequencies = np.maximum(np.fft.rfftfreq(samples(seconds), 1 / SAMPLE_RATE), 20.0)
    sound = np.fft.irfft(spectrum * frequencies ** (-slope / 2), samples(seconds))
    return sound / sound.std()


def band(sound: Waveform, low: float, high: float) -> Waveform:
    """What lies between two frequencies."""
    limits = [low, min(high, 0.49 * SAMPLE_RATE)]
    return signal.sosfilt(signal.butter(2, limits, "bandpass", fs=SAMPLE_RATE, output="sos"), sound)


def resonances(sound: Waveform, frequencies: Sequence[float]) -> Waveform:
    """The sound through resonances side by side, their sum of standard deviation 1."""
    filters = [signal.iirpeak(frequency, 5.0, SAMPLE_RATE) for frequency in frequencies]
    total = np.sum([signal.lfilter(*each, sound) for each in filters], axis=0)
    return total / total.std()


def slow(generator: Generator, seconds: float, pace: float) -> Waveform:
    """A course between about 0.1 and 1 with `pace` turns a second."""
    points = generator.uniform(0.1, 1, max(int(seconds * pace), 2) + 1)
    return np.interp(time_axis(seconds), np.linspace(0, seconds, len(points)), points)


def soft(is_on: NDArray[np.bool_]) -> Waveform:
    """On and off without a click: 4 ms long edges."""
    edge = np.hanning(samples(0.004))
    return np.convolve(is_on.astype(float), edge / edge.sum(), "same")


def knock(generator: Generator, low: float, high: float) -> Waveform:
    """A short knock on a body with a few resonances, at most 0.1 s."""
    times = time_axis(0.1)
    decay = log_uniform(generator, 0.003, 0.03)
    sound = generator.standard_normal(len(times)) * np.exp(-times / (0.3 * decay))
    for _ in range(3):
        frequency = log_uniform(generator, low, high)
        sound += (
            generator.uniform(0.2, 1.5)
            * np.sin(2 * np.pi * frequency * times)
            * np.exp(-times / decay)
        )
    return sound


def snap(generator: Generator, low: float, high: float, decay: float) -> Waveform:
    """A burst of noise of 30 ms between two frequencies that dies away, its peak at 1."""
    noise = generator.standard_normal(samples(0.03)) * np.exp(-time_axis(0.03) / decay)
    burst = band(noise, low, high)
    return burst / np.abs(burst).max()


def muffled(generator: Generator, sound: Waveform, low: float, high: float) -> Waveform:
    """The sound through a gentle low-pass at random between two frequencies."""
    limit = log_uniform(generator, low, high)
    return signal.sosfilt(signal.butter(1, limit, fs=SAMPLE_RATE, output="sos"), sound)


def echoed(generator: Generator, sound: Waveform) -> Waveform:
    """The sound with the tail of a room or a yard, -18 to -6 dB loud."""
    length = samples(generator.uniform(0.05, 0.4))
    tail = generator.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    echo = signal.fftconvolve(sound, band(tail, 150, 6000))[: len(sound)]
    return sound + echo * sound.std() / echo.std() * 10 ** (generator.uniform(-18, -6) / 20)


def add(sound: Waveform, start: float, part: Waveform) -> None:
    """Add `part` to `sound` at a second."""
    first = samples(start)
    sound[first : first + len(part)] += part[: len(sound) - first]


def scattered(
    generator: Generator, seconds: float, starts: Waveform, bodies: list[Waveform]
) -> Waveform:
    """One of `bodies` at each of the `starts`, of very unequal loudness."""
    sound = np.zeros(samples(seconds))
    for start in starts:
        body = bodies[generator.integers(len(bodies))]
        add(sound, start, body * generator.pareto(2.0) * 0.2)
    return sound
