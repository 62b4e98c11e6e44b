"""A header is a hint: sound is read to the end of the file, and what is left out is said."""

import io
import os
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.audio import media
from auricle.errors import AudioError, AudioWarning

RATE = 16_000
NOISE = 0.3 * np.random.default_rng(0).uniform(-1, 1, 2 * RATE)
TONE = 0.3 * np.sin(np.arange(3 * RATE) / 3)


def load_with_warning(content: bytes) -> tuple[torch.Tensor, str]:
    stream = io.BytesIO(content)
    stream.name = "a.wav"
    with pytest.warns(AudioWarning) as caught:
        waveform = audio.load(stream, RATE)
    assert len(caught) == 1
    return waveform, str(caught[0].message)


def incomplete(seconds: float, promised: float | None = None) -> str:
    header = "" if promised is None else f" of the {promised:.3f} s that its header promises"
    return (
        f"a.wav: is cut short or damaged. {seconds:.3f} s{header} can be read and are used. "
        "Copy it again to have all of it."
    )


def patched(content: bytes, position: int, value: bytes) -> bytes:
    return content[:position] + value + content[position + len(value) :]


@pytest.fixture
def encode_each(encode) -> Callable[..., bytes]:
    subtypes = {"OPUS": ("OGG", "OPUS"), "OGG": ("OGG", "VORBIS"), "MP3": ("MP3", "MPEG_LAYER_III")}

    def make(samples, rate: int, kind: str) -> bytes:
        return encode(samples, rate, *subtypes.get(kind, (kind, "PCM_16")))

    return make


KINDS = ["OGG", "OPUS", "MP3", "FLAC", "WAV", "RF64"]
RARER_KINDS = ["WAVEX", "W64", "AIFF", "AU", "CAF", "NIST", "AVR", "IRCAM", "MAT4", "MAT5", "PAF"]
RARER_KINDS += ["PVF", "SVX", "VOC", "MPC2K", "SDS"]


@pytest.mark.parametrize("kind", KINDS)
def test_joined_files_are_one_sound(tmp_path, encode_each, recwarn, kind):
    first, second = (encode_each(samples, RATE, kind) for samples in (NOISE, TONE))
    path = tmp_path / "joined"
    path.write_bytes(first + second + first)
    expected = torch.cat([audio.load(each, RATE) for each in (first, second, first)])
    for source in (path, path.read_bytes()):
        assert torch.equal(audio.load(source, RATE), expected)
        assert audio.probe(source).duration == pytest.approx(7.0)
        assert audio.duration(source) == pytest.approx(7.0)
    part = audio.load_part(path, RATE, 2.5, 1.0)
    assert torch.equal(part, expected[round(2.5 * RATE) : round(3.5 * RATE)])
    assert not recwarn.list


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_may_be_joined_to_itself(encode_each, recwarn, kind):
    content = encode_each(NOISE, RATE, kind)
    assert len(audio.load(content + content, RATE)) == 2 * len(audio.load(content, RATE))
    assert not recwarn.list


@pytest.mark.parametrize("kind", RARER_KINDS)
def test_joined_files_of_every_kind_are_one_sound(encode_each, recwarn, kind):
    first, second = (encode_each(samples, RATE, kind) for samples in (NOISE, TONE))
    content = first + second + first
    expected = torch.cat([audio.load(each, RATE) for each in (first, second, first)])
    assert torch.equal(audio.load(content, RATE), expected)
    assert audio.probe(content).duration == pytest.approx(7.0)
    assert not recwarn.list


@pytest.mark.parametrize("kind", KINDS)
def test_joined_files_may_differ_in_rate_and_channels(encode_each, recwarn, kind):
    mono, stereo = encode_each(NOISE, RATE, kind), encode_each(np.stack([TONE] * 2, 1), 48000, kind)
    for content in (mono + stereo, stereo + mono):
        assert len(audio.load(content, RATE)) == pytest.approx(3 * RATE, abs=2)
    expected = audio.load(stereo, RATE)
    torch.testing.assert_close(
        audio.load(mono + stereo, RATE)[2 * RATE :], expected, atol=1e-3, rtol=0
    )
    assert not recwarn.list


def test_an_mp3_joined_behind_tags_is_one_sound(encode_each, recwarn):
    content = encode_each(NOISE, RATE, "MP3")
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    assert len(audio.load(tag + content + b"TAG" + bytes(125) + tag + content, RATE)) == 4 * RATE
    assert not recwarn.list


@pytest.mark.parametrize("kind", ["OGG", "OPUS"])
def test_of_joined_files_the_last_may_be_cut_short(encode_each, kind):
    content = encode_each(np.tile(NOISE, 5), RATE, kind)
    waveform, message = load_with_warning(content + content[: len(content) // 2])
    assert 12 * RATE < len(waveform) < 16 * RATE
    assert message == incomplete(round(len(waveform) - 10 * RATE) / RATE)


def test_a_joined_file_that_cannot_be_opened_is_left_out(encode_each):
    content = encode_each(NOISE, RATE, "OGG")
    waveform, message = load_with_warning(content + content[:200])
    assert len(waveform) == 2 * RATE
    assert message == (
        "a.wav: 1 of 2 joined streams cannot be read and are left out. Copy it again to have all "
        "of it."
    )


def xing(content: bytes) -> int:
    return next(content.index(mark) for mark in (b"Xing", b"Info") if mark in content)


@pytest.mark.parametrize("count", [1, 8, 60, 10_000])
def test_an_mp3_whose_frame_count_lies_is_read_to_its_end(encode_each, count):
    content = encode_each(TONE, RATE, "MP3")
    lying = patched(content, xing(content) + 8, count.to_bytes(4, "big"))
    if count < 10_000:
        waveform = audio.load(lying, RATE)  # without a warning: nothing is left out
    else:
        waveform, message = load_with_warning(lying)
        assert message == incomplete(3.0, 359.904)  # but for the encoder's padding
    assert torch.equal(waveform, audio.load(content, RATE))
    assert audio.probe(lying).duration == pytest.approx(3.0)


def test_an_mp3_with_an_odd_number_of_bytes_in_its_header_is_read_quietly(encode_each, capfd):
    content = encode_each(TONE, RATE, "MP3")
    lying = patched(content, xing(content) + 12, (10**6).to_bytes(4, "big"))
    assert torch.equal(audio.load(lying, RATE), audio.load(content, RATE))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("cut", [200, 333, 1000, 3001])
def test_an_mp3_cut_out_of_a_longer_one_is_read(encode_each, capfd, recwarn, cut):
    content = encode_each(np.tile(NOISE, 5), RATE, "MP3")
    part = content[cut + 400 : -150]
    waveform = audio.load(part, RATE)
    assert len(waveform) == pytest.approx(10 * RATE * len(part) / len(content), rel=0.03)
    assert waveform.square().mean() == pytest.approx(np.square(NOISE).mean(), rel=0.2)
    assert audio.probe(part).duration == pytest.approx(len(waveform) / RATE)
    assert not recwarn.list
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("garbage", [b"\xff" * 700, bytes(5000), bytes(range(256)) * 40])
def test_an_mp3_with_garbage_between_its_frames_is_read_quietly(encode_each, capfd, garbage):
    content = encode_each(TONE, RATE, "MP3")
    middle = len(content) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        waveform = audio.load(content[:middle] + garbage + content[middle:], RATE)
    assert len(waveform) == pytest.approx(3 * RATE, abs=3 * 576)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_an_mp3_cut_short_is_read_quietly(encode_each, capfd, share):
    content = encode_each(TONE, RATE, "MP3")
    waveform, message = load_with_warning(content[: round(share * len(content))])
    assert message == incomplete(len(waveform) / RATE, 3.0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html><body>404</body></html>", b"\xff" * 999]
)
@pytest.mark.parametrize("name", ["a.mp3", "a.wav"])
def test_what_is_no_mp3_is_refused_quietly(tmp_path, capfd, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError):
        audio.load(tmp_path / name, RATE)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("promised", [1, 4096, 10_000, 3 * RATE - 1])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_that_promises_less_is_read_to_its_end(encode, recwarn, promised, channels):
    samples = np.stack([TONE] * channels, axis=1)
    content = encode(samples, RATE, "FLAC")
    lying = patched(content, 22, promised.to_bytes(4, "big"))
    assert torch.equal(audio.load(lying, RATE), audio.load(content, RATE))
    assert audio.duration(lying) == pytest.approx(3.0)
    assert not recwarn.list


def in_ogg(flac: bytes) -> bytes:
    """FLAC in Ogg: a page for its header, one for the rest of its metadata, then its frames."""
    start = 42
    while not flac[start] & 0x80:
        start += 4 + int.from_bytes(flac[start + 1 : start + 4], "big")
    start += 4 + int.from_bytes(flac[start + 1 : start + 4], "big")
    bodies = [b"\x7fFLAC\x01\x00\x00\x01" + flac[:42], flac[42:start]]
    bodies += [flac[at : at + 60_000] for at in range(start, len(flac), 60_000)]
    pages = b""
    for number, body in enumerate(bodies):
        flags = 2 if not number else 4 * (number == len(bodies) - 1)
        lacing = bytes([255] * (len(body) // 255) + [len(body) % 255])
        head = b"OggS\x00" + bytes([flags]) + bytes(8) + b"abcd" + number.to_bytes(4, "little")
        pages += head + bytes(4) + bytes([len(lacing)]) + lacing + body
    return pages


@pytest.mark.parametrize("seconds", [1, 40])
def test_flac_in_ogg_is_read(encode, recwarn, seconds):
    samples = np.random.default_rng(0).uniform(-1, 1, seconds * RATE)
    content = encode(samples, RATE, "FLAC")
    assert torch.equal(audio.load(in_ogg(content), RATE), audio.load(content, RATE))
    assert audio.probe(in_ogg(content)).duration == pytest.approx(seconds)
    assert len(audio.load(in_ogg(content) * 2, RATE)) == 2 * seconds * RATE
    assert not recwarn.list


@pytest.mark.parametrize("share", [0.35, 0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("kind", ["OGG", "OPUS"])
def test_an_ogg_cut_anywhere_is_said_to_be(encode_each, kind, share):
    content = encode_each(np.tile(NOISE, 5), RATE, kind)
    waveform, message = load_with_warning(content[: round(share * len(content))])
    assert message == incomplete(len(waveform) / RATE)


@pytest.mark.parametrize("container", ["NIST", "AVR", "SVX", "MAT4", "MAT5", "MPC2K", "SDS"])
def test_a_rarer_file_cut_short_is_said_to_be(encode, container):
    content = encode(TONE, RATE, container)
    waveform, message = load_with_warning(content[: len(content) // 2])
    assert message == incomplete(len(waveform) / RATE, 3.0)
    assert 1.4 * RATE < len(waveform) <= 1.5 * RATE


def test_an_xi_cut_short_is_said_to_be(encode):
    content = encode(TONE, 44_100, "XI", "DPCM_16")
    size = content.index(b"Sample #1") - 18
    whole = patched(content, size, (2 * len(TONE)).to_bytes(4, "little"))
    assert len(audio.load(whole, 44_100)) == len(TONE)
    waveform, message = load_with_warning(whole[: len(content) // 2])
    assert message == incomplete(23915 / 44_100, len(TONE) / 44_100)


@pytest.mark.parametrize("container", ["PAF", "PVF", "IRCAM"])
def test_a_kind_without_a_length_is_cut_short_where_its_last_frame_is(encode, recwarn, container):
    content = encode(np.stack([TONE, TONE], 1), RATE, container)
    assert len(audio.load(content[:-400], RATE)) == len(TONE) - 100
    assert not recwarn.list
    waveform, message = load_with_warning(content[:-401])
    assert message == incomplete(len(waveform) / RATE)


UNFINISHED = (
    "a.wav: its header was never completed, as when a recorder loses power: it gives the size 0. "
    "All up to the end of the file is used."
)


@pytest.mark.parametrize("riff_size", [0, 36])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_wav_whose_sizes_stayed_0_is_read_to_its_end(encode, subtype, riff_size):
    content = encode(TONE, RATE, subtype=subtype)
    data = content.index(b"data") + 4
    unfinished = patched(patched(content, data, bytes(4)), 4, riff_size.to_bytes(4, "little"))
    waveform, message = load_with_warning(unfinished)
    assert torch.equal(waveform, audio.load(content, RATE))
    assert message == UNFINISHED
    assert audio.probe(unfinished).duration == 3.0


@pytest.mark.parametrize("container", ["RF64", "AU"])
def test_other_sizes_that_stayed_0_are_no_end(encode, container):
    content = encode(TONE, RATE, container)
    position, size = (20, 24) if container == "RF64" else (8, 4)
    waveform, message = load_with_warning(patched(content, position, bytes(size)))
    assert torch.equal(waveform, audio.load(content, RATE))
    assert message == UNFINISHED


def test_an_empty_wav_with_a_chunk_behind_is_empty(encode):
    content = encode(np.zeros(0), RATE) + b"LIST\x08\x00\x00\x00INFOabcd"
    content = patched(content, 4, (len(content) - 8).to_bytes(4, "little"))
    with pytest.raises(AudioError, match="holds no samples that can be read"):
        audio.load(content, RATE)


def test_what_follows_the_end_of_a_wav_is_said(encode, recwarn):
    content = encode(NOISE, RATE)
    data = content.index(b"data") + 4
    longer = content + content[-RATE:]
    less = patched(content, data, (len(NOISE) * 2 - RATE).to_bytes(4, "little"))
    for false, seconds in ((longer, 2.0), (less, 1.5)):
        waveform, message = load_with_warning(false)
        assert len(waveform) == seconds * RATE
        assert message == (
            "a.wav: 16000 bytes (0.500 s at its rate) follow the end given in its header, and are "
            "not used."
        )


@pytest.mark.parametrize(
    "rest",
    [bytes(9999), b"ID3" + bytes(9999), b"TAG" + bytes(125), b"LIST\x0f\x27\0\0" + bytes(9999)],
)
def test_tags_and_zeros_behind_a_wav_are_nothing_to_say(encode, recwarn, rest):
    assert len(audio.load(encode(NOISE, RATE) + rest, RATE)) == 2 * RATE
    assert not recwarn.list


def test_an_aiff_from_a_pipe_needs_no_length(encode, recwarn):
    content = encode(TONE, RATE, "AIFF")
    sound = content.index(b"SSND")
    content = patched(content, sound + 4, (0x7F000008).to_bytes(4, "big"))
    content = patched(content, content.index(b"COMM") + 10, (0x3F800000).to_bytes(4, "big"))
    content = patched(content, 4, (0x7F000000 + sound + 8).to_bytes(4, "big"))
    assert len(audio.load(content, RATE)) == 3 * RATE
    assert not recwarn.list


def test_bw64_is_read(encode, recwarn):
    content = encode(TONE, RATE, "RF64")
    expected = audio.load(content, RATE)
    assert torch.equal(audio.load(b"BW64" + content[4:], RATE), expected)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("container", "codec"), [("caf", "alac"), ("wav", "wmav2"), ("w64", "wmav2")]
)
def test_where_libsndfile_lacks_the_codec_pyav_is_tried(encode_media, container, codec, recwarn):
    content = encode_media(TONE, RATE, container, codec)
    assert len(audio.load(content, RATE)) == pytest.approx(3 * RATE, abs=4096)
    assert audio.probe(content).format == f"{container.upper()} {codec}"
    assert not recwarn.list


def test_where_libsndfile_refuses_what_is_damaged_pyav_is_tried(encode):
    pytest.importorskip("av")
    content = encode(TONE, RATE, "CAF")
    waveform, message = load_with_warning(content[: len(content) // 2])
    assert message == incomplete(len(waveform) / RATE)


def test_without_pyav_what_libsndfile_refuses_is_refused(encode, monkeypatch):
    monkeypatch.setattr(media, "is_installed", lambda: False)
    with pytest.raises(AudioError, match="its header is damaged or of an unknown kind"):
        audio.load(encode(TONE, RATE, "CAF")[:9000], RATE)


def test_a_codec_that_only_pyav_has_names_its_extra(encode_media, monkeypatch):
    content = encode_media(TONE, RATE, "caf", "alac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError) as caught:
        audio.load(content, RATE)
    assert str(caught.value) == (
        "<bytes>: decoding it needs the package 'av', which is not installed. "
        "Install it with: pip install 'auricle[media]'"
    )


def test_standard_input_is_read_once_and_kept(encode, monkeypatch):
    from auricle.audio import source

    reading, writing = os.pipe()
    content = encode(TONE[:2000], RATE)
    os.write(writing, content)
    os.close(writing)
    source._standard_input.cache_clear()
    with open(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert torch.equal(audio.load("-", RATE), audio.load(content, RATE))
        assert len(audio.load("-", RATE)) == 2000
    source._standard_input.cache_clear()


def test_standard_input_must_not_be_a_terminal(monkeypatch):
    from auricle.audio import source

    source._standard_input.cache_clear()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError) as caught:
        audio.load("-", RATE)
    assert str(caught.value) == ("standard input is no file: pipe a sound into it, or name a file.")


def test_damaged_frames_of_an_mp3_are_read_quietly(encode_each, capfd):
    content = bytearray(encode_each(np.tile(NOISE, 5), RATE, "MP3"))
    for place in np.random.default_rng(0).integers(300, len(content), 300):
        content[place] ^= 0xFF
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        audio.load(bytes(content), RATE)
        audio.load_part(bytes(content), RATE, 2.0, 3.0)
    assert capfd.readouterr().err == ""


def test_while_an_mp3_is_read_others_may_print(encode_each, capfd):
    blocks = audio.blocks(encode_each(NOISE, RATE, "MP3"), RATE, 0.1)
    next(blocks)
    print("said", file=sys.stderr, flush=True)
    os.write(2, b"written\n")
    assert capfd.readouterr().err == "said\nwritten\n"
    assert sum(map(len, blocks)) == 2 * RATE - RATE // 10


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with some bytes flipped, cut off, cut out or put in."""
    place, count = int(rng.integers(len(content))), int(rng.integers(1, 2000))
    kind = rng.integers(6)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[place:]
    if kind == 2:
        return content[:place] + rng.bytes(count) + content[place:]
    if kind == 3:
        return content[:place] + content[place + count :]
    places = rng.integers(len(content) if kind == 4 else 100, size=8)
    flipped = bytearray(content)
    for place in places:
        flipped[place] = rng.integers(256)
    return bytes(flipped)


@pytest.mark.parametrize("kind", [*KINDS, "AIFF", "CAF", "AU", "W64"])
def test_what_is_damaged_anyhow_is_one_line_or_a_sound_quietly(encode_each, capfd, kind):
    content, rng = encode_each(NOISE[:12000], RATE, kind), np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        for _ in range(60):
            try:
                assert len(audio.load(damaged(content, rng), RATE)) < 100 * RATE
            except AudioError as error:
                assert "\n" not in str(error)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("position", [20, 28])
def test_an_absurd_size_is_no_place_to_go_to(encode, position):
    content = patched(encode(NOISE, RATE, "RF64"), position, (2**62).to_bytes(8, "little"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        assert len(audio.load(content, RATE)) == pytest.approx(2 * RATE, abs=100)
