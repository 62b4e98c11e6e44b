"""The table of public checkpoints, `checkpoints.yaml`: who published what, where, on what terms.

Nothing in it was measured here: figures are those of the authors. What no document gives, such as a
checksum or a revision, is left out, and said to be unknown where the table is shown.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from huggingface_hub import constants
from pydantic import Field, model_validator

from auricle.config import Settings, from_dict, read_yaml
from auricle.errors import CheckpointError, unknown_name
from auricle.fetch import File

TABLE = Path(str(resources.files("auricle"))) / "catalogue" / "checkpoints.yaml"
NEWEST = "main"  # the revision of the hub where none is known
MADE_FREE = ("Apache-2.0", "BSD-3-Clause", "MIT")  # licences that permit any use


class PublicModel(Settings):
    """A checkpoint that its authors published."""

    summary: str
    reader: Literal["huggingface", "efficientat", "eat", "ced", "passt"]  # of `convert`
    # The authors' page; of a model on the Hugging Face hub its id, "owner/name".
    page: str
    revision: str | None = None  # on the hub; None: unknown, the newest is taken
    url: str | None = None  # of the weights, where they are not on the hub
    weights: str | None = None  # file on the hub; without this and url there is no public address
    beside: tuple[str, ...] = ()  # small files that the reader needs, too
    sha256: str | None = None  # of the weights; None: unknown
    bytes: int | None = None  # of the weights, exactly; None: unknown
    megabytes: float | None = None  # of the weights, as shown on the hub; None: unknown
    parameters: float = Field(gt=0)  # in millions, as published
    license: str | None  # of the weights, as SPDX calls it; None: not stated
    forbids: str | None = None  # what a licence does not permit, in a few words
    score: float  # mean average precision on AudioSet, in percent, as published

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.license not in MADE_FREE and not self.forbids:
            raise ValueError(f"forbids must say what the licence {self.license} does not permit")
        return self

    @property
    def is_on_hub(self) -> bool:
        """Whether `page` is an id of the Hugging Face hub."""
        return self.weights is not None

    @property
    def address(self) -> str:
        """The page that a person can open."""
        return f"{constants.ENDPOINT}/{self.page}" if self.is_on_hub else self.page

    @property
    def version(self) -> str:
        """Name of the folder in the cache: what is fetched of another version is another model."""
        return self.revision or "unknown"

    @property
    def files(self) -> list[File]:
        """The files to fetch, the weights last; none where no address is public."""
        checksum = f"sha256:{self.sha256}" if self.sha256 else None
        if self.url:
            return [File(self.url, self.bytes, checksum)]
        if self.weights is None:
            return []
        root = f"{self.address}/resolve/{self.revision or NEWEST}"
        small = [File(f"{root}/{name}") for name in self.beside]
        return [*small, File(f"{root}/{self.weights}", self.bytes, checksum)]

    @property
    def size(self) -> str:
        """The size of the weights, for a person."""
        megabytes = self.bytes / 1e6 if self.bytes else self.megabytes
        return f"{megabytes:,.1f} MB" if megabytes else "size unknown"


@cache
def table() -> dict[str, PublicModel]:
    """All entries by name, in the order of the file."""
    entries = read_yaml(TABLE)
    return {name: from_dict(PublicModel, entry, name) for name, entry in entries.items()}


def names() -> list[str]:
    """Names of the public models, in the order of the table."""
    return list(table())


def find(name: str) -> PublicModel:
    """The entry `name`.

    Raises:
        CheckpointError: there is none.
    """
    if name not in table():
        raise CheckpointError(unknown_name("public model", name, table()))
    return table()[name]
