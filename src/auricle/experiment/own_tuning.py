"""Fine-tuning on one's own sounds, from the model of the quick way, and which of the two is better.

fine_tuned/clips.csv   the clips of both sides, and those of the background
fine_tuned/start/      the quick way's model of the clips to train on, as which fine-tuning begins
fine_tuned/            otherwise an ordinary run; all/ is the one of all clips, if it is kept

Source: Kumar et al. 2022 (a head on frozen features first keeps what the features know).
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import soundfile
import torch
from torch import Tensor

from auricle import audio, checkpoint, data
from auricle.checkpoint import Checkpoint
from auricle.data import TRAIN, VALIDATION, Clip, Manifest
from auricle.evaluation import linear
from auricle.evaluation.evaluate import score_clips
from auricle.evaluation.linear import scores_of
from auricle.experiment import background, own_head
from auricle.experiment.own_data import recipe_for_folder
from auricle.experiment.own_head import NONE_OF_THESE
from auricle.experiment.run import run
from auricle.inference import Classifier

if TYPE_CHECKING:
    from auricle.experiment.own_sounds import Prepared

FOLDER, ALL, START, CLIPS, SOUNDS = "fine_tuned", "all", "start", "clips.csv", "background"
MOST_BACKGROUND = 200  # synthetic clips that are trained on


@dataclass(frozen=True)
class Tuned:
    """What came of fine-tuning.

    Attributes:
        is_better: whether it is right about more of the clips that validate than the quick way.
        numbers: accuracy of both on these, and so on.
        epoch: that was best.
        training: rows of the clips that it was trained on.
        temperature, thresholds: as chosen on the clips that validate.
    """

    is_better: bool
    numbers: dict[str, Any]
    epoch: int
    training: list[int]
    temperature: float
    thresholds: list[float] | None


def fine_tune(prepared: "Prepared", sides: tuple[list[int], list[int]], resume: bool) -> Tuned:
    """Fine-tune on one side's clips, and compare with the quick way on the other's.

    Args:
        sides: rows of the clips to train on, and of those that validate.
        resume: go on with the run that is in the folder, if any.

    Raises:
        UserError: a setting cannot be used.
        KeyboardInterrupt: stopped; `resume` goes on.
    """
    started, out = time.monotonic(), prepared.out / FOLDER
    out.mkdir(exist_ok=True)
    training, validating = sides
    rows, held_out = map(torch.tensor, sides)
    single_label = prepared.task.single_label
    head = own_head.learn(prepared.task.of(rows), prepared.none)
    start = own_head.with_head(prepared.initial, prepared.labels, single_label)
    checkpoint.save(own_head.with_layer(start, head), out / START)
    _write_clips(prepared, out, training, validating)
    made = recipe_for_folder(out / CLIPS, str(out / START), prepared.request.settings)
    report = run(made, out, overwrite=not resume, resume=resume, machine=prepared.machine)
    task = prepared.task.of(held_out)
    logits = _logits(prepared, checkpoint.load(out / "best"), validating)
    right, quick_right = (
        own_head.num_right(each, task.targets) for each in (logits, head.logits(task.embeddings))
    )
    temperature = own_head.temperature_of(logits, task)
    scores = scores_of(logits / temperature, single_label)
    numbers = {
        "accuracy": right / len(validating),
        "quick_accuracy": quick_right / len(validating),
        "validated": len(validating),
        "epochs": report.last["epoch"],
        "seconds": round(time.monotonic() - started, 1),
    }
    thresholds = None if single_label else own_head.thresholds_of(scores, task.targets)
    best = report.best["epoch"]
    return Tuned(right > quick_right, numbers, best, training, temperature, thresholds)


def learned_from(
    prepared: "Prepared", tuned: Tuned, learned: list[int], resume: bool
) -> Checkpoint:
    """The fine-tuned model of the clips in the rows `learned`, calibrated.

    Of other clips than `fine_tune` trained on it is trained anew, for as many epochs as were best.
    """
    out = prepared.out / FOLDER
    found = out / "best"
    if learned != tuned.training:
        out, found = out / ALL, out / ALL / "last"
        out.mkdir(exist_ok=True)
        _write_clips(prepared, out, learned, [])
        settings = [f"training.epochs={tuned.epoch}", "training.early_stop=null"]
        settings = [*prepared.request.settings, *settings, "data.validation_share=null"]
        made = recipe_for_folder(out / CLIPS, str(out.parent / START), settings)
        run(made, out, overwrite=not resume, resume=resume, machine=prepared.machine)
    model = checkpoint.load(found)
    ones = torch.ones(len(model.labels))
    model.model.scale_logits(ones / tuned.temperature, 0 * ones)
    if tuned.thresholds is not None:
        of_label = dict(zip(prepared.labels, tuned.thresholds, strict=True))
        thresholds = tuple(of_label[label] for label in model.labels)
        model.config = model.config.model_copy(update={"thresholds": thresholds})
    return model


def _write_clips(
    prepared: "Prepared", out: Path, training: list[int], validating: list[int]
) -> None:
    """Write the manifest of a run, with as much background as two classes have clips."""
    split_of = {**dict.fromkeys(training, TRAIN), **dict.fromkeys(validating, VALIDATION)}
    clips = [
        replace(clip, split=split_of[row])
        for row, clip in enumerate(prepared.material.clips)
        if row in split_of
    ]
    count = min(MOST_BACKGROUND, 2 * len(training) // len(prepared.classes) + 1)
    if NONE_OF_THESE in prepared.labels:
        clips += _background(prepared, out / SOUNDS, count)
    data.write(Manifest(prepared.manifest.source, clips), out / CLIPS)


def _background(prepared: "Prepared", place: Path, count: int) -> list[Clip]:
    """Sounds of the folder of the background or, of embeddings alone, synthetic ones."""
    if prepared.request.background is not None:
        paths = audio.find_sounds([prepared.request.background])
        order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(0))
        chosen = [paths[index] for index in order[:count].tolist()]
    else:
        place.mkdir(exist_ok=True)
        rate = prepared.initial.config.front_end.sample_rate
        chosen = []
        for number, waveform in enumerate(background.synthesised(count, rate)):
            chosen.append(place / f"{number:03}.flac")
            soundfile.write(chosen[-1], waveform.clamp(-1, 1).numpy(), rate)
    return [Clip(path, (NONE_OF_THESE,), split=TRAIN) for path in chosen]


def _logits(prepared: "Prepared", model: Checkpoint, rows: list[int]) -> Tensor:
    """Logits of clips, up to a constant where they exclude each other, in the order of labels."""
    classifier = Classifier(model, prepared.machine.device)
    clips = [prepared.material.clips[row] for row in rows]
    scored = score_clips(classifier.score_files, replace(prepared.manifest, clips=clips), 32)
    scores = scored.scores[:, [classifier.labels.index(label) for label in prepared.labels]]
    scores = scores.double().clamp(linear.LEAST_SCORE, 1 - linear.LEAST_SCORE)
    return scores.log() if prepared.task.single_label else scores.logit()
