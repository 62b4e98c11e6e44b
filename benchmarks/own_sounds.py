"""Own sounds: 40 classes of six recordings each, which no built-in model was trained on.

    python benchmarks/own_sounds.py SOUNDS --model tagger --model MN04 [--draws 3] [--tune]

SOUNDS holds `clips.csv`: path, repository, recording_group, seconds and `hint`, what the name of a
file suggests (nobody listened). Its classes are words in these hints. From each class six
recordings are drawn to learn from, one clip of each, and up to six others to test; three draws by
three seeds. For each model: accuracy and calibration error of `auricle train --data --from MODEL
--speed quick` on the test clips of all draws, and how many of 300 clips of other kinds are taken
for a class. `--tune` adds one draw of fine-tuning alone, from a new head, as it was done before.

Nothing may be chosen by it.
"""

import argparse
import csv
import random
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch

from auricle import Classifier, data
from auricle.evaluation.calibration import calibration_error
from auricle.evaluation.evaluate import Evaluation, evaluate
from auricle.evaluation.metrics import wilson_interval
from auricle.experiment import recipe_for_folder, run
from auricle.experiment.own_head import NONE_OF_THESE
from auricle.experiment.own_sounds import Request, train_own_sounds

LEARN, TEST, OTHERS = 6, 6, 300
LEAST_SECONDS = 0.4
NOT_REPOSITORY = "Tonejs/audio"  # by which settings were chosen
NOT_HINT = re.compile(r"hurt|death|\bdie\b|impression|hoof|milk|stew|rubber|cutup")
KINDS = {
    "baby cry": "^baby cry",
    "dog": r"\bdog$|dog bark|dog playing|puppy bark|wolf bark|^dog\d",
    "cat": r"\bcat\b(?!.*scream)|kitty|kitten|meow",
    "cow": r"\bcow\b|calf moo|bull$",
    "sheep": "sheep|goat (bleat|moan)|lamb|bovines goat",
    "pig": r"\bpig\b|piggy|oink",
    "horse": "horse(?!.*(gallop|drawn|trot))|neigh|pony (blow|neigh|snort)|donkey",
    "chicken": r"chickens?\b|\bhen\b|chiken|cluck",
    "duck or goose": "duck|goose|gander|drake|quack",
    "insects": "cricket|cicada|grasshopper",
    "bee or fly": r"\bbees?\b|mosquito|hornet|wasp",
    "wolf": r"\bwolf (howl|snarl|moan)|wolves|coyote|fox$",
    "big cat": r"(?<!sea )\blion\b|tiger|leopard|jaguar",
    "rain": r"\brain\b(?! forest)|heavyrain|stereorain|drizzle|rainstorm",
    "thunder": "thunder|lightning",
    "wind": r"\bwind\b(?!.*(forest|bassoon|leaves))|windloop|desertwind|snowstorm|"
    "rain forest morning wind|palm leaves in wind",
    "running water": "waterfall|river|stream|env sounds water|^water$|dripping",
    "door": "door ?(close|open|creak|slam)|doors|hingecreak|^door$",
    "keyboard typing": "typing|mechvibes|keyboard clack",
    "breaking glass": "glass break|breaking glass|smash.*glass|glass smash",
    "gunshot": "(pistol|rifle|shotgun|gun).*(fire|shot)|rifle rifle|handguns|shotguns|machineguns",
    "explosion": r"explosion|cannon|blast\b|blastalt|blastliquid",
    "alarm": r"\balarm|siren|firetruck",
    "engine": r"engine|motor\b|motorbike|car idle|snowmobile",
    "aircraft": r"airplane|helicopter|\bjet\b|\bplane$|rotor|bladevortex|turbine",
    "horn or whistle": r"train whistle|steam whistle|train honk|horn\b|carhorn|honk|foghorn",
    "drum": r"\bsnare|\btom\b|\bkick\b|bass ?drum|\bdrums?\b|conga|bendir|darbuka",
    "cymbal or gong": "cymbal|hi-?hat|gong",
    "guitar": r"guitar|banjo|ukulele|\bguit|mando",
    "piano": "piano|rhodes",
    "bowed strings": "violin|cello|viola",
    "brass": r"(?<!elephant )\btrumpet\b|trombone|tuba\b|\bhorns\b|flugel",
    "reeds": "sax|clarinet|oboe|bassoon|shenai",
    "mallets": "xylo|marimba|vibraphone|celeste|music box|kalimba",
    "speech": "^speech|symbols math",
    "snoring dog": "dog sleeping",
    "laughter": "laugh",
    "footsteps": "footsteps?|walking|gallop",
    "crowd": "crowd|pub |coffee ?(shop|house)|party|food court|ambience coffee|square",
    "church bell": "church bells?|bell stroke|ship bell|^bell|templebell",
}


def recordings(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """A clip of each recording of each kind, and clips of no kind."""
    of_kind: dict[str, dict[str, Path]] = {kind: {} for kind in KINDS}
    others: dict[str, Path] = {}
    with (folder / "clips.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            hint, group = row["hint"].lower(), row["recording_group"]
            if row["repository"] == NOT_REPOSITORY or float(row["seconds"]) < LEAST_SECONDS:
                continue
            found = [kind for kind, words in KINDS.items() if re.search(words, hint)]
            if not found:
                others.setdefault(group, folder / row["path"])
            elif len(found) == 1 and not NOT_HINT.search(hint):
                of_kind[found[0]].setdefault(group, folder / row["path"])
    return {kind: list(paths.values()) for kind, paths in of_kind.items()}, list(others.values())


def write_sets(found: dict[str, list[Path]], out: Path, seed: int) -> tuple[Path, Path]:
    """Manifests of the clips to learn from and of those to test."""
    rows: dict[str, list[str]] = defaultdict(lambda: ["path,labels"])
    for kind, paths in found.items():
        drawn = random.Random(f"{seed} {kind}").sample(paths, min(len(paths), LEARN + TEST))
        for number, path in enumerate(drawn):
            rows["learn" if number < LEARN else "test"].append(f"{path},{kind}")
    for name, lines in rows.items():
        (out / f"{name}-{seed}.csv").write_text("\n".join(lines) + "\n")
    return out / f"learn-{seed}.csv", out / f"test-{seed}.csv"


def share(right: int, of: int) -> str:
    """A share with its interval."""
    low, high = wilson_interval(right, of)
    return f"{right / of:.1%} ({low:.1%} to {high:.1%}) of {of}"


def report(name: str, evaluations: list[Evaluation]) -> None:
    """Print accuracy, with and without what is none of the classes, and calibration."""
    scores = torch.cat([each.scores for each in evaluations])
    targets = torch.cat([each.targets for each in evaluations])
    labels = evaluations[0].labels
    right = int(targets.gather(1, scores.argmax(dim=1, keepdim=True)).sum())
    print(f"{name}  accuracy {share(right, len(scores))} test clips")
    if NONE_OF_THESE in labels:
        among = scores.clone()
        among[:, labels.index(NONE_OF_THESE)] = -1
        right = int(targets.gather(1, among.argmax(dim=1, keepdim=True)).sum())
        print(f"{name}  accuracy among the classes {right / len(scores):.1%}")
    print(f"{name}  calibration error {calibration_error(scores.double(), targets, True):.3f}")


def quick(name: str, model: str, sets: list[tuple[Path, Path]], others: list[Path]) -> None:
    """The quick way with each draw."""
    evaluations, seconds, taken, held_out = [], [], 0, []
    for learn, test in sets:
        began = time.perf_counter()
        found = train_own_sounds(Request(learn, model, quick=True), learn.with_suffix(f".{name}"))
        seconds.append(time.perf_counter() - began)
        held_out.append(found.quick)
        classifier = Classifier.load(found.folder / "best", device="cpu")
        evaluations.append(evaluate(classifier, data.read(test)))
        for scores in classifier.score_files(others):
            if isinstance(scores, torch.Tensor):
                taken += classifier.labels[int(scores.argmax())] != NONE_OF_THESE
    report(f"{name}, quick", evaluations)
    estimates = ", ".join(f"{each['accuracy']:.1%}" for each in held_out)
    print(f"{name}, quick  estimated from held-out clips {estimates}")
    print(f"{name}, quick  {taken / len(others) / len(sets):.1%} of other kinds taken for a class")
    print(f"{name}, quick  {min(seconds):.1f} to {max(seconds):.1f} s, report included")


def fine_tuned(name: str, model: str, learn: Path, test: Path) -> None:
    """What the command did before: fine-tuning from a new head, whose best epoch validates."""
    began = time.perf_counter()
    prepared = recipe_for_folder(learn, model, ["data.workers=0", "training.early_stop=null"])
    out = learn.with_suffix(f".{name}.tuned")
    run(prepared, out)
    took = time.perf_counter() - began
    classifier = Classifier.load(out / "best", device="cpu")
    report(f"{name}, fine-tuning", [evaluate(classifier, data.read(test))])
    print(f"{name}, fine-tuning  {took:.0f} s")


def main() -> None:
    """Build the sets, and print the lines of each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
    found, rest = recordings(arguments.sounds)
    others = random.Random(0).sample(rest, OTHERS)
    counts = sorted(map(len, found.values()))
    print(f"{len(found)} classes of {counts[0]} to {counts[-1]} recordings; {LEARN} to learn from")
    with tempfile.TemporaryDirectory() as folder:
        sets = [write_sets(found, Path(folder), seed) for seed in range(arguments.draws)]
        for model in arguments.model:
            quick(Path(model).name, model, sets, others)
            if arguments.tune:
                fine_tuned(Path(model).name, model, *sets[0])


if __name__ == "__main__":
    main()
