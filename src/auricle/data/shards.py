"""Shards: many clips in few tar files, which train without a file per clip.

The layout is WebDataset's: `000000.tar`, `000001.tar`, ..., each clip as `KEY.flac` (or `.ogg`,
`.mp3`: a sound that is compressed already, at the target rate, keeps its bytes) and `KEY.json` with
its labels, split, fold, group and source: the path before packing, which reports show.
Beside them, `manifest.csv` holds the byte range of each sound within its shard, and `shards.json`,
which is written last, the size of each shard. So the folder is read like any manifest, clips in any
order, and a shard that is cut short is noticed at once.

What is not compressed, or at another rate, is decoded as `audio.load` does and kept as FLAC of 16
bits; samples beyond full scale are clipped.
"""

import io
import tarfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path

import soundfile

from auricle import audio
from auricle.atomic import file_beside, write_text
from auricle.config import to_json
from auricle.data.clips import Clip, Span
from auricle.data.files import SHARD_INDEX, SHARD_MANIFEST, SHARD_SUFFIX
from auricle.data.manifest import COLUMNS, Manifest, to_row
from auricle.data.table import read_columns, write_rows
from auricle.errors import AudioError, DataError, DataWarning, refused

COMPRESSED = {"FLAC": "flac", "OGG": "ogg", "MP3": "mp3"}  # container: suffix
FAULTS_SHOWN = 3  # in the warning


def pack(
    manifest: Manifest, folder: Path, sample_rate: int, clips_per_shard: int = 1000
) -> list[Path]:
    """Pack the clips into shards in `folder`, and return these in order.

    A clip that cannot be read is left out.

    Args:
        sample_rate: of the packed sounds, in Hz.

    Raises:
        DataError: the folder holds shards or a manifest, cannot be written to or is full (the
            shards of this call are then taken away), or no clip can be read.

    Warns:
        DataWarning: saying how many clips were left out, and why.
    """
    _check_free(folder)
    packing = _Packing(manifest, folder, sample_rate, clips_per_shard)
    try:
        write_rows(folder / SHARD_MANIFEST, COLUMNS, packing.rows())
        if not packing.shards:
            raise DataError(
                f"{manifest.source}: none of its {len(packing.faults)} clips can be read. "
                f"The first: {packing.faults[0]}"
            )
        _write_index(folder / SHARD_INDEX, packing.shards, sample_rate)
    except BaseException:
        for path in (*packing.shards, folder / SHARD_MANIFEST):
            path.unlink(missing_ok=True)
        raise
    if packing.faults:
        more = "; ..." if len(packing.faults) > FAULTS_SHOWN else ""
        message = (
            f"{folder}: {len(packing.faults)} of {len(manifest.clips)} clips cannot be read and "
            f"are left out: {'; '.join(packing.faults[:FAULTS_SHOWN])}{more}"
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    return packing.shards


def count_clips(folder: Path) -> int:
    """Number of clips that were packed into the shards in `folder`."""
    return sum(len(lines) for lines, _ in read_columns(folder / SHARD_MANIFEST, ()))


@dataclass(frozen=True)
class _Sample:
    clip: Clip
    suffix: str
    content: bytes


@dataclass
class _Packing:
    """Packs while its rows are read, so that no list of all clips is held."""

    manifest: Manifest
    folder: Path
    sample_rate: int
    clips_per_shard: int
    shards: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, str]]:
        """A row of the shards' manifest for each clip that was packed."""
        samples = self._samples()
        keys = (f"{number:08d}" for number in count())
        while (first := next(samples, None)) is not None:
            shard = self.folder / f"{len(self.shards):06d}{SHARD_SUFFIX}"
            rest = islice(samples, self.clips_per_shard - 1)
            clips = self._write(shard, chain([first], rest), keys)
            self.shards.append(shard)
            yield from (to_row(clip, self.folder / SHARD_MANIFEST) for clip in clips)

    def _samples(self) -> Iterator[_Sample]:
        for clip in self.manifest.clips:
            try:
                yield _Sample(clip, *encoded(clip, self.sample_rate))
            except AudioError as error:
                self.faults.append(str(error))

    def _write(self, shard: Path, samples: Iterator[_Sample], keys: Iterator[str]) -> list[Clip]:
        """Write one shard beside its place, then move it there; its clips with their places."""
        names: dict[str, Clip] = {}
        advice = (
            " Its shards were taken away again; free some space or choose another folder, and pack "
            "once more."
        )
        with refused(DataError, f"{shard}: cannot be written", advice), file_beside(shard) as part:
            with tarfile.open(part, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for sample, key in zip(samples, keys, strict=False):
                    name = f"{key}.{sample.suffix}"
                    names[name] = sample.clip
                    _add(tar, name, sample.content)
                    _add(tar, f"{key}.json", self._description(sample.clip))
            with tarfile.open(part) as tar:
                return [
                    self._packed(names[member.name], shard, member)
                    for member in tar
                    if member.name in names
                ]

    def _packed(self, clip: Clip, shard: Path, member: tarfile.TarInfo) -> Clip:
        span = Span(shard, member.offset_data, member.size)
        name = clip.name_in(self.manifest.source)
        return replace(clip, path=shard / member.name, span=span, source=name)

    def _description(self, clip: Clip) -> bytes:
        values = {
            "labels": clip.labels,
            "split": clip.split,
            "fold": clip.fold,
            "group": clip.group,
            "source": clip.name_in(self.manifest.source),
        }
        return to_json(values).encode("utf-8", "surrogateescape")


def encoded(clip: Clip, sample_rate: int) -> tuple[str, bytes]:
    """Suffix and bytes of the clip's sound as it is packed; AudioError: it cannot be read."""
    sound = clip.sound()
    info = audio.probe(sound)
    suffix = COMPRESSED.get(info.format.partition(" ")[0])
    if suffix and info.sample_rate == sample_rate:
        return suffix, sound.getvalue() if isinstance(sound, io.BytesIO) else clip.path.read_bytes()
    flac = io.BytesIO()
    waveform = audio.load(sound, sample_rate).numpy()
    soundfile.write(flac, waveform, sample_rate, format="FLAC", subtype="PCM_16")
    return "flac", flac.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time and no owner: the same clips give the same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _write_index(path: Path, shards: list[Path], sample_rate: int) -> None:
    sizes = {shard.name: shard.stat().st_size for shard in shards}
    with refused(DataError, f"{path}: cannot be written"):
        write_text(path, to_json({"sample_rate": sample_rate, "shards": sizes}, indent=1))


def _check_free(folder: Path) -> None:
    with refused(DataError, f"{folder}: cannot be written to"):
        folder.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in folder.iterdir()]
    taken = [n for n in names if n.endswith(SHARD_SUFFIX) or n in (SHARD_MANIFEST, SHARD_INDEX)]
    if taken:
        raise DataError(
            f"{folder}: holds {min(taken)} already, which packing would write over or mix with. "
            "Choose another folder, or delete the shards there."
        )
