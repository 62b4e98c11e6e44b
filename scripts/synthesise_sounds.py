"""Make the sounds that synthesis covers exactly, and add them to a collection.

    python scripts/synthesise_sounds.py OUT [--seed 0]

Writes about 2,100 clips of 10 s or less into OUT/clips/synthesis (FLAC, 32 kHz), and their rows
into the manifest.csv and sources.csv of `collect_sounds.py` in OUT, in place of those of an earlier
run. What each kind is, `synthetic_sounds.py` (formulas), `instruments.py` (SoundFonts) and
`speech_engines.py` (espeak-ng) say; all of them draw what is random from the seed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import instruments
import numpy as np
import soxr
from collect_sounds import SAMPLE_RATE, save
from instruments import FONTS, Font, Sound
from numpy.typing import NDArray
from sound_tables import SYNTHESIS, Row, write_tables
from speech_engines import Espeak
from synthetic_sounds import KINDS, silence

SENTENCES = (
    "The train on platform four leaves in ten minutes.",
    "Could you close the window, please? It is raining.",
    "Yesterday we walked along the beach until it was dark.",
    "Nobody told me that the shop would be closed today!",
    "One, two, three, four, five, six, seven, eight, nine, ten.",
    "Where did you put the keys of the old house?",
    "My grandmother used to bake bread every Saturday morning.",
    "Attention, please. This building will be closed in half an hour.",
)
SPOKEN = 120
FEW = 4  # clips of a sound of the first font; of the others, half as many
EFFECTS = range(120, 128)  # General MIDI's sounds of nature, machines and people


@dataclass(frozen=True)
class Clip:
    """A waveform (S,) at 32 kHz, what it is called, and where it comes from."""

    name: str
    group: str
    waveform: NDArray[np.float64]
    package: str
    licence: str


def main() -> None:
    """Read the arguments, write clips and tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the collection")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for number, maker in enumerate((formulas, played, spoken)):
        generator = np.random.default_rng([arguments.seed, number])
        for clip in maker(generator):
            path = f"clips/{SYNTHESIS}/{clip.name}.flac"
            level = (-65.0, -45.0) if clip.name.startswith(silence.__name__) else (-35.0, -12.0)
            waveform = levelled(clip.waveform, generator.uniform(*level))
            save(arguments.out / path, waveform, SAMPLE_RATE)
            rows.append(Row(path, clip.group, SYNTHESIS, clip.package, "", clip.licence))
        print(f"{maker.__name__}: {len(rows)} clips so far", flush=True)
    write_tables(arguments.out, rows, synthetic=True)


def formulas(generator: np.random.Generator) -> Iterator[Clip]:
    """Clips of every kind of `synthetic_sounds.py`, 3 to 10 s, each a group of its own."""
    for kind, count in KINDS.items():
        for index in range(count):
            waveform = faded(kind(generator, generator.uniform(3, 10)))
            name = f"{kind.__name__}_{index:03d}"
            yield Clip(
                name, f"{kind.__name__}/{index:03d}", waveform, "script", "made by the script"
            )


def played(generator: np.random.Generator) -> Iterator[Clip]:
    """Clips of every sound of the SoundFonts; all clips of one sound are a group."""
    for font in FONTS:
        sounds = [
            sound for sound in instruments.sounds_of(font.path) for _ in range(times(font, sound))
        ]
        for start in range(0, len(sounds), 32):
            some = sounds[start : start + 32]
            clips = instruments.play(font.path, some, generator)
            for number, (sound, waveform) in enumerate(zip(some, clips, strict=True)):
                place = f"{font.package}_{sound.bank:03d}_{sound.program:03d}"
                if np.abs(waveform).max() > 1e-3:  # a font may name sounds that it lacks
                    name = f"{place}_{start + number:03d}"
                    yield Clip(name, place, waveform, font.package, font.licence)


def times(font: Font, sound: Sound) -> int:
    """How many clips of a sound are wanted: more of the effects, fewer of the later fonts."""
    count = 2 * FEW if sound.program in EFFECTS else FEW // 2
    return count if font is FONTS[0] or sound.program in EFFECTS else FEW // 4


def spoken(generator: np.random.Generator) -> Iterator[Clip]:
    """Sentences by voices of espeak-ng; all clips of one voice are a group."""
    engine = Espeak()
    voices = [engine.draw(generator) for _ in range(SPOKEN)]
    texts = [str(generator.choice(SENTENCES)) for _ in voices]
    for index, (voice, (waveform, rate)) in enumerate(
        zip(voices, engine.render(texts, voices), strict=True)
    ):
        sound = soxr.resample(waveform.astype(np.float64), rate, SAMPLE_RATE)
        yield Clip(
            f"speech_{index:03d}", voice.name, sound[: 10 * SAMPLE_RATE], "espeak-ng", "GPL-3+"
        )


def faded(waveform: NDArray[np.float64], seconds: float = 0.01) -> NDArray[np.float64]:
    """The sound with soft ends."""
    length = round(seconds * SAMPLE_RATE)
    edge = np.hanning(2 * length)[:length]
    return np.concatenate(
        [waveform[:length] * edge, waveform[length:-length], waveform[-length:] * edge[::-1]]
    )


def levelled(waveform: NDArray[np.float64], level_db: float) -> NDArray[np.float32]:
    """The sound with a root mean square of `level_db`, less where its peak would pass 0.9."""
    loudness = max(float(np.sqrt(np.mean(waveform**2))), 1e-9)
    gain = min(10 ** (level_db / 20) / loudness, 0.9 / max(float(np.abs(waveform).max()), 1e-9))
    return (waveform * gain).astype(np.float32)


if __name__ == "__main__":
    main()
