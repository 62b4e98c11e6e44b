"""Sound files, bytes or streams to mono waveforms at the wanted rate."""

from auricle.audio.clip import crop, pad, pad_batch
from auricle.audio.decoding import AudioInfo
from auricle.audio.find import SOUND_SUFFIXES, find_sounds
from auricle.audio.load import duration, load, load_part, probe, resample
from auricle.audio.source import Source
from auricle.audio.stream import blocks

__all__ = [
    "SOUND_SUFFIXES",
    "AudioInfo",
    "Source",
    "blocks",
    "crop",
    "duration",
    "find_sounds",
    "load",
    "load_part",
    "pad",
    "pad_batch",
    "probe",
    "resample",
]
