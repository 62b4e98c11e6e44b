"""The AudioSet ontology: which kind of sound is a kind of which, and groups of labels by it.

The ontology is a graph without circles: a growl is a sound of dogs and of cats. It has seven roots.

Source: Gemmeke et al. 2017; `audioset/README.md` beside this file says licence and origin.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from auricle.errors import CheckpointError, ConfigError, listed, unknown_name
from auricle.inference.recognition import Prediction

NAMES_SHOWN = 3
SHARE_OF_GROUP = 0.5  # a path goes on to a kind that has at least this much of the group's score


@dataclass(frozen=True)
class Kind:
    """A kind of sound; a root has no parents. Parents and children are ids."""

    id: str
    name: str
    parents: tuple[str, ...]
    children: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """A root of the ontology, and the way down to what was heard of it.

    Attributes:
        label, score: of the root; the highest score of everything under it.
        path: the kinds below the root, each with the highest score of itself and what is under it.
        recognised: whether a label under it reached its threshold; None: the model has none.
    """

    label: str
    score: float
    path: tuple[Prediction, ...]
    recognised: bool | None = None

    @property
    def names(self) -> list[str]:
        """The root and the path, as in ["Animal", "Domestic animals, pets", "Dog"]."""
        return [self.label, *(step.label for step in self.path)]


@cache
def read() -> dict[str, Kind]:
    """Every kind by its id, in the order of the published file; the first time from the disk."""
    path = resources.files("auricle.inference") / "audioset" / "ontology.csv"
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    children: dict[str, list[str]] = {row["id"]: [] for row in rows}
    for row in rows:
        for parent in row["parents"].split():
            children[parent].append(row["id"])
    return {
        row["id"]: Kind(
            row["id"], row["name"], tuple(row["parents"].split()), tuple(children[row["id"]])
        )
        for row in rows
    }


def ids_of(labels: Sequence[str]) -> list[str]:
    """The ids of kinds with the names `labels`.

    Raises:
        CheckpointError: some label is no name of the ontology.
    """
    by_name = {kind.name: kind.id for kind in read().values()}
    unknown = [label for label in labels if label not in by_name]
    if unknown:
        named = listed(unknown, NAMES_SHOWN, repr)
        raise CheckpointError(
            f"{len(unknown)} of the model's {len(labels)} labels are not names of the AudioSet "
            f"ontology: {named}. Only AudioSet's labels can be grouped: choose "
            "a model that gives them, or ask for labels instead of groups."
        )
    return [by_name[label] for label in labels]


def columns_of(names: Sequence[str], labels: Sequence[str]) -> frozenset[int]:
    """Return the columns of `labels` that `names` stand for.

    A name is a label or its id (`/m/0bt9lr`); one of the ontology stands for everything under it,
    too, so that "Dog" holds "Bark" and "Animal" both. Capitals do not matter.

    Raises:
        ConfigError: neither a label nor a kind of sound that has a label under it, with the
            nearest.
    """
    kinds = {kind.name.casefold(): kind.id for kind in read().values()}
    ids = [kinds.get(label.casefold()) for label in labels]
    columns: set[int] = set()
    for name in names:
        kind = name if name in read() else kinds.get(name.casefold())
        under = _under(kind) if kind else set()
        found = {
            column
            for column, label in enumerate(labels)
            if label.casefold() == name.casefold() or ids[column] in under
        }
        if not found:
            raise ConfigError(unknown_name("label", name, labels))
        columns |= found
    return frozenset(columns)


@cache
def ancestors(label: str) -> frozenset[str]:
    """Names of all kinds of sound that `label` is a kind of; of another name none."""
    kinds = read()
    above = {parent for kind in kinds.values() if kind.name == label for parent in kind.parents}
    names = {kinds[parent].name for parent in above}
    return frozenset(names.union(*map(ancestors, names)))


def _under(kind: str) -> set[str]:
    """Ids of the kind and of everything under it."""
    return {kind}.union(*(_under(child) for child in read()[kind].children))


@dataclass
class Tally:
    """Rolls the scores of labels up to the roots of the ontology.

    Args:
        scores: of labels, by their ids.
        reached: ids of the labels that reached their thresholds.
    """

    scores: dict[str, float]
    reached: set[str]
    _best: dict[str, tuple[bool, float]] = field(default_factory=dict)

    def roots(self) -> list[str]:
        """Ids of the roots with a label under them: recognised ones first, then by score."""
        roots = [kind.id for kind in read().values() if not kind.parents]
        known = [root for root in roots if self.score(root) >= 0]
        return sorted(known, key=self.rank, reverse=True)

    def rank(self, kind: str) -> tuple[bool, float]:
        """Whether anything of the kind reached its threshold, and the highest score of it all.

        A kind that has no label has the score -1.
        """
        if kind not in self._best:
            under = [self.rank(child) for child in read()[kind].children]
            reached = kind in self.reached or any(reached for reached, _ in under)
            scores = [self.scores.get(kind, -1.0), *(score for _, score in under)]
            self._best[kind] = (reached, max(scores))
        return self._best[kind]

    def score(self, kind: str) -> float:
        """The highest score of the kind and everything under it."""
        return self.rank(kind)[1]

    def path(self, root: str) -> list[str]:
        """The best way down from `root`, without it; see `groups`."""
        way: list[str] = []
        kinds = read()
        while children := kinds[way[-1] if way else root].children:
            best = max(children, key=self.rank)
            reached, score = self.rank(best)
            goes_on = reached if self.rank(root)[0] else score >= SHARE_OF_GROUP * self.score(root)
            if not goes_on or score < 0:
                break
            way.append(best)
        return way


def groups(
    labels: Sequence[str], scores: Sequence[float], reached: Sequence[bool] | None = None
) -> list[Group]:
    """The roots of the ontology, and under each the best way down; recognised ones first.

    A kind's score is the highest of itself and everything under it; what has several parents counts
    for each. The way goes to the child with the highest score as long as that is at least half the
    group's; in a group that is recognised, to the best recognised child as long as there is one.

    Args:
        reached: for each label, whether its score reaches its threshold; None: there are none.

    Raises:
        CheckpointError: some label is no name of the ontology.
    """
    ids = ids_of(labels)
    found = {kind for kind, is_found in zip(ids, reached or [], strict=False) if is_found}
    tally = Tally(dict(zip(ids, scores, strict=True)), found)

    def described(kind: str) -> Prediction:
        recognised = None if reached is None else tally.rank(kind)[0]
        return Prediction(read()[kind].name, tally.score(kind), recognised)

    return [
        Group(root.label, root.score, tuple(map(described, tally.path(kind))), root.recognised)
        for kind, root in ((kind, described(kind)) for kind in tally.roots())
    ]
