"""Sounds of telephones, as `synthetic_sounds.py` describes its own.

Tones: ITU-T E.180 and its supplement (Europe's and North America's); keys: ITU-T Q.23.
"""

import numpy as np
from synthetic_parts import (
    Generator,
    Waveform,
    add,
    samples,
    soft,
    time_axis,
    wave,
)


def telephone(generator: Generator, seconds: float) -> Waveform:
    """Dial tone, busy tone, ringing tone, keys, or the bell or trill of the telephone itself."""
    kinds = (_dial, _busy, _ringing, _keys, _bell, _trill)
    return kinds[generator.integers(len(kinds))](generator, seconds)


def _pair(seconds: float, frequencies: tuple[float, float]) -> Waveform:
    low, high = (np.sin(2 * np.pi * each * time_axis(seconds)) for each in frequencies)
    return low + high


def _dial(generator: Generator, seconds: float) -> Waveform:
    return _pair(seconds, ((350.0, 440.0), (425.0, 425.0))[generator.integers(2)])


def _busy(generator: Generator, seconds: float) -> Waveform:
    length = generator.choice([0.25, 0.5])
    return _pair(seconds, (480.0, 620.0)) * soft(time_axis(seconds) % (2 * length) < length)


def _ringing(generator: Generator, seconds: float) -> Waveform:
    shift = generator.uniform(0, 2)
    return _pair(seconds, (440.0, 480.0)) * soft((time_axis(seconds) + shift) % 6 < 2)


def _keys(generator: Generator, seconds: float) -> Waveform:
    sound = np.zeros(samples(seconds))
    length = generator.uniform(0.08, 0.2)
    for start in np.arange(0.1, seconds - 2 * length, length * generator.uniform(1.5, 3)):
        low = generator.choice([697.0, 770.0, 852.0, 941.0])
        high = generator.choice([1209.0, 1336.0, 1477.0])
        add(sound, start, _pair(length, (low, high)))
    return sound


def _bell(generator: Generator, seconds: float) -> Waveform:
    """Two gongs struck in turn, 16 to 30 times a second."""
    pace, sound = generator.uniform(16, 30), np.zeros(samples(seconds))
    gongs = [generator.uniform(800, 2200) * np.array([1, 2.4, 3.9, 5.4]) for _ in range(2)]
    times = time_axis(0.4)
    hits = [
        sum(np.sin(2 * np.pi * f * times) / (1 + i) for i, f in enumerate(gong))
        * np.exp(-times * 9)
        for gong in gongs
    ]
    for index, start in enumerate(np.arange(0, seconds - 0.5, 1 / pace)):
        if start % 3 < 1.6:
            add(sound, start, hits[index % 2] * generator.uniform(0.8, 1))
    return sound


def _trill(generator: Generator, seconds: float) -> Waveform:
    low, ratio = generator.uniform(600, 2000), generator.uniform(1.15, 1.4)
    turn = time_axis(seconds) * generator.uniform(8, 25) % 1 < 0.5
    is_on = time_axis(seconds) % generator.uniform(2, 4) < 1.2
    return wave(generator, np.where(turn, low, low * ratio)) * soft(is_on)
