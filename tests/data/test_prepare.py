"""Data sets in tables, as downloaded, to manifests: ESC-50, UrbanSound8K, FSD50K, subsets."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.data import Clip, leaks, read
from auricle.data.prepare import prepare
from auricle.errors import DataError, DataWarning

ESC_LINES = (
    "filename,fold,target,category,esc10,src_file,take",
    "1-7-A-0.wav,1,0,dog,True,7,A",
    "2-8-A-11.wav,2,11,sea_waves,False,8,A",
)
URBAN_LINES = (
    "slice_file_name,fsID,start,end,salience,fold,classID,class",
    "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
    "100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing",
    "100648-1-0-0.wav,100648,4.823402,5.471927,2,10,1,car_horn",
)
GUITAR = '"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf"'


def make_sounds(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.zeros(160), 16_000)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def esc(tmp_path):
    """A folder in the layout of ESC-50, with two clips."""
    folder = tmp_path / "ESC-50 master"
    write_lines(folder / "meta" / "esc50.csv", *ESC_LINES)
    make_sounds(folder / "audio", "1-7-A-0.wav", "2-8-A-11.wav")
    return folder


@pytest.fixture
def fsd(tmp_path):
    """FSD50K as unpacked, with three clips of two uploaders."""
    folder = tmp_path / "FSD50K"
    truth, metadata = folder / "FSD50K.ground_truth", folder / "FSD50K.metadata"
    dev = [f"64760,{GUITAR},train", "21914,Crushing,/m/07plct2,val"]
    write_lines(truth / "dev.csv", "fname,labels,mids,split", *dev)
    write_lines(truth / "eval.csv", "fname,labels,mids", f"37199,{GUITAR}")
    info = {"title": "a.wav", "description": "", "tags": ["a"], "license": "", "uploader": "casual"}
    write_lines(
        metadata / "dev_clips_info_FSD50K.json",
        json.dumps({"64760": info, "21914": {**info, "uploader": "cool"}}),
    )
    write_lines(
        metadata / "eval_clips_info_FSD50K.json", json.dumps({"37199": {**info, "uploader": "x"}})
    )
    make_sounds(folder / "FSD50K.dev_audio", "64760.wav", "21914.wav")
    make_sounds(folder / "FSD50K.eval_audio", "37199.wav")
    return folder


def refusal(*arguments):
    with pytest.raises(DataError) as caught:
        prepare(*arguments)
    return str(caught.value)


def test_esc50_keeps_labels_folds_and_source_recordings(esc, tmp_path):
    out = tmp_path / "lists" / "esc.csv"
    listing = prepare("esc50", esc, out)
    assert out.read_text().splitlines() == [
        "path,labels,fold,group",
        "../ESC-50 master/audio/1-7-A-0.wav,dog,1,7",
        "../ESC-50 master/audio/2-8-A-11.wav,sea_waves,2,8",
    ]
    assert (listing.manifest, listing.notes) == (read(out), ())


def test_the_archive_may_have_brought_a_folder_along(esc, tmp_path):
    manifest = prepare("esc50", tmp_path, tmp_path / "m.csv").manifest
    assert [clip.labels for clip in manifest.clips] == [("dog",), ("sea_waves",)]


def test_a_manifest_may_lie_in_the_data_set_and_be_named_relatively(esc, monkeypatch):
    monkeypatch.chdir(esc)
    prepare("esc50", Path("."), Path("manifest.csv"))
    assert "\naudio/1-7-A-0.wav,dog" in (esc / "manifest.csv").read_text()


def test_esc10_are_the_clips_so_marked_and_the_others_may_be_missing(esc, tmp_path):
    (esc / "audio" / "2-8-A-11.wav").unlink()
    manifest = prepare("esc10", esc, tmp_path / "m.csv").manifest
    assert list(manifest.clips) == [
        Clip(
            tmp_path / "ESC-50 master" / "audio" / "1-7-A-0.wav",
            ("dog",),
            fold=1,
            group="7",
            where=f"{tmp_path / 'm.csv'}, line 2",
        )
    ]


def test_a_table_without_a_marked_clip_is_not_esc10s(esc, tmp_path):
    table = esc / "meta" / "esc50.csv"
    write_lines(table, ESC_LINES[0], ESC_LINES[2])
    assert refusal("esc10", esc, tmp_path / "m.csv") == (
        f"{table}: no clip has True in the column esc10; is it ESC-50's table?"
    )


def test_missing_sounds_are_counted_and_nothing_is_written(esc, tmp_path):
    (esc / "audio" / "2-8-A-11.wav").unlink()
    table = esc / "meta" / "esc50.csv"
    assert refusal("esc50", esc, tmp_path / "m.csv") == (
        f"{esc}: 1 of 2 sounds are missing, the first is {esc / 'audio' / '2-8-A-11.wav'} "
        f"({table}, line 3). Unpack the archive again, or copy the folder again whole."
    )
    assert not (tmp_path / "m.csv").exists()


def test_a_missing_folder_of_sounds_is_named(esc, tmp_path):
    (esc / "audio").rename(esc / "sounds")
    table = esc / "meta" / "esc50.csv"
    assert refusal("esc50", esc, tmp_path / "m.csv") == (
        f"{esc}: 2 of 2 sounds are missing, the first is {esc / 'audio' / '1-7-A-0.wav'} "
        f"({table}, line 2); there is no folder {esc / 'audio'}. "
        "Unpack the archive again, or copy the folder again whole."
    )


@pytest.mark.parametrize(
    "name, marker",
    [
        ("esc50", "meta/esc50.csv"),
        ("urbansound8k", "metadata/UrbanSound8K.csv"),
        ("fsd50k", "FSD50K.ground_truth"),
        ("speech_commands_v2", "testing_list.txt"),
    ],
)
def test_another_folder_is_refused_with_what_it_lacks(name, marker, tmp_path):
    assert refusal(name, tmp_path, tmp_path / "m.csv") == (
        f"{tmp_path}: holds no {marker}, nor does a folder in it. "
        "Give the folder that the archive of the data set was unpacked to."
    )


def test_another_table_is_not_esc50(esc, tmp_path):
    table = esc / "meta" / "esc50.csv"
    table.write_text("filename,fold,label\n")
    assert refusal("esc50", esc, tmp_path / "m.csv") == (
        f"{table}: missing columns: category, src_file. "
        "The first line names the columns; it has: filename, fold, label."
    )


def test_a_table_of_no_clips_is_refused(esc, tmp_path):
    table = esc / "meta" / "esc50.csv"
    write_lines(table, ESC_LINES[0])
    assert refusal("esc50", esc, tmp_path / "m.csv") == f"{table}: lists no clips."


def test_an_unknown_data_set_is_named_with_the_nearest(tmp_path):
    assert refusal("esc-50", tmp_path, tmp_path / "m.csv") == (
        "unknown data set 'esc-50'. Did you mean 'esc50'? Known: audiofolder, audioset, "
        "audioset_balanced, esc10, esc50, folder, fsd50k, speech_commands_12, speech_commands_v1, "
        "speech_commands_v1_12, speech_commands_v2, speech_commands_v2_12 and 2 more."
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"test_folder": Path("test")},
            "esc50: has no test archive of its own; leave the test folder out.",
        ),
        (
            {"columns": {"path": "file"}},
            "esc50: its columns are known; name columns only for a table.",
        ),
    ],
)
def test_what_a_data_set_cannot_take_is_refused(arguments, message, esc, tmp_path):
    with pytest.raises(DataError) as caught:
        prepare("esc50", esc, tmp_path / "m.csv", **arguments)
    assert str(caught.value) == message


def test_a_place_that_cannot_be_written_to_is_named(esc, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "m.csv"
    assert refusal("esc50", esc, out).startswith(f"{out}: cannot be written (")


def test_a_label_with_a_semicolon_is_refused_because_it_would_be_two(esc, tmp_path):
    table = esc / "meta" / "esc50.csv"
    write_lines(table, ESC_LINES[0], ESC_LINES[1].replace("dog", "dog;cat"))
    assert refusal("esc50", esc, tmp_path / "m.csv") == (
        f"{table}, line 2: the label 'dog;cat' holds a semicolon, which separates labels in a "
        "manifest. Rename it."
    )


def test_urbansound8k_keeps_labels_folds_and_recordings(tmp_path):
    folder = tmp_path / "UrbanSound8K"
    write_lines(folder / "metadata" / "UrbanSound8K.csv", *URBAN_LINES)
    make_sounds(folder / "audio" / "fold5", "100032-3-0-0.wav", "100263-2-0-117.wav")
    make_sounds(folder / "audio" / "fold10", "100648-1-0-0.wav")
    prepare("urbansound8k", tmp_path, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "path,labels,fold,group",
        "UrbanSound8K/audio/fold5/100032-3-0-0.wav,dog_bark,5,100032",
        "UrbanSound8K/audio/fold5/100263-2-0-117.wav,children_playing,5,100263",
        "UrbanSound8K/audio/fold10/100648-1-0-0.wav,car_horn,10,100648",
    ]


def test_fsd50k_has_all_labels_official_splits_and_uploaders(fsd, tmp_path):
    listing = prepare("fsd50k", fsd, tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "path,labels,split,group",
        "FSD50K/FSD50K.dev_audio/64760.wav,Electric_guitar;Guitar;Music,train,casual",
        "FSD50K/FSD50K.dev_audio/21914.wav,Crushing,validation,cool",
        "FSD50K/FSD50K.eval_audio/37199.wav,Electric_guitar;Guitar;Music,test,x",
    ]
    assert listing.notes == ()


def test_fsd50k_without_metadata_says_which_groups_are_unknown(fsd, tmp_path):
    (fsd / "FSD50K.metadata" / "eval_clips_info_FSD50K.json").unlink()
    listing = prepare("fsd50k", fsd, tmp_path / "m.csv")
    assert [clip.group for clip in listing.manifest.clips] == ["casual", "cool", None]
    assert listing.notes == (
        "1 of 3 clips have no group: FSD50K.metadata does not name their uploaders",
    )


@pytest.mark.parametrize(
    "name, line, message",
    [
        (
            "dev.csv",
            "1,Crushing,/m/07plct2,trian",
            "{path}, line 2: unknown split 'trian'. Did you mean 'train'? Known: dev, eval, "
            "evaluation, test, testing, train, training, val, valid, validation.",
        ),
        (
            "eval.csv",
            '1,"Crushing,Music",/m/07plct2',
            "{path}, line 2: 'Crushing,Music' and '/m/07plct2' differ in number.",
        ),
    ],
)
def test_a_damaged_table_of_fsd50k_is_refused(name, line, message, fsd, tmp_path):
    path = fsd / "FSD50K.ground_truth" / name
    write_lines(path, path.read_text().splitlines()[0], line)
    assert refusal("fsd50k", fsd, tmp_path / "m.csv") == message.format(path=path)


@pytest.mark.parametrize("text", ['{"64760": {"title": "a.wav"}}', "[1]", '{"64760'])
def test_damaged_metadata_of_fsd50k_is_refused(text, fsd, tmp_path):
    path = fsd / "FSD50K.metadata" / "dev_clips_info_FSD50K.json"
    path.write_text(text)
    assert refusal("fsd50k", fsd, tmp_path / "m.csv") == (
        f"{path}: not FSD50K's metadata: expected clips by name, each with its uploader. "
        "Unpack FSD50K.metadata.zip again."
    )


@pytest.mark.parametrize("name", ["esc50", "esc10"])
def test_esc10_is_whole_and_does_not_leak(name, shared_data, tmp_path):
    manifest = prepare(name, shared_data / "esc10", tmp_path / "esc10.csv").manifest
    assert len(manifest.clips) == 400
    assert Counter(clip.fold for clip in manifest.clips) == dict.fromkeys(range(1, 6), 80)
    assert manifest.labels == sorted(
        ["chainsaw", "clock_tick", "crackling_fire", "crying_baby", "dog"]
        + ["helicopter", "rain", "rooster", "sea_waves", "sneezing"]
    )
    assert Counter(clip.labels for clip in manifest.clips).most_common()[-1][1] == 40
    assert leaks(manifest) == []


def test_the_official_folds_of_esc50_part_four_recordings_which_is_reported(shared_data, tmp_path):
    parted = ["131943", "134049", "209698", "234879"]
    head, *lines = (shared_data / "esc10" / "meta" / "esc50_full.csv").read_text().splitlines()
    chosen = [line for line in lines if line.split(",")[5] in parted] + lines[::20]
    folder = tmp_path / "ESC-50"
    write_lines(folder / "meta" / "esc50.csv", head, *chosen)
    (folder / "audio").mkdir()
    for line in chosen:
        (folder / "audio" / line.partition(",")[0]).touch()
    with pytest.warns(DataWarning, match="131943, 134049, 209698, ... \\(in all 4\\)"):
        whole = prepare("esc50", folder, tmp_path / "esc50.csv").manifest
    assert leaks(whole) == parted


def test_the_subset_of_speech_commands_keeps_its_splits_and_speakers(shared_data, tmp_path):
    folder = shared_data / "speech_commands_12"
    manifest = prepare("speech_commands_12", folder, tmp_path / "keywords.csv").manifest
    splits = Counter(clip.split for clip in manifest.clips)
    assert splits == {"train": 2644, "validation": 718, "test": 681}
    assert len(manifest.clips) == 4043
    assert len(manifest.labels) == 12
    assert {clip.labels for clip in manifest.clips if clip.group is None} == {("_silence_",)}
