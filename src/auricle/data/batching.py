"""Clips to batches: read, crop, pad; nothing else happens to a sound here.

A clip that cannot be read, or is too short, ends the loading, or, with `skip_faulty`, travels as a
`Fault`: `collate` leaves it out and lists it in `Batch.faults`. So what was skipped comes with the
batch itself, from workers as from the main process, and whoever trains counts it there.

Shapes: B clips, P partners of mixup, S samples, C classes.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from auricle import audio
from auricle.data.clips import Clip
from auricle.data.manifest import Manifest, check_labels
from auricle.data.soft_targets import open_soft_targets
from auricle.errors import AudioError, DataError

SILENCE = 1e-4  # of the clip's peak (-80 dB), or of full scale: a sample below it is inaudible
LEAST_SOUND = 0.5  # of what the fullest crop holds: a crop with less is not drawn
LONG_SECONDS = 60.0  # of an unlabelled recording: above this only the crop is decoded
TOLERANCE = 0.1  # seconds that a crop of such a recording may lack
MOST_DRAWS = 4  # of a crop of such a recording, until one sounds


class Fault(NamedTuple):
    """A clip that could not be read; a NamedTuple of text, so that any loop can move its batch."""

    path: str
    reason: str


class Partners(NamedTuple):
    """Clips that mixup adds to some of a batch."""

    waveforms: Tensor  # (P, S), zeros after each clip
    lengths: Tensor  # (P,), samples
    targets: Tensor  # (P, C)
    rows: Tensor  # (P,), of the batch, to which they are added


class Batch(NamedTuple):
    """Clips together; without any, where all were faulty, every tensor is empty."""

    waveforms: Tensor  # (B, S), zeros after each clip
    lengths: Tensor  # (B,), samples
    targets: Tensor  # (B, C)
    faults: tuple[Fault, ...] = ()  # of the clips that were left out
    partners: Partners | None = None  # None: mixup takes them from the batch itself


Item: TypeAlias = tuple[Tensor, Tensor] | Fault


class ClipDataset(Dataset[Item]):
    """The clips of a manifest as `(waveform (S,), target (C,))`.

    A target is the clip's soft targets where the manifest names them, else 1 at its labels. Index
    `i + k * len(dataset)` is a further draw of clip `i`, with a crop of its own.

    Args:
        labels: class names in the order of the model's outputs; None, for who asks no targets,
            leaves them empty.
        sample_rate: of the waveforms, in Hz.
        crop_seconds: a longer clip is cut to this, from a start drawn from `(seed, epoch, index)`,
            so that it does not depend on the number of workers; None leaves clips whole. Without
            labels, of a recording of more than 60 s nothing but the crop is decoded.
        shortest_seconds: a clip with less is faulty: no model could score it.
        skip_faulty: give a `Fault` for a faulty clip, instead of raising AudioError.

    Raises:
        DataError: a clip carries a label that is not in `labels`, or soft targets lack one.
    """

    def __init__(  # noqa: PLR0913 - what is read, how much of it, and what may be wrong with it
        self,
        manifest: Manifest,
        labels: list[str] | None,
        sample_rate: int,
        crop_seconds: float | None = None,
        seed: int = 0,
        *,
        shortest_seconds: float = 0.0,
        skip_faulty: bool = False,
    ):
        if labels is not None:
            if not labels:
                raise DataError(f"{manifest.source}: there are no labels to train or score.")
            check_labels(manifest, labels)
        self.clips = manifest.clips
        self.labels = labels
        self.sample_rate = sample_rate
        self.crop_size = None if crop_seconds is None else round(crop_seconds * sample_rate)
        self.shortest_size = math.ceil(shortest_seconds * sample_rate)
        self.seed = seed
        self.skip_faulty = skip_faulty
        # Shared memory: workers that live longer than one epoch see `set_epoch`, too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._soft_targets = {} if labels is None else _load_soft_targets(manifest, labels)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch (from 0) the next crops are for; call it before iterating."""
        self._epoch.fill_(epoch)

    @property
    def epoch(self) -> int:
        """The epoch that was set last."""
        return int(self._epoch)

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Item]:
        """Each clip once; without this a loop would ask for further draws for ever."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Item:
        clip = self.clips[index % len(self)]
        try:
            waveform = self._waveform(clip, index)
            self._refuse_short(clip, waveform)
            return waveform, self._target(clip)
        except AudioError as error:
            if not self.skip_faulty:
                raise
            return Fault(str(clip.path), str(error))

    def _refuse_short(self, clip: Clip, waveform: Tensor) -> None:
        if len(waveform) < self.shortest_size:
            took, needed = (
                1000 * size / self.sample_rate for size in (len(waveform), self.shortest_size)
            )
            raise AudioError(
                f"{clip.path}: {took:.1f} ms of sound, but at least {needed:.1f} ms are needed. "
                "Leave it out, or give a longer one."
            )

    def _waveform(self, clip: Clip, index: int) -> Tensor:
        if self.crop_size is None:
            return audio.load(clip.sound(), self.sample_rate)
        random = np.random.default_rng((self.seed, self.epoch, index))
        sound = clip.sound()
        waveform, seconds = self._measure(sound) if self.labels is None else (None, 0.0)
        if seconds > max(LONG_SECONDS, self.crop_size / self.sample_rate):
            return self._part(sound, seconds, random)
        if waveform is None:
            waveform = audio.load(sound, self.sample_rate)
        if len(waveform) > self.crop_size:
            starts = sounding_starts(waveform, self.crop_size)
            start = int(starts[random.integers(len(starts))])
            waveform = audio.crop(waveform, start, self.crop_size)
        return waveform

    def _measure(self, sound: audio.Source) -> tuple[Tensor | None, float]:
        """How long a sound is, in seconds; and the sound, if it had to be decoded and is short."""
        info = audio.probe(sound)
        if info.is_exact:
            return None, info.duration or 0.0
        blocks = audio.blocks(sound, self.sample_rate, LONG_SECONDS)
        first = next(blocks)
        rest = sum(map(len, blocks))
        return None if rest else first, (len(first) + rest) / self.sample_rate

    def _part(self, sound: audio.Source, seconds: float, random: np.random.Generator) -> Tensor:
        """A crop of a long recording: of a few draws the first that is not silent."""
        assert self.crop_size is not None  # the caller's condition
        needed, is_counted, draws = self.crop_size / self.sample_rate, False, 0
        while True:
            start = random.uniform(0, max(0.0, seconds - needed))
            try:
                part = audio.load_part(sound, self.sample_rate, start, needed)
            except AudioError:
                if is_counted:
                    raise
                part = torch.empty(0)
            if len(part) < self.crop_size - TOLERANCE * self.sample_rate and not is_counted:
                # It is shorter than its header states.
                seconds, is_counted = audio.duration(sound, trust_header=False), True
                continue
            draws += 1
            if draws == MOST_DRAWS or part.abs().max() > SILENCE:
                return part

    def _target(self, clip: Clip) -> Tensor:
        if self.labels is None:
            return torch.zeros(0)
        if clip.soft_targets is not None:
            path, row = clip.soft_targets
            return self._soft_targets[path][row].float()
        target = torch.zeros(len(self.labels))
        target[[self.labels.index(label) for label in clip.labels]] = 1.0
        return target


def _load_soft_targets(manifest: Manifest, labels: list[str]) -> dict[Path, Tensor]:
    paths = manifest.table.values(manifest.table.columns.soft_files)
    return {path: open_soft_targets(path).load(labels) for path in paths}


def sounding_starts(waveform: Tensor, crop_size: int) -> Tensor:
    """First samples of the crops that hold enough sound to deserve the clip's label.

    Many clips are padded with digital silence; a crop of that alone is not what its label says.
    A crop qualifies if it has at least half as many audible samples as the fullest one. All do in
    a clip that sounds throughout, and in one that is silent throughout.
    """
    audible = waveform.abs() > SILENCE * waveform.abs().max()
    before = torch.nn.functional.pad(audible.cumsum(0), (1, 0))  # audible samples before each
    held = before[crop_size:] - before[:-crop_size]
    return torch.nonzero(held >= LEAST_SOUND * held.max()).flatten()


def collate(items: Sequence[Item]) -> Batch:
    """Items of a dataset to a batch: waveforms zero padded, faulty clips left out and listed."""
    faults = tuple(item for item in items if isinstance(item, Fault))
    whole = [item for item in items if not isinstance(item, Fault)]
    if not whole:
        return Batch(
            torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0), faults
        )
    waveforms, lengths = audio.pad_batch([waveform for waveform, _ in whole])
    return Batch(waveforms, lengths, torch.stack([target for _, target in whole]), faults)


class PartneredDataset(Dataset[tuple[Item, Item | None]]):
    """The items of `dataset`, a share of them with a partner for mixup.

    Partners are drawn uniformly from the whole data set, whatever the order in which clips are
    read: from `(seed, epoch, index)`, so that they do not depend on the number of workers.
    Source: the code of Gong et al. 2021 (AST), dataloader.py.

    Args:
        rate: share of the clips that have a partner.
    """

    def __init__(self, dataset: ClipDataset, rate: float, seed: int):
        self.dataset = dataset
        self.rate = rate
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch (from 0) the next crops and partners are for; call before iterating."""
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Item, Item | None]:
        random = np.random.default_rng((self.seed, self.dataset.epoch, index, 1))
        if random.random() >= self.rate:
            return self.dataset[index], None
        # A further draw, with a crop of its own.
        partner = int(random.integers(len(self))) + (index + 1) * len(self)
        return self.dataset[index], self.dataset[partner]


def collate_with_partners(items: Sequence[tuple[Item, Item | None]]) -> Batch:
    """Items of a `PartneredDataset` to a batch; faulty partners are left out without a word."""
    batch = collate([item for item, _ in items])
    partners = [partner for item, partner in items if not isinstance(item, Fault)]
    whole = {
        row: partner
        for row, partner in enumerate(partners)
        if partner is not None and not isinstance(partner, Fault)
    }
    rows = torch.tensor(list(whole), dtype=torch.int64)
    return batch._replace(partners=Partners(*collate(list(whole.values()))[:3], rows))
