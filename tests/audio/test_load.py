"""Every rate, channel count, depth and container comes back as the sound that went in."""

import io

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio

RATES = [1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000, 384000, 500000, 1000000]

SUBTYPES = [  # container, subtype, largest error of a sample
    ("WAV", "PCM_U8", 2**-7),
    ("AIFF", "PCM_S8", 2**-7),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 1e-7),
    ("WAV", "FLOAT", 1e-7),
    ("WAV", "DOUBLE", 1e-7),
    ("WAV", "ULAW", 0.02),
    ("WAV", "ALAW", 0.02),
    ("FLAC", "PCM_S8", 2**-7),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
    ("AIFF", "PCM_24", 2**-23),
    ("AIFF", "FLOAT", 1e-7),
    ("AU", "PCM_16", 2**-15),
    ("AU", "ULAW", 0.02),
    ("W64", "PCM_24", 2**-23),
    ("RF64", "PCM_16", 2**-15),
    ("WAVEX", "PCM_16", 2**-15),
    ("CAF", "PCM_16", 2**-15),
    ("CAF", "ALAC_16", 2**-15),
    ("NIST", "PCM_16", 2**-15),
    ("VOC", "PCM_16", 2**-15),
]

LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
SPEECH_CODECS = [("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("AU", "G721_32")]


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_its_frequency_level_and_length_from_any_rate(
    sine, encode, assert_is_sine, rate
):
    frequency = 100 if rate < 4000 else 1000
    file = encode(sine(rate, 1.0, frequency), rate, subtype="FLOAT")
    waveform = audio.load(file, 16000)
    assert waveform.dtype == torch.float32
    assert waveform.shape == (16000,)
    assert_is_sine(waveform, 16000, frequency)


@pytest.mark.parametrize("wanted", [8000, 32000, 44100])
def test_a_tone_keeps_its_frequency_and_level_at_any_wanted_rate(
    sine, encode, assert_is_sine, wanted
):
    waveform = audio.load(encode(sine(22050), 22050), wanted)
    assert waveform.shape == (wanted,)
    assert_is_sine(waveform, wanted)


def test_what_the_wanted_rate_cannot_hold_is_removed(sine, encode):
    waveform = audio.load(encode(sine(48000, 1.0, 11000), 48000), 16000)
    assert waveform[1000:-1000].abs().max() < 1e-4  # it would be heard at 5 kHz


@pytest.mark.parametrize("frames", [50, 441, 12345, 44100])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
def test_the_length_is_the_duration_times_the_wanted_rate(encode, rate, frames):
    waveform = audio.load(encode(np.zeros(frames), rate), 16000)
    assert abs(len(waveform) - round(frames * 16000 / rate)) <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 16])
@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("CAF", "FLOAT")])
def test_channels_are_mixed_to_their_mean(encode, channels, container, subtype):
    samples = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    waveform = audio.load(encode(samples, 16000, container, subtype), 16000)
    np.testing.assert_allclose(waveform, samples.mean(axis=1), atol=2**-15)


def test_every_channel_counts_the_same(sine, encode, assert_is_sine):
    for channel in range(6):
        samples = np.zeros((16000, 6))
        samples[:, channel] = sine(16000)
        waveform = audio.load(encode(samples, 16000, "FLAC"), 16000)
        assert_is_sine(waveform * 6, 16000)


@pytest.mark.parametrize(("container", "subtype", "error"), SUBTYPES)
def test_any_depth_and_lossless_container_gives_the_same_samples(
    sine, encode, container, subtype, error
):
    samples = sine(16000, 1.0)
    waveform = audio.load(encode(samples, 16000, container, subtype), 16000)
    np.testing.assert_allclose(waveform[:16000], samples, atol=error)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_full_scale_is_one_at_any_depth(encode, subtype):
    samples = np.array([1.0, -1.0, 0.5, 0.0] * 100)
    waveform = audio.load(encode(samples, 16000, subtype=subtype), 16000)
    expected = torch.tensor([1.0, -1.0, 0.5, 0.0] * 100)
    torch.testing.assert_close(waveform, expected, atol=2**-7, rtol=0)
    assert waveform.abs().max() <= 1


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "subtype"), LOSSY)
def test_lossy_containers_keep_the_tone_and_its_time(
    sine, encode, assert_is_sine, container, subtype, channels
):
    samples = sine(48000, 2.0, channels=channels)
    waveform = audio.load(encode(samples, 48000, container, subtype), 16000)
    assert abs(len(waveform) - 32000) <= 1
    assert_is_sine(waveform, 16000, noise=0.02)


@pytest.mark.parametrize(("container", "subtype"), SPEECH_CODECS)
def test_speech_codecs_keep_the_tone(sine, encode, assert_is_sine, container, subtype):
    waveform = audio.load(encode(sine(8000), 8000, container, subtype), 16000)
    assert_is_sine(waveform, 16000, noise=0.02)


@pytest.mark.parametrize(("container", "subtype"), LOSSY)
def test_lossy_containers_add_no_delay(encode, container, subtype):
    samples = np.zeros(48000)
    samples[24000:24480] = 0.8 * np.hanning(480) * np.sin(2 * np.pi * 0.02 * np.arange(480))
    waveform = audio.load(encode(samples, 48000, container, subtype), 48000)
    shift = np.correlate(waveform[:48000].numpy(), samples[24000:24480], "valid").argmax() - 24000
    assert abs(shift) <= 5


@pytest.mark.parametrize("rate", [8000, 12000, 16000, 24000, 48000])
def test_opus_comes_at_the_rate_it_was_recorded_at(sine, encode, assert_is_sine, rate):
    file = encode(sine(rate), rate, "OGG", "OPUS")
    assert audio.probe(file).sample_rate == rate
    assert_is_sine(audio.load(file, 16000), 16000, noise=0.03)


def test_samples_beyond_full_scale_are_kept(encode):
    samples = np.array([3.0, -7.5, 0.25] * 100)
    waveform = audio.load(encode(samples, 16000, subtype="FLOAT"), 16000)
    np.testing.assert_array_equal(waveform, samples.astype(np.float32))


def test_a_clipped_recording_keeps_its_clipping(sine, encode):
    samples = np.clip(sine(16000) * 20, -1, 1)
    waveform = audio.load(encode(samples, 16000), 16000)
    assert (waveform.abs() > 0.999).float().mean() > 0.8
    assert waveform.abs().max() <= 1


@pytest.mark.parametrize("rate", [16000, 44100])
def test_digital_silence_stays_silent(encode, rate):
    waveform = audio.load(encode(np.zeros((rate, 2)), rate, "FLAC"), 16000)
    assert waveform.shape == (16000,)
    assert waveform.abs().max() == 0


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), *LOSSY])
def test_a_clip_of_50_ms_is_read(sine, encode, container, subtype):
    waveform = audio.load(encode(sine(48000, 0.05), 48000, container, subtype), 16000)
    assert len(waveform) == 800
    assert waveform.abs().max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["two words.wav", "Grüße 音 🎧.flac", "no suffix", "wrong.mp3"])
def test_any_name_will_do_and_the_content_decides(tmp_path, sine, encode, assert_is_sine, name):
    path = tmp_path / name
    path.write_bytes(encode(sine(16000), 16000, "FLAC" if name.endswith("flac") else "WAV"))
    for source in (path, str(path)):
        assert_is_sine(audio.load(source, 16000), 16000)


class Pipe(io.RawIOBase):
    """A file object that cannot seek."""

    def __init__(self, content: bytes):
        self.content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self.content.readinto(buffer)


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "FLOAT"), *LOSSY]
)
def test_files_bytes_and_file_objects_give_the_same(tmp_path, sine, encode, container, subtype):
    content = encode(sine(16000), 16000, container, subtype)
    path = tmp_path / "sound"
    path.write_bytes(content)
    expected = audio.load(path, 16000)
    with path.open("rb") as file:
        sources = [content, io.BytesIO(content), Pipe(content), io.BufferedReader(Pipe(content))]
        for source in [*sources, file]:
            torch.testing.assert_close(audio.load(source, 16000), expected, atol=0, rtol=0)


def test_a_file_object_is_read_from_its_start_and_left_open(sine, encode):
    file = io.BytesIO(encode(sine(16000), 16000))
    file.seek(1000)
    assert torch.equal(audio.load(file, 16000), audio.load(file, 16000))
    assert not file.closed


def strip_length(mp3: bytes) -> bytes:
    """The MP3 without its first frame, which tells the length."""
    mark = max(mp3.find(b"Xing"), mp3.find(b"Info"))
    return mp3[mp3.index(mp3[:2], mark) :]


def test_an_mp3_without_a_length_is_read_to_its_end(encode):
    rng = np.random.default_rng(0)
    # Loud first, so that an estimate from the first frame is far too short.
    samples = np.concatenate([0.3 * rng.standard_normal(88200), np.zeros(220500)])
    whole = encode(
        samples, 44100, "MP3", "MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.1
    )
    file = strip_length(whole)
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    for content in (file, tag + file, file + b"TAG" + bytes(125)):
        waveform = audio.load(content, 44100)
        assert len(samples) <= len(waveform) < len(samples) + 3 * 1152
        assert audio.probe(content).duration == pytest.approx(len(waveform) / 44100)
    assert len(audio.load(tag + whole, 44100)) == len(samples)
    assert audio.probe(tag + whole).duration == pytest.approx(7.0)


def test_a_flac_stream_without_a_length_is_read_to_its_end(encode):
    samples = np.random.default_rng(0).uniform(-1, 1, 400_000)
    content = bytearray(encode(samples, 16000, "FLAC"))
    content[21] &= 0xF0  # the 36 bits of the number of frames
    content[22:26] = bytes(4)
    waveform = audio.load(bytes(content), 16000)
    np.testing.assert_allclose(waveform, samples, atol=2**-15)
    assert audio.probe(bytes(content)).duration is None


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_needs_no_length(sine, encode, recwarn, size):
    content = bytearray(encode(sine(16000), 16000))
    content[40:44] = size.to_bytes(4, "little")
    assert audio.load(bytes(content), 16000).shape == (16000,)
    assert not recwarn.list


def test_probe_tells_what_the_header_says(tmp_path, encode):
    path = tmp_path / "sound.flac"
    path.write_bytes(encode(np.zeros((22050, 3)), 44100, "FLAC", "PCM_24"))
    assert audio.probe(path) == audio.AudioInfo(
        sample_rate=44100, num_channels=3, duration=0.5, format="FLAC PCM_24"
    )


def test_load_agrees_with_soundfile_on_real_recordings(shared_data):
    for path in sorted((shared_data / "esc10").rglob("*.flac"))[:5]:
        expected, _ = soundfile.read(path, dtype="float32")
        np.testing.assert_array_equal(audio.load(path, 16000), expected)


def test_resample_is_what_load_does(sine, encode):
    samples = sine(44100).astype(np.float32)
    resampled = audio.resample(torch.from_numpy(samples), 44100, 16000)
    loaded = audio.load(encode(samples, 44100, subtype="FLOAT"), 16000)
    torch.testing.assert_close(resampled, loaded, atol=1e-7, rtol=0)


def test_resample_to_the_same_rate_changes_nothing(tone):
    assert audio.resample(tone, 16000, 16000) is tone
