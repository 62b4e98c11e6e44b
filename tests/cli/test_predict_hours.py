"""`auricle predict` on a recording of hours: it answers, in bounded memory."""

import json
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
# A process of its own between, since Linux counts what its parent held to a child that it starts.
MEASURED = """
import os, subprocess, sys
program = "from auricle.cli.main import main; main()"
child = subprocess.Popen([sys.executable, "-c", program, *sys.argv[1:]])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


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
def test_three_hours_take_less_than_one_and_a_half_gigabytes(recording):
    """With the default model, as a user would."""
    words = ["predict", str(recording), "--json", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True
    )
    answered = json.loads(done.stdout)
    assert (answered["duration"], answered["silence"]) == (HOURS * 3600, False)
    peak = int(done.stderr.split()[-1]) * KIB_IN_MAXRSS
    assert peak < MAX_MEMORY_BYTES
    print(f"peak memory {peak / 1e9:.2f} GB")
