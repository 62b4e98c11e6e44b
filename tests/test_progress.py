"""Lines that say how far a long work has come."""

from auricle import progress
from auricle.progress import counted


def test_what_is_counted_says_how_far_it_has_come(monkeypatch, capsys):
    now = iter([100.0, 130.0, 160.0, 190.0, 220.0, 250.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    assert list(counted("abcde", "clips measured")) == list("abcde")
    assert capsys.readouterr().err.splitlines() == [
        "clips measured: 2 of 5, 0:01:30 left",
        "clips measured: 4 of 5, 0:00:30 left",
    ]
