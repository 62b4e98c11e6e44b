"""A model for one's own sounds: the quick way, what is none of the classes, adding, fine-tuning."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from auricle import Classifier, checkpoint, inference
from auricle.errors import DataWarning, UserError
from auricle.experiment import background, own_head, own_tuning
from auricle.experiment.own_sounds import Request, train_own_sounds

RATE = 16_000
HERTZ = {"low": 300, "middle": 1000, "high": 3000}
QUICK = {"quick": True}
ONE_EPOCH = ["training.epochs=1", "data.workers=0"]


def tone(hertz: float, random: np.random.Generator) -> np.ndarray:
    times = np.arange(RATE // 2) / RATE
    sound = 0.3 * np.sin(2 * np.pi * (hertz * random.uniform(0.95, 1.05) * times))
    return sound + random.normal(0, 0.003, len(times))


def noise(random: np.random.Generator) -> np.ndarray:
    return random.normal(0, random.uniform(0.05, 0.3), RATE // 2)


def write(folder: Path, sounds: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for number, sound in enumerate(sounds):
        soundfile.write(folder / f"{number}.wav", sound, RATE)
    return folder


@pytest.fixture(scope="module")
def beeps(tmp_path_factory) -> Path:
    """Eight tones of each of two pitches."""
    root, random = tmp_path_factory.mktemp("own") / "beeps", np.random.default_rng(0)
    for label in ("low", "high"):
        write(root / label, [tone(HERTZ[label], random) for _ in range(8)])
    return root


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """Noise, which is neither."""
    random = np.random.default_rng(1)
    return write(tmp_path_factory.mktemp("others") / "hiss", [noise(random) for _ in range(12)])


@pytest.fixture
def make(tiny_model, others, tmp_path):
    """Train on a folder, from the tiny model if no other is named."""

    def train(source: Path, name: str = "run", overwrite: bool = False, **asked):
        asked = {"model": str(tiny_model), "background": others} | asked
        return train_own_sounds(Request(source, **asked), tmp_path / name, overwrite)

    return train


@pytest.fixture(scope="module")
def first(beeps, others, tiny_model, tmp_path_factory):
    """What came of the quick way with two classes and a background."""
    request = Request(beeps, str(tiny_model), others, quick=True)
    return train_own_sounds(request, tmp_path_factory.mktemp("first") / "run")


def refused(make, source: Path, **asked) -> str:
    with pytest.raises(UserError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        make(source, **QUICK | asked)
    return str(caught.value)


def test_the_quick_way_gives_an_ordinary_checkpoint(first, beeps, tiny_model):
    found = first
    made, start = checkpoint.load(found.folder / "best"), checkpoint.load(tiny_model)
    assert made.labels == found.labels == ["high", "low", "None of these"]
    weights, before = made.model.state_dict(), start.model.state_dict()
    changed = {name for name in weights if not torch.equal(weights[name], before[name])}
    assert changed == {name for name in weights if name.startswith("head.")}
    classifier = Classifier.load(found.folder / "best", device="cpu")
    for label in ("low", "high"):
        assert classifier.classify_file(beeps / label / "0.wav", top=1)[0].label == label
    assert (found.clips, found.learned_from, found.kept) == (16, 16, "quick way")
    assert found.why_not == "--speed quick"
    assert found.quick["accuracy"] == 1.0
    assert made.config.provenance["way"] == "frozen encoder"
    page = (found.folder / "report" / "report.html").read_text()
    assert "Confusion matrix" in page and "high: 8 recordings, 8 of 8 clips right" in page
    assert json.loads((found.folder / "result.json").read_text())["kept"] == "quick way"


def test_what_is_neither_is_none_of_these(first):
    classifier = Classifier.load(first.folder / "best", device="cpu")
    hiss = noise(np.random.default_rng(9)).astype(np.float32)
    assert classifier.classify(hiss, RATE, top=1)[0].label == "None of these"
    assert first.background == "12 sounds of hiss"
    assert first.false_alarms < 0.2


def test_a_background_among_the_own_folders_is_taken_as_such(make, beeps, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for folder in beeps.iterdir():
        (own / folder.name).symlink_to(folder)
    random = np.random.default_rng(3)
    write(own / "None of these", [noise(random) for _ in range(4)])
    found = make(own, quick=True)
    assert found.labels == ["high", "low", "None of these"]
    assert (found.clips, found.quick["judged"]) == (20, 20)
    found = make(own, "many", quick=True, many=True)
    assert found.labels == ["high", "low"]
    assert (found.clips, found.quick["judged"]) == (20, 16)


def test_many_gives_a_threshold_to_each_class_and_no_class_to_the_background(make, beeps):
    found = make(beeps, quick=True, many=True)
    made = checkpoint.load(found.folder / "best")
    assert made.labels == ["high", "low"]
    assert made.config.activation == "sigmoid"
    assert len(made.config.thresholds) == 2
    classifier = Classifier(made, device="cpu")
    hiss = noise(np.random.default_rng(9)).astype(np.float32)
    assert classifier.recognise(hiss, RATE).recognised == []
    low = classifier.recognise_file(beeps / "low" / "0.wav").recognised
    assert [each.label for each in low] == ["low"]


def test_files_that_did_not_change_are_embedded_once(make, beeps, monkeypatch, tmp_path):
    make(beeps, quick=True)
    read = []
    embed = background.embed
    monkeypatch.setattr(
        background,
        "embed",
        lambda engine, sounds, *more: read.append(len(sounds)) or embed(engine, sounds, *more),
    )
    (tmp_path / "run" / "fine_tuned").mkdir()  # of an earlier run
    again = make(beeps, quick=True, overwrite=True)
    assert read == [12]  # the background alone
    assert not (tmp_path / "run" / "fine_tuned").exists()
    assert again.quick["accuracy"] == 1.0


def test_added_classes_and_clips_join_those_of_the_model(make, first, tmp_path):
    random = np.random.default_rng(5)
    more = tmp_path / "more"
    write(more / "middle", [tone(HERTZ["middle"], random) for _ in range(6)])
    write(more / "low", [tone(HERTZ["low"], random) for _ in range(2)])
    found = make(more, "second", model=str(first.folder / "best"), add=True)
    assert found.labels == ["high", "low", "middle", "None of these"]
    assert (found.clips, found.why_not) == (24, "--add learns the head alone")
    assert found.old["after"] >= found.old["before"] - 0.01
    third = make(more, "third", model=str(found.folder / "best"), add=True)
    assert third.clips == 32  # what was added can be added to


def test_new_classes_are_held_back_where_old_ones_would_lose(make, first, tmp_path):
    """The new class is one of the old ones by another name, with more clips."""
    random = np.random.default_rng(6)
    write(tmp_path / "more" / "hum", [tone(HERTZ["low"], random) for _ in range(24)])
    found = make(tmp_path / "more", "second", model=str(first.folder / "best"), add=True)
    assert found.old["before"] == 1.0
    assert found.old["after"] == 1.0


def test_the_smallest_drop_makes_as_many_clips_right_as_asked_for():
    held_out = torch.tensor([[2.0, 0.0, 3.0], [0.0, 1.0, 4.0], [1.0, 0.0, 0.0], [0.0, 2.0, 9.0]])
    targets = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]])
    new = torch.tensor([False, False, True])
    for right in (1, 2, 3, 4):  # the last clip is wrong whatever the new class has
        drop = own_head.smallest_drop(held_out, targets, new, right)
        lowered = held_out - drop * new
        assert own_head.num_right(lowered, targets) == min(right, 3)


def test_copies_are_one_recording():
    embeddings = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    embeddings[4] = embeddings[1] + 1e-6
    assert own_head.merge_copies(embeddings, torch.arange(6)).tolist() == [0, 1, 2, 3, 1, 5]
    assert own_head.merge_copies(
        embeddings[:1].expand(5, -1), torch.arange(5)
    ).unique().tolist() == [0]


def test_one_class_is_refused(make, beeps, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "low").symlink_to(beeps / "low")
    assert refused(make, tmp_path / "own") == (
        f"{tmp_path / 'own'}: 1 class (low); training needs two or more. A second one may be a "
        "folder of other sounds from the same place."
    )


def test_one_clip_a_class_is_learned_from_and_not_judged(make, tmp_path):
    random = np.random.default_rng(0)
    for label, hertz in HERTZ.items():
        write(tmp_path / "own" / label, [tone(hertz, random)])
    with pytest.warns(DataWarning) as warned:
        found = make(tmp_path / "own", quick=True)
    assert [str(each.message) for each in warned] == [
        f"{tmp_path / 'own'}: each class has one recording only, so that nothing says how well it "
        "is recognised. Record more, at other times and places."
    ]
    assert found.quick["accuracy"] is None
    assert found.record_next[0] == "high: 1 recording"
    classifier = Classifier.load(found.folder / "best", device="cpu")
    assert classifier.classify_file(tmp_path / "own/low/0.wav", top=1)[0].label == "low"


def test_a_class_of_one_recording_is_named(make, beeps, tmp_path):
    (tmp_path / "own").mkdir()
    for label in ("low", "high"):
        (tmp_path / "own" / label).symlink_to(beeps / label)
    write(tmp_path / "own" / "middle", [tone(HERTZ["middle"], np.random.default_rng(0))] * 3)
    with pytest.warns(DataWarning) as warned:
        found = make(tmp_path / "own", quick=True)
    assert [str(each.message) for each in warned] == [
        f"{tmp_path / 'own'}: middle: has one recording only, so that nothing says how well it is "
        "recognised. Record more, at other times and places."
    ]
    assert (found.clips, found.quick["judged"]) == (19, 16)


def test_silence_alone_is_refused(make, tmp_path):
    for label in ("low", "high"):
        write(tmp_path / "own" / label, [np.zeros(RATE // 2)] * 2)
    assert refused(make, tmp_path / "own") == (
        f"{tmp_path / 'own'}: none of its 4 clips can be scored. The first: "
        f"{tmp_path / 'own' / 'high' / '0.wav'}: silent: no part of it is loud enough to be "
        "scored. Check the recording."
    )


def test_clips_that_are_all_one_recording_are_refused(make, tmp_path):
    same = [tone(500, np.random.default_rng(0))] * 3
    for label in ("low", "high"):
        write(tmp_path / "own" / label, same)
    assert refused(make, tmp_path / "own") == (
        f"{tmp_path / 'own'}: all 6 clips are the same recording, or of one group. Training needs "
        "two recordings or more of each class."
    )


def test_unreadable_and_silent_clips_are_left_out_and_named(make, beeps, tmp_path):
    own = tmp_path / "own"
    for label in ("low", "high"):
        write(own / label, [soundfile.read(path)[0] for path in sorted((beeps / label).iterdir())])
    (own / "low" / "0.wav").write_text("no sound")
    soundfile.write(own / "low" / "1.wav", np.zeros(8000), RATE)
    found = make(own, quick=True)
    assert found.clips == 14
    assert [text.partition(":")[0] for text in found.left_out] == [
        str(own / "low" / "0.wav"),
        str(own / "low" / "1.wav"),
    ]


def test_a_class_in_another_spelling_is_refused(make, first, tmp_path):
    model = str(first.folder / "best")
    write(tmp_path / "more" / "Low_s", [tone(300, np.random.default_rng(0))] * 2)
    assert refused(make, tmp_path / "more", model=model, add=True, name="second") == (
        f"{tmp_path / 'more'}: its class 'Low_s' is spelled 'low' in {model}. Rename the folder "
        "so, or give the class another name."
    )


def test_nothing_can_be_added_to_another_model(make, beeps, tiny_model):
    assert refused(make, beeps, add=True) == (
        f"{tiny_model}: holds no training_clips.safetensors of its encoder, so that nothing can be "
        "added. --add goes with a model that `auricle train --data` has made, such as "
        "runs/mine/best."
    )


def test_what_is_added_must_be_of_the_kind_of_the_model(make, beeps, first):
    model = str(first.folder / "best")
    assert refused(make, beeps, model=model, add=True, many=True, name="second") == (
        f"{beeps}: {model} knows one class a clip; --many, or clips of several, cannot be added."
    )
    many = str(make(beeps, "many", quick=True, many=True).folder / "best")
    assert refused(make, beeps, model=many, add=True, name="second") == (
        f"{beeps}: {many} was made with --many; give it here, too."
    )


def test_a_background_without_sound_is_refused(make, beeps, tmp_path):
    write(tmp_path / "quiet", [np.zeros(RATE)] * 2)
    assert refused(make, beeps, background=tmp_path / "quiet") == (
        f"--background {tmp_path / 'quiet'}: none of its 2 sounds can be scored."
    )


def test_fine_tuning_begins_as_the_quick_way_and_the_better_is_kept(make, beeps):
    found = make(beeps, settings=[*ONE_EPOCH, "training.optimizer.learning_rate=1e-9"])
    start = checkpoint.load(found.folder / "fine_tuned" / "start")
    tuned = checkpoint.load(found.folder / "fine_tuned" / "last")
    scores = [
        Classifier(each, device="cpu").classify_file(beeps / "low" / "0.wav")
        for each in (start, tuned)
    ]
    assert [each.label for each in scores[0]] == [each.label for each in scores[1]]
    numbers = found.fine_tuned
    assert numbers["accuracy"] == numbers["quick_accuracy"] == 1.0
    assert (numbers["validated"], numbers["epochs"], found.why_not) == (4, 1, "")
    assert found.kept == "quick way"  # no better, so the simpler one


@pytest.mark.parametrize("keep_validation", [False, True])
def test_what_is_kept_of_fine_tuning_learns_from_all_clips(
    make, beeps, monkeypatch, keep_validation
):
    values = iter([4, 3])  # right after fine-tuning, and by the quick way
    monkeypatch.setattr(own_tuning.own_head, "num_right", lambda *_: next(values))
    found = make(beeps, settings=ONE_EPOCH, keep_validation=keep_validation)
    assert found.kept == "fine-tuning"
    assert found.learned_from == (12 if keep_validation else 16)
    assert (found.folder / "fine_tuned" / "all").exists() != keep_validation
    made = checkpoint.load(found.folder / "best")
    assert set(made.labels) == {"high", "low", "None of these"}
    assert made.config.provenance["way"] == "fine-tuning"
    classifier = Classifier(made, device="cpu")
    assert classifier.classify_file(beeps / "low" / "0.wav", top=1)[0].label == "low"


def test_a_finished_run_is_reported_and_another_takes_its_place_when_told_so(
    first, beeps, tiny_model, others
):
    request = Request(beeps, str(tiny_model), others, quick=True)
    again = train_own_sounds(request, first.folder, resume=True)
    assert again == first
    with pytest.raises(UserError) as caught:
        train_own_sounds(request, first.folder)
    assert str(caught.value).startswith(f"{first.folder}: holds a run already.")


def test_an_interrupted_fine_tuning_goes_on(make, beeps, tiny_model, others, monkeypatch, tmp_path):
    settings = [*ONE_EPOCH, "training.epochs=2"]
    run = own_tuning.run

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(own_tuning, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        make(beeps, settings=settings)
    asked = []
    monkeypatch.setattr(
        own_tuning, "run", lambda *args, **more: asked.append(more["resume"]) or run(*args, **more)
    )
    request = Request(beeps, str(tiny_model), others, settings=settings)
    found = train_own_sounds(request, tmp_path / "run", resume=True)
    assert asked == [True]
    assert found.fine_tuned["epochs"] == 2


def test_splits_of_a_table_are_kept(make, noise_clips, tmp_path):
    splits = ["train"] * 8 + ["validation"] * 4 + ["test"] * 4
    table = noise_clips(split=splits)
    found = make(table, quick=True, keep_validation=True)
    assert (found.clips, found.learned_from) == (12, 8)
    assert found.test["judged"] == 4
    of_all = make(table, "all", quick=True)
    weights = [load_file(run.folder / "best" / "model.safetensors") for run in (found, of_all)]
    assert not torch.equal(*(each["head.linear.weight"] for each in weights))


@pytest.mark.parametrize("name", ["tagger", "tagger_tiny"])
def test_a_background_comes_with_the_encoder_and_any_head_on_it(name):
    """If this fails, the weights were replaced: run scripts/background.py anew."""
    start = inference.resolve(name)
    found = background.shipped(start)
    assert found is not None and len(found.embeddings) == 600
    own = own_head.with_head(start, ["a", "b"], True)
    assert torch.equal(background.shipped(own).embeddings, found.embeddings)
    with torch.no_grad():
        next(own.model.parameters()).mul_(1.01)
    assert background.shipped(own) is None


def test_without_a_background_of_the_encoder_it_is_synthetic(make, beeps, monkeypatch):
    monkeypatch.setattr(background, "SYNTHETIC_CLIPS", 12)
    assert make(beeps, quick=True, background=None).background == "12 synthetic sounds"


def test_rain_is_not_called_a_chainsaw(shared_data, tmp_path):
    """With real sound, ten clips of each of four classes."""
    audio = shared_data / "esc10" / "audio"
    numbers = {"chainsaw": 41, "clock": 38, "baby": 20, "dog": 0}
    for label, number in numbers.items():
        (tmp_path / "own" / label).mkdir(parents=True)
        for path in sorted(audio.glob(f"*-{number}.flac"))[:10]:
            (tmp_path / "own" / label / path.name).symlink_to(path)
    found = train_own_sounds(Request(tmp_path / "own", "tagger", quick=True), tmp_path / "run")
    assert found.quick["accuracy"] >= 0.85
    classifier = Classifier.load(found.folder / "best", device="cpu")
    rain = sorted(audio.glob("*-10.flac"))[:20]
    best = [classifier.classify_file(path, top=1)[0].label for path in rain]
    assert best.count("None of these") >= 19
