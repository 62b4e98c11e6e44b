"""Rain, wind, running water, surf and fire, as `synthetic_sounds.py` describes its own sounds."""

import numpy as np
from synthetic_parts import (
    Generator,
    Waveform,
    band,
    coloured,
    log_uniform,
    muffled,
    scattered,
    slow,
    snap,
    time_axis,
    white,
)


def rain(generator: Generator, seconds: float) -> Waveform:
    """Many drops on something, over the rustle of those far away."""
    near = _drops(generator, seconds, log_uniform(generator, 60, 400))
    far = band(coloured(generator, seconds, 1.0), 80, 3000) * _uneven(generator, seconds)
    sound = near + log_uniform(generator, 0.3, 2) * far / far.std()
    return muffled(generator, sound, 3000, 9000)


def stream(generator: Generator, seconds: float) -> Waveform:
    """Running water: an even hiss with many small bubbles, each a tone that rises."""
    hiss = band(coloured(generator, seconds, generator.uniform(0, 0.8)), 500, 14_000)
    hiss = muffled(generator, hiss, 3000, 9000) * (0.8 + 0.2 * slow(generator, seconds, 1.0))
    times, bubbles = time_axis(0.03), []
    for _ in range(24):
        course = log_uniform(generator, 600, 3000) * (1 + generator.uniform(0, 15) * times)
        decay = log_uniform(generator, 0.002, 0.008)
        bubbles.append(np.sin(2 * np.pi * course * times) * np.exp(-times / decay))
    count = int(log_uniform(generator, 20, 300) * seconds)
    starts = generator.uniform(0, seconds - 0.05, count)
    near = scattered(generator, seconds, starts, bubbles)
    return hiss / hiss.std() + log_uniform(generator, 0.1, 0.7) * near / near.std()


def wind(generator: Generator, seconds: float) -> Waveform:
    """Noise in gusts, with whistling bands that go up and down."""
    gusts = slow(generator, seconds, 0.8)
    sound = coloured(generator, seconds, 2.0) * gusts
    for _ in range(int(generator.integers(1, 4))):
        centre = log_uniform(generator, 250, 1500)
        sound += 0.5 * band(white(generator, seconds), centre, centre * 1.15) * gusts**2
    return sound


def surf(generator: Generator, seconds: float) -> Waveform:
    """Waves on a beach: each swells, breaks and runs out, brightest as it breaks."""
    sound = 0.15 * coloured(generator, seconds, 1.3)
    start = -generator.uniform(0, 5)
    while start < seconds:
        course = np.clip((time_axis(seconds) - start) / generator.uniform(5, 10), 0, 1)
        crest = generator.uniform(0.25, 0.45)
        swell = np.minimum((course / crest) ** 2, ((1 - course) / (1 - crest)) ** 1.5)
        sound += swell * coloured(generator, seconds, generator.uniform(1.0, 1.6))
        sound += 0.5 * swell**2 * band(coloured(generator, seconds, 0.7), 400, 9000)
        start += generator.uniform(4, 8)
    return muffled(generator, sound, 600, 4000)


def fire(generator: Generator, seconds: float) -> Waveform:
    """Crackles of very unequal loudness, over a soft roar and hiss."""
    crackles = _drops(generator, seconds, log_uniform(generator, 12, 90))
    roar = band(coloured(generator, seconds, 1.0), 80, 3000) * _uneven(generator, seconds)
    sound = crackles + log_uniform(generator, 0.2, 1) * roar / roar.std()
    return muffled(generator, sound, 1500, 7000)


def _drops(generator: Generator, seconds: float, pace: float) -> Waveform:
    """Short snaps at random times, `pace` a second, of standard deviation 1."""
    snaps = []
    for _ in range(24):
        low, high = log_uniform(generator, 300, 1500), log_uniform(generator, 3000, 9000)
        snaps.append(snap(generator, low, high, log_uniform(generator, 0.0005, 0.004)))
    starts = generator.uniform(0, seconds - 0.05, max(int(pace * seconds), 1))
    sound = scattered(generator, seconds, starts, snaps)
    return sound / sound.std()


def _uneven(generator: Generator, seconds: float) -> Waveform:
    return 0.4 + slow(generator, seconds, 8.0)
