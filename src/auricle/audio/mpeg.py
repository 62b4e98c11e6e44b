"""Frames of MPEG audio (MP3, MP2, MP1), found and counted without decoding them.

A stream may begin inside a frame, hold tags and damage between its frames, go on after the end that
its header gives, and be followed by another one.
"""

from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

CHUNK = 2**20  # bytes read at a time
LOOKAHEAD = 2**14  # bytes of four of the longest frames
MOST_SEARCHED = 2**16  # bytes before the first frame
MARKS = (b"Xing", b"Info", b"VBRI")  # in the first frame of a stream that holds its length
CONFIRMED = 3  # frames that have to follow one of a new kind

# kbit/s by the bitrate index from 1 to 14, of version 1 or 2 and layer 1, 2 or 3
BITRATES = {
    (1, 1): range(32, 449, 32),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
BITRATES[2, 3] = BITRATES[2, 2]
RATES = (44_100, 48_000, 32_000)  # Hz, of version 1; halves and quarters of version 2 and 2.5
SAMPLES = {(1, 1): 384, (1, 2): 1152, (1, 3): 1152, (2, 1): 384, (2, 2): 1152, (2, 3): 576}


class Frame(NamedTuple):
    """Facts from the header of a frame."""

    kind: int  # its bits of version, layer and rate: the same throughout a stream
    size: int  # bytes
    samples: int
    rate: int  # Hz


def _table() -> dict[int, Frame]:
    """Frames by the second and third byte of their headers."""
    frames = {}
    for version_bits, divisor in ((3, 1), (2, 2), (0, 4)):
        version = 1 if divisor == 1 else 2
        for layer in (1, 2, 3):
            for index, kilobits in enumerate(BITRATES[version, layer], 1):
                for rate_index, full_rate in enumerate(RATES):
                    rate, samples = full_rate // divisor, SAMPLES[version, layer]
                    for padding in (0, 1):
                        slot = 4 if layer == 1 else 1
                        size = (samples * kilobits * 125 // (rate * slot) + padding) * slot
                        second = 0xE0 | version_bits << 3 | (4 - layer) << 1
                        third = index << 4 | rate_index << 2 | padding << 1
                        frame = Frame(second << 8 | rate_index, size, samples, rate)
                        for protection in (0, 1):
                            for private in (0, 1):
                                frames[(second | protection) << 8 | third | private] = frame
    return frames


FRAMES = _table()


@dataclass
class Stream:
    """Consecutive frames of one kind, from one encoder.

    Attributes:
        runs: where its frames lie, without what stands between them.
        tag: position of its Xing, Info or VBRI mark; None without one.
    """

    frame: Frame  # the first
    is_mono: bool
    tag: int | None
    runs: list[range] = field(default_factory=list)
    num_frames: int = 0

    @property
    def seconds(self) -> float:
        """Length of its frames in seconds, that of the tag left out."""
        count = self.num_frames - (self.tag is not None)
        return count * self.frame.samples / self.frame.rate


def streams(file: BinaryIO, start: int) -> list[Stream]:
    """The streams of frames in `file` from the position `start` on; none where it is no MPEG.

    One frame alone is no stream: libmpg123 complains of it.

    Speed: an hour takes a tenth of a second, a hundredth of what decoding it takes.
    """
    result: list[Stream] = []
    reader = _Reader(file, start)
    while reader.fill():
        if _follow(reader, result) or _begin(reader, result):
            continue
        if not reader.search() or (not result and reader.position > start + MOST_SEARCHED):
            break
    return [stream for stream in result if stream.num_frames > 1]


class _Reader:
    """A file in chunks, and an index into the one that is held."""

    def __init__(self, file: BinaryIO, start: int):
        self.file, self.base, self.index = file, start, 0
        self.chunk, self.has_mark, self.is_last = b"", False, False

    @property
    def position(self) -> int:
        return self.base + self.index

    def fill(self) -> bool:
        """Hold several frames from the index on, or all up to the end; whether there is any."""
        if self.index + LOOKAHEAD > len(self.chunk) and not self.is_last:
            self.file.seek(self.position)
            self.base, self.index, self.chunk = self.position, 0, self.file.read(CHUNK)
            self.has_mark = any(mark in self.chunk for mark in MARKS)
            self.is_last = len(self.chunk) < CHUNK
        return self.index + 4 <= len(self.chunk)

    def search(self) -> bool:
        """Go to the next byte that may begin a frame; whether there is one, or more to read."""
        index = self.chunk.find(b"\xff", self.index + 1)
        self.index = len(self.chunk) if index < 0 else index
        return index >= 0 or not self.is_last


def _follow(reader: _Reader, streams: list[Stream]) -> bool:
    """Add the frames that continue the last stream; whether there are any.

    Speed: most of the time of `streams` is spent in this loop.
    """
    if not streams or streams[-1].runs[-1].stop != reader.position:
        return False
    stream, chunk, index = streams[-1], reader.chunk, reader.index
    kind, is_mono, number = stream.frame.kind, stream.is_mono, 0
    end = len(chunk) - (0 if reader.is_last else LOOKAHEAD)
    while index + 4 <= end and chunk[index] == 0xFF:
        frame = FRAMES.get(chunk[index + 1] << 8 | chunk[index + 2])
        if frame is None or frame.kind != kind or (chunk[index + 3] >> 6 == 3) != is_mono:
            break
        has_tag = reader.has_mark and _tag_in(chunk, index, frame, is_mono) is not None
        if has_tag or index + frame.size > len(chunk):
            break
        index, number = index + frame.size, number + 1
    if not number:
        return False
    stream.runs[-1] = range(stream.runs[-1].start, reader.base + index)
    stream.num_frames += number
    reader.index = index
    return True


def _begin(reader: _Reader, streams: list[Stream]) -> bool:
    """Add the frame that begins a stream, or goes on with the last one behind a break."""
    chunk, index = reader.chunk, reader.index
    frame = _frame_at(chunk, index)
    if frame is None or not _is_confirmed(chunk, index, frame) or index + frame.size > len(chunk):
        return False
    is_mono = chunk[index + 3] >> 6 == 3
    tag = _tag_in(chunk, index, frame, is_mono)
    last = streams[-1] if streams else None
    if last is None or tag is not None or (frame.kind, is_mono) != (last.frame.kind, last.is_mono):
        last = Stream(frame, is_mono, None if tag is None else reader.base + tag + index)
        streams.append(last)
    last.runs.append(range(reader.position, reader.position + frame.size))
    last.num_frames += 1
    reader.index += frame.size
    return True


def _frame_at(chunk: bytes, index: int) -> Frame | None:
    header = chunk[index : index + 4]
    return (
        FRAMES.get(header[1] << 8 | header[2])
        if header[:1] == b"\xff" and len(header) == 4
        else None
    )


def _is_confirmed(chunk: bytes, index: int, frame: Frame) -> bool:
    """Return whether frames of the same kind follow, up to the end of a short file."""
    follower: Frame | None = frame
    for confirmed in range(CONFIRMED + 1):
        if follower is None or follower.kind != frame.kind:
            return False
        index += follower.size
        if index + 4 > len(chunk):
            return confirmed > 0 or index == len(chunk)
        follower = _frame_at(chunk, index)
    return True


def _tag_in(chunk: bytes, index: int, frame: Frame, is_mono: bool) -> int | None:
    """Place of the mark of a tag in a frame of layer 3: Xing, Info or VBRI; None without one."""
    if frame.samples == SAMPLES[1, 3]:
        offset = 4 + (17 if is_mono else 32)
    else:
        offset = 4 + (9 if is_mono else 17)
    if chunk[index + offset : index + offset + 4] in MARKS[:2]:
        return offset
    return 36 if chunk[index + 36 : index + 40] == MARKS[2] else None


class Tag(NamedTuple):
    """Contents of a Xing, Info or VBRI tag.

    Attributes:
        fields: positions in the file of the number of frames and of bytes; None where it has none.
        padding: samples that the encoder added at both ends.
    """

    num_frames: int | None
    num_bytes: int | None
    fields: tuple[int | None, int | None]
    padding: int


def read_tag(file: BinaryIO, position: int) -> Tag:
    """The tag whose mark stands at `position`."""
    file.seek(position)
    text = file.read(144).ljust(144, b"\0")
    if text[:4] == b"VBRI":
        frames, size = int.from_bytes(text[14:18], "big"), int.from_bytes(text[10:14], "big")
        return Tag(frames, size, (position + 14, position + 10), 0)
    flags, offset = text[7], 8
    numbers: list[int | None] = []
    fields: list[int | None] = []
    for flag in (1, 2):
        has = bool(flags & flag)
        numbers.append(int.from_bytes(text[offset : offset + 4], "big") if has else None)
        fields.append(position + offset if has else None)
        offset += 4 * has
    offset += 100 * bool(flags & 4) + 4 * bool(flags & 8) + 21
    delays = int.from_bytes(text[offset : offset + 3], "big") if offset <= 141 else 0
    return Tag(numbers[0], numbers[1], (fields[0], fields[1]), (delays >> 12) + (delays & 0xFFF))
