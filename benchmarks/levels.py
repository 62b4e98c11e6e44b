"""How far what a tagger hears depends on how loud it is: zero-shot accuracy, softer and softer.

    python benchmarks/levels.py --data esc10.csv [MODEL ...] [--classes esc10] [--gains 0 -10 ...]

Every clip is made softer by each number of dB and scored as `auricle evaluate --classes` does. The
last columns are the shares of clips of which a right label of all is recognised, for models that
have thresholds. Numbers are of this data alone; the difference between the columns is the point.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from auricle import audio
from auricle.data import Manifest, read
from auricle.evaluation.evaluate import targets_of
from auricle.evaluation.zero_shot import ByClass, among_all_labels, by_class
from auricle.inference import Classifier

MODELS = ("tagger", "tagger_tiny")
GAINS_DB = (0.0, -10.0, -20.0, -30.0, -40.0)
AT_ONCE = 8  # clips


def scores_at(classifier: Classifier, clips: list[Tensor], gain_db: float) -> Tensor:
    """Scores `(N, L)` of all clips, made louder by `gain_db`."""
    factor = 10 ** (gain_db / 20)
    batches = [clips[start : start + AT_ONCE] for start in range(0, len(clips), AT_ONCE)]
    return torch.cat([classifier.score_waveforms([factor * clip for clip in b]) for b in batches])


def shares(model: ByClass, classifier: Classifier, scores: Tensor, targets: Tensor) -> list[float]:
    """Accuracy among the classes and, with thresholds, the share with a right label recognised."""
    right = model.highest(scores).argmax(dim=1) == targets.argmax(dim=1)
    found = [right.double().mean().item()]
    if classifier.thresholds is not None:
        reached = scores.double() >= torch.tensor(classifier.thresholds, dtype=torch.float64)
        labels = targets @ model.belongs.long() > 0
        found.append(among_all_labels(scores, labels, reached)["recognised"])
    return found


def row(name: str, manifest: Manifest, classes: str, gains_db: list[float]) -> str:
    """A line of the table."""
    classifier = Classifier.load(name, device="cpu")
    model = by_class(classifier, classes, manifest)
    targets = targets_of(list(manifest.clips), model.labels)
    clips = [audio.load(clip.path, classifier.sample_rate) for clip in manifest.clips]
    columns = zip(
        *(shares(model, classifier, scores_at(classifier, clips, g), targets) for g in gains_db),
        strict=True,
    )
    return f"{Path(name).name:<20}" + "  |".join(
        "".join(f"{100 * value:>7.1f}" for value in column) for column in columns
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="as for auricle predict")
    parser.add_argument("--data", type=Path, required=True, help="manifest of labelled clips")
    parser.add_argument("--classes", default="esc10", help="label map")
    parser.add_argument("--gains", type=float, nargs="+", default=list(GAINS_DB), metavar="DB")
    arguments = parser.parse_args()
    manifest = read(arguments.data)
    print(f"{len(manifest.clips)} clips; percent right among the classes  | recognised")
    print(f"{'gain, dB':<20}" + "".join(f"{gain:>7.0f}" for gain in arguments.gains))
    for name in arguments.models or MODELS:
        print(row(name, manifest, arguments.classes, arguments.gains), flush=True)


if __name__ == "__main__":
    main()
