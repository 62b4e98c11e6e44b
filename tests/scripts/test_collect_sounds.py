"""Collecting sounds: packages, cutting into pieces, and finding what is there twice."""

import csv
import functools
import importlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPTS = Path(__file__).parents[2] / "scripts"
RATE = 16_000


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def collect():
    return importlib.import_module("collect_sounds")


@pytest.fixture
def near():
    return importlib.import_module("near_duplicates")


@pytest.fixture
def tables():
    return importlib.import_module("sound_tables")


@pytest.fixture
def packages():
    return importlib.import_module("sound_packages")


def bursts(seed: int, seconds: float = 5.0) -> np.ndarray:
    """Noise whose loudness changes at random, as that of real sounds does."""
    generator = np.random.default_rng(seed)
    length = round(seconds * RATE)
    loudness = np.repeat(generator.uniform(0.01, 0.3, length // 1600 + 1), 1600)[:length]
    return (generator.standard_normal(length) * loudness).astype(np.float32)


def recoded(waveform: np.ndarray) -> np.ndarray:
    """Softer, and through a lossy format."""
    file = io.BytesIO()
    soundfile.write(file, waveform * 0.3, RATE, format="OGG", subtype="VORBIS")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


@functools.cache  # every file gets a number of its own
def ogg() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, bursts(0, 0.5), RATE, format="OGG", subtype="VORBIS")
    return file.getvalue()


@pytest.mark.parametrize(
    "length, pieces",
    [
        (3, [(0, 3)]),
        (10, [(0, 10)]),
        (24, [(0, 10), (10, 20)]),
        (25, [(0, 10), (10, 20), (20, 25)]),
        (40, [(0, 10), (10, 20), (20, 30), (30, 40)]),
        (80, [(0, 10), (20, 30), (40, 50), (60, 70)]),
    ],
)
def test_a_long_file_is_cut_into_few_pieces_from_all_of_it(collect, length, pieces):
    assert collect.cut(length, piece=10, most=4) == pieces


def test_pieces_of_a_file_are_mono_and_at_most_ten_seconds(collect, tmp_path):
    sound = 0.3 * bursts(0, 16.0)
    soundfile.write(tmp_path / "rain.wav", np.stack([sound, -0.5 * sound], axis=1), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    dropped = collect.Counter()
    pieces = list(collect.read_pieces(tmp_path / "rain.wav", 30, dropped))
    assert [(len(piece), rate) for piece, rate in pieces] == [(160_000, RATE), (96_000, RATE)]
    assert np.abs(np.concatenate([piece for piece, _ in pieces]) - 0.25 * sound).max() < 1e-4
    assert not list(collect.read_pieces(tmp_path / "broken.wav", 30, dropped))
    assert dropped == {"unreadable files": 1}


def test_files_are_chosen_evenly_and_only_sounds(collect, tmp_path):
    for index in range(10):
        (tmp_path / f"{index}.ogg").touch()
    (tmp_path / "notes.txt").touch()
    chosen = collect.choose(sorted(tmp_path.iterdir()), 5)
    assert [path.name for path in chosen] == ["0.ogg", "2.ogg", "4.ogg", "6.ogg", "8.ogg"]
    assert len(collect.choose(sorted(tmp_path.iterdir()), None)) == 10


@pytest.fixture
def row(tables):
    """A clip of the package p, by the name of its file."""

    def make(name: str):
        clip = f"clips/p/{Path(name).stem}.flac"
        return tables.Row(clip, name, "debian", "p", "1.0-1", "CC0-1.0")

    return make


def test_copies_silence_and_families_of_known_recordings_are_left_out(collect, near, row, tmp_path):
    known = near.Recordings([bursts(9), bursts(0)])
    collection = collect.Collection(tmp_path, known)
    long = bursts(5, 10.0)
    long[40_000:120_000] = recoded(bursts(0))  # in the middle of a longer recording
    sounds = {"fire1.ogg": long, "fire22.ogg": bursts(7), "sea.ogg": bursts(3)}
    sounds |= {"sea_again.ogg": bursts(3), "nothing.ogg": bursts(4) * 1e-4}
    sounds |= {"sea_softer.ogg": 0.9 * bursts(3), "dog.wav": bursts(6)}
    added = [
        collect.add_piece(collection, row(name), collect.resample(sound, RATE, 32_000))
        for name, sound in sounds.items()
    ]
    assert added == [True, True, True, False, False, False, True]
    assert collection.found == {0: 1}
    collect.remove_others(collection)
    assert collection.dropped == {
        "copies": 1,
        "silent pieces": 1,
        "near copies": 1,
        "related to known recordings": 2,
    }
    written = sorted(path.name for path in (tmp_path / "clips/p").iterdir())
    assert written == ["dog.flac", "sea.flac"]
    information = soundfile.info(tmp_path / "clips/p/sea.flac")
    assert (information.samplerate, information.channels, information.subtype) == (
        32_000,
        1,
        "PCM_16",
    )


def test_a_further_run_goes_on_where_the_last_one_ended(collect, near, tables, row, tmp_path):
    first = collect.Collection(tmp_path, near.Recordings([bursts(9)]))
    sound = collect.resample(bursts(0), RATE, 32_000)
    assert collect.add_piece(first, row("rain.ogg"), sound)
    tables.write_tables(tmp_path, first.rows, synthetic=False)
    second = collect.Collection(tmp_path, first.known)
    assert collect.resume(second) == {("debian", "p", "1.0-1")}
    assert second.rows == first.rows and second.seconds == first.seconds
    assert not collect.add_piece(second, row("again.ogg"), sound)


def test_another_list_of_known_recordings_is_compared_with_what_is_there(
    collect, near, tables, row, tmp_path, monkeypatch
):
    first = collect.Collection(tmp_path, near.Recordings([bursts(9)]))
    assert collect.add_piece(first, row("rain.ogg"), collect.resample(bursts(0), RATE, 32_000))
    tables.write_tables(tmp_path, first.rows, synthetic=False)
    (tmp_path / "known").mkdir()
    monkeypatch.setattr(collect, "listed", list)  # no package is new
    words = ["collect", str(tmp_path), "--not-like", str(tmp_path / "known")]
    monkeypatch.setattr("sys.argv", words)
    for number, left in ((9, 1), (0, 0)):
        soundfile.write(tmp_path / "known" / f"{number}.flac", bursts(number), RATE)
        collect.main()
        assert len(list((tmp_path / "clips").rglob("*.flac"))) == left
        assert len(tables.read_sources(tmp_path)) == left
        assert len((tmp_path / "not_like").read_text().split()) == 2 - left


def test_groups_are_named_without_small_numbers_and_suffixes(row):
    assert row("a/fire.1.ogg").group == row("a/fire.22.wav").group == "debian/p/a/fire."
    assert row("a/fire.ogg").group != row("a/rain.ogg").group
    assert row("sound012.wav").group != row("sound013.wav").group


def test_seven_groups_in_a_hundred_are_held_out_and_always_the_same(tables):
    splits = [tables.split_of(f"p/{index}") for index in range(4000)]
    assert 100 < splits.count("test") < 180
    assert 100 < splits.count("validation") < 180
    assert tables.split_of("debian/p/dog") == "train"
    assert tables.split_of("p/22") == "validation" and tables.split_of("p/10") == "test"


def test_recorded_and_synthetic_clips_share_the_tables(tables, row, tmp_path):
    made = tables.Row("clips/synthesis/a.flac", "tone/000", "synthesis", "script", "", "none")
    tables.write_tables(tmp_path, [row("dog.ogg")], synthetic=False)
    tables.write_tables(tmp_path, [made], synthetic=True)
    tables.write_tables(tmp_path, [row("sea.ogg"), row("fire.ogg")], synthetic=False)
    assert tables.read_sources(tmp_path) == [row("sea.ogg"), row("fire.ogg"), made]
    with (tmp_path / "manifest.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0] == {
        "path": "clips/p/sea.flac",
        "labels": "",
        "group": "debian/p/sea",
        "split": tables.split_of("debian/p/sea"),
        "source": "debian:p",
    }
    assert lines[-1]["group"] == "synthesis/script/tone/000"


CHANGES = ["softer, through Vorbis", "through 8 kHz", "0.5 % faster", "1 % slower", "1 s of it"]


@pytest.mark.parametrize("name", [*CHANGES, "1 s of it, 0.5 % faster"])
def test_a_changed_copy_is_the_same_recording(near, name):
    known, copies = near.Fingerprints(), near.Fingerprints()
    generator = np.random.default_rng(0)
    for seed in range(8):
        known.add(bursts(seed))
        copies.add(near.CHANGES[name](bursts(seed), generator))
    assert {pair[:2] for pair in copies.pairs(known)} == {(seed, seed) for seed in range(8)}


def test_pairs_within_a_collection_come_once_and_survive_storing(near):
    prints = near.Fingerprints()
    for sound in (bursts(0), bursts(1), recoded(bursts(0)), bursts(1)[30_000:60_000]):
        prints.add(sound)
    assert {pair[:2] for pair in prints.pairs(prints)} == {(0, 2), (1, 3)}
    restored = near.Fingerprints.restore(prints.stored())
    assert list(restored.pairs(restored)) == list(prints.pairs(prints))


def test_steady_tones_and_like_decays_are_not_one_recording(near):
    seconds = np.arange(3 * RATE) / RATE
    prints = near.Fingerprints()
    for hertz in (220.0, 331.0, 505.0):
        prints.add(np.sin(2 * np.pi * hertz * seconds).astype(np.float32))
        noise = np.random.default_rng(int(hertz)).standard_normal(3 * RATE)
        prints.add((np.exp(-4 * seconds) * noise).astype(np.float32))
    assert not list(prints.pairs(prints))


def test_a_known_recording_is_found_wherever_it_is_in_a_longer_one(near):
    known = near.Recordings([bursts(seed) for seed in range(12)])
    long = bursts(50, 10.0)
    assert known.find(long) is None
    for start in (0, 31_000, 80_000):
        copy = long.copy()
        copy[start : start + 80_000] = recoded(bursts(7))
        assert known.find(copy) == 7
    assert known.find(bursts(3)[20_001:70_000]) == 3


@pytest.fixture(scope="module")
def real(shared_data):
    """Every eighth clip of ESC-10 at the comparison's rate, and all of them as known recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        collect = importlib.import_module("collect_sounds")
    folder = shared_data / "esc10" / "audio"
    paths = sorted(folder.rglob("*.flac"))
    known = collect.read_known(paths, folder)
    sounds = (soundfile.read(path, dtype="float32") for path in paths[::8])
    return known, [collect.resample(*sound, RATE) for sound in sounds]


@pytest.mark.slow
@pytest.mark.parametrize("seconds, share", [(0.5, 0.3), (1.0, 0.94), (3.0, 1.0)])
def test_excerpts_of_real_recordings_are_found(real, seconds, share):
    known, sounds = real
    length, found = round(seconds * RATE), []
    for sound in sounds:
        energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
        start = int((energy[length:] - energy[:-length]).argmax())  # where it sounds
        found.append(known.find(sound[start : start + length]) is not None)
    assert np.mean(found) >= share


def test_twins_look_alike_and_are_equally_long(near):
    pictures = near.Pictures()
    clips = [bursts(0), bursts(1), bursts(0) * 0.5, bursts(0)[:40_000], bursts(0)]
    clips[-1] = clips[-1][:78_000]
    assert [pictures.is_new(clip) for clip in clips] == [True, True, False, True, True]


def test_more_clips_than_there_was_room_for_are_remembered(near):
    pictures = near.Pictures()
    assert all(pictures.is_new(bursts(seed, 0.1)) for seed in range(1100))
    assert not any(pictures.is_new(bursts(seed, 0.1)) for seed in (0, 1023, 1024, 1099))


@pytest.mark.parametrize("length", [1, 500, 4000])
def test_short_clips_have_fingerprints_too(near, length):
    clip = np.ones(length, dtype=np.float32)
    assert np.isfinite(near.picture(clip)).all()
    prints = near.Fingerprints()
    prints.add(clip)
    assert np.isfinite(prints.descriptions[0]).all()
    assert not list(prints.pairs(prints))


def test_sounds_inside_archives_are_found(packages, tmp_path):
    archive, wave = io.BytesIO(), io.BytesIO()
    soundfile.write(wave, bursts(1, 0.1), RATE, format="WAV")
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("dog.ogg", ogg())
        members.writestr("dog.png", b"")
    packages.keep("usr/share/game.pk3", archive.getvalue(), tmp_path)
    packages.keep("usr/share/game.rcc", b"qres" + ogg() * 2 + b"end", tmp_path)
    packages.keep("usr/share/bank.cat", b"head" + wave.getvalue() + b"end", tmp_path)
    packages.keep("usr/share/cat_desc_en.ogg", ogg(), tmp_path)
    found = {
        path.relative_to(tmp_path / "usr/share").as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*.*")
        if path.is_file()
    }
    assert found == {
        "game.pk3/dog.ogg": ogg(),
        "game.rcc/0000.ogg": ogg(),
        "game.rcc/0001.ogg": ogg(),
        "bank.cat/0000.wav": wave.getvalue(),
    }


def test_sounds_of_a_wad_become_wav_files(packages, tmp_path):
    saw = struct.pack("<HHI", 3, 11_025, 4) + bytes([128, 255, 0, 128])
    lumps = [(12, len(saw), b"DSSAW"), (12, len(saw), b"PLAYPAL"), (0, 0, b"DSNONE")]
    directory = b"".join(struct.pack("<II8s", *lump) for lump in lumps)
    head = b"IWAD" + struct.pack("<II", len(lumps), 12 + len(saw))
    packages.keep("usr/games/doom.wad", head + saw + directory, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.wav")] == ["DSSAW.wav"]
    sound, rate = soundfile.read(tmp_path / "usr/games/doom.wad/DSSAW.wav")
    assert rate == 11_025
    assert sound == pytest.approx([0, 1, -1, 0], abs=0.01)


def wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("rain/rain.ogg", ogg())
        members.writestr("rain/player.py", "raise RuntimeError")
        members.writestr("rain-1.0.dist-info/METADATA", "Name: rain\nLicense: MIT\n\nLicense: no")


def npm_archive(path: Path) -> None:
    files = {"package/sea.ogg": ogg(), "package/package.json": b'{"license": "CC0-1.0"}'}
    files |= {"package/node_modules/a/package.json": b'{"license": "other"}', "package/a.js": b""}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    "make, name, sound, licence",
    [
        (wheel, "rain-1.0-py3-none-any.whl", "rain/rain.ogg", "MIT"),
        (npm_archive, "sea-1.0.0.tgz", "package/sea.ogg", "CC0-1.0"),
    ],
)
def test_wheels_and_npm_archives_are_unpacked(packages, tmp_path, make, name, sound, licence):
    make(tmp_path / name)
    packages.unpack(tmp_path / name, tmp_path / "files")
    oggs = [path.relative_to(tmp_path / "files").as_posix() for path in tmp_path.rglob("*.ogg")]
    assert oggs == [sound]
    assert not list(tmp_path.rglob("*.py")) + list(tmp_path.rglob("*.js"))
    assert packages.licences(tmp_path / "files") == licence


@pytest.mark.parametrize("name", ["../out.wav", "/out.wav", "usr/../../copyright"])
def test_nothing_is_written_outside_a_packages_folder(packages, tmp_path, name):
    with pytest.raises(OSError) as caught:
        packages.keep(name, ogg(), tmp_path / "files")
    assert str(caught.value) == f"{name}: leads out of the package's folder."
    assert not list(tmp_path.rglob("*.wav"))


def test_nothing_of_an_archive_in_a_package_is_either(packages, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("../../../../out.wav", ogg())
    with pytest.raises(OSError, match="leads out of the package's folder"):
        packages.keep("usr/game.pk3", archive.getvalue(), tmp_path / "files")
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize("name", ["a-1-py3-none-any.whl", "a-1.tgz", "a_1_all.deb"])
def test_a_damaged_archive_is_named_and_fetched_anew(packages, tmp_path, name):
    archive = tmp_path / name
    archive.write_text("<html>not found</html>")
    with pytest.raises(OSError) as caught:
        packages.unpack(archive, tmp_path / "files")
    assert str(caught.value).startswith(f"{archive}: damaged (")
    assert str(caught.value).endswith("). A further run fetches it anew.")
    assert not archive.exists()


def test_licences_are_listed_once_and_in_order(packages, tmp_path):
    text = "Files: *\nLicense: GPL-2+\n\nFiles: a\nLicense: CC0-1.0\n\nLicense: GPL-2+\n"
    (tmp_path / "copyright").write_text(text)
    assert packages.licences(tmp_path) == "GPL-2+; CC0-1.0"
    (tmp_path / "copyright").write_text("See /usr/share/common-licenses/GPL-2.\n")
    assert packages.licences(tmp_path) == "GPL-2"
    assert packages.licences(tmp_path / "none") == "see the source package"


def test_a_wheel_without_a_licence_field_is_known_by_its_classifier(packages, tmp_path):
    (tmp_path / "METADATA").write_text("Classifier: License :: OSI Approved :: MIT License\n\n")
    assert packages.licences(tmp_path) == "MIT License"


def test_a_wheel_that_holds_its_licences_text_is_known_by_its_classifier(packages, tmp_path):
    text = "License: License\n        =======\nClassifier: License :: OSI Approved :: MIT License\n"
    (tmp_path / "METADATA").write_text(text)
    assert packages.licences(tmp_path) == "MIT License"


def test_a_missing_client_is_named_before_anything_is_fetched(packages, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", {"dpkg-deb": "/usr/bin/dpkg-deb"}.get)
    with pytest.raises(SystemExit) as caught:
        packages.check_clients()
    assert str(caught.value) == ("not installed: apt-get, npm. The packages cannot be fetched.")


def test_a_collection_that_lacks_many_packages_is_not_called_done(collect):
    collect.check_missing(["a", "b"], may_miss=2)
    with pytest.raises(SystemExit) as caught:
        collect.check_missing(["a", "b", "c"], may_miss=2)
    assert str(caught.value) == (
        "3 packages cannot be had: a, b, c. A further run tries them again; --may-miss 3 goes on "
        "without them."
    )


@pytest.mark.parametrize(
    "registry, name, archive, command",
    [
        ("debian", "7kaa", "7kaa_1%3a2_all.deb", "apt-get download -q 7kaa=1:2"),
        ("npm", "@a/b", "a-b-1:2.tgz", "npm pack --ignore-scripts --silent @a/b@1:2"),
        ("pypi", "a-b", "a_b-1:2-py3-none-any.whl", "a-b==1:2"),
    ],
)
def test_an_archive_at_hand_is_not_fetched(packages, tmp_path, registry, name, archive, command):
    package = packages.Package(registry, name, "1:2")
    (tmp_path / archive).touch()
    assert packages.fetch(package, tmp_path) == tmp_path / archive
    assert " ".join(package.command(tmp_path)).endswith(command)


def test_the_list_names_each_package_once_with_its_version(packages):
    listed = packages.listed()
    assert {package.registry for package in listed} == {"debian", "pypi", "npm"}
    assert all(package.version for package in listed)
    names = [(package.registry, package.name) for package in listed]
    assert len(names) == len(set(names))
