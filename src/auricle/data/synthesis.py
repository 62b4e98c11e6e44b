"""Sound from random synthesisers, for a teacher to label: oscillators, noise, impacts, resonators.

Every clip is a synthesiser of its own: one to three layers, each a source with an envelope, added
or multiplied, then bent, filtered or echoed. No clip is like another, and none is a recording:
a student that must agree with its teacher here, too, learns what the teacher does between sounds.

Source: after Cherep and Singh 2023 (SynTheory), Turian et al. 2021 (torchsynth), who train on
random synthesisers. All draws come from torch's global generator.

Shapes: S samples, K knots of a contour, M modes of an impact.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.data.effects import fast_size

LOWEST_HZ, HIGHEST_HZ = 30.0, 8000.0
LOUDNESS_DB = (-40.0, -10.0)  # of a clip's root mean square, of full scale
MODE_SECONDS = 1.0  # after which an impact is cut

Item = TypeVar("Item")


def synthesise(samples: int, sample_rate: int) -> Tensor:
    """A clip `(S,)` of a synthesiser drawn at random."""
    sound = _layer(samples, sample_rate)
    for _ in range(int(torch.randint(0, 3, ()))):
        other = _layer(samples, sample_rate)
        sound = sound * other if _chance(0.2) else sound + 10 ** _between(-1.5, 0.5) * other
    if _chance(0.2):
        sound = torch.tanh(10 ** _between(0, 1.5) * sound)
    if _chance(0.4):
        sound = _filtered(sound, sample_rate)
    if _chance(0.15):
        sound = _echoed(sound, sample_rate)
    loudness = sound.square().mean().sqrt().clamp(min=1e-9)
    return sound / loudness * 10 ** (_between(*LOUDNESS_DB) / 20)


def _layer(samples: int, rate: int) -> Tensor:
    """A source with an envelope, of power about one."""
    source = _choice(SOURCES)(samples, rate)
    source = source / source.square().mean().sqrt().clamp(min=1e-9)
    return source * _choice(ENVELOPES)(samples, rate)


def _tone(samples: int, rate: int) -> Tensor:
    """One of the usual waves, its frequency constant, gliding, trembling or in steps."""
    return _choice(WAVES)(_phase(samples, rate))


def _frequency_modulation(samples: int, rate: int) -> Tensor:
    """A sine whose phase another one moves, at a ratio of small numbers or at any."""
    phase = _phase(samples, rate)
    ratio = _between(0.1, 8) if _chance(0.5) else float(torch.randint(1, 8, ())) / 2
    depth = 10 ** _between(-1, 1.3) * _choice(ENVELOPES)(samples, rate)
    return torch.sin(phase + depth * torch.sin(ratio * phase))


def _harmonics(samples: int, rate: int) -> Tensor:
    """Pulses through resonances, as in a voice or an animal's call."""
    phase = _phase(samples, rate, highest=1200.0)
    pulses = torch.exp(-((phase / (2 * math.pi)) % 1) * 10 ** _between(0.5, 1.5))
    return _resonated(pulses + 0.02 * torch.randn(samples), rate)


def _noise(samples: int, rate: int) -> Tensor:
    """Noise whose power falls or rises with frequency, perhaps through resonances."""
    spectrum = torch.fft.rfft(torch.randn(samples))
    bins = torch.arange(len(spectrum)).clamp(min=1)
    colored = torch.fft.irfft(spectrum * bins ** _between(-1.2, 0.5), samples)
    return _resonated(colored, rate) if _chance(0.5) else colored


def _crackle(samples: int, rate: int) -> Tensor:
    """Single clicks at random times, as of fire, rain or a worn record, through resonances."""
    density = 2 ** _between(1, 11) / rate
    clicks = (torch.rand(samples) < density) * torch.randn(samples)
    return _resonated(clicks, rate)


def _impacts(samples: int, rate: int) -> Tensor:
    """Strokes on a body of several decaying modes: wood, glass, metal, a membrane, a string."""
    count = int(torch.randint(2, 33, ()))
    size = min(samples, round(MODE_SECONDS * rate))
    seconds = torch.arange(size) / rate
    lowest = _frequency(highest=3000.0)
    order = torch.arange(1, count + 1)
    ratios = order ** _between(0.8, 2) if _chance(0.5) else 1 + torch.rand(count) * _between(1, 20)
    hertz = (lowest * ratios).clamp(max=0.45 * rate)[:, None]
    decay = 10 ** _between(-2.3, 0) / (1 + torch.rand(count, 1) * hertz / lowest * _between(0, 1))
    modes = torch.exp(-seconds / decay) * torch.sin(2 * math.pi * hertz * seconds)
    body = (torch.rand(count, 1) * modes).sum(dim=0)
    return _convolved(_strokes(samples, rate), body)


def _steady(samples: int, rate: int) -> Tensor:
    return torch.ones(samples)


def _repeated(samples: int, rate: int) -> Tensor:
    """Short swells, each falling off exponentially, regular or at random."""
    attack, decay = 10 ** _between(-3, -0.7), 10 ** _between(-2, 0.3)
    seconds = torch.arange(min(samples, round(4 * (attack + decay) * rate) + 1)) / rate
    swell = torch.exp(-seconds / decay) * (1 - torch.exp(-seconds / attack))
    return _convolved(_strokes(samples, rate), swell).clamp(min=0)


def _wobbling(samples: int, rate: int) -> Tensor:
    """Louder and softer at a rate from slow to rough."""
    phase = 2 * math.pi * 2 ** _between(-2, 7) * torch.arange(samples) / rate
    depth = _between(0.1, 1)
    wave = _choice(WAVES)(phase + _between(0, 2 * math.pi))
    return 1 - depth * (0.5 + 0.5 * wave)


def _wandering(samples: int, rate: int) -> Tensor:
    """A contour of random levels in decibels, in steps or bent."""
    return 10 ** (_contour(samples, _between(3, 20)) / 20)


SOURCES = (_tone, _frequency_modulation, _harmonics, _noise, _noise, _crackle, _impacts, _impacts)
ENVELOPES = (_steady, _repeated, _repeated, _wobbling, _wandering)
WAVES: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.sin,
    lambda phase: (phase / math.pi) % 2 - 1,  # saw
    lambda phase: torch.sign(torch.sin(phase)),
    lambda phase: (2 * ((phase / math.pi) % 2 - 1)).abs() - 1,  # triangle
)


def _phase(samples: int, rate: int, highest: float = HIGHEST_HZ) -> Tensor:
    """The running phase of a note, float32, of which each turn is exact."""
    hertz = _frequency(highest) * 2 ** _contour(samples, _choice((0.0, 0.02, 0.3, 1.0)))
    if _chance(0.2):
        tremble = torch.sin(2 * math.pi * _between(3, 12) * torch.arange(samples) / rate)
        hertz = hertz * 2 ** (_between(0.01, 0.1) * tremble)
    turns = torch.cumsum(hertz.double().clamp(max=0.45 * rate) / rate, dim=0)
    return (2 * math.pi * turns).float()


def _frequency(highest: float = HIGHEST_HZ) -> float:
    return math.exp(_between(math.log(LOWEST_HZ), math.log(highest)))


def _contour(samples: int, spread: float) -> Tensor:
    """Normal values at up to 16 knots, held or joined by lines, `(S,)`."""
    if not spread:
        return torch.zeros(samples)
    count = 2 ** int(torch.randint(1, 5, ()))
    knots = spread * torch.randn(1, 1, count)
    if _chance(0.3):
        return F.interpolate(knots, samples, mode="nearest")[0, 0]
    return F.interpolate(knots, samples, mode="linear", align_corners=True)[0, 0]


def _strokes(samples: int, rate: int) -> Tensor:
    """Single samples at the times of strokes: one, regular ones, or as they come."""
    strokes = torch.zeros(samples)
    interval, jitter = 2 ** _between(-5, 2), _choice((0.0, 0.1, 1.0))
    count = min(1 + int(samples / rate / interval), 512)
    steps = interval * (1 + jitter * (2 * torch.rand(count) - 1))
    times = (_between(0, 0.5) * interval + torch.cumsum(steps, dim=0) - interval) * rate
    onsets = times.long().clamp(min=0)
    onsets = onsets[onsets < samples]
    strokes[onsets] = 10 ** (-_between(0, 1) * torch.rand(len(onsets)))
    if not len(onsets):
        strokes[0] = 1
    return strokes


def _resonated(sound: Tensor, rate: int) -> Tensor:
    """A sound through one to five resonances."""
    length = fast_size(len(sound))
    hertz = torch.fft.rfftfreq(length, 1 / rate)
    gain = torch.full_like(hertz, 10 ** _between(-3, -1))
    for _ in range(int(torch.randint(1, 6, ()))):
        centre, sharpness = _frequency(), 10 ** _between(0, 1.7)
        gain = gain + torch.rand(()) / (1 + ((hertz - centre) / centre * sharpness).square())
    return torch.fft.irfft(torch.fft.rfft(sound, length) * gain, length)[: len(sound)]


def _filtered(sound: Tensor, rate: int) -> Tensor:
    """A sound without what is above, below, or outside two edges."""
    length = fast_size(len(sound))
    hertz = torch.fft.rfftfreq(length, 1 / rate).clamp(min=1)
    gain = torch.ones_like(hertz)
    if _chance(0.7):
        gain = gain / (1 + (hertz / _frequency()) ** 4)
    if _chance(0.5):
        gain = gain / (1 + (_frequency(2000.0) / hertz) ** 4)
    return torch.fft.irfft(torch.fft.rfft(sound, length) * gain, length)[: len(sound)]


def _echoed(sound: Tensor, rate: int) -> Tensor:
    """A sound and its echoes."""
    delay = min(round(10 ** _between(-2.5, -0.3) * rate), len(sound) - 1)
    echoes, strength = sound.clone(), _between(0.2, 0.7)
    for number in range(1, 5):
        start = number * delay
        if not 0 < start < len(sound):
            break
        echoes[start:] += strength**number * sound[:-start]
    return echoes


def _convolved(sound: Tensor, response: Tensor) -> Tensor:
    length = fast_size(len(sound) + len(response))
    spectrum = torch.fft.rfft(sound, length) * torch.fft.rfft(response, length)
    return torch.fft.irfft(spectrum, length)[: len(sound)]


def _between(lowest: float, highest: float) -> float:
    return lowest + (highest - lowest) * torch.rand(()).item()


def _chance(share: float) -> bool:
    return torch.rand(()).item() < share


def _choice(items: Sequence[Item]) -> Item:
    return items[int(torch.randint(len(items), ()))]
