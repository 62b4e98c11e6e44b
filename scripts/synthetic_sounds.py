"""Sounds that formulas describe: tones, noises, hum, sirens, clicks, telephones, engines, weather.

Every function takes a random generator and a length in seconds, and returns a waveform (S,) at
32 kHz whose level means nothing: `synthesise_sounds.py` sets it.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal
from synthetic_parts import (
    SAMPLE_RATE,
    Generator,
    Waveform,
    add,
    band,
    coloured,
    echoed,
    knock,
    log_uniform,
    muffled,
    resonances,
    samples,
    scattered,
    snap,
    soft,
    time_axis,
    wave,
    white,
)
from synthetic_telephones import telephone
from synthetic_weather import fire, rain, stream, surf, wind


def tone(generator: Generator, seconds: float) -> Waveform:
    """A steady sine, square, triangle or sawtooth wave, 60 Hz to 8 kHz."""
    return wave(generator, np.full(samples(seconds), log_uniform(generator, 60, 8000)))


def chord(generator: Generator, seconds: float) -> Waveform:
    """Two to five waves at simple ratios, each fading at its own pace."""
    base = log_uniform(generator, 80, 600)
    ratios = generator.choice([1, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 2, 5 / 2, 3], 4, replace=False)
    times = time_axis(seconds)
    parts = [
        wave(generator, np.full(len(times), base * ratio))
        * np.exp(-times * generator.uniform(0, 2))
        for ratio in ratios[: generator.integers(2, 5)]
    ]
    return np.sum(parts, axis=0)


def sweep(generator: Generator, seconds: float) -> Waveform:
    """A frequency that rises or falls evenly in octaves, once or again and again."""
    ends = np.log([log_uniform(generator, 50, 1000), log_uniform(generator, 1000, 14_000)])
    repeats = generator.choice([1, 1, 2, 5, 10])
    course = (time_axis(seconds) / seconds * repeats) % 1.0
    low, high = ends if generator.random() < 0.5 else ends[::-1]
    return wave(generator, np.exp(low + (high - low) * course))


def noise(generator: Generator, seconds: float) -> Waveform:
    """White, pink or brown noise, or a band of it."""
    sound = coloured(generator, seconds, generator.choice([0.0, 1.0, 2.0]))
    if generator.random() < 0.4:
        low = log_uniform(generator, 100, 4000)
        sound = band(sound, low, low * generator.uniform(1.5, 3.5))
    return sound


def hum(generator: Generator, seconds: float) -> Waveform:
    """Mains hum: 50 or 60 Hz with harmonics, even ones louder, over a little noise."""
    base = generator.choice([50.0, 60.0]) + generator.normal(0, 0.02)
    times, sound = time_axis(seconds), 0.02 * coloured(generator, seconds, 1.0)
    for harmonic in range(1, int(generator.integers(3, 40))):
        level = generator.uniform(0.2, 1) * harmonic ** -generator.uniform(0.3, 1.2)
        level *= 1.0 if harmonic % 2 == 0 else 0.6
        phase = generator.uniform(0, 2 * np.pi)
        sound += level * np.sin(2 * np.pi * base * harmonic * times + phase)
    return sound


def siren(generator: Generator, seconds: float) -> Waveform:
    """Wail, yelp or two tones, through a horn that passes the middle frequencies."""
    times, kind = time_axis(seconds), generator.integers(3)
    low = generator.uniform(400, 700)
    high = low * generator.uniform(1.8, 2.6)
    if kind == 2:  # two tones, a fourth apart or so
        second = (times * generator.uniform(0.7, 2.5)) % 1 > 0.5
        course = np.where(second, low, low * generator.uniform(1.2, 1.45))
    else:
        pace = generator.uniform(0.1, 0.4) if kind == 0 else generator.uniform(2.5, 6)
        course = low + (high - low) * (1 + signal.sawtooth(2 * np.pi * pace * times, 0.5)) / 2
    sound = signal.sawtooth(2 * np.pi * np.cumsum(course) / SAMPLE_RATE, 0.5)
    return band(np.tanh(generator.uniform(1, 4) * sound), 300, 5000)


def clicks(generator: Generator, seconds: float) -> Waveform:
    """Clicks at random times or in bursts, of one or several kinds of body."""
    count = int(log_uniform(generator, 2, 12) * seconds)
    starts = generator.uniform(0, seconds - 0.1, count)
    bodies = [knock(generator, 800, 9000) for _ in range(3)]
    return scattered(generator, seconds, starts, bodies)


def clock(generator: Generator, seconds: float) -> Waveform:
    """Ticks of a clock or watch, every other one a little different, in a quiet room."""
    pace = generator.choice([1.0, 2.0, 4.0, 5.0, generator.uniform(0.8, 5)])
    sound, ticks = np.zeros(samples(seconds)), [_tick(generator), _tick(generator)]
    for index, start in enumerate(
        np.arange(generator.uniform(0, 1 / pace), seconds - 0.25, 1 / pace)
    ):
        add(sound, start, ticks[index % 2] * generator.uniform(0.9, 1))
    floor = 10 ** generator.uniform(-3, -2) * coloured(generator, seconds, 1.0)
    return sound / np.abs(sound).max() + floor


def beeps(generator: Generator, seconds: float) -> Waveform:
    """Beeps of an alarm: groups of short tones, again and again."""
    length, pause = generator.uniform(0.04, 0.4), generator.uniform(0.04, 0.5)
    group, rest = int(generator.integers(1, 5)), generator.uniform(0.1, 1.2)
    times = time_axis(seconds) % (group * (length + pause) + rest)
    is_on = (times % (length + pause) < length) & (times < group * (length + pause))
    frequency = np.full(len(times), log_uniform(generator, 400, 4500))
    return wave(generator, frequency) * soft(is_on)


def engine(generator: Generator, seconds: float) -> Waveform:
    """Four unequal bursts a turn, 20 to 120 a second, steady or revved, through a pipe."""
    speeds = np.array([[1, 1, 1, 1, 1, 1], [1, 1.5, 2.2, 1.2, 1, 1.8]])[generator.integers(2)]
    speeds = speeds * generator.uniform(0.95, 1.05, 6) * log_uniform(generator, 20, 120)
    course = np.interp(time_axis(seconds), np.linspace(0, seconds, 6), speeds)
    phase = np.cumsum(course * (1 + 0.02 * coloured(generator, seconds, 1.0))) / SAMPLE_RATE
    bursts = np.interp(phase % 4, np.arange(5), generator.uniform(0.6, 1, 5))
    bursts *= np.exp(-(phase % 1) * generator.uniform(4, 14))
    bursts *= 1 + 0.3 * coloured(generator, seconds, 0.5)
    pipe = resonances(bursts, [log_uniform(generator, 60, 900) for _ in range(4)])
    air = band(coloured(generator, seconds, 1.0), 100, 4000)
    sound = pipe + generator.uniform(0.1, 0.4) * air / air.std()
    return muffled(generator, echoed(generator, sound), 600, 4000)


def clapping(generator: Generator, seconds: float) -> Waveform:
    """A few or many people who clap, each with hands and a pace of their own."""
    sound = np.zeros(samples(seconds))
    for _ in range(int(log_uniform(generator, 2, 80))):
        low = log_uniform(generator, 600, 2500)
        high, decay = low * generator.uniform(2, 4), log_uniform(generator, 0.001, 0.006)
        clap = snap(generator, low, high, decay) * generator.uniform(0.2, 1)
        pace = generator.uniform(0.2, 0.35)
        starts = np.cumsum(pace * generator.uniform(0.9, 1.1, int(seconds / pace)))
        for start in starts[starts < seconds - 0.1]:
            add(sound, start, clap * generator.uniform(0.7, 1))
    return echoed(generator, sound)


def rotor(generator: Generator, seconds: float) -> Waveform:
    """Slaps of a helicopter's rotor, 10 to 20 a second, over its turbine, near or far."""
    pace, sound = generator.uniform(10, 20), np.zeros(samples(seconds))
    times = time_axis(0.06)
    for start in np.arange(0, seconds - 0.1, 1 / pace) + generator.uniform(0, 0.002):
        slap = generator.standard_normal(len(times)) * np.exp(-times / 0.02)
        add(sound, start, band(slap, 60, 800))
    turbine = band(coloured(generator, seconds, 0.8), 150, 4000)
    pulse = 0.4 + 0.6 * np.exp(-3 * (time_axis(seconds) * pace % 1.0))
    sound *= generator.uniform(0.8, 1.5) / sound.std()
    sound += generator.uniform(0.3, 1) * pulse * turbine / turbine.std()
    sound += 0.05 * np.sin(2 * np.pi * generator.uniform(600, 3000) * time_axis(seconds))
    first, last = generator.uniform(0.4, 1.0, 2)
    course = np.geomspace(first, last, samples(seconds))
    return muffled(generator, echoed(generator, sound * course), 800, 6000)


def chainsaw(generator: Generator, seconds: float) -> Waveform:
    """A small two-stroke engine, idling and at full speed, harsh, with the noise of its chain."""
    speeds = generator.choice([0.45, 0.9, 1.0, 1.1], 7)
    course = np.interp(time_axis(seconds), np.linspace(0, seconds, 7), speeds)
    jitter = 1 + 0.03 * coloured(generator, seconds, 1.0)
    phase = np.cumsum(generator.uniform(70, 140) * course * jitter) / SAMPLE_RATE % 1.0
    bursts = np.exp(-phase * generator.uniform(3, 10)) * (
        1 + 0.4 * coloured(generator, seconds, 0.3)
    )
    engine = resonances(bursts, [log_uniform(generator, 150, 4000) for _ in range(4)])
    chain = band(white(generator, seconds), 800, 9000) * np.exp(-3 * phase)
    sound = np.tanh(generator.uniform(1, 3) * engine)
    sound += generator.uniform(0.2, 0.6) * chain / chain.std()
    return muffled(generator, echoed(generator, sound), 4000, 14_000)


def sneeze(generator: Generator, seconds: float) -> Waveform:
    """Breath drawn in, then let out at once with a burst of noise and a falling voice."""
    sound = 0.003 * coloured(generator, seconds, 1.0)
    start = generator.uniform(0.2, 0.8)
    while start < seconds - 1.2:
        course = time_axis(0.35) / 0.35
        drawn = band(generator.standard_normal(len(course)), 600, 4000)
        add(sound, start, 0.15 * course**2 * drawn)
        add(sound, start + 0.38, _burst_of_breath(generator))
        start += generator.uniform(1.2, 3.5)
    return echoed(generator, sound)


def silence(generator: Generator, seconds: float) -> Waveform:
    """The noise floor of a recording, perhaps with a trace of hum."""
    floor = coloured(generator, seconds, generator.uniform(0, 1.5))
    return floor + generator.choice([0.0, 0.05]) * hum(generator, seconds)


# Kind: how many clips. In all, about a thousand.
KINDS: dict[Callable[[Generator, float], Waveform], int] = {
    tone: 50, chord: 50, sweep: 50, noise: 60, hum: 40, siren: 80, clicks: 40, clock: 90, beeps: 50,
    telephone: 80, engine: 80, rotor: 60, chainsaw: 50, rain: 70, stream: 30, wind: 40, surf: 50,
    fire: 60, sneeze: 30, clapping: 40, silence: 40,
}  # fmt: skip


def _tick(generator: Generator) -> Waveform:
    """A knock of gears with two weaker ones after it."""
    times, base = time_axis(0.05), log_uniform(generator, 2000, 5000)
    knocked = generator.standard_normal(len(times))
    knocked *= np.exp(-times / log_uniform(generator, 0.0002, 0.001))
    for _ in range(6):
        course = 2 * np.pi * base * generator.uniform(0.5, 3) * times
        decay = np.exp(-times / log_uniform(generator, 0.001, 0.004))
        knocked += generator.uniform(0.2, 1) * np.sin(course + generator.uniform(0, 6)) * decay
    sound = np.zeros(samples(0.2))
    add(sound, 0.0, knocked)
    add(sound, generator.uniform(0.005, 0.02), knocked * generator.uniform(0.2, 1))
    add(sound, generator.uniform(0.02, 0.08), knocked * generator.uniform(0.05, 0.5))
    return sound


def _burst_of_breath(generator: Generator) -> Waveform:
    length = samples(generator.uniform(0.25, 0.5))
    course = np.linspace(0, 1, length)
    phase = 2 * np.pi * np.cumsum(generator.uniform(180, 420) * (1 - 0.4 * course)) / SAMPLE_RATE
    source = signal.sawtooth(phase)
    throat = (generator.uniform(500, 900), generator.uniform(1200, 1900), 2600.0)
    voice = resonances(source, throat)
    breath = band(generator.standard_normal(length), 1200, 10_000)
    sound = breath / breath.std() * generator.uniform(0.4, 1)
    sound += voice * generator.uniform(0.3, 1) * np.exp(-4 * course)
    return sound * np.exp(-course * generator.uniform(3, 6)) * np.minimum(40 * course, 1)
