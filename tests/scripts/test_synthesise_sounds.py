"""Synthetic sounds: what a formula promises, music as MIDI, and the tables."""

import importlib
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 32_000


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def synthetic():
    return importlib.import_module("synthetic_sounds")


@pytest.fixture
def instruments():
    return importlib.import_module("instruments")


@pytest.fixture
def synthesise():
    return importlib.import_module("synthesise_sounds")


@pytest.fixture
def tables():
    return importlib.import_module("sound_tables")


def spectrum(waveform: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))


def test_every_kind_is_as_long_as_asked_and_the_same_for_the_same_seed(synthetic):
    for kind in synthetic.KINDS:
        sound = kind(np.random.default_rng(3), 3.0)
        assert sound.shape == (96_000,) and np.isfinite(sound).all(), kind.__name__
        assert sound.std() > 0, kind.__name__
        assert np.array_equal(sound, kind(np.random.default_rng(3), 3.0)), kind.__name__
        assert not np.array_equal(sound, kind(np.random.default_rng(4), 3.0)), kind.__name__


def test_hum_is_the_mains_and_its_harmonics(synthetic):
    for seed in range(6):
        levels = spectrum(synthetic.hum(np.random.default_rng(seed), 10.0))
        loudest = np.argsort(-levels)[:3] / 10  # Hz
        away = [np.abs(loudest / mains - np.round(loudest / mains)).max() for mains in (50, 60)]
        assert min(away) < 0.02


def test_noise_falls_with_frequency_as_its_colour_says():
    parts = importlib.import_module("synthetic_parts")
    generator = np.random.default_rng(0)
    for slope in (0.0, 1.0, 2.0):
        power = spectrum(parts.coloured(generator, 10.0, slope)) ** 2
        low, high = power[5_000:10_000].mean(), power[40_000:80_000].mean()  # three octaves apart
        assert 10 * np.log10(low / high) == pytest.approx(3 * 3.01 * slope, abs=0.7)


def test_a_clock_ticks_evenly(synthetic):
    sound = np.abs(synthetic.clock(np.random.default_rng(0), 8.0))
    loud = np.flatnonzero(sound > 0.4)
    ticks = loud[1:][np.diff(loud) > 0.1 * RATE]
    every_other = ticks[2:] - ticks[:-2]
    assert len(every_other) >= 3
    assert np.ptp(every_other) < 0.002 * RATE


def test_a_midi_file_holds_its_events_in_order(instruments):
    content = instruments.midi_file([(1.0, b"\x80\x3c\x00"), (0.0, b"\x90\x3c\x40")], 2.0)
    assert content[:14] == b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
    assert content[14:22] == b"MTrk" + struct.pack(">I", len(content) - 22)
    tempo, on, off = b"\x00\xff\x51\x03\x0f\x42\x40", b"\x00\x90\x3c\x40", b"\x83\x60\x80\x3c\x00"
    assert content[22:] == tempo + on + off + b"\x83\x60\xff\x2f\x00"


def test_the_sounds_of_a_soundfont_are_listed(instruments, tmp_path):
    rows = [(b"Dog", 123, 1), (b"Piano", 0, 0), (b"EOP", 0, 0)]
    table = b"".join(
        struct.pack("<20sHHHIII", name, program, bank, 0, 0, 0, 0) for name, program, bank in rows
    )
    content = b"RIFF....sfbk...." + b"phdr" + struct.pack("<I", len(table)) + table + b"pbag"
    (tmp_path / "small.sf2").write_bytes(content)
    assert instruments.sounds_of(tmp_path / "small.sf2") == [
        instruments.Sound(0, 0, "Piano"),
        instruments.Sound(1, 123, "Dog"),
    ]


def test_a_missing_fluidsynth_is_said(instruments, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="fluidsynth .* failed: .*No such file"):
        piano = instruments.Sound(0, 0, "Piano")
        instruments.play(tmp_path / "small.sf2", [piano], np.random.default_rng(0))


def test_music_is_played_within_its_slot(instruments):
    piano, drums = instruments.Sound(8, 5, "Piano"), instruments.Sound(128, 16, "Kit")
    for sound, channel in ((piano, 0), (drums, 9)):
        events = instruments._score(sound, 24.0, np.random.default_rng(0))
        assert all(24.0 <= second <= 34.0 for second, _ in events)
        assert {message[0] & 0x0F for _, message in events} == {channel}
        messages = [message for _, message in events]
        assert bytes([0xC0 | channel, sound.program]) in messages
        assert (b"\xb0\x00\x08" in messages) == (sound is piano)
        assert messages[-1] == bytes([0xB0 | channel, 120, 0])


def test_levels_are_kept_without_clipping(synthesise):
    quiet = synthesise.levelled(np.sin(np.arange(32_000)), -30.0)
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-30.0, abs=0.01)
    peaky = np.zeros(32_000)
    peaky[100] = 5.0
    assert np.abs(synthesise.levelled(peaky, -12.0)).max() == pytest.approx(0.9)


def test_clips_are_added_to_the_tables_and_replaced_by_the_next_run(
    synthesise, synthetic, tables, monkeypatch, tmp_path
):
    kinds = {synthetic.tone: 2, synthetic.silence: 1}
    monkeypatch.setattr(synthesise, "KINDS", kinds)
    monkeypatch.setattr(synthesise, "FONTS", ())
    monkeypatch.setattr(synthesise, "spoken", lambda generator: iter(()))
    synthesise.spoken.__name__ = "spoken"
    monkeypatch.setattr("sys.argv", ["synthesise_sounds.py", str(tmp_path)])
    recorded = tables.Row("clips/p/dog.flac", "dog.ogg", "debian", "p", "1.0", "MIT")
    tables.write_tables(tmp_path, [recorded], synthetic=False)
    for _ in range(2):
        synthesise.main()
    lines = (tmp_path / "manifest.csv").read_text().splitlines()
    assert lines[1] == "clips/p/dog.flac,,debian/p/dog,train,debian:p" and len(lines) == 5
    assert lines[2].startswith("clips/synthesis/tone_000.flac,,synthesis/script/tone/000,")
    _, *rows = tables.read_sources(tmp_path)
    assert [row.file for row in rows] == ["tone/000", "tone/001", "silence/000"]
    assert {row.licence for row in rows} == {"made by the script"}
    sound, rate = soundfile.read(tmp_path / "clips/synthesis/silence_000.flac")
    assert rate == RATE
    assert -66 < 20 * np.log10(np.sqrt(np.mean(sound**2))) < -44
