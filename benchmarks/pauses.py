"""What leaving pauses out of windows changes, which to leave out, and what to fill up what remains.

    python benchmarks/pauses.py choose SOUNDS TEACHER [--model tagger] [--clips 300]
    python benchmarks/pauses.py fill SOUNDS/clips.csv MODEL ...
    python benchmarks/pauses.py score ESC10.csv MODEL ...

`choose` tries lengths of pauses and guards on sounds without labels. Clips (of at most 5 s) that
hold a pause are scored as they are, and the loudest second of any clip between digital zeros; both
are compared with what the teacher gives the clip, or that second. `fill` takes sounds whose file
names suggest a label (`hint` in the table, by pauses.yaml), fills each up to 5 s with zeros, as
ESC-50 does, and judges models on them: with the zeros, without, and what remains repeated, or
filled up with zeros again, to several lengths, and softer. `score` judges labelled clips with each
model's own padding, with pauses and without; nothing may be chosen by it.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from auricle import audio, data
from auricle.config import read_yaml
from auricle.errors import AudioError
from auricle.evaluation import zero_shot
from auricle.features.filterbank import PaddingConfig, repeated
from auricle.inference import Classifier, recognition
from auricle.inference.engine import TorchEngine

WITH_PAUSES = (60.0, 60.0)  # longer than a window
SETTINGS = (WITH_PAUSES, (1.0, 0.1), (0.5, 0.1), (0.5, 0.04), (0.2, 0.04), (0.0, 0.04), (0.0, 0.02))
CLIP_SECONDS = 5.0
SOUND_SECONDS = 1.0
SEED = 0
FILLS = (0.0, 1.0, 2.0, 3.0, 5.0)  # seconds
SOFTER_DB = (-20, -40)  # repeated to SOFT_FILL seconds
SOFT_FILL = 2.0
CLASSES = Path(__file__).with_suffix(".yaml")
CLIPS_A_CLASS = 10  # each of another recording


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
    return pad(sound, (around, around))


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
    targets = [scores_of(teacher, each, rate)[:, columns] for each in (clips, seconds)]
    print(f"{len(clips)} of {len(drawn)} clips; best label among the teacher's three, distance")
    print(f"{'pause':>8} {'guard':>8}  {'with pauses':>14}  {'amid zeros':>14}")
    for setting in SETTINGS:
        with set_to(*setting):
            found = [scores_of(student, each, rate) for each in (clips, amid)]
        cells = [f"{compare(*pair):>14}" for pair in zip(found, targets, strict=True)]
        print("{:8.2f} {:8.2f}  ".format(*setting) + "  ".join(cells), flush=True)


def named_clips(table: Path, rate: int) -> tuple[list[Tensor], list[list[str]]]:
    """Clips of less than CLIP_SECONDS whose names have words of one class, and its labels."""
    class_of = {word: words for words in read_yaml(CLASSES) for word in words.split()}
    labels_of = read_yaml(CLASSES)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED)).tolist()
    found: dict[str, list[Tensor]] = defaultdict(list)
    recordings: set[str] = set()
    for row in (rows[index] for index in order):
        words = re.findall("[a-z]+[0-9]*", row["hint"].lower())
        names = {class_of[word] for word in words if word in class_of}
        if len(names) != 1 or row["recording_group"] in recordings:
            continue
        of_class = found[names.pop()]
        if len(of_class) == CLIPS_A_CLASS or float(row["seconds"]) > 0.9 * CLIP_SECONDS:
            continue
        clip = audio.load(table.parent / row["path"], rate)
        if len(clip) >= 0.1 * rate and not recognition.is_silent(clip):
            recordings.add(row["recording_group"])
            of_class.append(clip)
    pairs = [(clip, labels_of[name]) for name, clips in found.items() for clip in clips]
    return [clip for clip, _ in pairs], [labels for _, labels in pairs]


def with_zeros(waveform: Tensor, samples: int) -> Tensor:
    """The waveform with zeros up to a number of samples."""
    return pad(waveform, (0, max(0, samples - len(waveform))))


def with_repeats(waveform: Tensor, samples: int) -> Tensor:
    """The waveform repeated up to a number of samples."""
    return repeated(waveform[None], torch.tensor([len(waveform)]), samples)[0][0]


def fill(table: Path, models: list[str]) -> None:
    """Print a row for each model and way to fill up what remains."""
    rate = 32_000
    clips, named = named_clips(table, rate)
    print(f"{len(clips)} clips of {len({tuple(labels) for labels in named})} classes")
    for name in models:
        classifier = Classifier.load(name, "cpu")
        fbank, own_rate = classifier.checkpoint.fbank, classifier.sample_rate
        frames = classifier.checkpoint.model.config.shortest_frames
        without = PaddingConfig(frames=min(frames, fbank.config.padding.frames))
        fbank.config = fbank.config.model_copy(update={"padding": without})
        right = torch.tensor([[label in labels for label in classifier.labels] for labels in named])
        filled = [
            with_zeros(audio.resample(clip, rate, own_rate), round(CLIP_SECONDS * own_rate))
            for clip in clips
        ]
        print(f"{name}\n  {'with zeros':<16}{judged(classifier, filled, right)}", flush=True)
        bare = [recognition.without_pauses(clip, own_rate) for clip in filled]
        for way, change in (("zeros", with_zeros), ("repeated", with_repeats)):
            for seconds in FILLS[way == "repeated" :]:
                changed = [change(clip, round(seconds * own_rate)) for clip in bare]
                row = judged(classifier, changed, right)
                print(f"  {f'{way} to {seconds:g} s':<16}{row}", flush=True)
        for gain in SOFTER_DB:
            soft = [
                recognition.without_pauses(10 ** (gain / 20) * clip, own_rate) for clip in filled
            ]
            repeats = [with_repeats(clip, round(SOFT_FILL * own_rate)) for clip in soft]
            print(f"  {f'{gain} dB':<16}{judged(classifier, repeats, right)}", flush=True)


def omit_pauses(classifier: Classifier, omits_pauses: bool) -> None:
    """Let a classifier score windows without their pauses, or as they are."""
    assert isinstance(classifier.engine, TorchEngine)
    classifier.engine.omits_pauses = omits_pauses


def judged(classifier: Classifier, waveforms: list[Tensor], right: Tensor) -> str:
    """What the labels of waveforms at the model's rate are worth; they are scored as they are."""
    omit_pauses(classifier, False)
    scores = classifier.score_waveforms(waveforms)
    scores[:, classifier.labels.index(recognition.SILENCE)] = 0  # no answer where there is sound
    thresholds = classifier.thresholds
    reached = None if thresholds is None else scores.double() >= torch.tensor(thresholds).double()
    shares = zero_shot.among_all_labels(scores, right, reached)
    classes = torch.unique(right, dim=0)
    by_class = torch.stack([scores[:, labels].amax(dim=1) for labels in classes], dim=1)
    chosen = classes[by_class.argmax(dim=1)]
    shares = {"among classes": (chosen == right).all(dim=1).double().mean().item()} | shares
    return ", ".join(f"{key} {value:5.1%}" for key, value in shares.items())


def score(manifest: Path, models: list[str]) -> None:
    """Print what the labels of the ten classes are worth, with pauses and without."""
    clips = data.read(manifest)
    for model in models:
        classifier = Classifier.load(model, "cpu")
        by_class = zero_shot.by_class(classifier, "esc10", clips)
        thresholds = list(classifier.thresholds) if classifier.thresholds else None
        own = classifier.engine.omits_pauses
        for omits_pauses in (False, True):
            omit_pauses(classifier, omits_pauses)
            found = zero_shot.evaluate_zero_shot(by_class, clips, thresholds=thresholds)
            numbers = {"accuracy": found.metrics["accuracy"], **found.metrics["all_labels"]}
            values = ", ".join(f"{key} {value:.1%}" for key, value in numbers.items())
            name = "without" if omits_pauses else "with pauses"
            print(f"{Path(model).name:<12} {name:<12} {values}{' *' * (omits_pauses == own)}")


def main() -> None:
    """Choose, fill or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    chooser = commands.add_parser("choose")
    chooser.add_argument("sounds", type=Path)
    chooser.add_argument("teacher", type=Path)
    chooser.add_argument("--clips", type=int, default=300)
    chooser.add_argument("--model", default="tagger")
    for name in ("fill", "score"):
        command = commands.add_parser(name)
        command.add_argument("table", type=Path)
        command.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "choose":
        choose(arguments.sounds, arguments.teacher, arguments.model, arguments.clips)
    else:
        {"fill": fill, "score": score}[arguments.command](arguments.table, arguments.models)


if __name__ == "__main__":
    main()
