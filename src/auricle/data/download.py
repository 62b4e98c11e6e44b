"""The archives of public data sets, fetched from their official places, checked and unpacked.

An archive lies in `.archives` within the folder until it is unpacked; then a file there says so,
and it is not fetched again while that file stays.

Checksums are as published: MD5 by Zenodo for FSD50K and UrbanSound8K, SHA-256 by TensorFlow's and
torchaudio's data sets for Speech Commands. None is published for ESC-50, whose archive GitHub makes
anew on request, nor for the test archive of Speech Commands version 1: of these only the CRC-32
that every zip and gzip carries is checked, by unpacking.
"""

from dataclasses import dataclass
from pathlib import Path

from auricle.data.unpack import unpack
from auricle.errors import DataError, refused, unknown_name
from auricle.fetch import File, fetch

ARCHIVES_FOLDER = ".archives"


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
        DataError: an unknown name, or a folder that cannot be written to.
        DownloadError: a file that cannot be fetched or is not what was published.
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
    paths = [fetch(file, archives, f"unpack it into {folder}") for file in archive.files]
    unpack(paths, folder / archive.into)
    done.touch()
    for path in paths:
        path.unlink()
