"""`auricle predict` on a recording of hours: it answers, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

HOURS = 3
RATE = 44_100
MAX_MEMORY_BYTES = 1.5e9
KIB_IN_MAXRSS = 1 if sys.platform == "darwin" else 1024


@pytest.fixture
def recording(tmp_path) -> Path:
    """Three hours, 44.1 kHz, stereo: one minute of a loud tone in faint noise, again and again."""
    path = tmp_path / "hours.flac"
    tone = 8000 * np.sin(2 * np.pi * 440 / RATE * np.arange(60 * RATE))
    noise = np.random.default_rng(0).integers(-3, 4, (60 * RATE, 2))
    minute = (tone[:, None] + noise).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE, channels=2, compression_level=0) as file:
        for _ in range(HOURS * 60):
            file.write(minute)
    return path


@pytest.mark.slow
def test_three_hours_take_less_than_one_and_a_half_gigabytes(recording, tmp_path):
    """With the default model, as a user would."""
    program = "from auricle.cli.main import main; main()"
    words = ["predict", str(recording), "--json", "--device", "cpu"]
    answer = tmp_path / "answer.json"
    with answer.open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    answered = json.loads(answer.read_text())
    assert (answered["duration"], answered["silence"]) == (HOURS * 3600, False)
    assert usage.ru_maxrss * KIB_IN_MAXRSS < MAX_MEMORY_BYTES
    print(f"peak memory {usage.ru_maxrss * KIB_IN_MAXRSS / 1e9:.2f} GB")
