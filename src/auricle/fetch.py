"""Files from the web: whole and checked, or not at all.

A file that breaks off is continued, also by the next call. Fetching is `huggingface_hub`'s
`http_get`, which continues with HTTP ranges and begins again where a server ignores them.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from auricle.errors import DownloadError

NOT_SATISFIABLE = 416  # HTTP: the range begins at the end of the file or beyond
# What the Hugging Face hub answers beside a status, in the header X-Error-Code.
REASONS = {
    "EntryNotFound": "no such file",
    "GatedRepo": "its owner has to let you in",
    "RepoNotFound": "no such public model",
    "RevisionNotFound": "no such revision",
}


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


def fetch(file: File, folder: Path, advice: str) -> Path:
    """The whole file in `folder`, checked; only such a one has the name of the file.

    Args:
        advice: what to do with a file that was downloaded by hand, for messages.

    Raises:
        DownloadError: it cannot be fetched, or is not what was published.
    """
    path = folder / file.name
    part = folder / f"{file.name}.part"
    if path.exists():
        return path
    if not (part.exists() and part.stat().st_size == file.size):
        _continue(file.url, part, advice)
    _check(file, part, advice)
    part.replace(path)
    return path


def checksum(path: Path, method: str = "sha256") -> str:
    """Checksum of the file at `path` by `method`, as "sha256:..."."""
    with path.open("rb") as content:
        return f"{method}:{hashlib.file_digest(content, method).hexdigest()}"


def _continue(url: str, part: Path, advice: str) -> None:
    """Fetch what is missing of `part`."""
    from huggingface_hub.file_download import http_get  # Speed: 0.2 s, needed for this alone

    start = part.stat().st_size if part.exists() else 0
    try:
        with part.open("ab") as target, _without_warnings():
            headers = {"Accept-Encoding": "identity"}  # the bytes as they are stored
            http_get(
                url,
                target,
                resume_size=start,
                headers=headers,
                displayed_filename=part.stem,
            )
    except Exception as error:  # the library's network errors have no class in common
        response = getattr(error, "response", None)
        if getattr(response, "status_code", None) == NOT_SATISFIABLE and start:
            part.unlink()  # not a beginning of this file
            return _continue(url, part, advice)
        if response is None and part.exists() and part.stat().st_size > start:
            return _continue(url, part, advice)  # older versions of the library do not
        raise DownloadError(_failure(url, part, error, advice)) from error


def _failure(url: str, part: Path, error: Exception, advice: str) -> str:
    received = part.stat().st_size if part.exists() else 0
    response = getattr(error, "response", None)
    if response is not None:
        reason = REASONS.get(response.headers.get("X-Error-Code", ""))
        answer = f"{response.status_code} ({reason})" if reason else response.status_code
        return (
            f"{url}: the server answers {answer}. Try again later; if the file has moved, "
            f"download it by hand and {advice}."
        )
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()
    kept = f"{received} bytes are kept in {part}: run the same again to go on from there."
    advice = kept if received else "Connect, and run the same again."
    return f"{url}: cannot be fetched ({text[0].rstrip('.')}). {advice}"


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Leave out what the library warns of at every try: what comes of them is said in one line."""
    logger = logging.getLogger("huggingface_hub.file_download")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _check(file: File, part: Path, advice: str) -> None:
    """Refuse, and delete, a file that is not what was published."""
    size = part.stat().st_size
    found = checksum(part, file.checksum.partition(":")[0]) if file.checksum else None
    if file.size not in (None, size):
        difference = f"{size} bytes, not {file.size}"
    elif found != file.checksum:
        difference = f"{found}, not {file.checksum}"
    else:
        return
    part.unlink()
    raise DownloadError(
        f"{part.with_suffix('')}: is not the file that was published: {difference}. It was "
        f"deleted; run the same again, or download {file.url} by hand and {advice}."
    )
