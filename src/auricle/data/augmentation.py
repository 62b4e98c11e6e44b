"""Augmentation of waveforms: speed, textures, rooms, filters, shift, noise, gain; on the device.

All draws come from torch's global generator. Samples beyond a clip's true length stay as they are,
but where the speed changes: there they are zero.

Shapes: B clips, S samples.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from auricle import audio
from auricle.config import Bounds, Settings, symmetric_range
from auricle.data import effects
from auricle.data.effects import power, uniform
from auricle.errors import AudioError, ConfigError
from auricle.padding import inside


class AugmentationConfig(Settings):
    """Settings of augmentation; by default nothing is changed."""

    # Played up to so many times as fast or as slow; the length changes with it.
    speed: float = Field(default=1.0, ge=1)
    reversal_rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips played backwards
    texture_rate: float = Field(default=0.0, ge=0, le=1)  # share that becomes noise of its spectrum
    reverberation_rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips in a room
    # A folder of measured impulse responses, of which half of these rooms are; None: all synthetic.
    impulse_responses: str | None = None
    filter_rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips that are filtered
    filter_db: float = Field(default=12.0, ge=0)  # a band is raised or lowered by up to this
    # Lowest, highest gain; a number stands for as much either way.
    gain_db: Annotated[Bounds, BeforeValidator(symmetric_range)] = (0.0, 0.0)
    shift_seconds: float = Field(default=0.0, ge=0)  # rolled in time by up to this, either way
    noise_rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips that get noise
    noise_snr_db: Bounds = (10.0, 40.0)  # lowest, highest signal-to-noise ratio


class Augmentation(nn.Module):
    """Changes each clip by these steps, in this order; in training mode only.

    - speed: by linear interpolation, the factor uniform on a logarithmic scale; what would be
      longer than the batch is cut.
    - reversal, texture, reverberation, filter: as in `effects`; a clip stays as loud as it was.
    - shift: a whole number of samples, uniform; what leaves at one end returns at the other.
    - noise: white or pink, as likely; its level follows from the clip's own power and a
      signal-to-noise ratio uniform in dB, so that digital silence stays silent.
    - gain: uniform in dB. Nothing is clipped: full scale is not a limit behind the decoder.

    Input and output: waveforms `(B, S)`, lengths `(B,)`.

    Raises:
        ConfigError: no impulse responses in the folder of the settings, or one cannot be read.
    """

    def __init__(self, config: AugmentationConfig, sample_rate: int):
        super().__init__()
        self.config = config
        self.rooms = _read_rooms(config.impulse_responses, sample_rate)
        self.sample_rate = sample_rate
        self.largest_shift = round(config.shift_seconds * sample_rate)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training:
            return waveforms, lengths
        config = self.config
        if config.speed > 1:
            waveforms, lengths = effects.change_speed(waveforms, lengths, config.speed)
        for rate, effect in (
            (config.reversal_rate, effects.reverse),
            (config.texture_rate, effects.as_textures),
            (config.reverberation_rate, self._room),
            (config.filter_rate, self._filter),
        ):
            if rate:
                waveforms = self._some(waveforms, lengths, rate, effect)
        own = inside(lengths, waveforms.shape[1])
        if self.largest_shift:
            waveforms = self._shift(waveforms, lengths, own)
        if config.noise_rate:
            waveforms = waveforms + own * self._noise(waveforms, lengths)
        if any(config.gain_db):
            gain_db = uniform(waveforms, *config.gain_db)
            waveforms = torch.where(own, waveforms * 10 ** (gain_db / 20), waveforms)
        return waveforms, lengths

    def _some(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        rate: float,
        effect: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """`effect` on the share `rate` of the clips: the others cost nothing."""
        chosen = (torch.rand(len(waveforms)) < rate).nonzero()[:, 0].to(waveforms.device)
        if not len(chosen):
            return waveforms
        own = inside(lengths[chosen], waveforms.shape[1])
        changed = effect(waveforms[chosen] * own, lengths[chosen])
        return waveforms.index_copy(0, chosen, torch.where(own, changed, waveforms[chosen]))

    def _room(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        if not self.rooms or torch.rand(()) < 0.5:
            return effects.reverberate(waveforms, lengths, self.sample_rate)
        rooms = [room.to(waveforms.device) for room in self.rooms]
        return effects.reverberate(waveforms, lengths, self.sample_rate, rooms)

    def _filter(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        return effects.equalise(waveforms, lengths, self.sample_rate, self.config.filter_db)

    def _shift(self, waveforms: Tensor, lengths: Tensor, own: Tensor) -> Tensor:
        bounds = (-self.largest_shift, self.largest_shift + 1)
        shift = torch.randint(*bounds, (len(waveforms), 1), device=waveforms.device)
        positions = torch.arange(waveforms.shape[1], device=waveforms.device).expand_as(waveforms)
        rolled = (positions - shift) % lengths[:, None].clamp(min=1)
        return waveforms.gather(1, torch.where(own, rolled, positions))

    def _noise(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Noise `(B, S)` at each clip's level; zero for the clips that get none."""
        white = torch.randn_like(waveforms)
        noise = torch.where(uniform(waveforms, 0, 1) < 0.5, white, pink(white))
        snr_db = uniform(waveforms, *self.config.noise_snr_db)
        target = power(waveforms, lengths) * 10 ** (-snr_db / 10)
        actual = power(noise, lengths).clamp(min=torch.finfo(noise.dtype).tiny)
        chosen = uniform(waveforms, 0, 1) < self.config.noise_rate
        return noise * (target / actual).sqrt() * chosen


def _read_rooms(folder: str | None, sample_rate: int) -> list[Tensor]:
    """The impulse responses in a folder, each from its loudest sample, the direct sound, on."""
    if folder is None:
        return []
    try:
        paths = audio.find_sounds([Path(folder)])
        responses = [audio.load(path, sample_rate) for path in paths]
    except AudioError as error:
        raise ConfigError(f"augmentation.impulse_responses: {error}") from error
    return [response[int(response.abs().argmax()) :] for response in responses]


def pink(white: Tensor) -> Tensor:
    """White noise `(B, S)` filtered so that its power falls by 3 dB an octave, without a mean."""
    spectrum = torch.fft.rfft(white)
    frequencies = torch.arange(spectrum.shape[1], device=white.device, dtype=white.dtype)
    spectrum = spectrum / frequencies.clamp(min=1).sqrt()
    spectrum[:, 0] = 0
    return torch.fft.irfft(spectrum, n=white.shape[1])
