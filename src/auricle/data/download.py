"""The archives of public data sets, fetched from their official places, checked and unpacked.

An archive that breaks off is continued by the next call. It lies in `.archives` within the folder
until it is unpacked; then a file there says so, and it is not fetched again while that file stays.

Fetching is `huggingface_hub`'s `http_get`, which continues with HTTP ranges, also within one call,
and begins again where a server ignores them; pooch begins anew each time.

Checksums are as published: MD5 by Zenodo for FSD50K and UrbanSound8K, SHA-256 by TensorFlow's and
torchaudio's data sets for Speech Commands. None is published for ESC-50, whose archive GitHub makes
anew on request, nor for the test archive of Speech Commands version 1: of these only the CRC-32
that every zip and gzip carries is checked, by unpacking.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from huggingface_hub.file_download import http_get

from auricle.data.unpack import unpack
from auricle.errors import DataError, refused, unknown_name

ARCHIVES_FOLDER = ".archives"
NOT_SATISFIABLE = 416  # HTTP: the wanted range begins at the end of the file or beyond


@dataclass(frozen=True)
class File:
    """A file to fetch; its size in bytes and its checksum, "md5:..." or "sha256:...", if known."""

    url: str
    size: int | None = None
    checksum: str | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Archive:
    """Files that are one archive, the parts of a zip in order.

    Attributes:
        into: folder to unpack to, for an archive that brings none along.
    """

    files: tuple[File, ...]
    into: str = ""


ESC50 = Archive((File("https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip"),))

TENSORFLOW = "https://storage.googleapis.com/download.tensorflow.org/data"
SPEECH_V1 = Archive(
    (
        File(
            f"{TENSORFLOW}/speech_commands_v0.01.tar.gz",
            1_489_096_277,
            "sha256:743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        ),
    )
)
SPEECH_V1_TEST = Archive(
    (File(f"{TENSORFLOW}/speech_commands_test_set_v0.01.tar.gz"),),
    into="speech_commands_test_set_v0.01",
)
SPEECH_V2 = Archive(
    (
        File(
            f"{TENSORFLOW}/speech_commands_v0.02.tar.gz",
            2_428_923_189,
            "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        ),
    )
)
SPEECH_V2_TEST = Archive(
    (
        File(
            f"{TENSORFLOW}/speech_commands_test_set_v0.02.tar.gz",
            112_563_277,
            "sha256:cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
        ),
    ),
    into="speech_commands_test_set_v0.02",
)

PART = 3_221_225_472  # bytes of every part but the last


def _fsd50k(name: str, size: int, md5: str) -> File:
    url = f"https://zenodo.org/records/4060432/files/FSD50K.{name}?download=1"
    return File(url, size, f"md5:{md5}")


FSD50K = (
    Archive(
        (
            _fsd50k("dev_audio.z01", PART, "faa7cf4cc076fc34a44a479a5ed862a3"),
            _fsd50k("dev_audio.z02", PART, "8f9b66153e68571164fb1315d00bc7bc"),
            _fsd50k("dev_audio.z03", PART, "1196ef47d267a993d30fa98af54b7159"),
            _fsd50k("dev_audio.z04", PART, "d088ac4e11ba53daf9f7574c11cccac9"),
            _fsd50k("dev_audio.z05", PART, "81356521aa159accd3c35de22da28c7f"),
            _fsd50k("dev_audio.zip", 2_306_663_327, "c480d119b8f7a7e32fdb58f3ea4d6c5a"),
        )
    ),
    Archive(
        (
            _fsd50k("eval_audio.z01", PART, "3090670eaeecc013ca1ff84fe4442aeb"),
            _fsd50k("eval_audio.zip", 3_037_675_767, "6fa47636c3a3ad5c7dfeba99f2637982"),
        )
    ),
    Archive((_fsd50k("ground_truth.zip", 334_701, "ca27382c195e37d2269c4c866dd73485"),)),
    Archive((_fsd50k("metadata.zip", 6_700_838, "b9ea0c829a411c1d42adb9da539ed237"),)),
)

URBANSOUND8K = Archive(
    (
        File(
            "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz?download=1",
            6_023_741_708,
            "md5:9aa69802bbf37fb986f71ec1483a196e",
        ),
    )
)

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "esc50": (ESC50,),
    "esc10": (ESC50,),
    "speech_commands_v1": (SPEECH_V1,),
    "speech_commands_v1_12": (SPEECH_V1, SPEECH_V1_TEST),
    "speech_commands_v2": (SPEECH_V2,),
    "speech_commands_v2_12": (SPEECH_V2, SPEECH_V2_TEST),
    "fsd50k": FSD50K,
    "urbansound8k": (URBANSOUND8K,),
}


def download(name: str, folder: Path) -> None:
    """Fetch the archives of the data set `name` and unpack them into `folder`.

    What was fetched before is continued; what was unpacked before is left as it is.

    Raises:
        DataError: an unknown name, a file that cannot be fetched or is not what was published, or
            a folder that cannot be written to.
    """
    if name not in ARCHIVES:
        raise DataError(unknown_name("data set to download", name, ARCHIVES))
    for archive in ARCHIVES[name]:
        _obtain(archive, folder)


def _obtain(archive: Archive, folder: Path) -> None:
    archives = folder / ARCHIVES_FOLDER
    done = archives / f"{archive.files[-1].name}.unpacked"
    if done.exists():
        return
    with refused(DataError, f"{archives}: cannot be written to"):
        archives.mkdir(parents=True, exist_ok=True)
    paths = [_fetch(file, archives) for file in archive.files]
    unpack(paths, folder / archive.into)
    done.touch()
    for path in paths:
        path.unlink()


def _fetch(file: File, folder: Path) -> Path:
    """The whole file, checked; only such a one has the name of the file."""
    path = folder / file.name
    part = folder / f"{file.name}.part"
    if path.exists():
        return path
    if not (part.exists() and part.stat().st_size == file.size):
        _continue(file.url, part)
    _check(file, part, folder.parent)
    part.replace(path)
    return path


def _continue(url: str, part: Path) -> None:
    """Fetch what is missing of `part`."""
    start = part.stat().st_size if part.exists() else 0
    try:
        with part.open("ab") as target:
            headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored
            http_get(url, target, resume_size=start, headers=headers)
    except Exception as error:  # the library's network errors have no class in common
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == NOT_SATISFIABLE and start:
            part.unlink()  # not a beginning of this file
            _continue(url, part)
            return
        raise DataError(_failure(url, part, error, status)) from error


def _failure(url: str, part: Path, error: Exception, status: int | None) -> str:
    received = part.stat().st_size if part.exists() else 0
    if status is not None:
        return (
            f"{url}: the server answers {status}. Try again later; if the archive has moved, "
            f"download it by hand and unpack it into {part.parent.parent}."
        )
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()
    return (
        f"{url}: cannot be fetched ({reason[0]}). {received} bytes are kept in {part}: run the "
        "same again to go on from there."
    )


def _check(file: File, part: Path, folder: Path) -> None:
    """Refuse, and delete, a file that is not what was published."""
    size = part.stat().st_size
    if file.size not in (None, size):
        difference = f"{size} bytes, not {file.size}"
    elif file.checksum and (checksum := _checksum(part, file.checksum)) != file.checksum:
        difference = f"{checksum}, not {file.checksum}"
    else:
        return
    part.unlink()
    raise DataError(
        f"{part.with_suffix('')}: is not the file that was published: {difference}. It was "
        f"deleted; run the same again, or download {file.url} by hand and unpack it into {folder}."
    )


def _checksum(path: Path, like: str) -> str:
    method = like.partition(":")[0]
    with path.open("rb") as content:
        return f"{method}:{hashlib.file_digest(content, method).hexdigest()}"
