"""A model for one's own sounds: a head on frozen embeddings in seconds, then fine-tuning.

best/         the model that was kept, and training_clips.safetensors: what its head learned from
report/       report.html and metrics.json: each clip scored by a head that never met its group
fine_tuned/   the run of fine-tuning, if there was one (`own_tuning`)
result.json   written last

The quick way is always gone: every clip is embedded once, and logistic regression learns the
classes (`own_head`). Fine-tuning begins as its model, and is kept where it is right about more of
the clips that validate. What is kept learns from all clips at the end.

Shapes: N clips, B of the background, D width of the embedding, H of what the last layer reads.
"""

import json
import math
import shutil
import time
import unicodedata
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import auricle
from auricle import checkpoint, data
from auricle.atomic import write_text
from auricle.checkpoint import Checkpoint
from auricle.config import finite, to_json
from auricle.data import TEST, TRAIN, VALIDATION, Manifest
from auricle.data.clips import group_of
from auricle.data.reading import shortened
from auricle.errors import CheckpointError, ConfigError, DataError, DataWarning
from auricle.evaluation import linear, report
from auricle.evaluation.bootstrap import number_groups
from auricle.evaluation.evaluate import Evaluation, Failure, ScoredClips, evaluate, measure
from auricle.evaluation.linear import Task
from auricle.experiment import background, folder, own_head, own_tuning
from auricle.experiment.background import Background
from auricle.experiment.own_clips import (
    BATCH_SIZE,
    CLIPS_FILE,
    Counting,
    Material,
    Stored,
    embedded,
    nothing_counted,
    store,
    stored,
)
from auricle.experiment.own_data import tell_splits
from auricle.experiment.own_head import NONE_OF_THESE, Head, with_head, with_layer
from auricle.experiment.prepared import Sources
from auricle.inference import Classifier
from auricle.inference.engine import TorchEngine
from auricle.training import Machine

BEST, REPORT = "best", "report"
MOST_LOST = 0.01  # of the old classes' accuracy; beyond it new classes are held back
SHOWN = 5  # classes and clips that are named
ENOUGH_RECORDINGS = 10  # of a class; below that more are worth recording
LITTLE_TO_GAIN = 0.98  # accuracy of the quick way
FEWEST_TO_TUNE = 20  # clips of a class on average; of fewer, fine-tuning learns nothing more
VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Request:
    """What is asked of `train_own_sounds`.

    Attributes:
        source: a folder with a sub-folder for each class, or a manifest.
        model: whose encoder is used; to add to, an own model's folder.
        background: a folder of other sounds; None takes those that come with the encoder.
        many: several classes may be in a clip: each has a score and a threshold of its own.
        add: the clips are added to those that `model` learned from.
        quick: without fine-tuning.
        keep_validation: clips that validate are not learned from at the end.
        settings: KEY=VALUE of a recipe, for fine-tuning, which then always takes place.
    """

    source: Path
    model: str
    background: Path | None = None
    many: bool = False
    add: bool = False
    quick: bool = False
    keep_validation: bool = False
    settings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class OwnReport:
    """What came of it, in plain values, as result.json holds them.

    Attributes:
        clips, recordings: that were learned from.
        background: where its clips come from; None: there are none.
        false_alarms: share of these that are taken for a class.
        quick: accuracy, interval, calibration_error, judged (clips), seconds; of held-out clips.
        fine_tuned: accuracy and quick_accuracy on the clips that validate, their number, epochs.
        why_not: why there was no fine-tuning; empty: there was.
        old: accuracy of the old classes' clips before and after others were added.
        test: accuracy, interval and number of the clips of the split test.
        left_out: the clips that could not be used, and why.
    """

    folder: Path
    clips: int
    recordings: int
    labels: list[str]
    background: str | None
    false_alarms: float | None
    quick: dict[str, Any]
    fine_tuned: dict[str, Any] | None
    why_not: str
    kept: str
    learned_from: int
    old: dict[str, float] | None
    listen_to: list[str]
    record_next: list[str]
    test: dict[str, Any] | None
    left_out: list[str]


@dataclass(frozen=True)
class Prepared:
    """All that is known before anything learns.

    Attributes:
        whole: the clips of the request, those of the split test included.
        manifest: those of them to learn from that could be embedded.
        material: the clips of the model that is added to, if any, and then those of `manifest`.
        num_old: how many are of that model.
        built: the encoder with a head for `labels` that has learned nothing.
        task: what the head is to learn of the clips.
        none: what it reads of the background, `(B, H)`.
        failures: clips that could not be embedded, or are silent.
    """

    request: Request
    out: Path
    machine: Machine
    initial: Checkpoint
    whole: Manifest
    manifest: Manifest
    material: Material
    num_old: int
    labels: list[str]
    others: Background
    built: Checkpoint
    task: Task
    none: Tensor
    failures: list[Failure]

    @property
    def classes(self) -> list[str]:
        """The labels without that of the background."""
        return [label for label in self.labels if label != NONE_OF_THESE]

    @property
    def is_none(self) -> Tensor:
        """Which of the labels is that of the background, `(C,)` of bool."""
        return torch.tensor([label == NONE_OF_THESE for label in self.labels])


def train_own_sounds(
    request: Request,
    out: Path,
    overwrite: bool = False,
    resume: bool = False,
    machine: Machine | None = None,
    counting: Counting = nothing_counted,
) -> OwnReport:
    """Make a model for one's own sounds in the folder `out`.

    Args:
        overwrite: replace what is in `out`; files that did not change are not embedded again.
        resume: go on with an interrupted fine-tuning.
        counting: what shows how far it has come, for a number of clips to embed.

    Raises:
        UserError: the clips, the model, the background or a setting cannot be used.
        KeyboardInterrupt: stopped; `resume` goes on.
    """
    linear.check_installed()
    machine = machine or Machine()
    with folder.hold(out):
        if resume and (out / folder.RESULT_FILE).exists():
            return _read(out)
        if not resume:
            folder.check_free(out, overwrite)
            (out / folder.RESULT_FILE).unlink(missing_ok=True)
            for name in (REPORT, own_tuning.FOLDER):  # best/ stays until it is replaced
                shutil.rmtree(out / name, ignore_errors=True)
        started = time.monotonic()
        prepared = _prepare(request, out, machine, counting)
        head, old = own_head.learn(prepared.task, prepared.none), None
        if prepared.num_old:
            head, old = _keeping_old_classes(prepared, head)
        judged = _judged(prepared, head)
        numbers = _numbers(judged) | {"seconds": round(time.monotonic() - started, 1)}
        why_not = _why_not(prepared, numbers)
        sides = _sides(prepared) if not why_not or request.keep_validation else None
        if not why_not and sides is None:
            why_not = "too few recordings to put some aside for validation"
        tuned = None
        if sides is not None and not why_not:
            tuned = own_tuning.fine_tune(prepared, sides, resume)
        learned = sides[0] if sides and request.keep_validation else [*range(len(head.judged))]
        kept = _keep(prepared, head, tuned, learned, numbers, resume)
        result = OwnReport(
            folder=out,
            clips=len(head.judged),
            recordings=len(prepared.task.groups.unique()),
            labels=prepared.labels,
            background=prepared.others.source if len(prepared.none) else None,
            false_alarms=head.false_alarms,
            quick=numbers,
            fine_tuned=None if tuned is None else tuned.numbers,
            why_not=why_not,
            kept="fine-tuning" if tuned is not None and tuned.is_better else "quick way",
            learned_from=len(learned),
            old=old,
            listen_to=_listen_to(judged),
            record_next=_record_next(prepared, judged),
            test=_tested(prepared, kept),
            left_out=list(map(str, prepared.failures)),
        )
        _write(prepared, judged, result)
        return result


def _prepare(request: Request, out: Path, machine: Machine, counting: Counting) -> Prepared:
    sources = Sources()
    initial = sources.model(request.model)
    whole = sources.manifest(request.source)
    manifest = _learnable(whole)
    old = _added_to(request, initial, manifest.labels) if request.add else None
    engine = TorchEngine(initial, machine.device)
    new, failures = embedded(engine, manifest, stored(out / BEST, initial), counting)
    others = old.others if old else None
    if others is None or request.background is not None:
        others = background.choose(request.background, engine)
    material = old.material.and_then(new) if old else new
    single_label = all(len(clip.labels) == 1 for clip in material.clips) and not request.many
    if old is not None and single_label != (initial.config.activation == "softmax"):
        many = (
            "was made with --many; give it here, too"
            if single_label
            else ("knows one class a clip; --many, or clips of several, cannot be added")
        )
        raise DataError(f"{request.source}: {request.model} {many}.")
    labels = [label for label in material.labels if label != NONE_OF_THESE]
    if len(labels) < 2:
        raise DataError(
            f"{request.source}: {len(labels)} class ({', '.join(labels)}); training needs two or "
            "more. A second one may be a folder of other sounds from the same place."
        )
    if single_label and (len(others.embeddings) or NONE_OF_THESE in material.labels):
        labels.append(NONE_OF_THESE)
    built = with_head(initial, labels, single_label)
    task = _task(material, labels, single_label, built)
    _check_recordings(request.source, task, labels)
    none = task.embeddings[:0]
    if len(others.embeddings):
        none = built.model.last_input(others.embeddings).double()
    return Prepared(
        request=request,
        out=out,
        machine=machine,
        initial=initial,
        whole=whole,
        manifest=replace(manifest, clips=new.clips),
        material=material,
        num_old=len(old.material.clips) if old else 0,
        labels=labels,
        others=others,
        built=built,
        task=task,
        none=none,
        failures=failures,
    )


def _learnable(whole: Manifest) -> Manifest:
    """The clips to learn from: of train and validation, or, where none is of train, of no split.

    Raises:
        DataError: there are none, or a clip has no label of its own.
    """
    used = {TRAIN if TRAIN in whole.splits else None, VALIDATION}
    if not used & {*whole.split_counts}:
        whole.select(not_splits=(TEST,))  # says what there is
    tell_splits(whole, used)
    chosen = tuple(clip for clip in whole.clips if clip.split in used)
    return replace(whole, clips=chosen).without_soft_targets()


def _task(material: Material, labels: list[str], single_label: bool, built: Checkpoint) -> Task:
    """What the head is to learn; copies of a recording are of one group."""
    targets = torch.zeros(len(material.clips), len(labels), dtype=torch.long)
    column = {label: index for index, label in enumerate(labels)}
    for row, clip in enumerate(material.clips):
        targets[row, [column[label] for label in clip.labels if label in column]] = 1
    groups = number_groups([group_of(clip) for clip in material.clips])
    groups = own_head.merge_copies(material.embeddings, groups)
    features = built.model.last_input(material.embeddings).double()
    return Task(features, targets, groups, single_label)


def _check_recordings(source: Path, task: Task, labels: list[str]) -> None:
    """Refuse clips that are all one recording; name classes of one.

    Raises:
        DataError: all clips are of one recording.

    Warns:
        DataWarning: naming the classes that have clips of one recording alone.
    """
    if len(task.groups.unique()) < 2:
        raise DataError(
            f"{source}: all {len(task.groups)} clips are the same recording, or of one group. "
            "Training needs two recordings or more of each class."
        )
    groups_of = {
        label: len(task.groups[has].unique())
        for label, has in zip(labels, task.targets.T.bool(), strict=True)
        if label != NONE_OF_THESE
    }
    lone = [label for label, count in groups_of.items() if count == 1]
    if lone:
        which = "each class has" if len(lone) == len(groups_of) else f"{shortened(lone)}: has"
        warnings.warn(
            f"{source}: {which} one recording only, so that nothing says how well it is "
            "recognised. Record more, at other times and places.",
            DataWarning,
            stacklevel=4,
        )


def _added_to(request: Request, initial: Checkpoint, labels: list[str]) -> Stored:
    """What the model that is added to has learned from.

    Raises:
        CheckpointError: it does not say so.
        DataError: a class of the new clips is one of its own in another spelling.
    """
    found = stored(Path(request.model), initial)
    if found is None:
        raise CheckpointError(
            f"{request.model}: holds no {CLIPS_FILE} of its encoder, so that nothing can be added. "
            "--add goes with a model that `auricle train --data` has made, such as runs/mine/best."
        )
    known = {_spelling(label): label for label in initial.labels}
    for label in labels:
        there = known.get(_spelling(label), label)
        if there != label and label not in initial.labels:
            raise DataError(
                f"{request.source}: its class {label!r} is spelled {there!r} in {request.model}. "
                "Rename the folder so, or give the class another name."
            )
    return found


def _spelling(label: str) -> str:
    """What labels that are one in different spellings share: letters and digits, no plural."""
    letters = unicodedata.normalize("NFKD", label).casefold()
    return "".join(filter(str.isalnum, letters)).removesuffix("s")


def _keeping_old_classes(prepared: Prepared, head: Head) -> tuple[Head, dict[str, float] | None]:
    """The head, with what is new held back so that the old classes keep their accuracy; and that.

    The logits of the new classes and of the background are lowered as far as it takes.
    """
    count, is_none = prepared.num_old, prepared.is_none
    old = prepared.task.of(torch.arange(count))
    known = (old.targets.sum(dim=0) > 0) | is_none
    before = own_head.learn(replace(old, targets=old.targets[:, known]), prepared.none)
    rows = before.judged & (old.targets[:, ~is_none].sum(dim=1) > 0)
    if not rows.any():
        return head, None
    targets = old.targets[rows]
    right = own_head.num_right(before.held_out[rows], targets[:, known])
    least = math.ceil(right - MOST_LOST * len(targets))
    held_out = head.held_out[:count][rows]
    if own_head.num_right(held_out, targets) < least:
        lowered = ~known | is_none
        head = head.lowered(lowered, own_head.smallest_drop(held_out, targets, lowered, least))
    now = own_head.num_right(head.held_out[:count][rows], targets)
    return head, {"before": right / len(targets), "after": now / len(targets)}


def _judged(prepared: Prepared, head: Head) -> Evaluation | None:
    """The clips that can be judged by heads that never met their group; None: none can be."""
    if not head.judged.any():
        return None
    has_label = prepared.task.targets.any(dim=1)  # with `many`, not those that are none of them
    rows = (head.judged & has_label).nonzero()[:, 0]
    clips = [prepared.material.clips[row] for row in rows.tolist()]
    scored = ScoredClips(clips, head.held_out_scores[rows].float(), prepared.failures)
    return measure(prepared.manifest, scored, prepared.labels, head.thresholds)


def _numbers(judged: Evaluation | None) -> dict[str, Any]:
    if judged is None:
        return {"accuracy": None, "interval": None, "calibration_error": None, "judged": 0}
    metrics = judged.metrics
    return {
        "accuracy": metrics["accuracy"],
        "interval": metrics["intervals"]["accuracy"],
        "calibration_error": metrics["calibration_error"],
        "judged": len(judged.clips),
    }


def _why_not(prepared: Prepared, quick: dict[str, Any]) -> str:
    """Why fine-tuning is left out; empty: it is not."""
    request, num_clips = prepared.request, len(prepared.material.clips)
    if request.add:
        return "--add learns the head alone"
    if request.quick:
        return "--speed quick"
    if request.settings:
        return ""
    if quick["accuracy"] is not None and quick["accuracy"] >= LITTLE_TO_GAIN:
        return "little is left to gain"
    if num_clips < FEWEST_TO_TUNE * len(prepared.classes):
        return f"it gains nothing from fewer than {FEWEST_TO_TUNE} clips a class"
    return ""


def _sides(prepared: Prepared) -> tuple[list[int], list[int]] | None:
    """Rows of the clips to train on and of those that validate; None: they cannot be divided.

    Those of the manifest's own splits, or else a fifth of the recordings.
    """
    clips = prepared.material.clips
    validating = [row for row, clip in enumerate(clips) if clip.split == VALIDATION]
    if not validating:
        groups = prepared.task.groups.tolist()
        known = [replace(clip, group=str(group)) for clip, group in zip(clips, groups, strict=True)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)  # said by `_check_recordings`
                manifest = replace(prepared.manifest, clips=known)
                _, held_out = data.split_by_group(manifest, VALIDATION_SHARE, seed=0)
        except DataError:
            return None
        chosen = {clip.group for clip in held_out.clips}
        validating = [row for row, group in enumerate(groups) if str(group) in chosen]
    training = sorted({*range(len(clips))} - {*validating})
    return (training, validating) if training else None


def _keep(
    prepared: Prepared,
    head: Head,
    tuned: own_tuning.Tuned | None,
    learned: list[int],
    numbers: dict[str, Any],
    resume: bool,
) -> Checkpoint:
    """Let the better way learn from the clips `learned`, and write its model."""
    material, others = prepared.material, prepared.others
    if tuned is not None and tuned.is_better:
        kept, way = own_tuning.learned_from(prepared, tuned, learned, resume), "fine-tuning"
        engine = TorchEngine(kept, prepared.machine.device)
        material, _ = embedded(engine, prepared.manifest, None)
        if len(others.embeddings):  # those that came with the encoder are not of this one
            others = background.choose(prepared.request.background, engine)
    else:
        if len(learned) < len(head.judged):
            head = own_head.learn(prepared.task.of(torch.tensor(learned)), prepared.none)
        kept, way = with_layer(prepared.built, head), "frozen encoder"
    manifest = replace(prepared.manifest, clips=[material.clips[row] for row in learned])
    provenance = {
        "recipe": "own sounds",
        "way": way,
        "data": prepared.request.source.name,
        "initial_weights": Path(prepared.request.model).name,
        "background": others.source if len(others.embeddings) else None,
        "auricle": auricle.__version__,
        "torch": torch.__version__,
        data.TRAINED_ON: data.fingerprints(manifest, prepared.initial.config.provenance),
    }
    kept.config = kept.config.model_copy(update={"metrics": numbers, "provenance": provenance})
    checkpoint.save(kept, prepared.out / BEST)
    store(prepared.out / BEST / CLIPS_FILE, prepared.manifest, material, others, kept)
    return kept


def _listen_to(judged: Evaluation | None) -> list[str]:
    """The clips that are most surely wrong: perhaps it is their labels that are."""
    if judged is None:
        return []
    texts = []
    for row in judged.metrics["worst"][:SHOWN]:
        clip = judged.clips[row["clip"]]
        name, label = clip.name_in(judged.manifest.source), ";".join(clip.labels)
        texts.append(f"{name} ({label}): {row['predicted']} {row['score']:.0%}")
    return texts


def _record_next(prepared: Prepared, judged: Evaluation | None) -> list[str]:
    """The classes that most need recordings, worst first, each with what it lacks."""
    right: Counter[str] = Counter()
    taken: dict[str, Counter[str]] = {label: Counter() for label in prepared.classes}
    seen: Counter[str] = Counter()
    for clip, chosen in zip(judged.clips, judged.chosen, strict=True) if judged else ():
        for label in set(clip.labels) & {*prepared.classes}:
            seen[label] += 1
            right[label] += chosen in clip.labels
            taken[label][chosen] += chosen not in clip.labels
    wanting = []
    for label in prepared.classes:
        has = prepared.task.targets[:, prepared.labels.index(label)].bool()
        recordings = len(prepared.task.groups[has].unique())
        share = right[label] / seen[label] if seen[label] else 0.0
        if share == 1 and recordings >= ENOUGH_RECORDINGS:
            continue
        text = f"{label}: {recordings} recording{'s' * (recordings > 1)}"
        if seen[label]:
            text += f", {right[label]} of {seen[label]} clips right"
        for other, count in (+taken[label]).most_common(1):
            text += f", {count} taken for {other}"
        wanting.append((share, recordings, text))
    return [text for _, _, text in sorted(wanting)[:SHOWN]]


def _tested(prepared: Prepared, kept: Checkpoint) -> dict[str, Any] | None:
    """How well the kept model does on the clips of the split test, if there are any."""
    if TEST not in prepared.whole.splits:
        return None
    clips = prepared.whole.select(TEST)
    found = evaluate(Classifier(kept, prepared.machine.device), clips, BATCH_SIZE)
    return _numbers(found)


def _write(prepared: Prepared, judged: Evaluation | None, result: OwnReport) -> None:
    """Write the report, and result.json, with which all is finished."""
    if judged is not None:
        asked = {
            "model": prepared.request.model,
            "data": str(prepared.request.source),
            "record_next": result.record_next,
        }
        report.write(judged, prepared.out / REPORT, asked)
    values = asdict(result)
    del values["folder"]
    write_text(prepared.out / folder.RESULT_FILE, to_json(finite(values), indent=2) + "\n")


def _read(out: Path) -> OwnReport:
    path = out / folder.RESULT_FILE
    try:
        return OwnReport(out, **json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: not readable as the result of a run ({error}).") from error
