"""Files as libsndfile has to see them: joined ones link by link, false headers corrected.

A header is a hint. It is compared with the contents of the file, which costs no decoding: pages of
Ogg and frames of MP3 are counted, the last frame of FLAC has a number.
"""

import io
import mmap
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from auricle.audio import mpeg, ogg
from auricle.audio.decoding import Rescue
from auricle.audio.source import OpenedAudio

TAGS = re.compile(rb".?(?:ID3|TAG|[ -~]{4}.{4})", re.DOTALL)  # or a further chunk, padded or not
MOST_CHUNKS = 1000
LEAST_REST = 4096  # bytes behind the end of a WAV that are worth a word
UNFINISHED = (
    "its header was never completed, as when a recorder loses power: it gives the size 0. All up "
    "to the end of the file is used."
)
UNKNOWN_SIZE = b"\xff\xff\xff\xff"  # libsndfile reads to the end of the file
# After an MP3 without a length. libsndfile would estimate that from the first frame and the size,
# and stop there without a word: with a variable bit rate that lost 70 % of a recording. An
# estimate that is too long does no harm. It looks for an ID3v1 tag at the end, and insists on some.
ENDLESS = (range(2**40, 2**41), bytes(128))
MOST_METADATA = 2**14  # bytes before the first frame of FLAC, as a rule
MOST_FLAC_FRAME = 2**16  # bytes, as a rule
RF64_NAMES = (b"RF64", b"BW64")


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


def links(source: OpenedAudio) -> list[Link]:
    """The links of a file that libsndfile shall read; none of an MP3 without frames."""
    head = source.head
    if head[:4] == b"OggS":
        return _ogg_links(source.stream)
    if head[:4] in (b"RIFF", *RF64_NAMES) and head[8:12] == b"WAVE":
        return _wav_links(source.stream, source.start)
    if head[:4] == b"fLaC":
        return _flac_links(source.stream, source.start)
    if head[:4] == b".snd" and head[8:12] == bytes(4):
        rest = range(12, _size(source.stream))
        return [Link(Spliced(source.stream, (range(8), UNKNOWN_SIZE, rest)), note=UNFINISHED)]
    if head[:7] == b"NIST_1A":
        return [Link(promised=_nist_seconds(source.stream))]
    result = _mpeg_links(source)
    is_mpeg = source.start or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    return result or ([] if is_mpeg else [Link()])


def nameless(stream: BinaryIO) -> Spliced:
    """The stream without a name, by whose suffix a decoder would guess a format."""
    return Spliced(stream, [range(_size(stream))])


def _size(stream: BinaryIO) -> int:
    return stream.seek(0, io.SEEK_END)


def _overlaid(parts: Iterable[range], patches: dict[int, bytes]) -> list[Part]:
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


def _ogg_links(stream: BinaryIO) -> list[Link]:
    chains = ogg.chains(stream)
    if len(chains) == 1 and chains[0].head[:5] != b"\x7fFLAC":
        return [Link(is_cut=not chains[0].has_end)]
    result = []
    for chain in chains:
        parts = [range(chain.start, chain.end)]
        if chain.head[:5] == b"\x7fFLAC":  # libsndfile reads FLAC, but not within Ogg
            first = chain.bodies[0]
            parts = [range(first.start + 9, first.stop), *chain.bodies[1:]]
        result.append(Link(Spliced(stream, parts), is_cut=not chain.has_end))
    return result or [Link()]


def _mpeg_links(source: OpenedAudio) -> list[Link]:
    streams = mpeg.streams(source.stream, source.start)
    return [_mpeg_link(source, stream, len(streams) == 1) for stream in streams]


def _mpeg_link(source: OpenedAudio, mpeg_stream: mpeg.Stream, is_alone: bool) -> Link:
    file, start = source.stream, mpeg_stream.runs[0].start
    is_clean = is_alone and start == source.start and len(mpeg_stream.runs) == 1
    if mpeg_stream.tag is None:
        silenced = mpeg.silenced(file, mpeg_stream)
        stream = Spliced(file, [*_overlaid(mpeg_stream.runs, silenced), *ENDLESS])
        return Link(stream, frames=mpeg_stream.num_frames * mpeg_stream.frame.samples)
    tag = mpeg.read_tag(file, mpeg_stream.tag)
    num_frames, num_bytes = mpeg_stream.num_frames - 1, sum(map(len, mpeg_stream.runs))
    if tag.num_frames is None:
        first = mpeg_stream.runs[0]
        rest = range(first.start + mpeg_stream.frame.size, first.stop)
        parts: list[Part] = [rest, *mpeg_stream.runs[1:], *ENDLESS]
        return Link(Spliced(file, parts), frames=num_frames * mpeg_stream.frame.samples)
    is_true = abs(num_frames - tag.num_frames) <= 1  # some count the frame with the tag
    size = _size(file) - start
    if is_clean and is_true and abs((tag.num_bytes or size) - size) * 100 <= size:
        return Link()
    patches = {
        field: number.to_bytes(4, "big")
        for field, number in zip(tag.fields, (num_frames, num_bytes), strict=True)
        if field is not None
    }
    promised = (tag.num_frames * mpeg_stream.frame.samples - tag.padding) / mpeg_stream.frame.rate
    stream = Spliced(file, _overlaid(mpeg_stream.runs, patches | mpeg.silenced(file, mpeg_stream)))
    return Link(stream, promised=None if is_true else promised)


def _wav_links(stream: BinaryIO, start: int) -> list[Link]:
    """One link for each of joined WAV files, the last one with what may follow it."""
    size, result = _size(stream), list[Link]()
    while True:
        wav = _read_wav(stream, start, size)
        if wav is None:
            return result or [Link()]
        end = wav.end if wav.end + 12 <= size else size
        stream.seek(end)
        behind = stream.read(12)
        is_joined = behind[:4] in (b"RIFF", *RF64_NAMES) and behind[8:] == b"WAVE"
        part = range(start, end if is_joined else size)
        result.append(_wav_link(stream, wav, part))
        if not is_joined:
            return result
        start = end


@dataclass(frozen=True)
class _Wav:
    """Sizes from the header of a WAV.

    Attributes:
        data: position of the samples.
        fields: of the size of the data, and how it is written for "to the end of the file".
        end: position behind the whole.
        rate: bytes a second.
    """

    name: bytes
    data: int
    size: int
    field: int
    end: int
    rate: int


def _read_wav(stream: BinaryIO, start: int, size: int) -> _Wav | None:
    """Read the header of the WAV at `start`; None where it has no samples."""
    stream.seek(start)
    head = stream.read(12)
    end = start + 8 + int.from_bytes(head[4:8], "little")
    position, rate, field, long_size = start + 12, 0, 0, 0
    for _ in range(MOST_CHUNKS):
        stream.seek(position)
        chunk = stream.read(40)
        length = int.from_bytes(chunk[4:8], "little")
        if len(chunk) < 8 or position >= size:
            return None
        if chunk[:4] == b"ds64":
            field, long_size = position + 16, int.from_bytes(chunk[16:24], "little")
            end = start + 8 + int.from_bytes(chunk[8:16], "little")
        elif chunk[:4] == b"fmt ":
            rate = int.from_bytes(chunk[16:20], "little")
        elif chunk[:4] == b"data":
            is_long = head[:4] in RF64_NAMES and length == 0xFFFFFFFF
            length, field = (long_size, field) if is_long else (length, position + 4)
            return _Wav(head[:4], position + 8, length, field, end, rate)
        position += 8 + length + length % 2
    return None


def _wav_link(stream: BinaryIO, wav: _Wav, part: range) -> Link:
    patches, note = dict[int, bytes](), ""
    held = part.stop - wav.data
    if not wav.size and wav.end <= wav.data and held > 0:
        width = 4 if wav.field == wav.data - 4 else 8
        patches[wav.field] = min(held, 256**width - 1).to_bytes(width, "little")
        note = UNFINISHED
    elif rest := _rest_of_wav(stream, wav, part.stop):
        seconds = f" ({rest / wav.rate:.3f} s at its rate)" if wav.rate else ""
        note = f"{rest} bytes{seconds} follow the end given in its header, and are not used."
    if wav.name == b"BW64":
        patches[part.start] = b"RF64"  # the same but for its name, which libsndfile does not know
    if patches or part != range(_size(stream)):
        return Link(Spliced(stream, _overlaid([part], patches)), note=note)
    return Link(note=note)


def _rest_of_wav(stream: BinaryIO, wav: _Wav, stop: int) -> int:
    """Bytes from where no chunk or tag follows the samples or the whole; 0 where all is known."""
    for position in (wav.data + wav.size, wav.end):
        if not wav.data < position < stop:
            continue
        stream.seek(position)
        content = stream.read(LEAST_REST)
        is_sound = len(content) == LEAST_REST and not TAGS.match(content.lstrip(b"\0"))
        if is_sound and any(content):
            return stop - position
    return 0


def _flac_links(stream: BinaryIO, start: int) -> list[Link]:
    """The links of joined FLAC files; a length that is wrong is taken out of the header."""
    stream.seek(start)
    info = stream.read(42)
    total = int.from_bytes(info[21:26], "big") & 2**36 - 1
    block, most = (int.from_bytes(info[slice(*span)], "big") for span in ((10, 12), (15, 18)))
    size = _size(stream)
    if len(info) < 42 or not total or not block:
        return [Link()]
    end = _flac_end(stream, start, info, (most or MOST_FLAC_FRAME) + 16) or total
    # Of equal ones that are joined the number of samples is right, but there are too many bytes.
    is_full = most and size - start > (total // block + 1) * most + MOST_METADATA
    if end == total and not is_full:
        return [Link()]
    starts = [start, *_find_all(stream, b"fLaC\0\0\0\x22", start + 42)]
    if len(starts) == 1 and end <= total:
        return [Link()]  # cut short
    if len(starts) == 1:
        unknown = {start + 21: bytes([info[21] & 0xF0, 0, 0, 0, 0])}
        return [Link(Spliced(stream, _overlaid([range(start, size)], unknown)))]
    ranges = map(range, starts, [*starts[1:], size])
    return [Link(Spliced(stream, [part])) for part in ranges]


def _flac_end(stream: BinaryIO, start: int, info: bytes, most: int) -> int | None:
    """Number of samples up to the end of the last frame, by its header; None: unknown.

    The frame is looked for in the last `most` bytes.
    """
    stream.seek(max(start + 42, _size(stream) - most))
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


def _find_all(stream: BinaryIO, mark: bytes, position: int) -> list[int]:
    """Every place of `mark` in the stream from `position` on."""
    positions, rest = [], b""
    stream.seek(position)
    while chunk := stream.read(2**20):
        text = rest + chunk
        index = text.find(mark)
        while index >= 0:
            positions.append(position - len(rest) + index)
            index = text.find(mark, index + 1)
        position, rest = position + len(chunk), text[1 - len(mark) :]
    return positions


def _nist_seconds(stream: BinaryIO) -> float | None:
    stream.seek(0)
    header = stream.read(1024)
    counts = [
        re.search(rb"%s -i (\d+)" % name, header) for name in (b"sample_count", b"sample_rate")
    ]
    count, rate = (int(match[1]) if match else 0 for match in counts)
    return count / rate if count and rate else None
