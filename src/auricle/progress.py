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


def counted(items: SizedIterable[Item], what: str) -> Iterator[Item]:
    """The `items`, with a line a minute on stderr: how many `what` are done, and the time left."""
    started = shown = time.monotonic()
    for number, item in enumerate(items):
        now = time.monotonic()
        if number and now - shown >= LINE_SECONDS:
            shown = now
            left = timedelta(seconds=round((now - started) / number * (len(items) - number)))
            print(f"{what}: {number} of {len(items)}, {left} left", file=sys.stderr)
        yield item
