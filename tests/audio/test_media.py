"""MP4, M4A, WebM and AAC, through PyAV."""

import io
import sys
import warnings

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.audio import media
from auricle.errors import AudioError, AudioWarning, MissingExtraError

CONTAINERS = [  # muxer of FFmpeg, codec, rate, suffix, format
    ("mp4", "aac", 44100, ".mp4", "MP4 aac"),
    ("ipod", "aac", 48000, ".m4a", "MP4 aac"),
    ("ipod", "alac", 44100, ".m4a", "MP4 alac"),
    ("adts", "aac", 44100, ".aac", "AAC aac"),
    ("webm", "libopus", 48000, ".webm", "MATROSKA opus"),
    ("matroska", "pcm_s16le", 22050, ".mka", "MATROSKA pcm_s16le"),
    ("matroska", "wavpack", 96000, ".mka", "MATROSKA wavpack"),
    ("mov", "pcm_s24le", 16000, ".mov", "MP4 pcm_s24le"),
    ("3gp", "aac", 16000, ".3gp", "MP4 aac"),
    ("asf", "wmav2", 44100, ".wma", "ASF wmav2"),
    ("wv", "wavpack", 44100, ".wv", "WV wavpack"),
    ("tta", "tta", 44100, ".tta", "TTA tta"),
    ("ac3", "ac3", 48000, ".ac3", "AC3 ac3"),
    ("avi", "pcm_s16le", 44100, ".avi", "AVI pcm_s16le"),
    ("flv", "aac", 44100, ".flv", "FLV aac"),
    ("mpegts", "aac", 48000, ".m2ts", "MPEGTS aac"),
    ("mpeg", "mp2", 48000, ".mpg", "MPEG mp2"),
    ("rm", "ac3", 48000, ".rm", "RM ac3"),
]


@pytest.mark.parametrize(("container", "codec", "rate", "suffix", "kind"), CONTAINERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_tone_comes_back_from_path_bytes_and_file_object(
    tmp_path, sine, encode_media, assert_is_sine, container, codec, rate, suffix, kind, channels
):
    content = encode_media(sine(rate, 2.0, channels=channels), rate, container, codec)
    path = tmp_path / f"with space{suffix}"
    path.write_bytes(content)
    waveform = audio.load(path, 16000)
    assert waveform.dtype == torch.float32
    assert 32000 - 160 <= len(waveform) <= 32000 + 16000 * 3 * 1024 / rate  # encoders pad
    assert_is_sine(waveform, 16000, noise=0.02)
    for source in (str(path), content, io.BytesIO(content)):
        assert torch.equal(audio.load(source, 16000), waveform)
    info = audio.probe(path)
    assert (info.sample_rate, info.num_channels, info.format) == (rate, channels, kind)
    assert info.duration == pytest.approx(2.0, abs=0.2)


def test_channels_are_mixed_to_their_mean(encode_media):
    samples = np.random.default_rng(0).uniform(-1, 1, (8000, 2))
    waveform = audio.load(encode_media(samples, 16000, "matroska", "pcm_s16le"), 16000)
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=2**-14)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_full_scale_is_one_at_any_depth(encode_media, codec):
    samples = np.array([1.0, -1.0, 0.5, 0.0] * 100)
    waveform = audio.load(encode_media(samples, 16000, "matroska", codec), 16000)
    np.testing.assert_allclose(waveform, samples, atol=2**-7)


def test_a_file_object_is_left_open(sine, encode_media):
    file = io.BytesIO(encode_media(sine(16000), 16000))
    audio.load(file, 16000)
    assert not file.closed


def test_blocks_are_load_in_parts(sine, encode_media):
    content = encode_media(sine(44100, 5.0), 44100)
    blocks = list(audio.blocks(content, 16000, 1.0))
    assert [len(block) for block in blocks[:5]] == [16000] * 5
    assert torch.equal(torch.cat(blocks), audio.load(content, 16000))


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("asf", "wmav2")])
def test_a_missing_extra_is_named_with_its_install_line(
    monkeypatch, tmp_path, sine, encode_media, container, codec
):
    path = tmp_path / "a.m4a"
    path.write_bytes(encode_media(sine(16000), 16000, container, codec))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError) as caught:
        audio.load(path, 16000)
    assert str(caught.value) == (
        f"{path}: decoding it needs the package 'av', which is not installed. "
        "Install it with: pip install 'auricle[media]'"
    )


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\0\0\0\0XWMA", "xwma"),
        (b"RIFF\0\0\0\0QLCM", "qcp"),
        (b"#!AMR\n", "amr"),
        (b"MAC \x96\x0f", "ape"),
        (b"tBaK", "tak"),
        (b"ajkg\x02", "shn"),
        (b"MP+\x07", "mpc"),
        (b"MPCKSH", "mpc8"),
        (b"DSD \x1c", "dsf"),
        (b"FRM8\0\0\0\0\0\0\0\0DSD ", "iff"),
        (b"\x7f\xfe\x80\x01", "dts"),
    ],
)
def test_what_nothing_here_can_write_is_known_by_its_first_bytes(head, container):
    assert media.container_of(head) == container


def test_every_container_is_one_of_ffmpegs():
    av = pytest.importorskip("av")
    for name in (*media.CONTAINERS, *media.OTHERS):
        assert av.ContainerFormat(name, "r").is_input  # raises for another name


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x00\x00\x00\x18ftypM4A " + bytes(100), "Invalid data found when processing input"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "Invalid data found when processing input"),
        (b"\xff\xf1" + bytes(100), "no sound frame found"),
    ],
)
def test_a_damaged_container_is_refused(content, reason):
    pytest.importorskip("av")
    with pytest.raises(AudioError) as caught:
        audio.load(content, 16000)
    assert str(caught.value) == (
        f"<bytes>: is damaged (FFmpeg: {reason}). Copy it again, or export it as WAV or FLAC."
    )


def test_a_film_without_sound_is_refused():
    av = pytest.importorskip("av")
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        track = file.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 32, 32, "yuv420p"
        pixels = np.zeros((32, 32, 3), dtype=np.uint8)
        for part in [av.VideoFrame.from_ndarray(pixels, format="rgb24"), None]:
            file.mux(track.encode(part))
    with pytest.raises(AudioError) as caught:
        audio.load(stream.getvalue(), 16000)
    assert str(caught.value) == "<bytes>: has no sound in it, only video. Give another file."


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_container_cut_short_gives_what_there_is(sine, encode_media, assert_is_sine, container):
    settings = {"movflags": "faststart"} if container == "mp4" else {}
    content = encode_media(sine(44100, 10.0), 44100, container, **settings)
    promised = audio.probe(content).duration
    content = content[: len(content) // 2]
    with pytest.warns(AudioWarning) as caught:
        waveform = audio.load(content, 44100)
    assert 3 < len(waveform) / 44100 < 7
    assert str(caught[0].message) == (
        f"<bytes>: is cut short or damaged. {len(waveform) / 44100:.3f} s of the {promised:.3f} s "
        "that its header promises can be read and are used. Copy it again to have all of it."
    )
    assert_is_sine(waveform, 44100, noise=0.02)


@pytest.mark.parametrize(("container", "codec", "rate", "suffix", "kind"), CONTAINERS)
def test_a_whole_file_gives_no_warning(
    sine, encode_media, recwarn, container, codec, rate, suffix, kind
):
    audio.load(encode_media(sine(rate, 3.21), rate, container, codec), 16000)
    assert not recwarn.list


@pytest.mark.parametrize("container", ["mp4", "ipod", "mov", "matroska", "webm", "asf", "flv"])
def test_a_tag_that_is_not_utf_8_is_no_reason_to_stop(sine, encode_media, recwarn, container):
    codec = {"webm": "libopus", "asf": "wmav2"}.get(container, "aac")
    content = encode_media(sine(48000), 48000, container, codec, title="Cafe Cafe")
    damaged = content.replace(b"Cafe", b"Caf\xe9").replace(b"C\0a\0f\0e", b"C\0a\0f\0\xd8")
    assert damaged != content
    assert torch.equal(audio.load(damaged, 16000), audio.load(content, 16000))
    assert audio.probe(damaged) == audio.probe(content)
    assert not recwarn.list


def test_an_unknown_codec_is_one_line(sine, encode_media):
    content = encode_media(sine(16000), 16000, "matroska", "aac").replace(b"A_AAC", b"A_QQQ")
    with pytest.raises(AudioError) as caught:
        audio.load(content, 16000)
    assert str(caught.value) == (
        "<bytes>: its sound has an encoding that FFmpeg cannot decode here. Export it as WAV or "
        "FLAC."
    )


def test_a_stream_without_a_rate_is_one_line(sine, encode_media):
    content = encode_media(sine(16000), 16000, "avi", "pcm_s16le")
    place = content.index((16000).to_bytes(4, "little"), content.index(b"strf"))
    with pytest.raises(AudioError) as caught:
        audio.load(content[:place] + bytes(4) + content[place + 4 :], 16000)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("<bytes>: ")


def test_a_damaged_packet_does_not_end_the_sound(encode_media):
    noise = 0.3 * np.random.default_rng(0).uniform(-1, 1, 16000 * 20)
    content = bytearray(encode_media(noise, 16000, "adts", "aac"))
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    with pytest.warns(AudioWarning, match="is cut short or damaged. 1[789]"):
        assert len(audio.load(bytes(content), 16000)) > 17 * 16000


@pytest.mark.parametrize(
    ("container", "codec"), [("mp4", "aac"), ("mov", "alac"), ("tta", "tta"), ("flv", "aac")]
)
def test_a_second_file_behind_the_first_is_said(sine, encode_media, container, codec):
    content = encode_media(sine(44100), 44100, container, codec)
    with pytest.warns(AudioWarning) as caught:
        waveform = audio.load(content + content, 16000)
    assert len(caught) == 1
    assert torch.equal(waveform, audio.load(content, 16000))
    assert str(caught[0].message) == (
        f"<bytes>: {len(content)} bytes follow the end given in its header, and are not used."
    )


@pytest.mark.parametrize(
    ("container", "codec"), [("adts", "aac"), ("ac3", "ac3"), ("mpegts", "aac"), ("mpeg", "mp2")]
)
def test_a_stream_may_change_its_channels(sine, encode_media, assert_is_sine, container, codec):
    parts = [
        encode_media(sine(48000, 2.0, channels=channels), 48000, container, codec)
        for channels in (1, 2, 1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", AudioWarning
        )  # FFmpeg has an estimate of the length of AC-3
        waveform = audio.load(b"".join(parts), 16000)
    assert len(waveform) == pytest.approx(6 * 16000, abs=7 * 1536)
    for start in (0, 2, 4):
        assert_is_sine(waveform[start * 16000 + 3000 : (start + 2) * 16000], 16000, noise=0.03)


@pytest.mark.parametrize(("container", "kind"), [("adts", "AAC aac"), ("mpegts", "MPEGTS aac")])
@pytest.mark.parametrize("cut", [1, 333, 2001])
def test_a_stream_that_begins_inside_a_frame_is_read(encode_media, recwarn, container, kind, cut):
    noise = 0.3 * np.random.default_rng(0).uniform(-1, 1, 16000 * 10)
    content = encode_media(noise, 16000, container, "aac")[cut:]
    assert audio.probe(content).format == kind
    assert 9 * 16000 < len(audio.load(content, 16000)) < 11 * 16000


def test_a_playlist_is_not_followed(tmp_path, sine, encode):
    """FFmpeg would open whatever files and addresses a playlist names."""
    (tmp_path / "secret.wav").write_bytes(encode(sine(16000), 16000))
    playlist = tmp_path / "a.m4a"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="is not a sound file that can be read"):
        audio.load(playlist, 16000)
