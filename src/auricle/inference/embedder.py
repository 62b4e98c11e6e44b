"""Embedder: sounds to one vector each, by a model of any kind or by plain statistics.

Unlike a `Classifier` it needs no labels, so it takes a start for training, a model that was never
trained, and a baseline without a model.

Shapes: S samples, B waveforms, D width of the embedding, T frames, M mel bins.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from auricle import audio, features
from auricle.checkpoint import Checkpoint
from auricle.errors import AudioError, ConfigError
from auricle.features import Filterbank
from auricle.inference import device as devices
from auricle.inference import names, windows
from auricle.inference.classifier import MAX_BATCH_SAMPLES
from auricle.inference.windows import Window
from auricle.models import PatchTransformer
from auricle.padding import deviation_over, mean_over

LOG_MEL = "log-mel"  # the name of the baseline
LOG_MEL_SECONDS = 30.0  # that it hears in one piece

Embed = Callable[[Tensor, Tensor], Tensor]  # waveforms (B, S), lengths (B,) -> (B, D)


class Embedder:
    """What turns sounds into embeddings; a recording longer than one window gives their mean.

    Args:
        embed: waveforms `(B, S)` on `device`, lengths `(B,)` -> embeddings `(B, D)`.
        sample_rate: of the waveforms, in Hz.
        shortest, longest: samples of the shortest sound, and of the longest in one piece.
    """

    def __init__(
        self, embed: Embed, sample_rate: int, shortest: int, longest: int, device: torch.device
    ):
        self.sample_rate = sample_rate
        self._embed = embed
        self._shortest = shortest
        self._longest = longest
        self._device = device

    @classmethod
    def of(cls, model: Checkpoint, device: str = "auto", deviation: bool = False) -> Self:
        """The encoder of a checkpoint, in eval mode, with or without labels.

        Args:
            deviation: put the standard deviation over the last patches behind each embedding, as
                the baseline has that over frames: `(B, 2 D)`.

        Raises:
            ConfigError: unknown device; `deviation` of a model that keeps no patches.
        """
        place = devices.choose(device)
        embed = _deviation_of(model) if deviation else model.embed
        model = model.to(place).eval()
        shortest, longest = windows.shortest_samples(model), windows.longest_samples(model)
        return cls(embed, model.config.front_end.sample_rate, shortest, longest, place)

    @classmethod
    def log_mel(cls, device: str = "auto") -> Self:
        """The baseline: mean and standard deviation over time of AST's 128 log-mel bands."""
        place = devices.choose(device)
        fbank = features.Fbank(features.FbankConfig()).to(place)
        rate = fbank.config.sample_rate
        longest = round(LOG_MEL_SECONDS * rate)
        return cls(_Bands(fbank), rate, fbank.shortest_size, longest, place)

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        device: str = "auto",
        seed: int = 0,
        deviation: bool = False,
    ) -> Self:
        """The embedder called so: "log-mel", a size such as "ham_ast-tiny", or any model.

        Args:
            seed: of the weights of a size, which was never trained.
            deviation: as in `of`.

        Raises:
            CheckpointError: nothing is called so, or what is there cannot be used.
            ConfigError: unknown device or size; `deviation` of what has no patches.
        """
        name = str(name_or_path)
        if name == LOG_MEL and not Path(name).exists():
            if deviation:
                raise ConfigError(f"deviation: {LOG_MEL} has it anyway, so leave it out.")
            return cls.log_mel(device)
        if not names.is_size(name):
            return cls.of(names.resolve(name_or_path), device, deviation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls.of(names.untrained(name, []), device, deviation)

    @property
    def window_seconds(self) -> float:
        """Length of the longest sound that is heard in one piece."""
        return self._longest / self.sample_rate

    def embed_waveforms(self, waveforms: list[Tensor]) -> Tensor:
        """Embeddings `(B, D)` of float32 waveforms `(S,)`, mono, at the embedder's own rate.

        Raises:
            AudioError: one is too short.
        """
        pieces = [list(windows.split([waveform], self._longest)) for waveform in waveforms]
        flat = (window for windows_of_one in pieces for window in windows_of_one)
        batches = windows.in_batches(flat, MAX_BATCH_SAMPLES)
        rows = torch.cat([self._run(batch) for batch in batches])
        parts = rows.split([len(windows_of_one) for windows_of_one in pieces])
        return torch.stack([windows.mean([part]) for part in parts])

    def embed_file(self, source: audio.Source) -> Tensor:
        """Embedding `(D,)` of a sound file of any length, read in blocks."""
        pieces = windows.split(audio.blocks(source, self.sample_rate), self._longest)
        return windows.mean(map(self._run, windows.in_batches(pieces, MAX_BATCH_SAMPLES)))

    @torch.no_grad()
    def _run(self, batch: list[Window]) -> Tensor:
        least = min(len(window.waveform) for window in batch)
        if least < self._shortest:
            raise AudioError(
                f"the sound lasts {1000 * least / self.sample_rate:.0f} ms; an embedding needs at "
                f"least {1000 * self._shortest / self.sample_rate:.0f} ms."
            )
        waveforms, lengths = audio.pad_batch([window.waveform for window in batch])
        return self._embed(waveforms.to(self._device), lengths.to(self._device)).float().cpu()


def _deviation_of(checkpoint: Checkpoint) -> Embed:
    """What embeds with the deviation over patches behind the embedding.

    Raises:
        ConfigError: the model keeps no patches up to its last stage.
    """
    model, fbank = checkpoint.model, checkpoint.fbank
    if not isinstance(model, PatchTransformer):
        raise ConfigError(
            "deviation: it is taken over patches, which an ast, ham_ast or asda keeps to its end "
            f"and a {checkpoint.config.model} does not."
        )
    return lambda waveforms, lengths: model.embed_with_deviation(*fbank(waveforms, lengths))


class _Bands:
    """Waveforms to the mean and the standard deviation over time of each band, `(B, 2 M)`."""

    def __init__(self, fbank: Filterbank):
        self.fbank = fbank

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        log_mel, counts = self.fbank.log_mel(waveforms, lengths)
        frames = torch.arange(log_mel.shape[1], device=log_mel.device)
        inside = frames < counts[:, None]  # (B, T)
        return torch.cat([mean_over(log_mel, inside), deviation_over(log_mel, inside)], dim=1)
