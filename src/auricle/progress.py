"""Lines on stderr that say how far a long work has come, for logs and for people who wait."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from typing import Protocol, TypeVar

LINE_SECONDS = 60.0  # between two lines

Item = TypeVar("Item", covariant=True)


class SizedIterable(Sized, Iterable[Item], Protocol[Item]):
    """What can be gone through, and is counted."""


class MinuteLines:
    """Prints a line a minute while it is called: how many `what` of `total` are done, time left."""

    def __init__(self, total: int, what: str):
        self.total = total
        self.what = what
        self.done = 0
        self.started = self.shown = time.monotonic()

    def __call__(self, count: int) -> None:
        """Count `count` more as done."""
        self.done += count
        now = time.monotonic()
        if self.done and now - self.shown >= LINE_SECONDS:
            self.shown = now
            rest = (now - self.started) / self.done * (self.total - self.done)
            left = timedelta(seconds=round(rest))
            print(f"{self.what}: {self.done} of {self.total}, {left} left", file=sys.stderr)


def counted(items: SizedIterable[Item], what: str) -> Iterator[Item]:
    """The `items`, with a line a minute on stderr: how many `what` are done, and the time left."""
    lines = MinuteLines(len(items), what)
    for item in items:
        yield item
        lines(1)
