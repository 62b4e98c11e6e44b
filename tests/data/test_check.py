"""Every sound heard once: faults of each kind, and statistics beside the manifest."""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle import errors
from auricle.audio import media
from auricle.data import check, measure_statistics, read
from auricle.data.statistics import find_statistics
from auricle.errors import AudioError, DataError, MissingExtraError
from auricle.features import FbankConfig

RATE = 16_000
FRONT_END = FbankConfig(num_mels=40)


def nothing(count: int) -> None:
    """Nobody watches."""


@pytest.fixture
def folder(tmp_path):
    """Clips of noise a, b, c in the split train, d in test."""
    write_noise(tmp_path, "abcd")
    rows = ["a.wav,dog,train", "b.wav,cat,train", "c.wav,dog,train", "d.wav,cat,test"]
    (tmp_path / "m.csv").write_text("\n".join(["path,labels,split", *rows]) + "\n")
    return tmp_path


def write_noise(folder: Path, names: str, seconds: float = 0.5) -> None:
    for name in names:
        noise = np.random.default_rng(ord(name)).normal(0, 0.1, round(seconds * RATE))
        soundfile.write(folder / f"{name}.wav", noise, RATE)


def checked(folder, processes=1):
    return check.check(read(folder / "m.csv"), FRONT_END, processes, nothing)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:8044])  # a quarter second of a half


def joined_and_cut(path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(path, noise, RATE, format="OGG", subtype="VORBIS")
    path.write_bytes(path.read_bytes() + path.read_bytes()[:200])


def damage_flac(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE), RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[:50])


FAULTS = {
    "empty": (
        lambda path: path.write_bytes(b""),
        "empty: is empty (0 bytes). Copy or record it again",
    ),
    "no samples": (
        lambda path: soundfile.write(path, np.zeros(0), RATE),
        "empty: holds no samples that can be read. Record or export it again",
    ),
    "text": (
        lambda path: path.write_text("this is no sound at all, but text"),
        "cannot be decoded: is not a sound file that can be read, whatever its name says. "
        "Give WAV, FLAC, Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM",
    ),
    "cut short": (
        cut_short,
        "shorter than its header says: is cut short or damaged. 0.250 s of the 0.500 s that its "
        "header promises can be read and are used. Copy it again to have all of it",
    ),
    "silent": (
        lambda path: soundfile.write(path, np.full(RATE, 2**-15), RATE),
        "silent: no sample above 3e-05 of full scale at 16000 Hz",
    ),
    "not finite": (
        lambda path: soundfile.write(path, np.array([0.1, np.nan, 0.2] * RATE), RATE, "FLOAT"),
        "not finite: holds NaN or infinite samples, the first at 0.000 s. "
        "Export it again without them",
    ),
    "huge": (
        lambda path: soundfile.write(path, np.array([0.1, 1e30, 0.2] * RATE), RATE, "FLOAT"),
        "beyond full scale: holds samples of up to 1.0e+30 times full scale, the first at 0.000 s; "
        "beyond 1e+06 there is no recording. If they were integers, divide them by their full "
        "scale (32768 for 16 bits, 8388608 for 24 bits)",
    ),
    "integers as floats": (
        lambda path: soundfile.write(path, np.array([0.1, 3000, 0.2] * RATE), RATE, "FLOAT"),
        "beyond full scale: holds samples beyond 100 times full scale, as 16-bit integers taken "
        "for floats are. Divide them by 32768, or export it with integers",
    ),
    "longer": (
        lambda path: path.write_bytes(path.read_bytes() + b"\x81\x92" * RATE),
        "longer than its header says: 32000 bytes (1.000 s at its rate) follow the end given in "
        "its header, and are not used",
    ),
    "joined and cut": (
        joined_and_cut,
        "shorter than its header says: 1 of 2 joined streams cannot be read and are left out. Copy "
        "it again to have all of it",
    ),
    "less than a sample": (
        lambda path: soundfile.write(path, np.full(1, 0.1), 44_100),
        "empty: is too short to give one sample at 16000 Hz. Give a longer recording",
    ),
    "too short": (
        lambda path: soundfile.write(path, np.full(399, 0.1), RATE),
        "shorter than one frame: 399 samples at 16000 Hz; a frame has 400",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_clip_is_listed_with_its_reason_and_left_out(kind, folder):
    damage, reason = FAULTS[kind]
    damage(folder / "b.wav")
    result = checked(folder)
    listed = check.write_faults(result.faults, folder / "m.csv")
    assert listed == folder / "m.faults.csv"
    assert listed.read_text().splitlines()[0] == "path,reason"
    text = listed.read_text().splitlines()[1]
    assert text.replace('"', "") == f"b.wav,{reason}"
    assert [clip.path.name for clip in result.manifest.clips] == ["a.wav", "c.wav", "d.wav"]


def test_what_is_used_whole_is_no_fault_whatever_its_header_says(folder):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(folder / "a.wav", np.stack([noise, -noise], 1), RATE)
    content = bytearray((folder / "b.wav").read_bytes())
    content[4:8] = content[40:44] = bytes(4)
    (folder / "b.wav").write_bytes(content)
    joined = (folder / "c.wav").read_bytes() + (folder / "d.wav").read_bytes()
    (folder / "c.wav").write_bytes(joined)
    assert checked(folder).faults == ()


def test_faults_are_counted_by_kind_and_labels_without_a_clip_are_named(folder):
    for name in ("b", "d"):
        FAULTS["silent"][0](folder / f"{name}.wav")
    FAULTS["empty"][0](folder / "a.wav")
    assert check.summary(checked(folder), read(folder / "m.csv")) == (
        "3 of 4 clips are faulty (2 silent, 1 empty); no clip is left of cat"
    )


def test_whole_clips_leave_no_list_of_faults(folder):
    (folder / "m.faults.csv").write_text("path,reason\nold.wav,silent\n")
    result = checked(folder)
    check.write_faults(result.faults, folder / "m.csv")
    assert not (folder / "m.faults.csv").exists()
    assert check.summary(result, read(folder / "m.csv")) == "0 of 4 clips are faulty"
    assert list(result.manifest.clips) == list(read(folder / "m.csv").clips)


@pytest.mark.parametrize("label", ["_silence_", "Silence"])
def test_a_clip_of_the_class_silence_may_be_silent(label, folder):
    FAULTS["silent"][0](folder / "b.wav")
    text = (folder / "m.csv").read_text().replace("b.wav,cat", f"b.wav,{label}")
    (folder / "m.csv").write_text(text)
    assert checked(folder).faults == ()


def test_processes_find_what_one_finds(folder):
    write_noise(folder, "efghijklmnopqrstuvwxyz", 0.1)
    rows = [f"{name}.wav,dog,train" for name in "efghijklmnopqrstuvwxyz"]
    with (folder / "m.csv").open("a") as file:
        file.write("\n".join(rows) + "\n")
    for name in ("b", "z"):
        FAULTS["cut short" if name == "b" else "empty"][0](folder / f"{name}.wav")
    heard = []
    alone = checked(folder)
    several = check.check(read(folder / "m.csv"), FRONT_END, 2, heard.append)
    assert len(heard) == 26
    assert several.faults == alone.faults
    assert list(several.manifest.clips) == list(alone.manifest.clips)
    assert several.measured.statistics.mean == alone.measured.statistics.mean
    assert several.measured.statistics.std == alone.measured.statistics.std


@pytest.mark.parametrize("processes", [1, 2])
def test_a_missing_decoder_is_no_fault_of_a_clip(processes, folder, monkeypatch):
    def refuse(*_):
        raise errors.missing_extra("av", "media", "reading MP4")

    monkeypatch.setattr(media, "container_of", refuse)
    with pytest.raises(MissingExtraError) as caught:
        checked(folder, processes)
    assert str(caught.value) == (
        "reading MP4 needs the package 'av', which is not installed. "
        "Install it with: pip install 'auricle[media]'"
    )


def test_a_manifest_of_faulty_clips_alone_is_refused(folder):
    for name in "abcd":
        FAULTS["empty"][0](folder / f"{name}.wav")
    with pytest.raises(DataError) as caught:
        checked(folder)
    assert str(caught.value) == (
        f"{folder / 'm.csv'}: every clip is faulty. The first is {folder / 'a.wav'}: "
        "empty (is empty (0 bytes). Copy or record it again)."
    )


def test_warnings_of_the_decoder_are_not_shown_besides(folder):
    cut_short(folder / "b.wav")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked(folder)


def test_statistics_are_those_of_the_whole_training_clips(folder):
    FAULTS["silent"][0](folder / "b.wav")
    whole = read(folder / "m.csv")
    training = replace(whole, clips=[clip for clip in whole.clips if clip.path.stem in "ac"])
    expected = measure_statistics(training, FRONT_END)
    measured = checked(folder).measured
    assert measured.statistics.mean == pytest.approx(expected.mean, abs=1e-9)
    assert measured.statistics.std == pytest.approx(expected.std, abs=1e-9)
    stored = check.store(measured, FRONT_END, folder / "m.csv")
    assert stored.summary() == (
        f"mean {expected.mean:.7f} and std {expected.std:.7f}, of 2 of 3 clips of the split train"
    )
    values = json.loads((folder / "m.statistics.json").read_text())
    assert values["mean"] == stored.mean
    assert (values["split"], values["num_clips"], values["of"]) == ("train", 2, 3)
    assert values["front_end"]["num_mels"] == 40


def test_statistics_alone_decode_only_the_sample(folder):
    (folder / "d.wav").write_bytes(b"no sound, but of the test split")
    measured = check.measure_sample(read(folder / "m.csv"), FRONT_END, 1, nothing)
    expected = measure_statistics(read(folder / "m.csv").select("train"), FRONT_END)
    assert measured.statistics.mean == pytest.approx(expected.mean, abs=1e-9)
    assert measured.num_clips == 3


def test_statistics_alone_stop_at_a_faulty_clip(folder):
    FAULTS["empty"][0](folder / "b.wav")
    with pytest.raises(AudioError) as caught:
        check.measure_sample(read(folder / "m.csv"), FRONT_END, 1, nothing)
    assert str(caught.value) == (
        f"{folder / 'b.wav'}: empty (is empty (0 bytes). Copy or record it again). "
        "Find all such clips with --check."
    )


def test_without_a_training_split_all_clips_may_be_measured(folder):
    text = (folder / "m.csv").read_text().replace(",train", ",").replace(",test", ",")
    (folder / "m.csv").write_text(text)
    sample = check.sample(read(folder / "m.csv"))
    assert (sample.split, sample.rows, sample.num_clips) == (None, (0, 1, 2, 3), 4)


def test_of_many_clips_a_fixed_draw_is_measured(folder, monkeypatch):
    monkeypatch.setattr(check, "MOST_MEASURED", 2)
    first, again = check.sample(read(folder / "m.csv")), check.sample(read(folder / "m.csv"))
    assert first == again
    assert (len(first.rows), first.num_clips) == (2, 3)
    assert set(first.rows) < {0, 1, 2}


def test_stored_statistics_are_found_only_for_what_they_are_of(folder):
    path = folder / "m.csv"
    stored = check.store(checked(folder).measured, FRONT_END, path)
    find = find_statistics
    assert find(path, "train", FRONT_END) == stored
    assert find(path, "train", FbankConfig(num_mels=40, mean=1.0)) == stored  # no log-mel value
    assert find(path, None, FRONT_END) is None
    assert find(path, "train", FbankConfig()) is None
    file = folder / "m.statistics.json"
    file.write_text(file.read_text().replace("min_level_dbfs", "softest_dbfs"))  # its former name
    assert find(path, "train", FRONT_END) == stored
    path.write_text(path.read_text() + "a.wav,dog,test\n")
    assert find(path, "train", FRONT_END) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"mean": 1}'])
def test_a_damaged_file_of_statistics_is_not_taken(text, folder):
    (folder / "m.statistics.json").write_text(text)
    assert find_statistics(folder / "m.csv", "train", FRONT_END) is None
    assert find_statistics(folder, "train", FRONT_END) is None


@pytest.mark.parametrize("change", [{"mean": math.nan}, {"std": math.inf}, {"std": 0.0}])
def test_statistics_that_are_no_numbers_are_not_taken(change, folder):
    path = folder / "m.csv"
    check.store(checked(folder).measured, FRONT_END, path)
    stored = folder / "m.statistics.json"
    stored.write_text(json.dumps(json.loads(stored.read_text()) | change))
    assert find_statistics(path, "train", FRONT_END) is None
