"""Directories are walked, files stay as given."""

import os
from pathlib import Path

import pytest

from auricle import audio
from auricle.errors import AudioError, AudioWarning

SOUNDS = ["a.wav", "B.FLAC", "deep/er/c d.mp3", "deep/z.ogg", "Grüße 音.opus", "m.m4a", "v.webm"]
OTHERS = ["notes.txt", "picture.png", ".hidden.wav", ".cache/x.wav", "deep/._a.wav", "wav"]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in SOUNDS + OTHERS:
        path = tmp_path / "mixed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "mixed"


def test_a_directory_gives_its_sounds_in_order_and_nothing_else(folder):
    found = audio.find_sounds([folder])
    assert found == sorted(folder / name for name in SOUNDS)
    assert all(isinstance(path, Path) for path in found)


def test_files_stay_as_given_in_the_order_given(folder):
    given = [folder / "notes.txt", folder / "v.webm", folder / "a.wav", folder / ".hidden.wav"]
    assert audio.find_sounds(given) == given


def test_files_and_directories_mix(folder):
    text = folder / "notes.txt"
    found = audio.find_sounds([text, folder / "deep", text])
    assert found == [text, folder / "deep/er/c d.mp3", folder / "deep/z.ogg", text]


def test_nothing_gives_nothing():
    assert audio.find_sounds([]) == []


def test_a_hidden_directory_that_is_named_is_walked(folder):
    assert audio.find_sounds([folder / ".cache"]) == [folder / ".cache/x.wav"]


def test_a_directory_of_mixed_sounds_can_be_loaded(tmp_path, sine, encode, encode_media):
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(name, "PCM_16")
        (folder / f"a.{name.lower()}").write_bytes(encode(sine(16000), 16000, name, subtype))
    (folder / "a.m4a").write_bytes(encode_media(sine(16000), 16000))
    (folder / "readme.txt").write_text("not a sound")
    waveforms = [audio.load(path, 16000) for path in audio.find_sounds([folder])]
    assert len(waveforms) == 6
    assert all(len(waveform) >= 16000 for waveform in waveforms)


def test_a_missing_path_is_refused_and_the_nearest_name_is_offered(folder):
    path = folder / "dep"
    with pytest.raises(AudioError) as caught:
        audio.find_sounds([folder, path])
    assert str(caught.value) == f"{path}: does not exist. Did you mean '{folder / 'deep'}'?"


def test_a_directory_without_sound_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(AudioError) as caught:
        audio.find_sounds([tmp_path])
    start, _, suffixes = str(caught.value).partition(" Looked for the suffixes ")
    assert start == f"{tmp_path}: no sound file in this directory or below it."
    assert suffixes == ", ".join(sorted(audio.SOUND_SUFFIXES)) + "."
    assert {".wav", ".mp3", ".m4a", ".wma", ".spx"} < audio.SOUND_SUFFIXES


def message_of_walk(folder: Path, **settings) -> str:
    with pytest.warns(AudioWarning) as caught:
        audio.find_sounds([folder], **settings)
    assert len(caught) == 1
    return str(caught[0].message)


def test_pipes_and_devices_are_skipped_and_counted(folder):
    os.mkfifo(folder / "pipe.wav")
    assert message_of_walk(folder) == (
        f"{folder}: 1 file was skipped: 1 pipe, socket or device (pipe.wav)."
    )
    with pytest.warns(AudioWarning):
        assert folder / "pipe.wav" not in audio.find_sounds([folder])


def test_files_that_are_no_sounds_are_counted_where_that_is_asked_for(folder):
    os.mkfifo(folder / "deep" / "pipe.wav")
    assert message_of_walk(folder, warn_skipped=True) == (
        f"{folder}: 4 files were skipped: 3 without the suffix of a sound (none, .png, .txt), "
        "1 pipe, socket or device (pipe.wav)."
    )


def test_a_link_to_nothing_is_found_and_one_to_a_folder_is_not_followed(folder):
    (folder / "lost.wav").symlink_to("gone.wav")
    (folder / "round.wav").symlink_to(folder)
    found = audio.find_sounds([folder])
    assert folder / "lost.wav" in found
    assert len(found) == len(SOUNDS) + 1


def test_a_dash_is_standard_input():
    assert audio.find_sounds([Path("-")]) == [Path("-")]


def test_a_link_to_itself_does_not_end_the_walk(tmp_path):
    for name in ("loop.wav", "loop.txt"):
        (tmp_path / name).symlink_to(name)
    (tmp_path / "a.wav").touch()
    assert audio.find_sounds([tmp_path]) == [tmp_path / "a.wav", tmp_path / "loop.wav"]
    with pytest.raises(AudioError) as caught:
        audio.load(tmp_path / "loop.wav", 16000)
    assert str(caught.value) == (
        f"{tmp_path / 'loop.wav'}: cannot be opened (Too many levels of symbolic links). Check the "
        "path."
    )
