"""A part of a sound is what the whole holds there, and the rest is not decoded."""

import io

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio
from auricle.errors import AudioError

RATE = 16_000
SECONDS = 20


@pytest.fixture(scope="module")
def noise():
    return 0.3 * np.random.default_rng(0).standard_normal((SECONDS * RATE, 2)).clip(-3, 3)


@pytest.mark.parametrize("start", [0.0, 7.125, 18.0])
@pytest.mark.parametrize(
    "container, subtype",
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")],
)
def test_a_part_is_what_the_whole_holds_there(encode, noise, container, subtype, start):
    file = encode(noise, RATE, container, subtype)
    part = audio.load_part(file, RATE, start, 2.0)
    first = round(start * RATE)
    whole = audio.load(file, RATE)[first : first + 2 * RATE]
    torch.testing.assert_close(part, whole, atol=1e-6, rtol=0)


def test_a_part_at_another_rate_differs_at_its_edges_only(encode, noise):
    file = encode(noise, RATE)
    part = audio.load_part(file, 8000, 5.0, 1.0)
    whole = audio.load(file, 8000)[5 * 8000 : 6 * 8000]
    assert part.shape == (8000,)
    torch.testing.assert_close(part[400:-400], whole[400:-400], atol=1e-4, rtol=0)


def test_a_part_may_end_with_the_sound(encode, noise):
    assert len(audio.load_part(encode(noise, RATE), RATE, 19.5, 2.0)) == RATE // 2


def test_what_cannot_be_sought_in_is_decoded_up_to_there(encode_media, noise):
    file = encode_media(noise.astype(np.float32), RATE, "mp4", "aac")
    whole = audio.load(file, RATE)
    part = audio.load_part(file, RATE, 3.0, 1.0)
    torch.testing.assert_close(part, whole[3 * RATE : 4 * RATE])


def test_a_part_of_an_hour_costs_as_little_as_one_of_a_minute(encode, monkeypatch):
    decoded = []
    read = soundfile.SoundFile.read

    def counted(self, *args, **settings):
        found = read(self, *args, **settings)
        decoded.append(len(found))
        return found

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    file = encode(np.zeros(8000 * 3600, dtype=np.float32), 8000)
    audio.load_part(file, 8000, 3000.0, 5.0)
    assert sum(decoded) < 60 * 8000


def without_length(mp3):
    """The bytes of an MP3 without its first frame, which tells the length."""
    return mp3[mp3.index(mp3[:2], 4) :]


def test_an_mp3_without_a_length_is_decoded_up_to_there(encode, noise):
    file = without_length(encode(noise, RATE, "MP3", "MPEG_LAYER_III"))
    whole = audio.load(file, RATE)
    assert audio.duration(file) == pytest.approx(len(whole) / RATE)
    part = audio.load_part(file, RATE, 3.0, 1.0)
    torch.testing.assert_close(part, whole[3 * RATE : 4 * RATE])


def test_opus_remembers_what_came_before(encode, noise):
    file = encode(noise, RATE, "OGG", "OPUS")
    part, whole = audio.load_part(file, RATE, 5.0, 1.0), audio.load(file, RATE)
    torch.testing.assert_close(part, whole[5 * RATE : 6 * RATE], atol=2e-3, rtol=0)


@pytest.mark.parametrize("container", ["WAV", "mp4"])
def test_behind_the_end_there_is_nothing(encode, encode_media, noise, container):
    content = encode(noise, RATE) if container == "WAV" else encode_media(noise, RATE)
    stream = io.BytesIO(content)
    stream.name = "a.wav"
    with pytest.raises(AudioError) as caught:
        audio.load_part(stream, RATE, 25.0, 1.0)
    assert str(caught.value) == "a.wav: has ended before 25.000 s; nothing is left from there on."


def test_what_is_no_number_is_found_at_its_place_in_the_whole(encode, noise):
    broken = noise.copy()
    broken[10 * RATE] = np.nan
    stream = io.BytesIO(encode(broken, RATE, subtype="FLOAT"))
    stream.name = "a.wav"
    with pytest.raises(AudioError) as caught:
        audio.load_part(stream, RATE, 9.0, 2.0)
    assert "the first at 10.000 s" in str(caught.value)
