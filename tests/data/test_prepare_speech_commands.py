"""Speech Commands as downloaded: official lists, twelve classes, silence shared by no splits."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.data import leaks
from auricle.data.prepare import prepare
from auricle.data.prepare.speech_commands import COMMANDS, V1, V2, cut_silence
from auricle.errors import DataError, DataWarning

RATE = 16_000
SPEAKERS = {"0a7c2a8d": "train", "1b4c9b89": "train", "2aca1e72": "validation", "3b4f8f24": "test"}
TEST_SET = "speech_commands_test_set_v0.02"


def make(folder: Path, words, noise_seconds: float = 20.0) -> Path:
    """A release in small: every speaker says every word once; two recordings of noise."""
    lists = {"validation": [], "test": [], "train": []}
    for word in words:
        (folder / word).mkdir(parents=True)
        for speaker, split in SPEAKERS.items():
            name = f"{word}/{speaker}_nohash_0.wav"
            (folder / name).touch()  # words are listed, not heard
            lists[split].append(name)
    (folder / "validation_list.txt").write_text("\n".join(lists["validation"]) + "\n")
    (folder / "testing_list.txt").write_text("\n".join(lists["test"]) + "\n")
    (folder / "_background_noise_").mkdir()
    (folder / "_background_noise_" / "README.md").touch()
    for index, name in enumerate(("pink_noise.wav", "running_tap.wav")):
        noise = np.random.default_rng(index).integers(-(2**15), 2**15, round(noise_seconds * RATE))
        soundfile.write(folder / "_background_noise_" / name, noise.astype(np.int16), RATE)
    return folder


@pytest.fixture
def first(tmp_path):
    return make(tmp_path / "v1", V1.words)


@pytest.fixture
def second(tmp_path):
    return make(tmp_path / "v2", V2.words)


def make_test_set(folder: Path) -> Path:
    """The test archive in small, with its odd names."""
    names = [f"{word}/3b4f8f24_nohash_0.wav" for word in COMMANDS]
    names += ["_unknown_/bed_3b4f8f24_nohash_0.wav.wav", "_silence_/17.wav", "LICENSE"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def refusal(name, folder, **options):
    with pytest.raises(DataError) as caught:
        prepare(name, folder, folder.parent / "m.csv", **options)
    return str(caught.value)


@pytest.mark.parametrize("name, num_words", [("v1", 30), ("v2", 35)])
def test_all_words_have_the_official_splits_and_speakers_as_groups(
    name, num_words, first, second, tmp_path
):
    folder = {"v1": first, "v2": second}[name]
    listing = prepare(f"speech_commands_{name}", folder, tmp_path / "m.csv")
    clips = listing.manifest.clips
    assert len(listing.manifest.labels) == num_words
    assert {(clip.group, clip.split) for clip in clips} == set(SPEAKERS.items())
    assert all(clip.path.parent.name == clip.labels[0] for clip in clips)
    counts = f"{2 * num_words} train, {num_words} validation, {num_words} test"
    total = {"v1": 64721, "v2": 105829}[name]
    assert listing.notes == (
        f"{4 * num_words} of the {total} clips of version {name[1]} are there ({counts}); "
        "the others are missing",
    )


def test_a_missing_word_is_named(second):
    (second / "visual").rename(second.parent / "visual")
    (second / "bed").rename(second.parent / "bed")
    assert refusal("speech_commands_v2", second) == (
        f"{second}: 2 of the 35 words of version 2 are missing: bed, visual. "
        "Unpack the archive again."
    )


def test_one_version_is_not_taken_for_the_other(first, second):
    assert refusal("speech_commands_v2", first) == (
        f"{first}: 5 of the 35 words of version 2 are missing: backward, follow, forward, learn, "
        "visual. This is version 1; choose a name with v1."
    )
    assert refusal("speech_commands_v1", second) == (
        f"{second}: is version 2, which has the word 'backward'; choose a name with v2."
    )


def test_clips_of_an_official_list_that_are_missing_are_counted(second):
    (second / "bed" / "3b4f8f24_nohash_0.wav").unlink()
    (second / "tree" / "3b4f8f24_nohash_0.wav").unlink()
    assert refusal("speech_commands_v2", second) == (
        f"{second}: 2 of the 35 clips that testing_list.txt lists are missing, the first is "
        "bed/3b4f8f24_nohash_0.wav. Unpack the archive again."
    )


def test_a_missing_list_is_named(second):
    (second / "validation_list.txt").unlink()
    assert refusal("speech_commands_v2", second) == (
        f"{second / 'validation_list.txt'}: cannot be read. "
        "It belongs to the archive; unpack it again."
    )


def test_a_list_that_parts_a_speaker_is_reported(second, tmp_path):
    names = (second / "testing_list.txt").read_text().splitlines()
    (second / "testing_list.txt").write_text("\n".join(names[1:]))
    with pytest.warns(DataWarning, match=r"in more than one split or fold.*: 3b4f8f24 \(in all 1"):
        prepare("speech_commands_v2", second, tmp_path / "m.csv")


def test_twelve_classes_have_a_tenth_of_unknown_words_and_of_silence(second, tmp_path):
    listing = prepare("speech_commands_v2_12", second, tmp_path / "twelve.csv")
    counts = Counter((clip.split, clip.labels[0]) for clip in listing.manifest.clips)
    for split, num_commands in {"train": 20, "validation": 10, "test": 10}.items():
        assert sum(counts[split, word] for word in COMMANDS) == num_commands
        assert counts[split, "_unknown_"] == counts[split, "_silence_"] == num_commands // 10
    assert len(listing.manifest.labels) == 12
    assert listing.notes[1:] == (
        f"clips of silence were written to {tmp_path / 'twelve_silence'}",
        "the test split is testing_list.txt",
    )
    unknown = [clip for clip in listing.manifest.clips if clip.labels == ("_unknown_",)]
    assert {clip.path.parent.name for clip in unknown} <= set(V2.words) - set(COMMANDS)


def test_the_draw_is_the_same_every_time(second, tmp_path):
    texts = []
    for name in ("a", "b"):
        prepare("speech_commands_v2_12", second, tmp_path / name / "m.csv")
        texts.append((tmp_path / name / "m.csv").read_text())
    assert texts[0] == texts[1]


def test_silence_is_cut_exactly_and_splits_share_no_sample(second, tmp_path):
    noise = second / "_background_noise_"
    counts = {"train": 21, "validation": 10, "test": 9}
    clips = cut_silence(noise, counts, tmp_path / "cut")
    assert Counter(clip.split for clip in clips) == counts
    where = {path.stem: soundfile.read(path, dtype="int16")[0] for path in noise.glob("*.wav")}
    heard = {(name, split): set() for name in where for split in counts}
    for clip in clips:
        recording, _, start = clip.path.stem.removeprefix(f"{clip.split}_").rpartition("_")
        samples, rate = soundfile.read(clip.path, dtype="int16")
        first = int(start)
        assert (len(samples), rate) == (RATE, RATE)
        np.testing.assert_array_equal(samples, where[recording][first : first + RATE])
        heard[recording, clip.split].update(range(first, first + RATE))
    for name in where:
        parts = [heard[name, split] for split in counts]
        assert sum(map(len, parts)) == len(set().union(*parts))


def test_parts_of_a_recording_are_groups_that_do_not_leak(second, tmp_path):
    manifest = prepare("speech_commands_v2_12", second, tmp_path / "m.csv").manifest
    groups = {clip.group for clip in manifest.clips if clip.labels == ("_silence_",)}
    assert "pink_noise, part for train" in groups
    assert leaks(manifest) == []


@pytest.mark.parametrize("seconds", [1.0, 9.9])
def test_noise_that_is_too_short_to_be_shared_is_refused(seconds, tmp_path):
    folder = make(tmp_path / "v1", V1.words, noise_seconds=seconds)
    assert refusal("speech_commands_v1_12", folder) == (
        f"{folder / '_background_noise_' / 'pink_noise.wav'}: {seconds} s are too few to give each "
        "split a second of its own; 10 s are needed."
    )


def test_missing_noise_is_named(second):
    for path in (second / "_background_noise_").glob("*.wav"):
        path.unlink()
    assert refusal("speech_commands_v2_12", second) == (
        f"{second / '_background_noise_'}: there are no recordings of background noise (*.wav). "
        "They belong to the archive; unpack it again."
    )


def test_a_place_where_silence_cannot_be_written_is_named(second, tmp_path):
    (tmp_path / "m_silence").touch()
    message = refusal("speech_commands_v2_12", second)
    start = tmp_path / "m_silence" / "train_pink_noise_0.wav"
    assert message.startswith(f"{start}: cannot be written (")


@pytest.mark.parametrize("place", ["inside", "given"])
def test_the_test_archive_is_the_test_split(place, second, tmp_path):
    archive = make_test_set((second if place == "inside" else tmp_path / "other") / TEST_SET)
    given = {} if place == "inside" else {"test_folder": archive}
    with pytest.warns(DataWarning) as caught:
        listing = prepare("speech_commands_v2_12", second, tmp_path / "m.csv", **given)
    assert [str(warning.message) for warning in caught] == [
        f"{archive}: its clips of silence may come from the recordings that those of the other "
        "splits are cut from. Look at the scores without _silence_, too."
    ]
    test = listing.manifest.select("test").clips
    assert len(test) == 12
    assert all(clip.path.is_relative_to(archive) for clip in test)
    assert {clip.group for clip in test} == {"3b4f8f24", None}
    assert listing.notes[-1] == f"the test split is the archive {archive}"


def test_half_a_test_archive_is_refused(second, tmp_path):
    archive = make_test_set(tmp_path / "other")
    (archive / "_unknown_").rename(tmp_path / "unknown")
    assert refusal("speech_commands_v2_12", second, test_folder=archive) == (
        f"{archive}: 1 of the 12 class folders of the test archive are missing: _unknown_. "
        "Unpack the archive again."
    )


def test_the_official_clips_of_version_one_have_twelve_classes_too(first, tmp_path):
    manifest = prepare("speech_commands_v1_12", first, tmp_path / "m.csv").manifest
    assert len(manifest.labels) == 12
    assert len(manifest.clips) == 40 + 4 + 4
