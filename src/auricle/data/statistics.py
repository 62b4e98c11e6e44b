"""Mean and standard deviation of a data set's log-mel values, as its recipe wants them."""

import torch

from auricle import audio, features
from auricle.data.manifest import Clip, Manifest
from auricle.errors import AudioError
from auricle.features import Filterbank, FilterbankConfig, Statistics
from auricle.progress import counted


def measure_statistics(
    manifest: Manifest, front_end: FilterbankConfig, skip_faulty: bool = False
) -> Statistics:
    """Statistics over the true frames of all clips; padding has no part in them.

    Args:
        skip_faulty: pass over clips that cannot be read or are shorter than one frame, as training
            does, which counts and names them.

    Raises:
        AudioError: naming the clip: it cannot be read, or is shorter than one frame; with
            `skip_faulty`, the first, where all are.
    """
    fbank = features.build(front_end)
    statistics = Statistics()
    faults: list[AudioError] = []
    with torch.inference_mode():
        for clip in counted(manifest.clips, "clips measured for mean and std"):
            try:
                statistics.add(_of_clip(clip, fbank))
            except AudioError as error:
                if not skip_faulty:
                    raise
                faults.append(error)
    if faults and len(faults) == len(manifest.clips):
        raise faults[0]
    return statistics


def _of_clip(clip: Clip, fbank: Filterbank) -> Statistics:
    """In blocks, for recordings of hours; a rest shorter than a frame has none."""
    statistics = Statistics()
    for number, block in enumerate(audio.blocks(clip.sound(), fbank.config.sample_rate)):
        if number and len(block) < fbank.shortest_size:
            break
        try:
            lengths = torch.tensor([len(block)])
            statistics.update(*fbank.log_mel(fbank.raised(block[None], lengths)))
        except AudioError as error:
            raise AudioError(f"{clip.where}: {error}") from error
    return statistics
