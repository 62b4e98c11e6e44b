"""Statistics of a data set's features."""

import numpy as np
import pytest
import soundfile
import torch

from auricle import audio
from auricle.data import measure_statistics, read
from auricle.errors import AudioError
from auricle.features import Fbank, FbankConfig


@pytest.fixture
def folder(tmp_path):
    """Three clips of different lengths."""
    random = np.random.default_rng(0)
    for index, seconds in enumerate((0.1, 0.5, 1.3)):
        path = tmp_path / "sounds" / f"class {index}" / "clip.wav"
        path.parent.mkdir(parents=True)
        noise = random.normal(0, 0.01 * (index + 1), round(16_000 * seconds))
        soundfile.write(path, noise, 16_000)
    return tmp_path / "sounds"


@pytest.mark.parametrize("num_mels", [128, 40])
def test_all_true_frames_count_alike(folder, num_mels):
    config = FbankConfig(num_mels=num_mels)
    manifest = read(folder)
    values = [
        Fbank(config).log_mel(audio.load(clip.path, 16_000)[None])[0].flatten()
        for clip in manifest.clips
    ]
    together = torch.cat(values).double()
    measured = measure_statistics(manifest, config)
    assert measured.mean == pytest.approx(together.mean().item(), abs=1e-9)
    assert measured.std == pytest.approx(together.std(correction=0).item(), abs=1e-9)


def test_clips_are_measured_as_loud_as_they_are_heard(folder):
    raised, plain = (
        measure_statistics(read(folder), FbankConfig(min_level_dbfs=softest))
        for softest in (-20.0, None)
    )
    tenths = 20 - 20 * np.log10([1 / 0.01, 1 / 0.02, 1 / 0.03])  # dB from -20
    frames = np.array([8, 48, 128])
    louder = np.average(-tenths, weights=frames) * np.log(10) / 10
    assert raised.mean - plain.mean == pytest.approx(louder, abs=0.1)


def test_a_clip_shorter_than_a_frame_is_named(folder):
    path = folder / "class 0" / "short.wav"
    soundfile.write(path, np.zeros(100), 16_000)
    with pytest.raises(AudioError) as caught:
        measure_statistics(read(folder), FbankConfig())
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("value", [1e20, -2e6, np.inf, np.nan])
def test_samples_that_are_none_poison_nothing(folder, value):
    path = folder / "class 0" / "bad.wav"
    soundfile.write(path, np.array([0.1, value, 0.2] * 8000), 16_000, "FLOAT")
    with pytest.raises(AudioError) as caught:
        measure_statistics(read(folder), FbankConfig())
    assert f"{path}: holds " in str(caught.value)
    measured = measure_statistics(read(folder), FbankConfig(), skip_faulty=True)
    path.unlink()
    assert measured.mean == measure_statistics(read(folder), FbankConfig()).mean


def test_faulty_clips_are_passed_over_where_asked_for(folder):
    expected = measure_statistics(read(folder), FbankConfig())
    soundfile.write(folder / "class 0" / "short.wav", np.zeros(100), 16_000)
    (folder / "class 1" / "bad.wav").write_bytes(b"no sound")
    measured = measure_statistics(read(folder), FbankConfig(), skip_faulty=True)
    assert (measured.mean, measured.std) == (expected.mean, expected.std)


def test_the_first_fault_is_said_where_no_clip_is_left(tmp_path):
    (tmp_path / "a").mkdir()
    for name in "xy":
        (tmp_path / "a" / f"{name}.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError) as caught:
        measure_statistics(read(tmp_path, labelled=False), FbankConfig(), skip_faulty=True)
    assert str(caught.value).startswith(f"{tmp_path / 'a' / 'x.wav'}: ")


def test_a_long_recording_is_measured_block_by_block(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.01, 60 * 16_000 + 100)  # two blocks and a rest
    noise[30 * 16_000 :] *= 10
    soundfile.write(tmp_path / "a" / "long.wav", noise, 16_000, "FLOAT")

    def whole(*args):
        raise AssertionError("all of it at once")

    monkeypatch.setattr(audio, "load", whole)
    measured = measure_statistics(read(tmp_path, labelled=False), FbankConfig())
    halves = torch.from_numpy(noise[: 60 * 16_000]).float().view(2, -1)
    values = Fbank(FbankConfig()).log_mel(halves)[0].double()
    assert measured.mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert measured.std == pytest.approx(values.std(correction=0).item(), abs=1e-6)
