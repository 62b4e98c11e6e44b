"""What a model answers to music, speech in noise, silence, hum, clipping and a telephone.

    python scripts/answers.py OUT --model tagger [--sounds FOLDER]

Writes OUT/README.md with the answers of `auricle predict`, as labels and as groups, and a picture
of each sound. The sounds are synthesised, or made from the demo's CC0 recording of dogs
(`demo.py`); they stay in FOLDER, if one is named. Speech needs flite (`apt-get install flite`).
What cannot be made is left out by name.
"""

import argparse
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import demo
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from speech_engines import EngineMissing, Flite, Voice

Waveform = NDArray[np.float64]  # (S,)

SAMPLE_RATE = 32_000  # what leaves the telephone has 8000
TELEPHONE_RATE = 8_000
SENTENCE = "The train to the harbour leaves from platform two in five minutes."
SPEECH_TO_NOISE_DB = 5.0
MU = 255  # of the telephone's 8-bit scale, ITU-T G.711


@dataclass(frozen=True)
class Example:
    """A sound: how it is made, in words and as a function of (waveform, sample rate)."""

    words: str
    make: Callable[[], tuple[Waveform, int]]


def main() -> None:
    """Make the sounds, ask the model, write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True, help="as for auricle predict")
    parser.add_argument("--sounds", type=Path, help="keep the sounds here")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.sounds or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_page(options.out.resolve(), folder, options.model)


def write_page(out: Path, folder: Path, model: str) -> None:
    """Write README.md and the pictures into `out`, the sounds into `folder`."""
    sections = [f"# What `{model}` answers\n\nMade by `scripts/answers.py`.\n"]
    for name, example in EXAMPLES.items():
        try:
            waveform, rate = example.make()
        except (demo.NoRecordingError, EngineMissing) as error:
            print(f"without {name}: {error}")
            continue
        soundfile.write(folder / f"{name}.wav", waveform, rate)
        command = [f"{name}.wav", "--model", model]
        shown = [
            ask(folder, *command, "--plot", f"{out}/{name}.png"),
            ask(folder, *command, *GROUP),
        ]
        shrink(out / f"{name}.png")
        print("".join(shown), end="")
        sections.append(section(name, example.words, model, shown))
    (out / "README.md").write_text("\n".join(sections), encoding="utf-8")


def shrink(picture: Path) -> None:
    """Store a picture with 64 colours, a quarter as large: it stays in the history for ever."""
    from PIL import Image  # with matplotlib, which pictures need

    with Image.open(picture) as image:
        image.convert("RGB").quantize(64).save(picture, optimize=True)


GROUP = ("--group", "--top", "3")


def section(name: str, words: str, model: str, shown: list[str]) -> str:
    """A sound's part of the page."""
    title = name.replace("_", " ").capitalize()
    command = f"$ auricle predict {name}.wav --model {model}"
    texts = f"{command}\n{shown[0]}{command} {' '.join(GROUP)}\n{shown[1]}"
    return f"## {title}\n\n{words}\n\n![{title}]({name}.png)\n\n```text\n{texts}```\n"


def ask(folder: Path, *words: str) -> str:
    """What `auricle predict` prints in `folder`.

    Raises:
        SystemExit: it fails.
    """
    auricle = Path(sysconfig.get_path("scripts")) / "auricle"
    done = subprocess.run(
        [str(auricle), "predict", *words], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"auricle predict {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def dogs() -> tuple[Waveform, int]:
    """The demo's recording, mono."""
    demo.CACHE.mkdir(parents=True, exist_ok=True)
    waveform, rate = soundfile.read(demo.fetch_recording(demo.CACHE), always_2d=True)
    return waveform.mean(axis=1), rate


def clipped() -> tuple[Waveform, int]:
    """The recording 30 dB too loud: most of a bark stands at full scale."""
    waveform, rate = dogs()
    return np.clip(10 ** (30 / 20) * waveform / np.abs(waveform).max(), -1, 1), rate


def music() -> tuple[Waveform, int]:
    """Eight bars of plucked strings: four chords, broken, and a bass."""
    chords = [
        (220.0, 261.6, 329.6),
        (174.6, 220.0, 261.6),
        (196.0, 246.9, 293.7),
        (164.8, 207.7, 246.9),
    ]
    beat = SAMPLE_RATE // 4
    song = np.zeros((8 * 4 + 8) * beat)
    for bar in range(8):
        chord = chords[bar % 4]
        notes = [chord[0] / 2, chord[1], chord[2], chord[1]]
        for place, hertz in enumerate(notes):
            add(song, (4 * bar + place) * beat, pluck(hertz, seed=4 * bar + place))
    return 0.5 * song / np.abs(song).max(), SAMPLE_RATE


def pluck(hertz: float, seed: int) -> Waveform:
    """Two seconds of a plucked string. Source: Karplus and Strong 1983."""
    period = round(SAMPLE_RATE / hertz)
    string = np.random.default_rng(seed).uniform(-1, 1, period)
    rounds = []
    for _ in range(2 * SAMPLE_RATE // period):
        rounds.append(string)
        string = 0.498 * (string + np.roll(string, 1))
    return np.concatenate(rounds)


def add(song: Waveform, start: int, sound: Waveform) -> None:
    """Mix `sound` into `song` from the sample `start` on."""
    end = min(len(song), start + len(sound))
    song[start:end] += sound[: end - start]


def speech() -> tuple[Waveform, int]:
    """A sentence by a synthesiser, at half scale."""
    [(waveform, rate)] = Flite().render(
        [SENTENCE], [Voice("flite/slt", {"voice": "slt", "options": []})]
    )
    return 0.5 * waveform.astype(np.float64) / np.abs(waveform).max(), rate


def speech_in_noise() -> tuple[Waveform, int]:
    """The sentence in pink noise."""
    waveform, rate = speech()
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(len(waveform)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))  # power falls as 1 / frequency
    noise = np.fft.irfft(spectrum, len(waveform))
    ratio = 10 ** (-SPEECH_TO_NOISE_DB / 20) * waveform.std() / noise.std()
    return waveform + ratio * noise, rate


def telephone() -> tuple[Waveform, int]:
    """The sentence at 8 kHz, from 300 to 3400 Hz, in steps of 8 bits."""
    waveform, rate = speech()
    narrow = soxr.resample(waveform, rate, TELEPHONE_RATE)
    spectrum = np.fft.rfft(narrow)
    hertz = np.fft.rfftfreq(len(narrow), 1 / TELEPHONE_RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    band = np.fft.irfft(spectrum, len(narrow))
    pressed = np.sign(band) * np.log1p(MU * np.abs(band)) / np.log1p(MU)
    steps = np.round(127 * pressed) / 127
    return np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU, TELEPHONE_RATE


def hum() -> tuple[Waveform, int]:
    """Five seconds of mains hum: 50 Hz and its harmonics."""
    times = np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
    waves = [np.sin(2 * np.pi * 50 * order * times + order) / order for order in (1, 2, 3, 5, 7)]
    return 0.05 * np.sum(waves, axis=0), SAMPLE_RATE


def silence() -> tuple[Waveform, int]:
    """Five seconds of zeros."""
    return np.zeros(5 * SAMPLE_RATE), SAMPLE_RATE


EXAMPLES = {
    "dogs": Example(f"{demo.ATTRIBUTION}", dogs),
    "clipped": Example("The same recording, 30 dB too loud.", clipped),
    "music": Example("Plucked strings, synthesised.", music),
    "speech_in_noise": Example(
        f"Synthetic speech, {SPEECH_TO_NOISE_DB:.0f} dB above pink noise.", speech_in_noise
    ),
    "telephone": Example("The same speech through a telephone: 8 kHz, 300 to 3400 Hz.", telephone),
    "hum": Example("Mains hum: 50 Hz and its harmonics.", hum),
    "silence": Example("Zeros.", silence),
}


if __name__ == "__main__":
    main()
