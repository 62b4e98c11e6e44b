"""Runs that are broken off, and folders that another process holds."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from auricle.training.history import History


@pytest.fixture
def interrupted_in_epoch(monkeypatch):
    """Break off what runs in the block at the end of an epoch, before it is recorded."""

    @contextlib.contextmanager
    def block(epoch):
        add = History.add

        def interrupt(self, record, weights):
            if record["epoch"] == epoch:
                raise KeyboardInterrupt
            add(self, record, weights)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(History, "add", interrupt)
            yield

    return block


@pytest.fixture
def held_by_another_process():
    """A block in which another process, whose id it gets, trains in a folder."""
    script = (
        "import sys, time; from pathlib import Path; from auricle.experiment.folder import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )

    @contextlib.contextmanager
    def block(folder):
        words = [sys.executable, "-c", script, str(folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "held\n"
            try:
                yield process.pid
            finally:
                os.kill(process.pid, signal.SIGKILL)  # it cannot clear up

    return block
