"""Sounds without a header, read by what the user knows of them."""

import io

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio
from auricle.audio.source import ENCODINGS, OF_ONE_CHANNEL
from auricle.errors import AudioWarning, ConfigError

RATE = 8000


@pytest.fixture
def encode_raw(sine):
    def make(encoding: str, channels: int = 1, rate: int = RATE) -> bytes:
        stream = io.BytesIO()
        order = "BIG" if encoding.endswith("be") else "LITTLE"
        samples = sine(rate, 2.0, 300.0, channels)
        kind = {"format": "RAW", "subtype": ENCODINGS[encoding], "endian": order}
        soundfile.write(stream, samples, rate, **kind)
        return stream.getvalue()

    return make


OF_TWO = [(encoding, 2) for encoding in ENCODINGS if encoding not in OF_ONE_CHANNEL]


@pytest.mark.parametrize(("encoding", "channels"), [(each, 1) for each in ENCODINGS] + OF_TWO)
def test_a_tone_comes_back(encode_raw, sine, recwarn, encoding, channels):
    source = audio.Selected(encode_raw(encoding, channels), raw=audio.Raw(RATE, encoding, channels))
    waveform = audio.load(source, RATE)
    assert len(waveform) == pytest.approx(2 * RATE, abs=20)
    correlation = np.corrcoef(waveform[: 2 * RATE], sine(RATE, 2.0, 300.0))[0, 1]
    assert correlation > 0.99
    assert audio.duration(source) == pytest.approx(2.0, abs=0.01)
    assert not recwarn.list


def test_rate_channel_blocks_and_parts_are_those_of_any_sound(tmp_path, encode, encode_raw):
    path = tmp_path / "a.vox"
    path.write_bytes(encode_raw("s16be", 2, 44100))
    raw = audio.Raw(44100, "s16be", 2)
    samples, _ = soundfile.read(
        path, format="RAW", subtype="PCM_16", samplerate=44100, channels=2, endian="BIG"
    )
    expected = audio.load(encode(samples[:, 1], 44100), 16000)
    source = audio.Selected(path, 2, raw)
    assert torch.equal(audio.load(source, 16000), expected)
    assert torch.equal(torch.cat(list(audio.blocks(source, 16000, 0.3))), expected)
    part = audio.load_part(source, 16000, 0.5, 1.0)
    torch.testing.assert_close(part[400:-400], expected[8400:23600], atol=1e-3, rtol=0)


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_file_with_a_header_is_read_by_that(encode, sine, container):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    content = encode(sine(16000), 16000, container, subtype)
    raw = audio.Selected(content, raw=audio.Raw(8000, "ulaw"))
    assert torch.equal(audio.load(raw, 16000), audio.load(content, 16000))


@pytest.mark.parametrize("start", [b"\xff\xf1", b"\x0b\x77", b"\x01\x04", b"\x64\xa3\x01\x00"])
def test_samples_that_look_like_the_start_of_a_frame_are_samples(encode_raw, start):
    content = start + encode_raw("s16le")
    assert len(audio.load(audio.Selected(content, raw=audio.Raw(RATE, "s16le")), RATE)) == (
        len(content) // 2
    )


def test_half_a_frame_at_the_end_is_warned_of(encode_raw):
    content = encode_raw("s16le", 2)[:-1]
    with pytest.warns(AudioWarning) as caught:
        audio.load(audio.Selected(content, raw=audio.Raw(RATE, "s16le", 2)), RATE)
    assert str(caught[0].message) == (
        "<bytes>: is cut short or damaged. 2.000 s can be read and are used. Copy it again to have "
        "all of it."
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((8000, "s16"), "unknown encoding 's16'. Did you mean 's16le'? Known: alaw, double, "),
        ((10, "s16le"), "a sample rate of 10 Hz is outside the range of 1000 to 1000000 Hz."),
        (
            (8000, "gsm", 2),
            "2 channels of gsm cannot be read. Give a number from 1 to 1.",
        ),
        (
            (8000, "s8", 0),
            "0 channels of s8 cannot be read. Give a number from 1 to 1024.",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        audio.Raw(*values)
    assert str(caught.value).startswith(message)


def test_a_folder_holds_files_without_a_header_where_they_can_be_read(tmp_path):
    for name in ("a.raw", "b.wav", "c.txt", "d.GSM"):
        (tmp_path / name).write_bytes(b"x")
    found = audio.find_sounds([tmp_path], with_raw=True)
    assert [path.name for path in found] == ["a.raw", "b.wav", "d.GSM"]
    assert [path.name for path in audio.find_sounds([tmp_path])] == ["b.wav"]
