"""Columns of a long table: what a column of Python strings would hold, in a tenth of the memory.

They are plain arrays, which processes that load clips share; Python objects would be copied to each
of them, a reference count at a time.

Shapes: N rows.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]
Value = TypeVar("Value", bound=Hashable)

NOTHING = -1  # the code of a row without a value
PIECE_ROWS = 10_000  # at a time, where rows become Python's numbers


@dataclass(frozen=True, eq=False)
class Texts:
    """N texts, one after the other in one block of bytes."""

    block: bytearray
    ends: Integers  # (N + 1,), beginning with 0

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> str:
        return self.block[self.ends[row] : self.ends[row + 1]].decode("utf-8", "surrogateescape")

    def spans(self, rows: Integers) -> Iterator[tuple[int, int]]:
        """First byte and end of the text of each row."""
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            yield from zip(self.ends[piece].tolist(), self.ends[piece + 1].tolist(), strict=True)

    def hashes(self, rows: Integers) -> Integers:
        """A number for the text of each row, the same for the same text."""
        numbers = (hash(bytes(self.block[start:end])) for start, end in self.spans(rows))
        return np.fromiter(numbers, np.int64, len(rows))

    def are_empty(self, rows: Integers) -> NDArray[np.bool_]:
        """True for each row whose text is empty."""
        return self.ends[rows] == self.ends[rows + 1]


class TextsBuilder:
    """Takes texts by the list; surrogates, as names of files may hold, are kept."""

    def __init__(self) -> None:
        self.block = bytearray()
        self.lengths: list[Integers] = [np.zeros(1, np.int64)]

    def add(self, texts: Sequence[str]) -> None:
        """Append `texts`."""
        joined = "".join(texts)
        self.block += joined.encode("utf-8", "surrogateescape")
        lengths: Iterable[int] = map(len, texts)
        if not joined.isascii():
            lengths = (len(text.encode("utf-8", "surrogateescape")) for text in texts)
        self.lengths.append(np.fromiter(lengths, np.int64, len(texts)))

    def finish(self) -> Texts:
        """All texts that were added."""
        return Texts(self.block, np.concatenate(self.lengths).cumsum())


@dataclass(frozen=True, eq=False)
class Coded:
    """N values of which many are equal: each row has the index of its value."""

    codes: Integers  # (N,), NOTHING for None
    values: tuple[Any, ...]

    def __getitem__(self, row: int) -> Any:
        code = self.codes[row]
        return None if code == NOTHING else self.values[code]

    def code_of(self, value: Hashable) -> int:
        """The code of `value`; for one that no row has, a code that no row has."""
        return self.values.index(value) if value in self.values else len(self.values)


class CodedBuilder:
    """Takes keys by the list, and turns each distinct one into a value at the end."""

    def __init__(self) -> None:
        self.code_of = _Codes()
        self.codes: list[Integers] = [np.zeros(0, np.int32)]

    def add(self, keys: Iterable[Hashable]) -> None:
        """Append `keys`."""
        self.codes.append(np.fromiter(map(self.code_of.__getitem__, keys), np.int32))

    def add_nothing(self, number: int) -> None:
        """Append `number` empty texts."""
        self.codes.append(np.full(number, self.code_of[""], np.int32))

    def finish(self, value_of: Callable[[Any, int], Value | None]) -> Coded:
        """The column of `value_of(key, first row)`; keys may share a value or have none."""
        codes = np.concatenate(self.codes)
        first = np.zeros(len(self.code_of), np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last to be set stays
        final = _Codes()
        renamed = np.full(len(self.code_of), NOTHING, np.int32)
        for key, code in self.code_of.items():
            value = value_of(key, int(first[code]))
            if value is not None:
                renamed[code] = final[value]
        return Coded(renamed[codes], tuple(final))


class _Codes(dict[Any, int]):
    """Numbers keys in the order in which they first come."""

    def __missing__(self, key: Hashable) -> int:
        code = self[key] = len(self)
        return code


@dataclass(frozen=True, eq=False)
class Lines:
    """Line numbers of N rows of a file."""

    source: Path
    word: str  # "line", or "row" for a file without lines
    numbers: Integers  # (N,), from 1

    def __getitem__(self, row: int) -> str:
        return f"{self.source}, {self.word} {self.numbers[row]}"
