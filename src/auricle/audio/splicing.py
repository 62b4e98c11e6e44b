"""Files as libsndfile has to see them: joined ones link by link, false headers corrected.

A header is a hint. It is compared with the contents of the file, which costs no decoding: pages of
Ogg and frames of MP3 are counted, the last frame of FLAC has a number.
"""

import io
import mmap
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import BinaryIO

from auricle.audio import media, mpeg
from auricle.audio.decoding import Rescue, positions
from auricle.audio.source import OpenedAudio

PAGE_HEADER = 27  # bytes of a page of Ogg before the table of its segments
FIRST, LAST = 2, 4  # flags of a page
# After an MP3 without a length. libsndfile would estimate that from the first frame and the size,
# and stop there without a word: with a variable bit rate that lost 70 % of a recording. An
# estimate that is too long does no harm. It looks for an ID3v1 tag at the end, and insists on some.
ENDLESS = (range(2**40, 2**41), bytes(128))
MOST_METADATA = 2**14  # bytes before the first frame of FLAC, as a rule
MOST_FLAC_FRAME = 2**16  # bytes, as a rule


Part = bytes | mmap.mmap | range


class Spliced(io.RawIOBase):
    """Parts of a stream, given as ranges of positions, and other bytes or files, as one stream."""

    def __init__(self, stream: BinaryIO, parts: Sequence[Part]):
        self.stream, self.parts = stream, parts
        self.ends = list(accumulate(map(len, parts)))
        self.position = 0

    def readable(self) -> bool:
        """True: it can be read."""
        return True

    def seekable(self) -> bool:
        """True: it can be sought in."""
        return True

    def tell(self) -> int:
        """The position in the whole."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As every stream's."""
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.ends[-1]}
        self.position = max(0, bases[whence] + offset)
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`, with less only where the whole ends: libsndfile takes that for an end."""
        filled = 0
        while filled < len(buffer):
            piece = self._piece(len(buffer) - filled)
            if not piece:
                break
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            self.position += len(piece)
        return filled

    def _piece(self, size: int) -> bytes:
        index = bisect_right(self.ends, self.position)
        if index == len(self.parts):
            return b""
        part = self.parts[index]
        offset = self.position - (self.ends[index] - len(part))
        if not isinstance(part, range):
            return part[offset : offset + size]
        self.stream.seek(part.start + offset)
        return self.stream.read(min(size, len(part) - offset))


@dataclass(frozen=True)
class Link:
    """A stretch of a file that is a whole sound file of its own.

    Attributes:
        stream: the stretch; None for a file that is one link and needs no correction.
        promised: seconds by a header, where libsndfile does not pass them on.
        note: for a warning, once the link has been decoded.
        frames: of an MP3 without its length in a tag.
        is_cut: whether its end is missing.
        rescue: another decoder, for what follows damage.
    """

    stream: Spliced | None = None
    promised: float | None = None
    note: str = ""
    frames: int | None = None
    is_cut: bool = False
    rescue: Rescue | None = None


def links(source: OpenedAudio) -> list[Link] | None:
    """The links of Ogg, FLAC or MPEG, none of an MP3 without frames; None for any other file."""
    if source.head[:4] == b"OggS":
        return _ogg_links(source.stream)
    if source.head[:4] == b"fLaC":
        return _flac_links(source.stream, source.start)
    if media.container_of(source.head, media.OTHERS):
        return None
    streams = mpeg.streams(source.stream, source.start)
    is_mpeg = streams or source.start or re.match(rb"\xff[\xe0-\xff]", source.head)
    return [_mpeg_link(source, each, len(streams) == 1) for each in streams] if is_mpeg else None


def nameless(stream: BinaryIO) -> Spliced:
    """The stream without a name, by whose suffix a decoder would guess a format."""
    return Spliced(stream, [range(size_of(stream))])


def size_of(stream: BinaryIO) -> int:
    """Bytes of a stream; its position is then at the end."""
    return stream.seek(0, io.SEEK_END)


def overlaid(parts: Iterable[range], patches: dict[int, bytes]) -> list[Part]:
    """The parts of a stream with other bytes at some positions."""
    pieces: list[Part] = []
    for part in parts:
        start = part.start
        for position, content in sorted(patches.items()):
            if position in part:
                pieces += [range(start, position), content]
                start = position + len(content)
        pieces.append(range(start, part.stop))
    return [part for part in pieces if len(part)]


@dataclass
class _Chain:
    """Streams of an Ogg that begin together: what one encoder wrote.

    Attributes:
        codec: the first bytes of the first stream.
        serial: of that stream.
        bodies: where the contents of its pages lie.
        has_end: whether its last page is marked as the last, and is whole.
    """

    start: int
    end: int
    codec: bytes
    serial: bytes
    bodies: list[range] = field(default_factory=list)
    has_end: bool = False


def _ogg_links(stream: BinaryIO) -> list[Link]:
    chains = _chains(stream)
    if len(chains) == 1 and chains[0].codec != b"\x7fFLAC":
        return [Link(is_cut=not chains[0].has_end)]
    result = []
    for chain in chains:
        parts = [range(chain.start, chain.end)]
        if chain.codec == b"\x7fFLAC":  # libsndfile reads FLAC, but not within Ogg
            first = chain.bodies[0]
            parts = [range(first.start + 9, first.stop), *chain.bodies[1:]]
        result.append(Link(Spliced(stream, parts), is_cut=not chain.has_end))
    return result or [Link()]


def _chains(stream: BinaryIO) -> list[_Chain]:
    """The chains of an Ogg, one after the other; one as a rule."""
    result: list[_Chain] = []
    size, end, was_first = size_of(stream), 0, False
    for position in positions(stream, rb"OggS\0", 0):
        stream.seek(position)
        header = stream.read(PAGE_HEADER + 255)
        if position < end or len(header) < PAGE_HEADER:
            continue  # within a page, or cut off
        start = position + PAGE_HEADER + header[26]
        end = start + sum(header[PAGE_HEADER : PAGE_HEADER + header[26]])
        flags, serial, body = header[5], header[14:18], range(start, min(end, size))
        if flags & FIRST and not was_first:
            stream.seek(start)
            result.append(_Chain(position, position, stream.read(5), serial))
        was_first = bool(flags & FIRST)
        if result:
            result[-1].end = body.stop
            if serial == result[-1].serial:
                result[-1].bodies.append(body)
                result[-1].has_end = bool(flags & LAST) and end <= size
    return result


def _mpeg_link(source: OpenedAudio, mpeg_stream: mpeg.Stream, is_alone: bool) -> Link:
    file, runs, samples = source.stream, mpeg_stream.runs, mpeg_stream.frame.samples
    start, num_frames = runs[0].start, mpeg_stream.num_frames
    if mpeg_stream.tag is None:
        return Link(Spliced(file, [*runs, *ENDLESS]), frames=num_frames * samples)
    tag, num_frames = mpeg.read_tag(file, mpeg_stream.tag), num_frames - 1
    if tag.num_frames is None:
        rest = range(start + mpeg_stream.frame.size, runs[0].stop)
        return Link(Spliced(file, [rest, *runs[1:], *ENDLESS]), frames=num_frames * samples)
    is_true = abs(num_frames - tag.num_frames) <= 1  # some count the frame with the tag
    size = size_of(file) - start
    is_clean = is_alone and start == source.start and len(runs) == 1
    if is_clean and is_true and abs((tag.num_bytes or size) - size) * 100 <= size:
        return Link()
    numbers = zip(tag.fields, (num_frames, sum(map(len, runs))), strict=True)
    patches = {place: number.to_bytes(4, "big") for place, number in numbers if place is not None}
    promised = (tag.num_frames * samples - tag.padding) / mpeg_stream.frame.rate
    return Link(Spliced(file, overlaid(runs, patches)), None if is_true else promised)


def _flac_links(stream: BinaryIO, start: int) -> list[Link]:
    """The links of joined FLAC files; a length that is wrong is taken out of the header."""
    stream.seek(start)
    info = stream.read(42)
    total = int.from_bytes(info[21:26], "big") & 2**36 - 1
    block, most = (int.from_bytes(info[slice(*span)], "big") for span in ((10, 12), (15, 18)))
    size = size_of(stream)
    if len(info) < 42 or not total or not block:
        return [Link()]
    end = _flac_end(stream, start, info, (most or MOST_FLAC_FRAME) + 16) or total
    # Of equal ones that are joined the number of samples is right, but there are too many bytes.
    is_full = most and size - start > (total // block + 1) * most + MOST_METADATA
    if end == total and not is_full:
        return [Link()]
    starts = [start, *positions(stream, rb"fLaC\0\0\0\x22", start + 42)]
    if len(starts) == 1 and end <= total:
        return [Link()]  # cut short
    if len(starts) == 1:
        unknown = {start + 21: bytes([info[21] & 0xF0, 0, 0, 0, 0])}
        return [Link(Spliced(stream, overlaid([range(start, size)], unknown)))]
    ranges = map(range, starts, [*starts[1:], size])
    return [Link(Spliced(stream, [part])) for part in ranges]


def _flac_end(stream: BinaryIO, start: int, info: bytes, most: int) -> int | None:
    """Number of samples up to the end of the last frame, by its header; None: unknown.

    The frame is looked for in the last `most` bytes.
    """
    stream.seek(max(start + 42, size_of(stream) - most))
    tail = stream.read(most)
    for match in reversed(list(re.finditer(rb"(?=\xff[\xf8\xf9])", tail))):
        end = _flac_frame_end(tail[match.start() : match.start() + 16], info)
        if end is not None:
            return end
    return None


def _flac_frame_end(head: bytes, info: bytes) -> int | None:
    """The number of samples up to the end of a frame by its header; None where it is none."""
    if len(head) < 16 or head[3] & 1 or head[2] & 15 == 15 or head[2] >> 4 == 0:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones: the number is written as in UTF-8
    length = max(1, ones)
    if ones == 1 or ones > 7:
        return None
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    index, code = 4 + length, head[2] >> 4
    width = {6: 1, 7: 2}.get(code, 0)  # bytes of a block size that has no code
    block = int.from_bytes(head[index : index + width], "big") + 1
    if not width:
        block = 192 if code == 1 else (576 << code - 2 if code < 6 else 256 << code - 8)
    index += width + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if _crc8(head[:index]) != head[index]:
        return None
    is_variable = head[1] & 1
    return number + block if is_variable else number * int.from_bytes(info[10:12], "big") + block


def _crc8(content: bytes) -> int:
    remainder = 0
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x07 if remainder & 0x80 else 0)) & 0xFF
    return remainder
