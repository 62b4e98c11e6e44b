"""Instruments: music at random for every sound of a SoundFont, as MIDI, played by fluidsynth.

    apt-get install fluidsynth fluid-soundfont-gm fluid-soundfont-gs timgm6mb-soundfont

MIDI files: the standard of 1996, format 0; the list of a SoundFont's sounds: SoundFont 2.04, 7.2.
"""

import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE = 32_000
SLOT_SECONDS = 12.0  # for one clip: 10 s and a rest in which its last notes fade
PLAYED_SECONDS = 9.0
CLIP_SECONDS = 10.0
TICKS = 480  # a second: 480 in a beat, 60 beats a minute
DRUMS, DRUM_BANK = 9, 128
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), tuple(range(12)))


@dataclass(frozen=True)
class Font:
    """A SoundFont that a Debian package brings."""

    package: str
    licence: str
    path: Path


@dataclass(frozen=True)
class Sound:
    """One instrument or kit of drums."""

    bank: int
    program: int
    name: str


FONTS = (
    Font("fluid-soundfont-gm", "MIT", Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")),
    Font("fluid-soundfont-gs", "MIT", Path("/usr/share/sounds/sf2/FluidR3_GS.sf2")),
    Font("timgm6mb-soundfont", "GPL-2", Path("/usr/share/sounds/sf2/TimGM6mb.sf2")),
)

Event = tuple[float, bytes]  # second, message


def sounds_of(font: Path) -> list[Sound]:
    """The sounds of a SoundFont, by bank and program."""
    content = font.read_bytes()
    start = content.index(b"phdr") + 8
    size = struct.unpack("<I", content[start - 4 : start])[0]
    rows = struct.iter_unpack("<20sHHHIII", content[start : start + size])
    sounds = [
        Sound(bank, program, name.partition(b"\0")[0].decode("latin-1"))
        for name, program, bank, *_ in rows
    ]
    return sorted(sounds[:-1], key=lambda sound: (sound.bank, sound.program))  # the last is an end


def play(
    font: Path, sounds: list[Sound], generator: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Music at random on each of `sounds`, one clip of 10 s each, (S,) at 32 kHz.

    Raises:
        SystemExit: fluidsynth is missing or fails.
    """
    events: list[Event] = []
    for index, sound in enumerate(sounds):
        events += _score(sound, index * SLOT_SECONDS, generator)
    with tempfile.TemporaryDirectory() as folder:
        score, sound_file = Path(folder) / "score.mid", Path(folder) / "sound.wav"
        score.write_bytes(midi_file(events, len(sounds) * SLOT_SECONDS))
        command = ["fluidsynth", "-ni", "-q", "-g", "0.6", "-r", str(SAMPLE_RATE)]
        command += ["-F", str(sound_file), str(font), str(score)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{' '.join(command)} failed: {error}") from error
        waveform = soundfile.read(sound_file, always_2d=True)[0].mean(axis=1)
    slot, length = round(SLOT_SECONDS * SAMPLE_RATE), round(CLIP_SECONDS * SAMPLE_RATE)
    return [waveform[index * slot :][:length] for index in range(len(sounds))]


def midi_file(events: list[Event], seconds: float) -> bytes:
    """A MIDI file of one track that lasts `seconds`."""
    track, now = b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big"), 0
    end = (seconds, b"\xff\x2f\x00")
    for second, message in [*sorted(events, key=lambda event: event[0]), end]:
        tick = round(second * TICKS)
        track += _variable_length(tick - now) + message
        now = tick
    head = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS)
    return head + struct.pack(">4sI", b"MTrk", len(track)) + track


def _score(sound: Sound, start: float, generator: np.random.Generator) -> list[Event]:
    """Messages of one clip: choose the sound, play, stop everything."""
    channel = DRUMS if sound.bank == DRUM_BANK else 0
    events: list[Event] = [(start, bytes([0xC0 | channel, sound.program]))]
    if channel != DRUMS:
        events.insert(0, (start, bytes([0xB0, 0, sound.bank])))
    notes = _beats(generator) if channel == DRUMS else _melody(generator)
    for second, length, note, velocity in notes:
        on, off = bytes([0x90 | channel, note, velocity]), bytes([0x80 | channel, note, 0])
        until = min(second + length, PLAYED_SECONDS)
        events += [(start + second, on), (start + until, off)]
    return [*events, (start + CLIP_SECONDS, bytes([0xB0 | channel, 120, 0]))]


def _melody(generator: np.random.Generator) -> list[tuple[float, float, int, int]]:
    """Notes or chords of one scale: (second, length, note, velocity)."""
    scale, root = SCALES[generator.integers(len(SCALES))], int(generator.integers(36, 72))
    beat, voices = generator.uniform(0.15, 0.9), int(generator.choice([1, 1, 1, 2, 3]))
    notes, now = [], 0.0
    while now < PLAYED_SECONDS - 0.1:
        length = beat * generator.choice([0.5, 1, 1, 2, 4])
        for _ in range(voices):
            note = root + int(generator.choice(scale)) + 12 * int(generator.integers(0, 2))
            notes.append((now, 0.95 * length, note, int(generator.integers(50, 120))))
        now += length
    return notes


def _beats(generator: np.random.Generator) -> list[tuple[float, float, int, int]]:
    """A pattern of eight or sixteen steps on four drums, again and again."""
    drums = generator.choice(np.arange(35, 82), 4, replace=False)
    steps, step = int(generator.choice([8, 16])), generator.uniform(0.1, 0.3)
    pattern = generator.random((4, steps)) < generator.uniform(0.15, 0.5, (4, 1))
    pattern[0, 0] = True
    return [
        (index * step, 0.1, int(drums[row]), int(generator.integers(60, 127)))
        for index in range(int(PLAYED_SECONDS / step))
        for row in np.flatnonzero(pattern[:, index % steps])
    ]


def _variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
