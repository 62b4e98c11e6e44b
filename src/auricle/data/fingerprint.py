"""A few kilobytes that identify a model's training clips, so that a test on them is noticed.

A clip is known by the name of its file and of the folder that this lies in, which survive a move,
another format and packing. Of the hashes of all names the smallest are kept: a draw by chance, and
the same draw of whatever is compared (Bar-Yossef et al. 2002).
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.data.clips import Clips, Joined
from auricle.data.manifest import Manifest

TRAINED_ON = "trained_on"  # in the provenance of a checkpoint
MOST_NAMES = 1024  # kept of a set of clips
MOST_SETS = 4  # kept of a model that began as another, that began as another, ...
DIGEST_BYTES = 6


def fingerprints(train: Manifest, initial: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Fingerprints of the clips that a model is trained on, for its provenance.

    Args:
        initial: provenance of the model that it begins as.
    """
    digests = np.unique(_digests(train))
    shortened = digests[:MOST_NAMES].astype(">u8").view(np.uint8).reshape(-1, 8)[:, -DIGEST_BYTES:]
    names = base64.b64encode(shortened.tobytes()).decode("ascii")
    own = {"clips": len(train.clips), "names": len(digests), "smallest": names}
    return [own, *_stored(initial or {})][:MOST_SETS]


def trained_on(provenance: Mapping[str, Any], manifest: Manifest) -> int | None:
    """Number of clips of `manifest` that a model was trained on, by their names.

    Exact for a set of at most 1024 clips, an estimate for a larger one; None where the provenance
    holds no fingerprint.
    """
    digests = _digests(manifest)
    counts = []
    for stored in _stored(provenance):
        try:
            packed = np.frombuffer(base64.b64decode(stored["smallest"]), np.uint8)
            known = np.zeros((len(packed) // DIGEST_BYTES, 8), np.uint8)
            known[:, -DIGEST_BYTES:] = packed.reshape(-1, DIGEST_BYTES)
            smallest = known.view(">u8")[:, 0]
            drawn = digests
            if int(stored["names"]) > len(smallest):
                drawn = digests[digests <= smallest[-1]]
        except (KeyError, TypeError, ValueError, IndexError):
            continue  # of another program, or damaged
        share = np.isin(drawn, smallest).mean() if len(drawn) else 0.0
        counts.append(round(share * len(digests)))
    return max(counts, default=None)


def _stored(provenance: Any) -> Iterator[dict[str, Any]]:
    """The fingerprints in a provenance, those of the members of an average included."""
    if isinstance(provenance, Mapping):
        sets = provenance.get(TRAINED_ON)
        if isinstance(sets, list):
            yield from (each for each in sets if isinstance(each, dict))
        provenance = list(provenance.values())
    if isinstance(provenance, list):
        for each in provenance:
            yield from _stored(each)


def _digests(manifest: Manifest) -> NDArray[np.uint64]:
    """A number for each clip, the same for the same name."""
    digests = (
        hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()
        for name in _names(manifest)
    )
    return np.fromiter((int.from_bytes(each, "big") for each in digests), np.uint64)


def _names(manifest: Manifest) -> Iterator[str]:
    here = os.getcwd()
    parts = manifest.clips.parts if isinstance(manifest.clips, Joined) else [manifest.clips]
    for table in map(Clips.of, parts):
        sources = table.columns.sources
        spans = sources.spans(table.rows)
        for (start, end), path in zip(spans, table.paths(), strict=True):
            name = path
            if end > start:
                name = sources.block[start:end].decode("utf-8", "surrogateescape")
            folder, _, file = name.rpartition("/")
            yield f"{_last_part(os.path.join(here, folder))}/{file.rpartition('.')[0] or file}"


@lru_cache(maxsize=10_000)  # speed: for a folder of many clips once
def _last_part(folder: str) -> str:
    return os.path.basename(os.path.normpath(folder))
