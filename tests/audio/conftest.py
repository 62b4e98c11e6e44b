"""Sounds to read and rulers to hold against what was read."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

AMPLITUDE = 0.5


@pytest.fixture
def sine() -> Callable[..., np.ndarray]:
    """A sine `(frames,)` of amplitude 0.5; more channels are copies `(frames, channels)`."""

    def make(
        sample_rate: int, seconds: float = 1.0, frequency: float = 1000.0, channels: int = 1
    ) -> np.ndarray:
        time = np.arange(round(sample_rate * seconds)) / sample_rate
        wave = AMPLITUDE * np.sin(2 * np.pi * frequency * time)
        return wave if channels == 1 else np.repeat(wave[:, None], channels, axis=1)

    return make


@pytest.fixture
def assert_is_sine() -> Callable[..., None]:
    """The middle of a waveform is a sine of amplitude 0.5 within `noise`, and hardly more."""

    def check(waveform, sample_rate: int, frequency: float = 1000.0, noise: float = 1e-3) -> None:
        samples = np.asarray(waveform, dtype=np.float64)
        samples = samples[len(samples) // 4 : -len(samples) // 4]
        time = np.arange(len(samples)) / sample_rate
        basis = np.exp(2j * np.pi * frequency * time)
        fit = np.stack([basis.real, basis.imag, np.ones_like(time)], axis=1)
        weights = np.linalg.lstsq(fit, samples, rcond=None)[0]
        assert np.hypot(weights[0], weights[1]) == pytest.approx(AMPLITUDE, abs=noise)
        rest = samples - fit @ weights
        assert np.sqrt(np.mean(rest**2)) < 2 * noise

    return check


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """The bytes of a sound file that libsndfile writes."""

    def make(samples, sample_rate: int, container="WAV", subtype="PCM_16", **settings) -> bytes:
        stream = io.BytesIO()
        soundfile.write(stream, samples, sample_rate, format=container, subtype=subtype, **settings)
        return stream.getvalue()

    return make


@pytest.fixture
def encode_media(tmp_path) -> Callable[..., bytes]:
    """The bytes of a container that PyAV writes; `samples` are `(frames,)` or `(frames, 2)`."""
    av = pytest.importorskip("av")

    def make(
        samples, sample_rate: int, container="mp4", codec="aac", title="", **settings
    ) -> bytes:
        planes = np.atleast_2d(samples.T).astype(np.float32)
        layout = "mono" if len(planes) == 1 else "stereo"
        path = tmp_path / "encoded"
        with av.open(path, "w", format=container, options=settings) as file:
            file.metadata["title"] = title
            track = file.add_stream(codec, rate=sample_rate, layout=layout)
            if codec == "wmav2":
                track.bit_rate = 64_000
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(planes), format="fltp", layout=layout
            )
            frame.sample_rate = sample_rate
            convert = av.AudioResampler(format=track.format, layout=layout, rate=sample_rate)
            for part in [*convert.resample(frame), None]:
                file.mux(track.encode(part))
        return path.read_bytes()

    return make
