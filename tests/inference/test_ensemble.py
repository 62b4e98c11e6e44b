"""An ensemble: the weighted mean of its members' scores, each in its own windows."""

from pathlib import Path

import pytest
import soundfile
import torch

from auricle import checkpoint
from auricle.errors import CheckpointError, ConfigError
from auricle.features import FbankConfig, PaddingConfig
from auricle.inference import Classifier, Ensemble

LABELS = ["bark", "meow", "rain"]


def made(seed, labels=LABELS, sample_rate=16_000, stride=16, frames=64, activation="softmax"):
    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": frames}
    settings |= {"stride": [stride, stride], "patch": [16, 16]}
    front_end = FbankConfig(num_mels=32, sample_rate=sample_rate, padding=PaddingConfig(frames=16))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        built = checkpoint.create("ast", settings, front_end, list(labels), activation)
        for parameter in built.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return Classifier(built, device="cpu")


@pytest.fixture(scope="module")
def members():
    """Three that differ in stride, sample rate, window length and the order of their labels."""
    return [
        made(1),
        made(2, stride=10, frames=96),
        made(3, labels=["rain", "bark", "meow"], sample_rate=8_000),
    ]


@pytest.fixture(scope="module")
def ensemble(members):
    return Ensemble(members, ["one", "two", "three"])


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Noise of 0.3 and 0.5 s, and of 1.4 s, for which each member needs windows."""
    folder = tmp_path_factory.mktemp("sounds")
    generator = torch.Generator().manual_seed(0)
    waveforms = [torch.rand(n, generator=generator) - 0.5 for n in (4800, 8000, 22_400)]
    waveforms = [0.05 * waveform.cumsum(0) for waveform in waveforms]  # few high frequencies
    waveforms = [waveform / waveform.abs().max() for waveform in waveforms]
    for index, waveform in enumerate(waveforms):
        soundfile.write(folder / f"{index}.wav", waveform.numpy(), 16_000, subtype="FLOAT")
    return folder, waveforms


def test_the_score_is_the_mean_of_the_members_by_the_labels_names(ensemble, members, sounds):
    folder, _ = sounds
    for index in range(3):
        path = folder / f"{index}.wav"
        one, two, three = (member.score_file(path) for member in members)
        expected = (one + two + three[[1, 2, 0]]) / 3
        [found] = ensemble.score_files([path])
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        [each] = ensemble.score_members([path])
        torch.testing.assert_close(each, torch.stack([one, two, three[[1, 2, 0]]]))
    assert ensemble.labels == LABELS


def test_files_are_scored_together_as_each_alone(ensemble, sounds):
    paths = [sounds[0] / f"{index}.wav" for index in range(3)]
    for path, scores in zip(paths, ensemble.score_files(paths), strict=True):
        [alone] = ensemble.score_files([path])
        torch.testing.assert_close(scores, alone, atol=1e-5, rtol=0)


def test_weights_count(members, sounds):
    folder, _ = sounds
    weighted = Ensemble(members[:2], ["one", "two"], weights=[3, 1])
    one, two = (member.score_file(folder / "0.wav") for member in members[:2])
    [found] = weighted.score_files([folder / "0.wav"])
    torch.testing.assert_close(found, 0.75 * one + 0.25 * two, atol=1e-6, rtol=0)
    assert weighted.weights == [0.75, 0.25]


def test_an_ensemble_of_equals_is_no_more_than_one(members, sounds):
    folder, _ = sounds
    twins = Ensemble([made(1), made(1)], ["one", "twin"])
    alone = members[0].score_file(folder / "1.wav")
    [found] = twins.score_files([folder / "1.wav"])
    torch.testing.assert_close(found, alone)


def test_sure_members_do_not_exceed_one(ensemble):
    assert ensemble.join(torch.ones(3, 4)).tolist() == [1.0] * 4


def test_a_sound_that_is_too_short_for_a_member_is_refused(members, sounds):
    longer = made(5)
    longer.engine.shortest_samples = 6400
    paths = [sounds[0] / f"{index}.wav" for index in range(2)]
    short, fine = Ensemble([members[0], longer], ["a", "b"]).score_files(paths)
    assert str(short) == "the sound lasts 300 ms; this model needs at least 400 ms."
    assert len(fine) == 3


def saved(classifier, folder: Path) -> Path:
    checkpoint.save(classifier.checkpoint, folder)
    return folder


def test_it_is_loaded_from_names(members, sounds, tmp_path):
    paths = [saved(member, tmp_path / str(place)) for place, member in enumerate(members)]
    loaded = Ensemble.load(paths, device="cpu")
    assert loaded.names == [str(path) for path in paths]
    path = sounds[0] / "0.wav"
    [expected] = Ensemble(members, ["a", "b", "c"]).score_files([path])
    [found] = loaded.score_files([path])
    torch.testing.assert_close(found, expected)


# --- what is refused


@pytest.mark.parametrize(
    "labels, message",
    [
        (["bark", "meow", "sea"], "it lacks 'rain'; it adds 'sea'"),
        (["bark", "meow"], "it lacks 'rain'"),
        ([*LABELS, "sea", "wind"], "it adds 'sea', 'wind'"),
    ],
)
def test_other_labels_are_refused_by_name(members, labels, message):
    with pytest.raises(CheckpointError) as caught:
        Ensemble([members[0], made(7, labels=labels)], ["a", "b"])
    assert str(caught.value) == (
        f"b: its labels are not those of a: {message}. Members of an ensemble know the same labels."
    )


def test_scores_of_another_kind_are_refused(members):
    with pytest.raises(CheckpointError) as caught:
        Ensemble([members[0], made(7, activation="sigmoid")], ["a", "b"])
    assert str(caught.value) == (
        "b: gives scores by sigmoid, a by softmax. Scores of both kinds have no common scale, so "
        "that their mean would mean nothing."
    )


def test_one_member_is_no_ensemble(members):
    with pytest.raises(CheckpointError) as caught:
        Ensemble(members[:1], ["a"])
    assert str(caught.value) == "an ensemble needs at least two members, got 1."


@pytest.mark.parametrize("weights, shown", [([1.0], "1"), ([1.0, 0.0], "1, 0"), ([2, -1], "2, -1")])
def test_weights_that_do_not_fit_are_refused(members, weights, shown):
    with pytest.raises(ConfigError) as caught:
        Ensemble(members[:2], ["a", "b"], weights)
    assert str(caught.value) == (
        f"weights: expected 2 numbers above 0, one for each member, got [{shown}]."
    )


def test_a_checkpoint_that_is_named_twice_is_refused(members, tmp_path):
    path = saved(members[0], tmp_path / "a")
    again = tmp_path / "b" / ".." / "a"
    with pytest.raises(CheckpointError) as caught:
        Ensemble.load([path, again], device="cpu")
    assert str(caught.value) == f"{again}: named twice. Name each checkpoint once."


def test_a_model_without_labels_is_refused_by_name(members, tmp_path):
    headless = saved(members[0], tmp_path / "a"), tmp_path / "b"
    start = made(1).checkpoint
    settings = {k: v for k, v in start.config.model_settings.items() if k != "num_classes"}
    bare = checkpoint.create("ast", settings, start.config.front_end, [], "softmax")
    checkpoint.save(bare, headless[1])
    with pytest.raises(CheckpointError) as caught:
        Ensemble.load(headless, device="cpu")
    assert str(caught.value) == (
        f"{headless[1]}: has no labels: it is a start for training, not a classifier. Train it "
        f"(auricle train --data SOUNDS --from {headless[1]}), or choose another model."
    )
