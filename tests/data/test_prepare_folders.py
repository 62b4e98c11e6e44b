"""One's own data to a manifest: class folders, AudioFolder, other people's tables."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.data.prepare import parse_columns, prepare
from auricle.data.table import write_rows
from auricle.errors import ConfigError, DataError, DataWarning

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
)
USUAL_PATHS = (
    "path, file, file_name, filename, filepath, file_path, audio_path, audio, wav, sound, fname"
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sounds"


def add(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.zeros(160), 16_000)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def listed(name, folder, **options):
    """The lines of the manifest without its header, and the notes."""
    out = (folder if folder.is_dir() else folder.parent) / "m.csv"
    listing = prepare(name, folder, out, **options)
    return out.read_text().splitlines(), listing.notes


def refusal(name, folder, **options):
    with pytest.raises(DataError) as caught:
        prepare(name, folder, folder.parent / "m.csv", **options)
    return str(caught.value)


def test_class_folders_have_no_splits(folder):
    add(folder, "dog/a.wav", "dog/deep/b.flac", "wind, far/c.wav")
    assert listed("folder", folder) == (
        ["path,labels", "dog/a.wav,dog", "dog/deep/b.flac,dog", '"wind, far/c.wav","wind, far"'],
        (),
    )


@pytest.mark.parametrize("name", ["folder", "audiofolder"])
def test_a_table_is_not_a_folder(name, folder):
    table = write(folder / "clips.csv", "path,labels")
    assert (
        refusal(name, table) == f"{table}: not a folder. For a list of clips give the name table."
    )


def test_an_audiofolder_has_splits_and_classes(folder):
    add(folder, "train/dog/a.wav", "Training/cat/b.wav", "valid/dog/c.wav", "test/cat/d.wav")
    lines, _ = listed("audiofolder", folder)
    assert lines == [
        "path,labels,split",
        "Training/cat/b.wav,cat,train",
        "test/cat/d.wav,cat,test",
        "train/dog/a.wav,dog,train",
        "valid/dog/c.wav,dog,validation",
    ]


def test_an_audiofolder_may_have_classes_alone(folder):
    add(folder, "dog/a.wav", "cat/b.wav")
    assert listed("audiofolder", folder)[0] == ["path,labels", "cat/b.wav,cat", "dog/a.wav,dog"]


@pytest.mark.parametrize("name", ["a.wav", "train/a.wav"])
def test_a_sound_outside_of_class_folders_is_refused(name, folder):
    add(folder, "train/dog/b.wav", name)
    assert refusal("audiofolder", folder) == (
        f"{folder / name}: lies in no class folder, and there is no metadata.csv or metadata.jsonl "
        "that would name its label."
    )


def test_metadata_of_all_splits_may_stand_at_the_top(folder):
    add(folder, "data/train/a.wav", "test/b.wav", "test/unlisted.wav")
    write(
        folder / "metadata.csv",
        "file_name,label,split",
        "data/train/a.wav,dog,train",
        "test/b.wav,cat;wind,",
    )
    lines, notes = listed("audiofolder", folder)
    assert lines == [
        "path,labels,split", "data/train/a.wav,dog,train", "test/b.wav,cat;wind,test"
    ]  # fmt: skip
    assert notes == ("1 sounds stand in no metadata file and were left out",)


def test_metadata_may_be_json_lines_in_each_split(folder):
    add(folder, "train/a.wav", "train/b.wav", "validation/c.wav")
    rows = [
        {"file_name": "a.wav", "labels": ["dog", "wind"], "speaker": "x"},
        {"file_name": "b.wav", "labels": ["cat"]},
    ]
    write(folder / "train" / "metadata.jsonl", *map(json.dumps, rows), "")
    write(folder / "validation" / "metadata.jsonl", '{"file_name": "c.wav", "label": 3}')
    assert listed("audiofolder", folder)[0] == [
        "path,labels,split,group",
        "train/a.wav,dog;wind,train,x",
        "train/b.wav,cat,train,",
        "validation/c.wav,3,validation,",
    ]


def test_metadata_without_labels_is_refused(folder):
    add(folder, "a.wav")
    path = write(folder / "metadata.csv", "file_name,transcription", "a.wav,hello")
    assert refusal("audiofolder", folder) == (
        f"{path}: no column with a usual name for labels (labels, label, class, classes, category, "
        "class_name, tags, tag, target). It has: file_name, transcription. "
        "Name it: --columns labels=COLUMN."
    )


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "not valid JSON (Expecting property name enclosed in double quotes: line 1 column 2"),
        ("[1]", 'expected an object, such as {"file_name": "a.wav", "label": "dog"}.'),
    ],
)
def test_damaged_json_lines_are_refused(line, message, folder):
    add(folder, "a.wav")
    path = write(folder / "metadata.jsonl", '{"file_name": "a.wav", "label": "dog"}', line)
    assert refusal("audiofolder", folder).startswith(f"{path}, line 2: {message}")


def test_the_columns_of_a_table_are_found_by_usual_names(folder):
    add(folder, "a.wav", "b.wav", "c.wav")
    table = write(
        folder / "clips.csv",
        "Filename,Category,subset,Speaker_ID,note",
        "a.wav,dog,Training,x,loud",
        "b.wav,cat|wind,dev,y,",
        'c.wav,"Male speech, man speaking",EVAL,,',
    )
    assert listed("table", table) == (
        [
            "path,labels,split,group",
            "a.wav,dog,train,x",
            "b.wav,cat;wind,validation,y",
            'c.wav,"Male speech, man speaking",test,',
        ],
        ("columns: path=Filename, labels=Category, split=subset, group=Speaker_ID",),
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file;label;fold;note\na\\1.wav;cafe\u0301;1.0;x, y\n", "utf-8"),
        ("sep=;\nfile;label;fold\na\\1.wav;caf\u00e9;1\n", "utf-8"),
        ("file\tlabel\tfold\na/1.wav\tcafe\u0301\t1.\n", "utf-16"),
    ],
)
def test_a_table_of_a_spreadsheet_is_read_as_a_manifest_is(folder, text, encoding):
    add(folder, "a/1.wav")
    table = folder / "clips.csv"
    table.write_text(text, encoding=encoding)
    with pytest.warns(DataWarning, match="read as a table"):
        assert listed("table", table)[0] == ["path,labels,fold", "a/1.wav,caf\u00e9,1"]


def test_a_user_may_name_the_columns(folder):
    add(folder, "a.wav")
    table = write(folder / "clips.csv", "label,file,k,bird", "nine,x.wav,2,owl", "nine,a.wav,1,owl")
    add(folder, "x.wav")
    columns = parse_columns("labels=bird, fold=k")
    assert listed("table", table, columns=columns)[0] == [
        "path,labels,fold", "x.wav,owl,2", "a.wav,owl,1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, message",
    [
        ("path", "--columns: expected OURS=THEIRS,... such as path=file, got 'path'."),
        ("path=", "--columns: expected OURS=THEIRS,... such as path=file, got 'path='."),
        (
            "label=x",
            "--columns: unknown column 'label'. Did you mean 'labels'? "
            "Known: fold, group, labels, path, split.",
        ),
    ],
)
def test_columns_of_another_form_are_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_columns(text)
    assert str(caught.value) == message


def test_a_column_that_the_table_lacks_is_named(folder):
    table = write(folder / "clips.csv", "file,species", "a.wav,owl")
    assert refusal("table", table, columns={"labels": "specie"}) == (
        f"{table}: unknown column 'specie'. Did you mean 'species'? Known: file, species."
    )
    assert refusal("table", table) == (
        f"{table}: no column with a usual name for labels (labels, label, class, classes, "
        "category, class_name, tags, tag, target). It has: file, species. "
        "Name it: --columns labels=COLUMN."
    )
    assert refusal("table", write(folder / "b.csv", "sounds,label", "a.wav,owl")) == (
        f"{folder / 'b.csv'}: no column with a usual name for path ({USUAL_PATHS}). "
        "It has: sounds, label. Name it: --columns path=COLUMN."
    )


@pytest.mark.parametrize("line, name", [(",owl", "file"), ("a.wav,;", "label")])
def test_an_empty_value_is_refused(line, name, folder):
    table = write(folder / "clips.csv", "file,label", line)
    assert refusal("table", table) == f"{table}, line 2: the column {name!r} is empty."


def test_an_empty_table_and_a_folder_are_no_tables(folder):
    table = write(folder / "clips.csv", "file,label")
    assert refusal("table", table) == f"{table}: lists no clips."
    assert refusal("table", folder) == (
        f"{folder}: is a folder. Give the CSV or Parquet file that lists the clips."
    )


@needs_pyarrow
def test_a_parquet_file_is_a_table_too(folder):
    import pyarrow
    from pyarrow import parquet

    add(folder, "a.wav", "b.wav")
    rows = {"file": ["a.wav", "b.wav"], "tags": [["dog", "wind"], ["cat"]], "fold": [1, None]}
    parquet.write_table(pyarrow.table(rows), folder / "clips.parquet")
    assert listed("table", folder / "clips.parquet") == (
        ["path,labels,fold", "a.wav,dog;wind,1", "b.wav,cat,"],
        ("columns: path=file, labels=tags, fold=fold",),
    )


@needs_pyarrow
def test_a_damaged_parquet_file_is_refused(folder):
    table = write(folder / "clips.parquet", "file,label")
    assert refusal("table", table) == (
        f"{table}: not a Parquet file, or a damaged one. Copy it again."
    )


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(DataError) as caught:
        write_rows(tmp_path / "a.csv", ("path", "label"), [{"path": "x\udcff.wav", "label": "a"}])
    assert str(caught.value) == (
        f"{tmp_path / 'a.csv'}: cannot hold 'x\\udcff.wav,a', whose bytes are no text. Rename the "
        "file."
    )
    assert not any(tmp_path.iterdir())
