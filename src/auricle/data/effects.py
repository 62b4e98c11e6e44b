"""What happens to sounds on their way to a microphone, and beyond: speed, rooms, filters, textures.

Every function takes waveforms `(B, S)` that are zero beyond their lengths `(B,)`, gives such, and
draws from torch's global generator.

Shapes: B clips, S samples, K knots of a filter.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.padding import inside

KNOTS = 9  # of a random filter, evenly over the octaves
LOWEST_KNOT_HZ = 62.5
DIRECT_TO_ROOM_DB = (-5.0, 15.0)  # energy of the direct sound over that of the room
DECAY_SECONDS = (0.1, 1.2)  # time in which a room's sound falls by 60 dB
NARROW_BANDS_HZ = ((300.0, 3400.0), (50.0, 4000.0), (50.0, 7000.0), (50.0, 11_000.0))
SLOPE = 8  # order of the edges of a band
TEXTURE_WINDOW = 1024  # samples
TINY = 1e-12


def uniform(waveforms: Tensor, lowest: float, highest: float) -> Tensor:
    """One number a clip, `(B, 1)`."""
    draws = torch.rand(len(waveforms), 1, device=waveforms.device, dtype=waveforms.dtype)
    return lowest + (highest - lowest) * draws


def power(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Mean square of each clip's true samples, `(B, 1)`."""
    energy = (waveforms.square() * inside(lengths, waveforms.shape[1])).sum(dim=1, keepdim=True)
    return energy / lengths[:, None].clamp(min=1)


def change_speed(waveforms: Tensor, lengths: Tensor, largest: float) -> tuple[Tensor, Tensor]:
    """Play each clip up to `largest` times as fast or as slow; pitch and length change with it.

    The factor is uniform on a logarithmic scale. What would be longer than S samples is cut.
    """
    bound = math.log(largest)
    factors = uniform(waveforms, -bound, bound).exp()[:, 0].tolist()
    size = waveforms.shape[1]
    played, counts = torch.zeros_like(waveforms), []
    for index, (factor, length) in enumerate(zip(factors, lengths.tolist(), strict=True)):
        clip = waveforms[index, :length]
        count = max(1, round(length / factor)) if length else 0
        if count:
            new = F.interpolate(clip[None, None], count, mode="linear")[0, 0, :size]
            played[index, : len(new)] = new
        counts.append(min(count, size))
    return played, torch.tensor(counts, device=lengths.device)


def reverse(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Play each clip backwards."""
    positions = torch.arange(waveforms.shape[1], device=waveforms.device).expand_as(waveforms)
    backwards = torch.where(
        inside(lengths, waveforms.shape[1]), lengths[:, None] - 1 - positions, positions
    )
    return waveforms.gather(1, backwards)


def reverberate(
    waveforms: Tensor, lengths: Tensor, sample_rate: int, measured: Sequence[Tensor] = ()
) -> Tensor:
    """Put each clip into a room of its own, as loud as before; what sounds after its end is cut.

    Args:
        measured: impulse responses `(S,)` at the sample rate, one of which each clip gets; without
            them a room is noise that decays exponentially behind the direct sound (Moorer 1979).
    """
    room = _measured_rooms(waveforms, measured) if measured else _rooms(waveforms, sample_rate)
    length = fast_size(waveforms.shape[1] + room.shape[1])
    spectrum = torch.fft.rfft(waveforms, length) * torch.fft.rfft(room, length)
    changed = torch.fft.irfft(spectrum, length)[:, : waveforms.shape[1]]
    return _as_loud(changed, waveforms, lengths)


def as_textures(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Noise in the place of each clip, of its smoothed spectrum over time, as loud as before.

    Magnitudes are averaged over 1 to 64 frames of 16 ms (at 32 kHz) and 1 to 8 bins: what is left
    of a sound is how its colour changes, down to its mean alone.
    """
    window = torch.hann_window(TEXTURE_WINDOW, device=waveforms.device)
    hop = TEXTURE_WINDOW // 2

    def transform(sound: Tensor) -> Tensor:
        return torch.stft(
            sound, TEXTURE_WINDOW, hop, window=window, pad_mode="constant", return_complex=True
        )

    textures = torch.empty_like(waveforms)
    for index, clip in enumerate(waveforms):
        frames, bins = (2 ** int(torch.randint(0, most, ())) for most in (7, 4))
        magnitudes = transform(clip).abs()
        size = (2 * (bins // 2) + 1, 2 * (frames // 2) + 1)
        padding = (size[0] // 2, size[1] // 2)
        smooth = F.avg_pool2d(magnitudes[None], size, 1, padding, count_include_pad=False)[0]
        noise = transform(torch.randn_like(clip)) * smooth
        textures[index] = torch.istft(noise, TEXTURE_WINDOW, hop, window=window, length=len(clip))
    return _as_loud(textures, waveforms, lengths)


def _measured_rooms(waveforms: Tensor, measured: Sequence[Tensor]) -> Tensor:
    chosen = [measured[index] for index in torch.randint(len(measured), (len(waveforms),))]
    chosen = [response[: waveforms.shape[1]] for response in chosen]
    rooms = waveforms.new_zeros(len(waveforms), max(len(response) for response in chosen))
    for room, response in zip(rooms, chosen, strict=True):
        room[: len(response)] = response
    return rooms


def _rooms(waveforms: Tensor, sample_rate: int) -> Tensor:
    size = min(waveforms.shape[1], round(DECAY_SECONDS[1] * sample_rate))
    seconds = torch.arange(size, device=waveforms.device) / sample_rate
    decay = uniform(waveforms, *DECAY_SECONDS)
    tail = torch.randn(len(waveforms), size, device=waveforms.device)
    tail = tail * 10 ** (-3 * seconds / decay)
    tail[:, 0] = 0
    ratio = 10 ** (-uniform(waveforms, *DIRECT_TO_ROOM_DB) / 10)
    energy = tail.square().sum(dim=1, keepdim=True).clamp(min=TINY)
    room = tail * (ratio / energy).sqrt()
    room[:, 0] = 1
    return room


def equalise(waveforms: Tensor, lengths: Tensor, sample_rate: int, most_db: float) -> Tensor:
    """Raise and lower each clip's bands by up to `most_db`, as loud as before.

    Of each clip's filters one in three lets only a band pass: a telephone's, or that of a
    recording with a lower sample rate.
    """
    length = fast_size(waveforms.shape[1])
    frequencies = torch.fft.rfftfreq(length, 1 / sample_rate, device=waveforms.device)
    octaves = math.log2(sample_rate / 2 / LOWEST_KNOT_HZ)
    positions = (frequencies / LOWEST_KNOT_HZ).clamp(min=1).log2() / octaves * (KNOTS - 1)
    knots = most_db * (2 * torch.rand(len(waveforms), KNOTS, device=waveforms.device) - 1)
    before = positions.long().clamp(max=KNOTS - 2)
    share = positions - before
    gain_db = knots[:, before] * (1 - share) + knots[:, before + 1] * share
    gain = 10 ** (gain_db / 20) * _bands(waveforms, frequencies)
    changed = torch.fft.irfft(torch.fft.rfft(waveforms, length) * gain, length)
    return _as_loud(changed[:, : waveforms.shape[1]], waveforms, lengths)


def _bands(waveforms: Tensor, frequencies: Tensor) -> Tensor:
    """Gains `(B, bins)` of the bands that pass; 1 everywhere for two clips in three."""
    bands = torch.tensor([*NARROW_BANDS_HZ, *[(0.0, math.inf)] * (2 * len(NARROW_BANDS_HZ))])
    chosen = torch.randint(len(bands), (len(waveforms),))
    lowest, highest = (edge[:, None].to(waveforms.device) for edge in bands[chosen].unbind(1))
    high_pass = 1 / (1 + (lowest / frequencies.clamp(min=TINY)) ** SLOPE)
    return high_pass / (1 + (frequencies / highest) ** SLOPE)


def _as_loud(changed: Tensor, waveforms: Tensor, lengths: Tensor) -> Tensor:
    """`changed`, with each clip's former power and nothing beyond its end."""
    changed = changed * inside(lengths, waveforms.shape[1])
    ratio = power(waveforms, lengths) / power(changed, lengths).clamp(min=TINY)
    return changed * ratio.sqrt()


def fast_size(size: int) -> int:
    """A size of at least `size` that a Fourier transform takes quickly: small factors only."""
    step = 2 ** max(0, (size - 1).bit_length() - 5)
    return -(-size // step) * step
