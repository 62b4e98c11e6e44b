"""Sound files, bytes or streams to mono waveforms at a given rate."""

from auricle.audio.decoding import AudioInfo
from auricle.audio.load import (
    blocks,
    duration,
    load,
    load_part,
    probe,
    resample,
)
from auricle.audio.samples import (
    check_samples,
    crop,
    louder_channel,
    pad,
    pad_batch,
    warn_cancelling,
    warn_integers,
)
from auricle.audio.source import (
    HIGHEST_RATE,
    LOWEST_RATE,
    SOUND_SUFFIXES,
    Channel,
    Raw,
    Select,
    Selected,
    Source,
    find_sounds,
)
