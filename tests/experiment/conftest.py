"""Runs that are broken off."""

import contextlib

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
