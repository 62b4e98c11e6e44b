"""Mean and standard deviation of a data set's log-mel values, as its recipe wants them."""

import torch

from auricle import audio, features
from auricle.data.manifest import Manifest
from auricle.errors import AudioError
from auricle.features import FilterbankConfig, Statistics


def measure_statistics(manifest: Manifest, front_end: FilterbankConfig) -> Statistics:
    """Statistics over the true frames of all clips; padding has no part in them.

    Raises:
        AudioError: naming the clip: it cannot be read, or is shorter than one frame.
    """
    fbank = features.build(front_end)
    statistics = Statistics()
    with torch.inference_mode():
        for clip in manifest.clips:
            # In blocks, for recordings of hours; a rest shorter than a frame has none.
            for number, block in enumerate(audio.blocks(clip.sound(), front_end.sample_rate)):
                if number and len(block) < fbank.shortest_size:
                    break
                try:
                    lengths = torch.tensor([len(block)])
                    statistics.update(*fbank.log_mel(fbank.raised(block[None], lengths)))
                except AudioError as error:
                    raise AudioError(f"{clip.where}: {error}") from error
    return statistics
