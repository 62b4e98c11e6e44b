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
    "container, subtype", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")]
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


def test_behind_the_end_there_is_nothing(encode, noise):
    stream = io.BytesIO(encode(noise, RATE))
    stream.name = "a.wav"
    with pytest.raises(AudioError) as caught:
        audio.load_part(stream, RATE, 25.0, 1.0)
    assert str(caught.value) == "a.wav: has ended after 20.000 s; nothing is left from 25.000 s on."
