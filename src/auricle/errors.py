"""Errors that a user can cause and can fix.

A message has three parts: what is wrong, where it is, and what to do. Anything that is not a
`UserError` is a bug of ours and keeps its traceback.
"""

import difflib
import importlib
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

NAMES_SHOWN = 12  # a longer list of known names hides the message
# Of text that a terminal would obey: control characters, and marks that turn the direction of text.
UNPRINTABLE = ("Cc", "Cf", "Zl", "Zp")
JOINERS = "\u200c\u200d"  # of that kind, and part of words in several scripts

_shorter = reprlib.Repr()
_shorter.maxstring = _shorter.maxother = _shorter.maxlong = 100
_shorter.maxlist = _shorter.maxtuple = _shorter.maxdict = 10
quoted = _shorter.repr  # a value of anybody's, as a message shows it: in quotes, and not too long


def printable(text: str) -> str:
    r"""`text` with every character that a terminal would obey as its escape, such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        repr(char)[1:-1]
        if unicodedata.category(char) in UNPRINTABLE and char not in JOINERS
        else char
        for char in text
    )


class UserError(Exception):
    """Something the user gave cannot be used. The command line prints it in one line."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(UserError, ValueError):
    """A recipe, or an argument that a recipe can set, holds something that cannot be used."""


class AudioError(UserError):
    """A sound cannot be read, or holds nothing to classify."""


class DataError(UserError):
    """A manifest or a data set cannot be used as it is."""


class DownloadError(UserError):
    """A file cannot be fetched, or is not the one that was published."""


class CheckpointError(UserError):
    """A checkpoint is missing, incomplete, or not what it says it is."""


class MissingExtraError(UserError, ImportError):
    """An optional package is not installed."""


class AudioWarning(UserWarning):
    """A sound was used, but not as whole as its header says."""


class DataWarning(UserWarning):
    """A data set was used, but its scores may not mean what they seem to."""


class TrainingWarning(UserWarning):
    """A training goes on, but not as it should."""


class RenamedWarning(TrainingWarning):
    """A setting was read by its former name, which may not be read for ever."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """The error for an optional `package` that is not installed, with the line that installs it."""
    return MissingExtraError(
        f"{purpose} needs the package {package!r}, which is not installed. "
        f"Install it with: pip install 'auricle[{extra}]'"
    )


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a `module` of an optional package; MissingExtraError: the package is not installed."""
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(package, extra, purpose) from error


def unknown_name(kind: str, name: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """Message for a name that is not in a table, with the nearest known one first.

    Args:
        others: further names that may have been meant; they are not listed.
    """
    names = sorted(known)
    spelled = {known_name.casefold(): known_name for known_name in (*others, *names)}
    nearest = difflib.get_close_matches(name.casefold(), spelled, n=1)
    hint = f" Did you mean {spelled[nearest[0]]!r}?" if nearest else ""
    return f"unknown {kind} {quoted(name)}.{hint} Known: {listed(names) or 'none'}."


def listed(names: Sequence[str], most: int = NAMES_SHOWN, shown: Callable[[str], str] = str) -> str:
    """The first `most` names, each as `shown` gives it, and how many others: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


@contextmanager
def refused(kind: type[UserError], what: str, advice: str = "") -> Iterator[None]:
    """What the system refuses in the block (OSError) becomes an error: `what (reason).advice`."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what} ({error.strerror or error}).{advice}") from error
