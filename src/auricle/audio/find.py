"""Which sound files a list of paths means."""

import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from auricle.audio.source import STANDARD_INPUT, missing_path, permission_denied
from auricle.errors import AudioError, AudioWarning

SOUND_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".w64", ".rf64", ".bwf", ".bw64", ".caf", ".sph", ".voc"}
    # through PyAV
    | {".m4a", ".m4b", ".aac", ".mp4", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".3g2"}
    | {".wma", ".wmv", ".asf", ".amr", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".mpc"}
    | {".avi", ".flv", ".mpg", ".mpeg", ".m2ts", ".mts", ".ra", ".rm", ".dsf", ".tak", ".spx"}
)
SUFFIXES_SHOWN = 5


def find_sounds(paths: Iterable[Path], warn_skipped: bool = False) -> list[Path]:
    """The files among `paths` as given, and in place of each directory the sounds in it.

    A directory is walked to its depths, in the order of the names, and files with the suffix of a
    sound are taken. Hidden files and folders are skipped, links to folders are not followed. `-`
    is standard input.

    Args:
        warn_skipped: warn also how many files of a directory are no sounds by their suffix, not
            only of pipes and devices with the suffix of a sound.

    Raises:
        AudioError: a path does not exist, a directory may not be read or has no sound in it.
    """
    found: list[Path] = []
    for path in paths:
        found += _walk(path, warn_skipped) if _is_directory(path) else [path]
    return found


def _is_directory(path: Path) -> bool:
    try:
        return str(path) != STANDARD_INPUT and stat.S_ISDIR(path.stat().st_mode)
    except PermissionError as error:
        raise AudioError(permission_denied(path)) from error
    except OSError as error:
        raise AudioError(missing_path(path)) from error


def _walk(directory: Path, warn_skipped: bool) -> list[Path]:
    sounds: list[Path] = []
    others: Counter[str] = Counter()
    irregular: list[str] = []
    folders = [str(directory)]
    while folders:
        for entry in _visible_entries(folders.pop()):
            suffix = Path(entry.name).suffix.lower()
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif suffix not in SOUND_SUFFIXES:
                others[suffix] += not entry.is_dir()
            elif entry.is_file() or _is_dangling(entry):
                sounds.append(Path(entry.path))
            elif not entry.is_dir():
                irregular.append(entry.name)
    if not sounds:
        raise AudioError(
            f"{directory}: no sound file in this directory or below it. "
            f"Looked for the suffixes {', '.join(sorted(SOUND_SUFFIXES))}."
        )
    _warn_skipped(directory, others if warn_skipped else Counter(), irregular)
    return sorted(sounds)


def _visible_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise AudioError(permission_denied(folder)) from error
    except OSError as error:
        raise AudioError(f"{folder}: cannot be read ({error.strerror}).") from error


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing, which is taken as a file: whoever opens it calls it one."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def _warn_skipped(directory: Path, others: Counter[str], irregular: list[str]) -> None:
    reasons = []
    if others.total():
        ordered = sorted(+others, key=lambda suffix: (-others[suffix], suffix))
        shown = [suffix or "none" for suffix in ordered[:SUFFIXES_SHOWN]]
        more = ", ..." if len(ordered) > SUFFIXES_SHOWN else ""
        reasons.append(f"{others.total()} without the suffix of a sound ({', '.join(shown)}{more})")
    if irregular:
        reasons.append(f"{len(irregular)} a pipe, socket or device ({irregular[0]})")
    if reasons:
        count = others.total() + len(irregular)
        files = "1 file was" if count == 1 else f"{count} files were"
        warnings.warn(
            f"{directory}: {files} skipped: {', '.join(reasons)}.", AudioWarning, stacklevel=3
        )
