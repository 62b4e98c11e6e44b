"""What cannot be used is refused, or used as far as it goes, with one message that helps."""

import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle import audio
from auricle.errors import AudioError, AudioWarning

NOBODY = 65534  # an ordinary user's id, whom permissions bind


def message_of(source, sample_rate: int = 16000) -> str:
    with pytest.raises(AudioError) as caught:
        audio.load(source, sample_rate)
    return str(caught.value)


def load_with_warning(source) -> tuple[torch.Tensor, str]:
    with pytest.warns(AudioWarning) as caught:
        waveform = audio.load(source, 16000)
    assert len(caught) == 1
    return waveform, str(caught[0].message)


@pytest.fixture
def file(tmp_path) -> Callable[[str, bytes], Path]:
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_an_empty_file_is_refused(file):
    path = file("a.wav", b"")
    assert message_of(path) == f"{path}: is empty (0 bytes). Copy or record it again."


@pytest.mark.parametrize("content", [b"Dear diary,\n" * 100, b"a", b"\xff", b"ID3", bytes(5000)])
def test_text_renamed_to_wav_is_refused(file, content):
    path = file("a.wav", content)
    assert message_of(path) == (
        f"{path}: is not a sound file that can be read, whatever its name says. Give WAV, FLAC, "
        "Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM."
    )


def test_a_cut_wav_header_is_refused(file, sine, encode):
    path = file("a.wav", encode(sine(16000), 16000)[:20])
    assert message_of(path) == (
        f"{path}: its header is damaged or of an unknown kind (libsndfile: Error in WAV/W64/RF64 "
        "file. Malformed 'fmt ' chunk). Copy it again, or export it as WAV or FLAC."
    )


def test_a_cut_mp3_header_is_refused(file, sine, encode):
    path = file("a.mp3", encode(sine(16000), 16000, "MP3", "MPEG_LAYER_III")[:100])
    assert message_of(path) == (
        f"{path}: its header is damaged or of an unknown kind (no sound frame found). "
        "Copy it again, or export it as WAV or FLAC."
    )


@pytest.mark.parametrize("size", [20, 44, 100])
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "CAF"])
def test_no_cut_header_gets_past_as_something_else(file, sine, encode, container, size):
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(container, "PCM_16")
    path = file("sound", encode(sine(16000), 16000, container, subtype)[:size])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        try:
            assert len(audio.load(path, 16000)) <= size // 2
        except AudioError as error:
            assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("OGG", "VORBIS")]
)
def test_zero_samples_are_refused(file, encode, container, subtype):
    path = file("a.wav", encode(np.zeros(0), 16000, container, subtype))
    assert message_of(path) == (
        f"{path}: holds no samples that can be read. Record or export it again."
    )


def test_less_than_one_sample_at_the_wanted_rate_is_refused(file, encode):
    path = file("a.wav", encode(np.zeros(7), 384000))
    assert message_of(path) == (
        f"{path}: is too short to give one sample at 16000 Hz. Give a longer recording."
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_nan_and_infinite_samples_are_refused(file, encode, rate, channels, bad):
    samples = np.zeros((20 * rate, channels))
    samples[round(17.25 * rate), -1] = bad
    samples[round(18.5 * rate), 0] = bad
    path = file("a.wav", encode(samples, rate, subtype="FLOAT"))
    assert message_of(path) == (
        f"{path}: holds NaN or infinite samples, the first at 17.250 s. "
        "Export it again without them."
    )


@pytest.mark.parametrize("value", [1.1e6, -1e10, 1e30])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_samples_beyond_any_recording_are_refused(file, encode, rate, value):
    samples = np.zeros((3 * rate, 2))
    samples[2 * rate] = [value, -value]
    path = file("a.wav", encode(samples, rate, subtype="FLOAT"))
    assert message_of(path) == (
        f"{path}: holds samples of up to {abs(value):.1e} times full scale, the first at 2.000 s; "
        "beyond 1e+06 there is no recording. If they were integers, divide them by their full "
        "scale (32768 for 16 bits, 8388608 for 24 bits)."
    )


def test_floats_at_the_scale_of_integers_are_warned_of_once(file, encode):
    samples = 20000 * np.random.default_rng(0).uniform(-1, 1, 60 * 16000)
    path = file("a.wav", encode(samples, 16000, subtype="FLOAT"))
    waveform, message = load_with_warning(path)
    assert waveform.abs().max() > 19000
    assert message == (
        f"{path}: holds samples beyond 100 times full scale, as 16-bit integers taken for floats "
        "are. Divide them by 32768, or export it with integers."
    )


def test_infinities_that_cancel_are_refused(encode):
    samples = np.zeros((100, 2))
    samples[50] = [np.inf, -np.inf]
    assert "holds NaN or infinite" in message_of(encode(samples, 16000, subtype="FLOAT"))


def test_values_too_large_for_32_bits_are_refused(encode):
    assert "holds NaN or infinite" in message_of(
        encode(np.full(100, 1e300), 16000, subtype="DOUBLE")
    )


@pytest.mark.parametrize("rate", [1, 500, 999, 1_000_001, 3_000_000])
def test_rates_out_of_range_are_refused(file, encode, rate):
    path = file("a.wav", encode(np.zeros(4000), rate))
    expected = (
        f"{path}: its sample rate is {rate} Hz, outside the range of 1000 to 1000000 Hz. "
        "Convert it, for example to 16000 Hz."
    )
    assert message_of(path) == expected
    with pytest.raises(AudioError) as caught:
        audio.probe(path)
    assert str(caught.value) == expected


@pytest.mark.parametrize("suffix", ["raw", "au", "snd", "gsm", "vox", "sln", "pcm", "GSM"])
@pytest.mark.parametrize("content", [bytes(1000), b"Dear diary,\n" * 100])
def test_a_file_without_a_header_is_refused(file, suffix, content):
    """libsndfile would guess rate and encoding from the name."""
    path = file(f"a.{suffix}", content)
    expected = (
        f"{path}: has no header with its rate and encoding; both would be a guess. Give them with "
        "--raw, for example --raw 8000,s16le (in Python: auricle.audio.Selected(file, "
        "raw=Raw(8000, 's16le'))), or convert it to WAV."
    )
    assert message_of(path) == expected
    named = io.BytesIO(content)
    named.name = str(path)
    assert message_of(named) == expected


def test_a_missing_file_is_refused_and_the_nearest_name_is_offered(file):
    near = file("bird song.wav", b"x")
    path = near.with_name("bird_song.wav")
    assert message_of(path) == f"{path}: does not exist. Did you mean {str(near)!r}?"


def test_a_missing_file_like_no_other_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    assert message_of(path) == f"{path}: does not exist. Check the path."


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "gone" / "a.wav"
    assert message_of(path) == (
        f"{path}: does not exist, nor does the folder {path.parent}. Check the path."
    )


def test_a_directory_is_no_file(tmp_path):
    assert message_of(tmp_path) == (
        f"{tmp_path}: is a directory, not a file. Name a sound file in it."
    )


def test_a_link_to_nothing_is_called_one(tmp_path):
    path = tmp_path / "a.wav"
    path.symlink_to("gone.wav")
    expected = f"{path}: is a link to gone.wav, which does not exist. Mend the link, or remove it."
    assert message_of(path) == expected
    with pytest.raises(AudioError) as caught:
        audio.find_sounds([path])
    assert str(caught.value) == expected


def test_a_device_is_refused():
    assert message_of("/dev/zero") == "/dev/zero: is a device, not a file. Name a sound file."


def test_what_the_system_refuses_is_passed_on(tmp_path):
    path = tmp_path / ("a" * 300)
    assert message_of(path) == f"{path}: cannot be opened (File name too long). Check the path."


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may enter, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def message_for_an_ordinary_user(action: Callable[[], object]) -> str:
    """The AudioError of `action`, run in a child process that is not root."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            action()
        except AudioError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, encoding="utf-8") as pipe:
        return pipe.read()


def test_a_file_without_permission_is_refused(open_folder, sine, encode):
    path = open_folder / "a.wav"
    path.write_bytes(encode(sine(16000), 16000))
    path.chmod(0)
    assert message_for_an_ordinary_user(lambda: audio.load(path, 16000)) == (
        f"{path}: permission denied. Make it readable for the user who runs this."
    )


def test_a_directory_without_permission_is_refused(open_folder):
    closed = open_folder / "closed"
    closed.mkdir(mode=0)
    expected = f"{closed}: permission denied. Make it readable for the user who runs this."
    assert message_for_an_ordinary_user(lambda: audio.find_sounds([open_folder])) == expected
    assert message_for_an_ordinary_user(lambda: audio.find_sounds([closed])) == expected
    inside = closed / "a.wav"
    expected = f"{inside}: permission denied. Make it readable for the user who runs this."
    assert message_for_an_ordinary_user(lambda: audio.find_sounds([inside])) == expected
    closed.chmod(0o755)


def test_a_missing_file_in_a_folder_that_may_not_be_listed_is_refused(open_folder):
    folder = open_folder / "unlisted"
    folder.mkdir()
    folder.chmod(0o711 if os.geteuid() == 0 else 0o311)
    path = folder / "a.wav"
    assert message_for_an_ordinary_user(lambda: audio.load(path, 16000)) == (
        f"{path}: does not exist. Check the path."
    )


def test_messages_name_what_was_given(tmp_path):
    named = tmp_path / "a.wav"
    named.write_bytes(b"")
    rest = "is empty (0 bytes). Copy or record it again."
    assert message_of(b"") == f"<bytes>: {rest}"
    assert message_of(io.BytesIO()) == f"<file object>: {rest}"
    assert message_of(str(named)) == f"{named}: {rest}"
    with named.open("rb") as file:
        assert message_of(file) == f"{named}: {rest}"
    with tempfile.TemporaryFile() as unnamed:
        assert message_of(unnamed) == f"<file object>: {rest}"


PROMISING = ["WAV", "WAVEX", "AIFF", "AU", "W64", "RF64", "FLAC", "MP3"]


@pytest.mark.parametrize("container", PROMISING)
def test_a_file_cut_short_gives_what_there_is(file, encode, container):
    samples = np.random.default_rng(0).uniform(-1, 1, 160_000)
    subtype = "MPEG_LAYER_III" if container == "MP3" else "PCM_16"
    content = encode(samples, 16000, container, subtype)
    path = file("a", content[: len(content) // 2])
    waveform, message = load_with_warning(path)
    promised = "9.997" if container in ("W64", "RF64") else "10.000"  # these count the header too
    assert message == (
        f"{path}: is cut short or damaged. {len(waveform) / 16000:.3f} s of the {promised} s that "
        "its header promises can be read and are used. Copy it again to have all of it."
    )
    assert 77_000 < len(waveform) <= 80_000
    whole = audio.load(content, 16000)[: len(waveform)]
    error = (waveform - whole).abs()
    assert error[:-2304].max() == 0  # the last two frames of an MP3 may lack their successors
    if container != "MP3":
        assert error.max() == 0


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_short_gives_what_there_is(file, encode, subtype):
    samples = np.random.default_rng(0).uniform(-1, 1, 160_000)
    content = encode(samples, 16000, "OGG", subtype)
    path = file("a.ogg", content[: len(content) // 2])
    waveform, message = load_with_warning(path)
    assert message == (
        f"{path}: is cut short or damaged. {len(waveform) / 16000:.3f} s can be read and are used. "
        "Copy it again to have all of it."
    )
    assert 60_000 < len(waveform) < 80_000
    torch.testing.assert_close(waveform, audio.load(content, 16000)[: len(waveform)])


def test_a_damaged_flac_gives_what_comes_before_the_damage(encode, monkeypatch):
    monkeypatch.setattr("auricle.audio.media.is_installed", lambda: False)
    samples = np.random.default_rng(0).uniform(-1, 1, 500_000)
    content = bytearray(encode(samples, 16000, "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 5000] = bytes(5000)
    waveform, _ = load_with_warning(bytes(content))
    assert 230_000 < len(waveform) < 250_000
    np.testing.assert_allclose(waveform, samples[: len(waveform)], atol=2**-15)


def test_with_pyav_a_damaged_flac_gives_what_comes_behind_the_damage_too(encode):
    pytest.importorskip("av")
    samples = np.random.default_rng(0).uniform(-1, 1, 500_000)
    content = bytearray(encode(samples, 16000, "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 5000] = bytes(5000)
    waveform, message = load_with_warning(bytes(content))
    assert len(waveform) == 500_000
    np.testing.assert_allclose(waveform[:240_000], samples[:240_000], atol=2**-15)
    np.testing.assert_allclose(waveform[-200_000:], samples[-200_000:], atol=2**-15)
    assert message == (
        "<bytes>: is cut short or damaged. 31.250 s can be read and are used. Copy it again to "
        "have all of it."
    )


@pytest.mark.parametrize("container", PROMISING)
@pytest.mark.parametrize("frames", [800, 19744, 300_000])
def test_a_whole_file_gives_no_warning(encode, recwarn, container, frames):
    subtype = "MPEG_LAYER_III" if container == "MP3" else "PCM_16"
    audio.load(encode(np.zeros(frames), 16000, container, subtype), 16000)
    assert not recwarn.list
