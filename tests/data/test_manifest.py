"""Manifests: what is read, what is refused and with which words."""

import math
import os
import pickle
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle.audio import SOUND_SUFFIXES
from auricle.data import Clip, Manifest, check_labels, leaks, read, save_soft_targets, write
from auricle.data.clips import Joined
from auricle.errors import AudioError, AudioWarning, DataError, DataWarning, MissingExtraError


def make_sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(160), 16_000)


@pytest.fixture
def table(tmp_path):
    """Writes `train.csv` with the given lines beside the sounds a.wav and b.wav."""
    make_sound(tmp_path / "a.wav")
    make_sound(tmp_path / "b.wav")

    def write_lines(*lines, name="train.csv"):
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_lines


def refusal(source, labels=None):
    with pytest.raises(DataError) as caught:
        read(source, labels)
    return str(caught.value)


def test_every_column_is_read(table, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.rand(3, 2), ["cat", "dog"])
    source = table(
        "path,labels,split,fold,group,soft_targets,note",
        "a.wav,dog; cat ;dog,train,2,farm,teacher.safetensors:2,loud",
        "b.wav,cat,,,,,",
    )
    assert read(source).clips == (
        Clip(
            path=tmp_path / "a.wav",
            labels=("dog", "cat"),
            split="train",
            fold=2,
            group="farm",
            soft_targets=(tmp_path / "teacher.safetensors", 2),
            where=f"{source}, line 2",
        ),
        Clip(path=tmp_path / "b.wav", labels=("cat",), where=f"{source}, line 3"),
    )


def test_labels_are_sorted_and_unique(table):
    manifest = read(table("path,labels", "a.wav,wind;dog", "b.wav,cat;dog"))
    assert manifest.labels == ["cat", "dog", "wind"]


def test_without_labels_the_classes_are_those_of_the_soft_targets(table, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.rand(1, 2), ["dog", "cat"])
    source = table("path,labels,soft_targets", "a.wav,,teacher.safetensors:0")
    assert read(source).labels == ["dog", "cat"]


def test_paths_are_relative_to_the_manifest_and_not_to_the_caller(table, tmp_path, monkeypatch):
    table("path,labels", "a.wav,dog")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (clip,) = read(Path("..", "train.csv")).clips
    assert clip.path.samefile(tmp_path / "a.wav")


def test_an_absolute_path_stays_as_it_is(table, tmp_path):
    (tmp_path / "lists").mkdir()
    source = table("path,labels", f"{tmp_path / 'a.wav'},dog", name="lists/train.csv")
    assert read(source).clips[0].path == tmp_path / "a.wav"


def test_spaces_commas_and_unicode_in_names_are_kept(tmp_path):
    name = "f\u00eate, part 2/café \u6f22\u5b57.wav"
    make_sound(tmp_path / name)
    source = tmp_path / "my clips.csv"
    source.write_text(f'path,labels\n"{name}",K\u00fcche;bell no\n', encoding="utf-8")
    (clip,) = read(source).clips
    assert clip.path == tmp_path / name
    assert clip.labels == ("K\u00fcche", "bell no")


def test_a_byte_order_mark_crlf_and_blank_lines_do_not_matter(table):
    source = table("path,labels", "", "a.wav,dog", "", "b.wav,cat", "")
    plain = read(source)
    text = source.read_text(encoding="utf-8").replace("\n", "\r\n")
    source.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(source) == plain
    assert plain.clips[1].where == f"{source}, line 5"


def test_what_is_written_is_read_again(table, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.rand(1, 2), ["cat", "dog"])
    manifest = read(
        table(
            "path,labels,split,fold,group,soft_targets",
            "a.wav,dog;cat,train,2,farm,teacher.safetensors:0",
            "b.wav,cat,test,,,",
        )
    )
    copy = tmp_path / "new" / "copy.csv"
    write(manifest, copy)
    assert copy.read_text(encoding="utf-8").splitlines()[1] == (
        "../a.wav,dog;cat,train,2,farm,../teacher.safetensors:0"
    )
    for before, after in zip(manifest.clips, read(copy).clips, strict=True):
        assert after.path.samefile(before.path)
        assert (after.labels, after.split, after.fold) == (before.labels, before.split, before.fold)
        assert after.group == before.group
        assert (after.soft_targets is None) == (before.soft_targets is None)


def test_columns_without_a_value_are_not_written(table, tmp_path):
    write(read(table("path,labels,fold", "a.wav,dog,")), tmp_path / "copy.csv")
    assert (tmp_path / "copy.csv").read_text(encoding="utf-8") == "path,labels\na.wav,dog\n"


def test_clips_that_only_a_teacher_heard_are_written_and_read_again(table, tmp_path):
    save_soft_targets(tmp_path / "teacher.safetensors", torch.rand(1, 2), ["cat", "dog"])
    heard = read(table("path,labels,soft_targets", "a.wav,,teacher.safetensors:0"))
    write(heard, tmp_path / "again.csv")
    assert read(tmp_path / "again.csv").clips[0].soft_targets == heard.clips[0].soft_targets


# Usual names and other ways to write a table


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", ["train", "TRAIN", "Training", " train "]),
        ("validation", ["validation", "Valid", "val", "DEV"]),
        ("test", ["test", "Testing", "eval", "Evaluation"]),
    ],
)
def test_usual_names_of_splits_are_read_in_any_case(table, split, words):
    source = table("path,labels,split", *(f"{i}.wav,dog,{word}" for i, word in enumerate(words)))
    for number in range(len(words)):
        make_sound(source.with_name(f"{number}.wav"))
    manifest = read(source)
    assert manifest.splits == [split]
    for word in words:
        assert len(manifest.select(word).clips) == len(words)
        with pytest.raises(DataError, match="no clip has"):
            manifest.select(not_splits=[word])


def test_an_unknown_split_is_named_with_its_line(table):
    source = table("path,labels,split", "a.wav,dog,train", "b.wav,dog,tets")
    assert refusal(source) == (
        f"{source}, line 3: unknown split 'tets'. Did you mean 'test'? Known: dev, eval, "
        "evaluation, test, testing, train, training, val, valid, validation."
    )


def test_the_clips_of_each_split_are_counted(table):
    source = table("path,labels,split", "a.wav,dog,test", "b.wav,cat,", "./b.wav,cat,Train")
    with pytest.warns(DataWarning):  # of a leak
        counts = read(source).split_counts
    assert list(counts.items()) == [("train", 1), ("test", 1), (None, 1)]
    assert read(table("path,labels", "a.wav,dog")).split_counts == {None: 1}


@pytest.mark.parametrize(("text", "fold"), [("1", 1), ("1.0", 1), (" 02.00 ", 2), ("-3", -3)])
def test_folds_may_be_written_as_spreadsheets_do(table, text, fold):
    assert read(table("path,labels,fold", f"a.wav,dog,{text}")).folds == [fold]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path;labels", 'a.wav;"dog;cat"'], "with values between semicolons"),
        (["path\tlabels", "a.wav\tdog;cat"], "with values between tabs"),
        (["sep=;", "path;labels", 'a.wav;"dog;cat"'], "with values between semicolons"),
        (['"SEP=;"', "path;labels", 'a.wav;"dog;cat"'], "with values between semicolons"),
        (["labels;path;note", "dog;a.wav;x, y, z"], "with values between semicolons"),
        (["labels;path;note, a, b, c", "dog;a.wav;x"], "with values between semicolons"),
    ],
)
def test_tables_of_spreadsheets_are_read_and_it_is_said(table, tmp_path, lines, message):
    source = table(*lines)
    with pytest.warns(DataWarning) as warned:
        (clip,) = read(source).clips
    assert (clip.path, clip.labels[0]) == (tmp_path / "a.wav", "dog")
    assert clip.where == f"{source}, line {len(lines)}"
    assert [str(each.message) for each in warned] == [f"{source}: read as a table {message}."]


def test_a_named_comma_is_nothing_to_speak_of(table):
    assert read(table("sep=,", "path,labels", "a.wav,dog")).labels == ["dog"]


def test_a_semicolon_within_a_table_of_semicolons_stands_in_quotes(table):
    source = table("path;labels", "a.wav;dog;cat")
    with pytest.warns(DataWarning):
        message = refusal(source)
    assert message == (
        f"{source}, line 2: expected 2 values, got 3. A value that holds a semicolon stands in "
        "double quotes."
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_and_it_is_said(tmp_path, encoding):
    make_sound(tmp_path / "a.wav")
    source, mark = tmp_path / "m.csv", "" if encoding == "utf-16" else "\ufeff"
    source.write_text(f"{mark}path\tlabels\na.wav\tGänse\n", encoding=encoding)
    with pytest.warns(DataWarning) as warned:
        assert read(source).labels == ["Gänse"]
    message = f"{source}: read as a table in UTF-16 and with values between tabs."
    assert [str(each.message) for each in warned] == [message]


def test_composed_and_decomposed_accents_are_one_label(table):
    source = table("path,labels", "a.wav,caf\u00e9;dog", "b.wav,cafe\u0301")
    with pytest.warns(DataWarning) as warned:
        manifest = read(source, ["caf\u00e9", "dog"])
    assert manifest.labels == ["caf\u00e9", "dog"]
    assert str(warned[0].message) == (
        f"{source}: labels that differ only in how their accents are written are one: caf\u00e9."
    )


def test_decomposed_accents_of_class_folders_are_composed(tmp_path):
    make_sound(tmp_path / "cafe\u0301" / "1.wav")
    assert read(tmp_path).labels == ["caf\u00e9"]
    make_sound(tmp_path / "caf\u00e9" / "2.wav")
    with pytest.warns(DataWarning, match="written are one: caf\u00e9"):
        assert read(tmp_path).labels == ["caf\u00e9"]


def test_backslashes_in_paths_are_read_as_slashes_where_such_files_are(tmp_path):
    make_sound(tmp_path / "dog" / "a.wav")
    make_sound(tmp_path / "odd\\name.wav")
    source = tmp_path / "m.csv"
    source.write_text("path,labels\ndog\\a.wav,dog\nodd\\name.wav,dog\n")
    with pytest.warns(DataWarning) as warned:
        clips = read(source).clips
    assert [clip.path for clip in clips] == [
        tmp_path / "dog" / "a.wav",
        tmp_path / "odd\\name.wav",
    ]
    assert [str(each.message) for each in warned] == [
        f"{source}: paths are written with \\, and read with / in its place."
    ]
    source.write_text("path,labels\nodd\\name.wav,dog\n")
    assert len(read(source).clips) == 1  # without a warning


def test_a_file_with_two_labels_is_named_with_both_lines(table, tmp_path):
    lines = ["a.wav,dog;cat", "b.wav,cat", "a.wav,cat;dog", "a.wav,cat", "./b.wav,dog"]
    source = table("path,labels", *lines)
    with pytest.warns(DataWarning) as warned:
        read(source)
    assert str(warned[0].message) == (
        f"{source}: {tmp_path / 'a.wav'} is listed twice with different labels: dog;cat ({source}, "
        f"line 2) and cat ({source}, line 5); 1 more like it."
    )


# Refusals


def test_folders_named_after_splits_are_no_classes(tmp_path):
    for name in ("train/dog", "train/cat", "Test/dog"):
        make_sound(tmp_path / name / "1.wav")
    assert refusal(tmp_path) == (
        f"{tmp_path}: its folders are named after splits (Test, train), not after classes. Make a "
        f"manifest of it: auricle prepare audiofolder {tmp_path}"
    )


def test_classes_may_be_called_like_splits(tmp_path):
    make_sound(tmp_path / "train" / "1.wav")  # the vehicle
    make_sound(tmp_path / "dog" / "old" / "1.wav")
    assert read(tmp_path).labels == ["dog", "train"]


@pytest.mark.parametrize("number", ["1" * 20, "9" * 5000, "-1", "", "1e3"])
def test_numbers_of_bytes_in_a_shard_have_a_bound(table, number):
    source = table("path,labels,shard,offset,size", f"x/1.wav,dog,0.tar,{number},3")
    shown = f"'{number}'" if len(number) < 30 else f"'{'9' * 47}...{'9' * 48}'"
    message = f"{source}, line 2: offset must be a number of bytes, got {shown}."
    assert refusal(source) == message


def test_a_missing_source_is_named(tmp_path):
    source = tmp_path / "no.csv"
    assert refusal(source) == f"{source}: cannot be read (No such file or directory)."


def test_a_missing_file_is_named_with_its_line(table, tmp_path):
    source = table("path,labels", "a.wav,dog", "no.wav,dog")
    assert refusal(source) == f"{source}, line 3: no such file: {tmp_path / 'no.wav'}."


def test_several_missing_files_are_counted(table, tmp_path):
    source = table("path,labels", "no.wav,dog", "a.wav,dog", "nor.wav,dog")
    assert refusal(source) == (
        f"{source}, line 2: no such file: {tmp_path / 'no.wav'}. 2 files are missing in all."
    )


def test_a_folder_in_place_of_a_file_is_missing(table, tmp_path):
    (tmp_path / "sub.wav").mkdir()
    source = table("path,labels", "sub.wav,dog")
    assert refusal(source) == f"{source}, line 2: no such file: {tmp_path / 'sub.wav'}."


def test_missing_files_are_found_before_any_sound_is_opened(table, tmp_path):
    (tmp_path / "a.wav").write_text("not a sound")
    source = table("path,labels", "a.wav,dog", "no.wav,dog")
    assert "line 3: no such file" in refusal(source)


def test_an_unknown_label_is_named_with_its_line_and_the_nearest(table):
    source = table("path,labels", "a.wav,dog", "b.wav,dgo;cat")
    assert refusal(source, ["cat", "dog"]) == (
        f"{source}, line 3: unknown label 'dgo'. Did you mean 'dog'? Known: cat, dog."
    )


def test_known_labels_pass(table):
    manifest = read(table("path,labels", "a.wav,dog"), ["cat", "dog"])
    check_labels(manifest, ["dog"])
    assert manifest.labels == ["dog"]


def test_missing_columns_are_named(table):
    source = table("file,labels", "a.wav,dog")
    assert refusal(source) == (
        f"{source}: missing columns: path. The first line names the columns; it has: file, labels."
    )


def test_an_empty_file_has_no_columns(tmp_path):
    source = tmp_path / "empty.csv"
    source.touch()
    assert refusal(source) == (
        f"{source}: missing columns: path, labels. "
        "The first line names the columns; it has: nothing."
    )


def test_a_column_named_twice_is_refused(table):
    source = table("path,labels,labels", "a.wav,dog,cat")
    assert refusal(source) == f"{source}: columns named more than once: labels."


def test_a_manifest_without_clips_is_refused(table):
    source = table("path,labels")
    assert refusal(source) == f"{source}: lists no clips."


def test_a_line_with_too_many_values_is_refused(table):
    source = table("path,labels", "a, b.wav,dog")
    assert refusal(source) == (
        f"{source}, line 2: expected 2 values, got 3. "
        "A value that holds a comma stands in double quotes."
    )


def test_an_open_quote_is_refused(table):
    source = table("path,labels", '"a.wav,dog')
    assert refusal(source) == f"{source}, line 2: not valid CSV (unexpected end of data)."


@pytest.mark.parametrize("content", [b"path,labels\n\xff\xfe,dog\n", b"RIFF\0\0\0\0WAVE"])
def test_a_binary_file_is_refused(tmp_path, content):
    source = tmp_path / "train.csv"
    source.write_bytes(content)
    assert refusal(source) == (
        f"{source}: not a CSV file in UTF-8. Save it as one: in a spreadsheet as 'CSV UTF-8', or "
        "by iconv -f LATIN1 -t UTF-8 train.csv > utf8.csv (LATIN1: what it is written in)."
    )


@pytest.mark.parametrize("content", ["x" * 10**6, "path,labels," + "x" * 2**17])
def test_a_first_line_without_an_end_is_no_table(tmp_path, content):
    source = tmp_path / "train.csv"
    source.write_text(content)
    assert refusal(source).startswith(f"{source}: not a CSV file in UTF-8.")


def test_nothing_in_a_column_of_numbers_is_no_fold(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"path": ["a.wav", "b.wav"], "labels": ["dog", "cat"], "fold": [1.0, math.nan]}
    parquet.write_table(arrow.table(columns), tmp_path / "m.parquet")
    make_sound(tmp_path / "a.wav")
    make_sound(tmp_path / "b.wav")
    assert [clip.fold for clip in read(tmp_path / "m.parquet").clips] == [1, None]


def test_a_file_without_permission_is_refused(open_folder, ordinary_user):
    source = open_folder / "train.csv"
    source.write_text("path,labels\na.wav,dog\n")
    source.chmod(0)
    with ordinary_user():
        assert refusal(source) == f"{source}: cannot be read (Permission denied)."


def test_a_folder_without_permission_is_refused(open_folder, ordinary_user):
    make_sound(open_folder / "own" / "dog" / "1.wav")
    (open_folder / "own").chmod(0)
    with ordinary_user():
        message = refusal(open_folder / "own")
    (open_folder / "own").chmod(0o755)  # so that it can be cleaned up
    assert message == f"{open_folder / 'own'}: cannot be read (Permission denied)."


def test_an_empty_path_is_refused(table):
    source = table("path,labels", ",dog")
    assert refusal(source) == f"{source}, line 2: the path is empty."


def test_a_clip_needs_labels_or_soft_targets(table):
    source = table("path,labels", "a.wav, ; ")
    assert refusal(source) == (f"{source}, line 2: no labels. A clip needs labels or soft_targets.")


def test_clips_that_need_no_labels_keep_those_they_have(table, tmp_path):
    source = table("path,labels,split", "a.wav,,train", "b.wav,dog;cat,test")
    manifest = read(source, labelled=False)
    assert [(clip.labels, clip.split) for clip in manifest.clips] == [
        ((), "train"),
        (("dog", "cat"), "test"),
    ]
    assert manifest.select("train").clips[0].path == tmp_path / "a.wav"


def test_clips_that_need_no_labels_need_no_column_for_them(table, tmp_path):
    clips = read(table("path", "a.wav", "b.wav"), labelled=False).clips
    assert [(clip.path.name, clip.labels) for clip in clips] == [("a.wav", ()), ("b.wav", ())]


def test_a_missing_file_is_named_with_or_without_labels(table, tmp_path):
    source = table("path", "a.wav", "no.wav")
    with pytest.raises(DataError) as caught:
        read(source, labelled=False)
    assert str(caught.value) == f"{source}, line 3: no such file: {tmp_path / 'no.wav'}."


def test_a_folder_of_unlabelled_sounds_is_read_to_any_depth(tmp_path):
    names = ["a.wav", "dogs/b.wav", "dogs/old/c.wav"]
    for name in names:
        make_sound(tmp_path / name)
    clips = read(tmp_path, labelled=False).clips
    assert clips == [Clip(tmp_path / name, (), where=str(tmp_path / name)) for name in names]


def test_a_folder_without_a_sound_has_no_unlabelled_clips(tmp_path):
    with pytest.raises(AudioError) as caught:
        read(tmp_path, labelled=False)
    assert str(caught.value) == (
        f"{tmp_path}: no sound file in this directory or below it. "
        f"Looked for the suffixes {', '.join(sorted(SOUND_SUFFIXES))}."
    )


def test_a_fold_is_a_number(table):
    source = table("path,labels,fold", "a.wav,dog,1", "b.wav,dog,one", "b.wav,dog,one")
    assert refusal(source) == f"{source}, line 3: fold must be a whole number, got 'one'."
    source = table("path,labels,fold", "a.wav,dog," + "1" * 5000)
    assert refusal(source) == (
        f"{source}, line 2: fold must be a whole number, got '{'1' * 47}...{'1' * 48}'."
    )


# Soft targets


@pytest.mark.parametrize("text", ["teacher.safetensors", "teacher.safetensors:x", ":3", "t:-1"])
def test_soft_targets_name_a_file_and_a_row(table, text):
    source = table("path,labels,soft_targets", f"a.wav,dog,{text}")
    assert refusal(source) == (
        f"{source}, line 2: soft_targets must be FILE.safetensors:ROW, got {text!r}."
    )


def test_a_missing_file_of_soft_targets_is_named(table, tmp_path):
    source = table("path,labels,soft_targets", "a.wav,,t.safetensors:0")
    assert refusal(source) == (
        f"{source}, line 2: no such file of soft targets: {tmp_path / 't.safetensors'}."
    )


def test_a_row_beyond_the_soft_targets_is_named(table, tmp_path):
    file = tmp_path / "t.safetensors"
    save_soft_targets(file, torch.rand(4, 2), ["cat", "dog"])
    source = table("path,labels,soft_targets", "a.wav,,t.safetensors:3", "b.wav,,t.safetensors:4")
    assert refusal(source) == (
        f"{source}, line 3: {file} has no row 4; its 4 rows are counted from 0."
    )


def test_without_soft_targets_a_clip_falls_back_on_its_labels(table, tmp_path):
    save_soft_targets(tmp_path / "t.safetensors", torch.rand(1, 1), ["dog"])
    manifest = read(table("path,labels,soft_targets", "a.wav,dog,t.safetensors:0"))
    assert manifest.without_soft_targets().clips[0].soft_targets is None
    assert manifest.without_soft_targets().labels == ["dog"]


def test_without_soft_targets_every_clip_needs_labels(table, tmp_path):
    save_soft_targets(tmp_path / "t.safetensors", torch.rand(1, 1), ["dog"])
    source = table("path,labels,soft_targets", "a.wav,,t.safetensors:0")
    with pytest.raises(DataError) as caught:
        read(source).without_soft_targets()
    assert str(caught.value) == (
        f"{source}, line 2: to be evaluated, a clip needs labels of its own."
    )


# Many clips, and columns


@pytest.fixture
def many(tmp_path):
    """A manifest of forty sounds in two folders, the last of them listed under other names."""
    lines = ["path,labels,split,group"]
    for index in range(40):
        name = f"{'ab'[index % 2]}/{index}.wav"
        make_sound(tmp_path / name)
        lines.append(f"{name},dog,train,")
    lines[39], lines[40] = "./a//38.wav,dog,train,", f"{tmp_path}/b/39.wav,dog,train,"
    (tmp_path / "many.csv").write_text("\n".join(lines))
    return tmp_path / "many.csv"


def test_the_files_of_many_clips_are_found_by_listing_their_folders(many, tmp_path, monkeypatch):
    asked = []
    is_file = os.path.isfile
    monkeypatch.setattr("os.path.isfile", lambda path: asked.append(path) or is_file(path))
    clips = read(many).clips
    assert [clip.path for clip in clips[:3]] == [
        tmp_path / f"{n}.wav" for n in ("a/0", "b/1", "a/2")
    ]
    assert clips[38].path == tmp_path / "a" / "38.wav"
    assert asked == []


def test_missing_files_among_many_are_named_and_counted(many, tmp_path):
    for name in ("b/7.wav", "a/4.wav"):
        (tmp_path / name).unlink()
    (tmp_path / "b" / "7.wav").mkdir()
    (tmp_path / "a" / "8.wav").unlink()
    (tmp_path / "a" / "8.wav").symlink_to(tmp_path / "b" / "1.wav")
    assert refusal(many) == (
        f"{many}, line 6: no such file: {tmp_path / 'a' / '4.wav'}. 2 files are missing in all."
    )


def test_a_folder_of_many_that_may_not_be_listed_is_asked_for_each(open_folder, ordinary_user):
    lines = ["path,labels"]
    for index in range(20):
        make_sound(open_folder / "a" / f"{index}.wav")
        lines.append(f"a/{index}.wav,dog")
    (open_folder / "m.csv").write_text("\n".join(lines))
    (open_folder / "a").chmod(0o311)
    with ordinary_user():
        number = len(read(open_folder / "m.csv").clips)
    (open_folder / "a").chmod(0o755)  # so that it can be cleaned up
    assert number == 20


def test_clips_are_a_sequence(many):
    clips = read(many).clips
    assert len(clips) == 40 and len(clips[5:8]) == 3
    assert clips[5:8][1] == clips[6] == clips[-34]
    assert clips[:2] == [clips[0], clips[1]] and clips[:2] != [clips[1], clips[0]]
    assert clips[3] in clips and clips.index(clips[3]) == 3
    assert clips != "text" and clips != clips[:39]
    with pytest.raises(IndexError):
        clips[40]


def test_a_manifest_goes_to_another_process(many):
    manifest = read(many).select("train")
    assert pickle.loads(pickle.dumps(manifest)) == manifest


def test_rows_in_several_pieces_keep_their_lines(table, tmp_path, monkeypatch):
    monkeypatch.setattr("auricle.data.table.PIECE_ROWS", 2)
    lines = ["a.wav,dog,1", "", 'b.wav,"cat\ndog",', "a.wav,cat;dog,1", "b.wav,dog,"]
    source = table("path,labels,fold", *lines)
    with pytest.warns(DataWarning, match=r"is listed twice with different labels"):
        clips = read(source).clips
    assert [clip.where for clip in clips] == [f"{source}, line {n}" for n in (2, 5, 6, 7)]
    assert [clip.labels for clip in clips] == [("dog",), ("cat\\ndog",), ("cat", "dog"), ("dog",)]
    assert [clip.fold for clip in clips] == [1, None, 1, None]


def test_names_that_are_no_text_are_kept(tmp_path):
    """A file system may hold bytes that are not UTF-8."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/dog/\xff.wav"))
    path.parent.mkdir()
    path.touch()
    assert read(tmp_path).clips[0].path == path


def test_a_path_listed_twice_in_two_ways_leaks(table):
    source = table("path,labels,split", "a.wav,dog,train", "./a.wav,dog,test")
    with pytest.warns(DataWarning, match=r"too high: .*/a\.wav \(in all 1\)"):
        read(source)


# Parquet


@pytest.fixture
def parquet(table, tmp_path):
    """Writes `m.parquet` from columns, beside the sounds a.wav and b.wav."""
    arrow = pytest.importorskip("pyarrow")
    table("path,labels", "a.wav,dog")

    def write_columns(**columns):
        from pyarrow import parquet

        parquet.write_table(arrow.table(columns), tmp_path / "m.parquet")
        return tmp_path / "m.parquet"

    return write_columns


@pytest.mark.parametrize("labels", [["dog; cat", "cat"], [["dog", "cat"], ["cat"]]])
def test_a_parquet_file_holds_the_same_columns(parquet, tmp_path, labels):
    save_soft_targets(tmp_path / "t.safetensors", torch.rand(1, 2), ["cat", "dog"])
    source = parquet(
        path=["a.wav", "b.wav"],
        labels=labels,
        split=["train", None],
        fold=[1, None],
        group=["farm", ""],
        soft_targets=[None, "t.safetensors:0"],
        other=[1.0, 2.0],
    )
    assert read(source).clips == (
        Clip(tmp_path / "a.wav", ("dog", "cat"), "train", 1, "farm", where=f"{source}, row 1"),
        Clip(
            tmp_path / "b.wav",
            ("cat",),
            soft_targets=(tmp_path / "t.safetensors", 0),
            where=f"{source}, row 2",
        ),
    )


def test_a_parquet_file_may_lack_labels_that_nobody_needs(parquet):
    assert read(parquet(path=["a.wav"]), labelled=False).clips[0].labels == ()


def test_what_is_wrong_in_a_parquet_file_is_named_with_its_row(parquet, tmp_path):
    source = parquet(path=["a.wav", "no.wav"], labels=["dog", "dog"])
    assert refusal(source) == f"{source}, row 2: no such file: {tmp_path / 'no.wav'}."
    source = parquet(path=["a.wav"], label=["dog"])
    assert refusal(source) == f"{source}: missing columns: labels. It has: path, label."
    source = parquet(path=[], labels=[])
    assert refusal(source) == f"{source}: lists no clips."


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    source = tmp_path / "m.parquet"
    source.write_text("path,labels\n")
    assert refusal(source) == f"{source}: not a Parquet file, or a damaged one. Copy it again."
    source.unlink()
    assert refusal(source) == f"{source}: cannot be read (No such file or directory)."


def test_without_pyarrow_a_parquet_file_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as caught:
        read(tmp_path / "m.parquet")
    assert str(caught.value) == (
        "reading a Parquet manifest needs the package 'pyarrow', which is not installed. "
        "Install it with: pip install 'auricle[train]'"
    )


# Selections


@pytest.fixture
def folds():
    names = [("train", 1), ("train", 2), ("test", 3), ("test", None)]
    clips = tuple(Clip(Path(f"{i}.wav"), ("a",), s, f) for i, (s, f) in enumerate(names))
    return Manifest(Path("folds.csv"), clips)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"split": "train"}, [0, 1]),
        ({"fold": 3}, [2]),
        ({"not_fold": 1}, [1, 2]),  # a clip without a fold is on neither side
        ({"split": "train", "not_fold": 1}, [1]),
    ],
)
def test_a_selection_keeps_order_and_fulfils_all_conditions(folds, conditions, expected):
    chosen = folds.select(**conditions)
    assert chosen.clips == tuple(folds.clips[index] for index in expected)
    assert chosen.source == folds.source


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"split": "Val"}, "split 'validation'"),
        ({"split": "test", "fold": 1}, "split 'test' and fold 1"),
        (
            {"split": "train", "fold": 1, "not_fold": 1},
            "split 'train' and fold 1 and a fold other than 1",
        ),
    ],
)
def test_an_empty_selection_names_what_there_is(folds, conditions, words):
    with pytest.raises(DataError) as caught:
        folds.select(**conditions)
    assert str(caught.value) == (
        f"folds.csv: no clip has {words}. Splits: test, train. Folds: 1, 2, 3."
    )


def test_an_empty_selection_says_that_there_are_no_splits(table):
    source = table("path,labels", "a.wav,dog")
    with pytest.raises(DataError) as caught:
        read(source).select(split="test")
    assert str(caught.value) == f"{source}: no clip has split 'test'. Splits: none. Folds: none."


# Folders


def test_a_folder_per_class_is_a_manifest(tmp_path):
    for name in ("sea waves/2.wav", "sea waves/far/1.FLAC", "dog/x.wav", ".hidden/y.wav"):
        make_sound(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").touch()
    (tmp_path / "README").touch()
    with pytest.warns(AudioWarning, match=r"dog: 1 file was skipped: 1 without the suffix of a"):
        manifest = read(tmp_path)
    found = [(clip.path.relative_to(tmp_path).as_posix(), clip.labels) for clip in manifest.clips]
    assert sorted(found) == [
        ("dog/x.wav", ("dog",)),
        ("sea waves/2.wav", ("sea waves",)),
        ("sea waves/far/1.FLAC", ("sea waves",)),
    ]
    assert manifest.labels == ["dog", "sea waves"]


def test_a_label_of_a_folder_can_be_unknown(tmp_path):
    make_sound(tmp_path / "dgo" / "1.wav")
    assert refusal(tmp_path, ["cat", "dog"]) == (
        f"{tmp_path / 'dgo' / '1.wav'}: unknown label 'dgo'. Did you mean 'dog'? Known: cat, dog."
    )


def test_a_folder_without_class_folders_is_refused(tmp_path):
    make_sound(tmp_path / "1.wav")
    (tmp_path / ".hidden").mkdir()
    assert refusal(tmp_path) == f"{tmp_path}: expected one sub-folder per class; there is none."


def test_an_empty_class_folder_is_refused(tmp_path):
    make_sound(tmp_path / "dog" / "1.wav")
    (tmp_path / "cat" / "deeper").mkdir(parents=True)
    with pytest.raises(AudioError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'cat'}: no sound file in this directory or below it. "
        f"Looked for the suffixes {', '.join(sorted(SOUND_SUFFIXES))}."
    )


def test_a_class_folder_may_be_a_link(tmp_path):
    make_sound(tmp_path / "elsewhere" / "1.wav")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "dog").symlink_to(tmp_path / "elsewhere")
    assert read(tmp_path / "own").labels == ["dog"]


def test_a_sound_beside_the_class_folders_is_refused(tmp_path):
    make_sound(tmp_path / "dog" / "1.wav")
    make_sound(tmp_path / "2.wav")
    assert refusal(tmp_path) == (
        f"{tmp_path / '2.wav'}: lies outside the class folders of {tmp_path}."
    )


def test_a_full_disk_leaves_an_older_manifest_as_it_was(tmp_path):
    out = tmp_path / "m.csv"
    clips = [Clip(tmp_path / f"{index}.wav", ("a",)) for index in range(100)]
    write(Manifest(tmp_path, clips[:2]), out)
    before = out.read_text()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limit[1]))
    try:
        with pytest.raises(DataError) as caught:
            write(Manifest(tmp_path, clips), out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert str(caught.value) == f"{out}: cannot be written (File too large)."
    assert out.read_text() == before
    assert list(tmp_path.iterdir()) == [out]


# Leaks


def test_a_group_in_two_splits_or_folds_leaks(folds):
    clips = [
        Clip(Path("1"), ("a",), "train", None, "both splits"),
        Clip(Path("2"), ("a",), "test", None, "both splits"),
        Clip(Path("3"), ("a",), None, 1, "both folds"),
        Clip(Path("4"), ("a",), None, 2, "both folds"),
        Clip(Path("5"), ("a",), "train", 1, "one"),
        Clip(Path("6"), ("a",), "train", 1, "one"),
        Clip(Path("twice"), ("a",), "train"),
        Clip(Path("twice"), ("b",), "test"),
    ]
    assert leaks(Manifest(Path("x.csv"), tuple(clips))) == ["both folds", "both splits", "twice"]
    assert leaks(folds) == []


def test_reading_warns_of_leaks(table):
    lines = [f"{name}.wav,dog,{split},g" for name, split in (("a", "train"), ("b", "test"))]
    source = table("path,labels,split,group", *lines)
    with pytest.warns(DataWarning) as warned:
        read(source)
    assert str(warned[0].message) == (
        f"{source}: groups of clips stand in more than one split or fold, "
        "so scores will be too high: g (in all 1)."
    )


def test_joined_clips_are_one_sequence(tmp_path):
    first, second = ([Clip(tmp_path / f"{name}{i}.wav", ()) for i in range(3)] for name in "ab")
    joined = Joined([first, second])
    assert list(joined) == [*first, *second]
    assert (len(joined), joined[-1], joined[-4]) == (6, second[2], first[2])
    assert joined[2:4] == [first[2], second[0]]
    with pytest.raises(IndexError):
        joined[6]
