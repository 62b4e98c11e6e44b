"""The bar on a terminal, and the lines that stand elsewhere in its place."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from auricle.training import progress
from auricle.training.progress import ProgressBar


@pytest.fixture
def screen(monkeypatch) -> io.StringIO:
    """What a terminal shows."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    return shown


def parts(first_piece: int = 0) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A trainer in the second of four epochs, and a module of ten clips in five pieces."""
    trainer = SimpleNamespace(
        current_epoch=1,
        max_epochs=4,
        num_training_batches=5,
        world_size=1,
        is_global_zero=True,
    )
    module = SimpleNamespace(
        first_piece=first_piece,
        batches=SimpleNamespace(piece_size=2),
        specs=SimpleNamespace(train=SimpleNamespace(num_clips=10)),
        means=SimpleNamespace(loss=0.5),
    )
    return trainer, module


def test_the_time_left_is_that_of_the_epochs_to_come(screen, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar, (trainer, module) = ProgressBar(), parts()
    bar.on_train_start(trainer, module)
    bar.on_train_epoch_start(trainer, module)
    now[0] = 106.0  # for a fifth of an epoch: 2.8 are left
    bar.on_train_batch_end(trainer, module, None, [[0, 0]], 0)
    bar.on_exception(trainer, module, KeyboardInterrupt())
    assert re.search(r"epoch 2/4 .* 2/10 clips .*loss 0\.5000  run 0:01:24 left", screen.getvalue())


def test_an_epoch_goes_on_where_it_was_stopped(screen):
    bar, (trainer, module) = ProgressBar(), parts(first_piece=3)
    bar.on_train_start(trainer, module)
    bar.on_exception(trainer, module, KeyboardInterrupt())
    assert re.search(r"epoch 2/4 .* 6/10 clips", screen.getvalue())


def test_without_a_terminal_there_is_a_line_a_minute_and_logs_reach_the_disk(monkeypatch, capsys):
    now, saved = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=io.StringIO(), force_terminal=False)
    )
    bar, (trainer, module) = ProgressBar(), parts()
    trainer.loggers = [SimpleNamespace(save=lambda: saved.append(now[0]))]
    bar.on_train_start(trainer, module)
    for index in range(4):
        now[0] += 40
        bar.on_train_batch_end(trainer, module, None, [[0, 0]], index)
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2/4  40%  loss 0.5000  0:08:40 left",
        "epoch 2/4  80%  loss 0.5000  0:07:20 left",
    ]
    assert saved == [180.0, 260.0]
