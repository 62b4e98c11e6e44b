"""Pages of Ogg, found without decoding what is in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

MARK = b"OggS"
HEADER = 27  # bytes before the table of segments
SEARCHED = 2**16  # bytes read at a time where a page is not where it should be
FIRST, LAST = 2, 4  # flags of a page


class Page(NamedTuple):
    """Position of a page, and facts from its header."""

    position: int
    flags: int
    serial: bytes
    body: range
    is_whole: bool


@dataclass
class Chain:
    """Streams that begin together: what one encoder wrote.

    Attributes:
        head: the first bytes of the first stream, which name its codec.
        serial: of that stream.
        bodies: where the contents of its pages lie.
        has_end: whether its last page is marked as the last, and is whole.
    """

    start: int
    end: int
    head: bytes
    serial: bytes
    bodies: list[range] = field(default_factory=list)
    has_end: bool = False


def chains(file: BinaryIO) -> list[Chain]:
    """The chains of a file, one after the other; one as a rule."""
    result: list[Chain] = []
    was_first = False
    for page in _pages(file):
        is_first = bool(page.flags & FIRST)
        if is_first and not was_first:
            file.seek(page.body.start)
            result.append(Chain(page.position, page.position, file.read(16), page.serial))
        was_first = is_first
        if not result:
            continue
        chain = result[-1]
        chain.end = page.body.stop
        if page.serial == chain.serial:
            chain.bodies.append(page.body)
            chain.has_end = bool(page.flags & LAST) and page.is_whole
    return result


def _pages(file: BinaryIO) -> Iterator[Page]:
    size = file.seek(0, 2)
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(HEADER + 255)
        if header[:4] != MARK or len(header) < HEADER:
            following = _find(file, position + 1)
            if following is None:
                return
            position = following
            continue
        start = position + HEADER + header[26]
        stop = start + sum(header[HEADER : HEADER + header[26]])
        is_whole = stop <= size
        yield Page(position, header[5], header[14:18], range(start, min(stop, size)), is_whole)
        position = stop


def _find(file: BinaryIO, position: int) -> int | None:
    """Position of the next page from `position` on; None without one."""
    while True:
        file.seek(position)
        chunk = file.read(SEARCHED)
        index = chunk.find(MARK)
        if index >= 0:
            return position + index
        if len(chunk) < SEARCHED:
            return None
        position += len(chunk) - len(MARK) + 1
