"""What leaving pauses out of windows changes, and which of them to leave out.

    python benchmarks/pauses.py choose SOUNDS TEACHER [--model tagger] [--clips 300]
    python benchmarks/pauses.py score ESC10.csv [--model tagger]

`choose` tries lengths of pauses and guards on sounds without labels. Clips (of at most 5 s) that
hold a pause are scored as they are, and the loudest second of any clip between digital zeros; both
are compared with what the teacher gives the clip, or that second. `score` judges labelled clips
with the pauses and without them; nothing may be chosen by it.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from auricle import audio, data
from auricle.errors import AudioError
from auricle.evaluation import zero_shot
from auricle.inference import Classifier, recognition

WITH_PAUSES = (60.0, 60.0)  # longer than a window
SETTINGS = (WITH_PAUSES, (1.0, 0.1), (0.5, 0.1), (0.5, 0.04), (0.2, 0.04), (0.0, 0.04), (0.0, 0.02))
CLIP_SECONDS = 5.0
SOUND_SECONDS = 1.0
SEED = 0


@contextmanager
def set_to(pause: float, guard: float) -> Iterator[None]:
    """Leave out pauses of more than `pause` seconds up to `guard` seconds while the block runs."""
    before = recognition.PAUSE_SECONDS, recognition.GUARD_SECONDS
    recognition.PAUSE_SECONDS, recognition.GUARD_SECONDS = pause, guard
    try:
        yield
    finally:
        recognition.PAUSE_SECONDS, recognition.GUARD_SECONDS = before


def has_pause(clip: Tensor, rate: int) -> bool:
    """Whether any of the settings leaves out a part of the clip."""
    with set_to(*SETTINGS[-1]):
        return len(recognition.without_pauses(clip, rate)) < len(clip)


def clips_in(folder: Path, count: int, rate: int) -> list[Tensor]:
    """The beginnings of `count` files drawn from `folder`; those of less than a second are left."""
    files = audio.find_sounds([folder])
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(SEED)).tolist()
    clips: list[Tensor] = []
    for index in order:
        try:
            clip = audio.load_part(files[index], rate, 0.0, CLIP_SECONDS)
        except AudioError:
            continue
        if len(clip) >= SOUND_SECONDS * rate and not recognition.is_silent(clip):
            clips.append(clip)
        if len(clips) == count:
            break
    return clips


def loudest_second(clip: Tensor, rate: int) -> Tensor:
    """The second of the highest power."""
    size = round(SOUND_SECONDS * rate)
    power = clip.double().square().cumsum(0)
    start = int((power[size - 1 :] - torch.cat([power.new_zeros(1), power[:-size]])).argmax())
    return clip[start : start + size]


def amid_zeros(sound: Tensor, rate: int) -> Tensor:
    """The sound in the middle of CLIP_SECONDS of zeros."""
    around = (round(CLIP_SECONDS * rate) - len(sound)) // 2
    return torch.nn.functional.pad(sound, (around, around))


def scores_of(classifier: Classifier, waveforms: list[Tensor], rate: int) -> Tensor:
    """Scores of waveforms at `rate` Hz."""
    own = [audio.resample(waveform, rate, classifier.sample_rate) for waveform in waveforms]
    return classifier.score_waveforms(own).clamp(1e-6, 1 - 1e-6)


def compare(scores: Tensor, teacher: Tensor) -> str:
    """How often the best label is among the teacher's three, and the mean distance of logits."""
    best = scores.argmax(dim=1, keepdim=True)
    agree = (teacher.topk(3).indices == best).any(dim=1).double().mean()
    distance = (scores.logit() - teacher.logit()).abs().mean()
    return f"{agree:6.1%} {distance:6.3f}"


def choose(sounds: Path, teacher_path: Path, model: str, count: int) -> None:
    """Print a row for each guard."""
    student, teacher = Classifier.load(model, "cpu"), Classifier.load(teacher_path, "cpu")
    rate = teacher.sample_rate
    columns = [teacher.labels.index(label) for label in student.labels]
    drawn = clips_in(sounds, count, rate)
    clips = [clip for clip in drawn if has_pause(clip, rate)]
    seconds = [loudest_second(clip, rate) for clip in drawn[: len(clips)]]
    amid = [amid_zeros(second, rate) for second in seconds]
    with set_to(*WITH_PAUSES):
        targets = [scores_of(teacher, each, rate)[:, columns] for each in (clips, seconds)]
    print(f"{len(clips)} of {len(drawn)} clips; best label among the teacher's three, distance")
    print(f"{'pause':>8} {'guard':>8}  {'with pauses':>14}  {'amid zeros':>14}")
    for setting in SETTINGS:
        with set_to(*setting):
            found = [scores_of(student, each, rate) for each in (clips, amid)]
        cells = [f"{compare(*pair):>14}" for pair in zip(found, targets, strict=True)]
        print("{:8.2f} {:8.2f}  ".format(*setting) + "  ".join(cells), flush=True)


def score(manifest: Path, model: str) -> None:
    """Print what the labels of the ten classes are worth, with pauses and without."""
    classifier = Classifier.load(model, "cpu")
    clips = data.read(manifest)
    by_class = zero_shot.by_class(classifier, "esc10", clips)
    thresholds = list(classifier.thresholds) if classifier.thresholds else None
    chosen = recognition.PAUSE_SECONDS, recognition.GUARD_SECONDS
    for name, setting in (("with pauses", WITH_PAUSES), ("without", chosen)):
        with set_to(*setting):
            found = zero_shot.evaluate_zero_shot(by_class, clips, thresholds=thresholds)
        numbers = {"accuracy": found.metrics["accuracy"], **found.metrics["all_labels"]}
        values = ", ".join(f"{key} {value:.1%}" for key, value in numbers.items())
        print(f"{name:<12} {values}", flush=True)


def main() -> None:
    """Choose or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    chooser = commands.add_parser("choose")
    chooser.add_argument("sounds", type=Path)
    chooser.add_argument("teacher", type=Path)
    chooser.add_argument("--clips", type=int, default=300)
    scorer = commands.add_parser("score")
    scorer.add_argument("manifest", type=Path)
    for command in (chooser, scorer):
        command.add_argument("--model", default="tagger")
    arguments = parser.parse_args()
    if arguments.command == "choose":
        choose(arguments.sounds, arguments.teacher, arguments.model, arguments.clips)
    else:
        score(arguments.manifest, arguments.model)


if __name__ == "__main__":
    main()
