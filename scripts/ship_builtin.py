"""Put the trained built-in models into the package: 16-bit weights, and cards with their scores.

    python scripts/ship_builtin.py --work WORK NAME ...  weights, logs, configuration and card
    python scripts/ship_builtin.py [NAME ...]            configuration and card; weights stay
    python scripts/ship_builtin.py --speed [NAME ...]    the same, and the speed is measured anew

WORK is where scripts/train_builtin.sh or scripts/train_tagger.sh trained and evaluated. Recipes,
metrics and evaluations go to docs/results/builtin or docs/results/tagger, so that every number on
a card has its log. The card is scripts/cards/NAME.md, with the numbers of the configuration in it.
A new model needs a card and a line in MODELS.
"""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from model_card import fill, measure_speed

from auricle import checkpoint
from auricle.checkpoint import Checkpoint
from auricle.data import TRAINED_ON

PROJECT = Path(__file__).parents[1]
BUILTIN = PROJECT / "src" / "auricle" / "builtin"
CARDS = Path(__file__).parent / "cards"
RESULTS = PROJECT / "docs" / "results" / "builtin"
TAGGER_RESULTS = PROJECT / "docs" / "results" / "tagger"
FOLDS = (1, 2, 3, 4, 5)
HARDWARE = "two CPU cores that other work shared"

ESC10_DATA = (
    "ESC-10 (Piczak 2015, CC BY 3.0), started from weights distilled from EfficientAT mn04 (Schmid "
    "et al. 2023, MIT licence) on recorded sound of free packages, without any clip of ESC-10: "
    "`scripts/collect_sounds.py`"
)
TAGGER_DATA = (
    "sound in free packages and synthesised sound (`scripts/collect_sounds.py`, "
    "`scripts/synthesise_sounds.py`), as EfficientAT mn04 scores it (Schmid et al. 2023, MIT "
    "licence), without any clip of ESC-10"
)
KEYWORDS_DATA = (
    "training split of a 4,043-clip subset of Speech Commands v0.02 (Warden 2018, CC BY 4.0), "
    "split by speaker, and synthetic speech: `scripts/synthesise_speech.py`"
)


@dataclass(frozen=True)
class Facts:
    """What is told of a model.

    Attributes:
        metrics: as numbers, for programs.
        data: what it was trained on, in a sentence.
        scores: rows of metric, data, value and perhaps a 95 % interval; the first one stands for
            the model in `auricle models`.
        training: command, hours, hardware.
    """

    summary: str
    metrics: dict[str, Any]
    data: str
    scores: list[dict[str, Any]]
    training: dict[str, str]


def main() -> None:
    """Ship the models that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODELS)}; none: all")
    parser.add_argument("--work", type=Path, help="ship the weights trained here")
    parser.add_argument("--speed", action="store_true", help="measure the speed anew")
    options = parser.parse_args()
    for unknown in (name for name in options.names if name not in MODELS):
        parser.error(f"unknown model {unknown!r}. Known: {', '.join(MODELS)}.")
    for name in options.names or sorted(MODELS):
        model = MODELS[name]
        if options.work:
            model.keep_logs(options.work)
            ship(options.work / model.run, name, model.facts())
        else:
            describe(name, model.facts(), options.speed)


def keep_logs(work: Path) -> None:
    """Copy the logs of all runs and evaluations in `work`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for folder in sorted(work.glob("run_*")):
        keep(folder, RESULTS / folder.name, ("recipe.yaml", "metrics.jsonl"))
    for folder in sorted((work / "evaluation").iterdir()):
        keep(folder, RESULTS / "evaluation" / folder.name, ("metrics.json", "predictions.csv"))


def keep_tagger_logs(work: Path) -> None:
    """Copy the logs of all runs in `work` and of what was measured on them."""
    for run in sorted(work.glob("run_*")):
        target = TAGGER_RESULTS / run.name.removeprefix("run_")
        keep(run, target, ("recipe.yaml", "metrics.jsonl"))
        for part, report in TAGGER_SCORES.items():
            folder = work / "scores" / run.name / part
            if (folder / report).exists():
                keep(folder, target, (report,))
                (target / report).replace(target / f"{part}.json")


def keep(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy what proves a number, without this machine's paths."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = (source / name).read_text(encoding="utf-8")
        (target / name).write_text(without_places(text), encoding="utf-8")


def without_places(text: str) -> str:
    """`text` with the last two parts of every path: the rest is this machine's."""
    part = r"[^\s,\"'()\[\]{}<>=/]+"
    return re.sub(rf"(?<![^\s,\"'(\[{{<=])(?!https?:)/?(?:{part}/)+({part}/{part})", r"\1", text)


def esc10() -> Facts:
    """The model of all folds, with the scores of the five that left one out."""
    accuracies = [evaluated(f"esc10_{fold}")["accuracy"] for fold in FOLDS]
    mean = sum(accuracies) / len(accuracies)
    scores = [score("accuracy", "ESC-10, mean of 5 folds", mean)]
    pairs = zip(FOLDS, accuracies, strict=True)
    scores += [score("accuracy", f"ESC-10, fold {fold}", value) for fold, value in pairs]
    return Facts(
        summary="Names one of ten sounds in a recording.",
        metrics={
            "accuracy": mean,
            "accuracy_by_fold": accuracies,
            "scored_by": "5-fold cross-validation",
        },
        data=ESC10_DATA,
        scores=scores,
        training={
            "command": "scripts/train_builtin.sh",
            "hours": hours(["run_sounds", "run_heard_all", "run_esc10_all"]),
            "hardware": HARDWARE,
        },
    )


def keywords() -> Facts:
    """The best epoch on validation, with its scores on both splits, with and without silence."""
    found = {
        f"{split}{words}": evaluated(f"keywords_{split}{words}")
        for split in ("test", "validation")
        for words in ("", "_words")
    }
    scores = []
    for name, metrics in found.items():
        split = name.replace("_words", " without silence")
        data = f"SC-12 subset, {split}, {metrics['num_clips']} clips"
        scores.append(score("accuracy", data, metrics["accuracy"], metrics["accuracy_interval"]))
    order = ("validation", "validation_words", "test", "test_words")
    return Facts(
        summary="Names the English command word in a clip of one second.",
        metrics={name: found[name]["accuracy"] for name in order},
        data=KEYWORDS_DATA,
        scores=scores,
        training={
            "command": "scripts/train_builtin.sh speech keywords ship",
            "hours": hours(["run_keywords"]),
            "hardware": HARDWARE,
        },
    )


TAGGER_SCORES = {
    "zero_shot": "metrics.json",
    "probe": "probe.json",
    "thresholds": "agreement.json",
    "agreement": "agreement.json",
}


TEACHER = "EfficientAT mn04"
ALL_LABELS = {
    "first": "best label is right",
    "among_five": "one of the five best is right",
    "recognised": "a right label is recognised",
    "nothing_recognised": "nothing is recognised",
}


def tagger(runs: list[str], summary: str, command: str, hardware: str) -> Facts:
    """The last of `runs`, each of which went on from the one before."""
    folder = TAGGER_RESULTS / runs[-1]
    zero_shot, probe, agreement = (
        json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
        for part in ("zero_shot", "probe", "agreement")
    )
    heard = f"{agreement['num_clips']} held-out clips"
    ten = "ESC-10, zero-shot, its 10 classes"
    low_high = agreement["intervals"]
    scores = [
        score("accuracy", ten, zero_shot["accuracy"], zero_shot["intervals"]["accuracy"]),
        *(
            score(text, "ESC-10, all 527 labels", zero_shot["all_labels"][key])
            for key, text in ALL_LABELS.items()
        ),
        *(
            score(
                f"accuracy of {kind}",
                "ESC-10, 5 folds",
                probe[key]["value"],
                probe[key]["interval"],
            )
            for key, kind in (("linear", "a linear probe"), ("nearest", "nearest neighbours"))
        ),
        *(
            score(metric, f"{heard}, against the teacher", agreement[key], low_high[key])
            for key, metric in (
                ("top1_in_top3", "best label among the teacher's three"),
                ("mAP", "mAP"),
            )
        ),
    ]
    lines = [
        json.loads(line)
        for run in runs
        for line in (TAGGER_RESULTS / run / "metrics.jsonl").open(encoding="utf-8")
    ]
    return Facts(
        summary=summary,
        metrics={
            "esc10_zero_shot": zero_shot["accuracy"],
            "esc10_linear_probe": probe["linear"]["value"],
            "top1_in_teachers_top3": agreement["top1_in_top3"],
            "mAP_against_teacher": agreement["mAP"],
        },
        data=TAGGER_DATA,
        scores=scores,
        training={
            "command": command,
            "hours": f"{sum(line['seconds'] for line in lines) / 3600:.1f}",
            "hardware": hardware,
        },
    )


def score(
    metric: str, data: str, value: float, interval: list[float] | None = None
) -> dict[str, Any]:
    """A row of `Facts.scores`."""
    row = {"metric": metric, "data": data, "value": value}
    return row | ({"interval": interval} if interval else {})


@dataclass(frozen=True)
class Model:
    """A built-in model.

    Attributes:
        run: folder under WORK with its weights.
        keep_logs: copies the logs of WORK to docs/results.
        facts: what is told of it, from the logs that were kept.
    """

    run: str
    keep_logs: Callable[[Path], None]
    facts: Callable[[], Facts]


MODELS = {
    "esc10": Model("run_esc10_all/last", keep_logs, esc10),
    "keywords": Model("run_keywords/best", keep_logs, keywords),
    "tagger": Model(
        "run_long/matched",
        keep_tagger_logs,
        lambda: tagger(
            ["short", "longer", "long"],
            "Names everyday sound: AudioSet's 527 labels.",
            "scripts/train_tagger.sh",
            "one, then two CPU cores that other work shared",
        ),
    ),
    "tagger_tiny": Model(
        "run_tiny_long/matched",
        keep_tagger_logs,
        lambda: tagger(
            ["tiny", "tiny_long"],
            "Names everyday sound with a quarter of tagger's parameters, for live use.",
            "scripts/train_tagger.sh teacher sounds tiny tagger_tiny",
            "one CPU core that other work shared",
        ),
    ),
}


def ship(source: Path, name: str, facts: Facts) -> None:
    """Write the checkpoint at `source` to the package as `name`."""
    trained = checkpoint.load(source)
    update_config(trained, facts, measure_speed(trained))
    checkpoint.save(trained, BUILTIN / name, dtype=torch.float16)
    describe(name, facts)


def describe(name: str, facts: Facts, measure: bool = False) -> None:
    """Write configuration and card of the built-in `name` anew.

    Args:
        measure: the speed, too, which otherwise is measured once.
    """
    folder = BUILTIN / name
    shipped = checkpoint.load(folder)
    known = None if measure else shipped.config.about.get("speed")
    speed = known or measure_speed(shipped)
    update_config(shipped, facts, speed)
    card = fill((CARDS / f"{name}.md").read_text(encoding="utf-8"), shipped, folder)
    checkpoint.store_description(folder, shipped.config, card)
    print(card)


def update_config(model: Checkpoint, facts: Facts, speed: dict[str, Any]) -> None:
    """Put what is told of a model into its configuration."""
    known = model.config.provenance
    provenance = {key: value for key, value in known.items() if key != TRAINED_ON}
    provenance = json.loads(without_places(json.dumps(provenance)))
    if TRAINED_ON in known:  # its letters may look like a path
        provenance[TRAINED_ON] = known[TRAINED_ON]
    started = "fresh ones, through the stages of the command"
    provenance |= {"data": facts.data, "initial_weights": started}
    for part in (provenance, *(provenance.get(name, {}) for name in ("matched", "thresholds"))):
        if "teacher" in part:
            part["teacher"] = TEACHER  # a folder of this machine
    about = {
        "summary": facts.summary,
        "scores": facts.scores,
        "speed": speed,
        "training": facts.training,
    }
    update = {"metrics": facts.metrics, "provenance": provenance, "about": about}
    model.config = model.config.model_copy(update=update)


def evaluated(name: str) -> dict[str, Any]:
    """The metrics of the evaluation `name`."""
    path = RESULTS / "evaluation" / name / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8"))


def hours(runs: list[str]) -> str:
    """How long the training of `runs` took together."""
    lines = [line for run in runs for line in (RESULTS / run / "metrics.jsonl").open()]
    return f"{sum(json.loads(line)['seconds'] for line in lines) / 3600:.1f}"


if __name__ == "__main__":
    main()
