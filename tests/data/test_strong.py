"""Strong labels: tables of several programs read and written, and what is wrong with a line."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.data import strong
from auricle.data.strong import Event, MarkedRecording, StrongLabels
from auricle.errors import DataError, DataWarning

EVENTS = (Event(0.5, 1.25, "Bark"), Event(1.0, 3.0, "Rain, drops"), Event(2.0, 2.5, "Bark"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two sounds of 4 s, farm.wav and town.wav."""
    for name in ("farm", "town"):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(64_000), 16_000)
    return tmp_path


def table(folder: Path, *lines: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def events_of(source: Path) -> dict[str, tuple[Event, ...]]:
    return {each.path.name: each.events for each in strong.read(source).recordings}


def test_a_table_has_a_line_for_each_event(folder):
    path = table(
        folder,
        "path,onset,offset,label,split,group",
        'farm.wav,1.0,3.0,"Rain, drops",val,one',
        "farm.wav,0.5,1.25,Bark,val,one",
        "town.wav,,,,train,",
        "farm.wav,2.0,2.5,Bark,val,one",
    )
    labels = strong.read(path)
    farm, town = labels.recordings
    assert farm == MarkedRecording(
        folder / "farm.wav", EVENTS, f"{path}, line 2", "validation", "one"
    )
    assert (town.events, town.split, town.group) == ((), "train", None)
    assert labels.labels == ["Bark", "Rain, drops"]
    assert labels.select("val").recordings == (farm,)
    with pytest.raises(DataError) as caught:
        labels.select("test")
    assert str(caught.value) == (
        f"{path}: no recording has split 'test'. Splits: train, validation."
    )


def test_what_is_written_is_read_again(folder):
    recordings = (
        MarkedRecording(folder / "farm.wav", EVENTS, "", "train", "one"),
        MarkedRecording(folder / "town.wav", (), "", "test", None),
    )
    strong.write(StrongLabels(folder, recordings), folder / "events.csv")
    again = strong.read(folder / "events.csv").recordings
    assert [(each.path, each.events, each.split, each.group) for each in again] == [
        (each.path, each.events, each.split, each.group) for each in recordings
    ]


def test_dcase_tables_are_read_and_written(folder):
    header = "\t".join(strong.DCASE_COLUMNS)
    text = strong.dcase("farm.wav", EVENTS)
    path = table(folder, header, text + "town.wav\t\t\t", name="validation.tsv")
    assert events_of(path) == {"farm.wav": EVENTS, "town.wav": ()}


def test_tables_may_lie_elsewhere_than_the_sounds(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("metadata")
    path = table(
        elsewhere, "\t".join(strong.DCASE_COLUMNS), strong.dcase("farm.wav", EVENTS), name="v.tsv"
    )
    [farm] = strong.read(path, folder).recordings
    assert (farm.path, farm.events) == (folder / "farm.wav", EVENTS)


def test_label_tracks_are_read_and_written(folder):
    lines = strong.audacity(EVENTS).splitlines()
    lines.insert(1, "\\\t100.0\t200.0")  # frequencies of the first
    path = table(folder, *lines, name="farm.txt")
    assert events_of(path) == {"farm.wav": EVENTS}


@pytest.mark.parametrize("name", ["farm.Table.1.selections.txt", "farm.selections.txt", "farm.txt"])
def test_selection_tables_are_read_and_written(folder, name):
    text = strong.raven("farm.wav", EVENTS, 8000)
    assert text.splitlines()[1].split("\t") == [
        *("1", "Spectrogram 1", "1", "0.500000", "1.250000", "0.0", "8000.0"),
        *("farm.wav", "Bark", ""),
    ]
    assert events_of(table(folder, text, name=name)) == {"farm.wav": EVENTS}
    rows = [row.split("\t") for row in text.splitlines()]
    without_file = "\n".join("\t".join([*row[:7], *row[8:]]) for row in rows)
    assert events_of(table(folder, without_file, name=name)) == {"farm.wav": EVENTS}


def test_a_selection_counts_once_for_all_its_views(folder):
    header, *rows = strong.raven(r"C:\sounds\farm.wav", EVENTS, 8000).splitlines()
    rows += [row.replace("Spectrogram", "Waveform") for row in rows]
    assert events_of(table(folder, header, *rows, name="all.txt")) == {"farm.wav": EVENTS}


def test_a_folder_holds_tables_beside_the_sounds(folder):
    table(folder, strong.audacity(EVENTS), name="farm.txt")
    table(folder, "Recorded in June.", name="README.txt")
    table(folder, "path,labels", "farm.wav,Bark", name="clips.csv")
    with pytest.warns(DataWarning) as caught:
        assert events_of(folder) == {"farm.wav": EVENTS}
    assert str(caught[0].message) == (
        f"{folder}: 1 sounds have no events in any table and are left out; the first is town.wav."
    )


def test_two_tables_about_a_sound_have_to_agree(folder):
    one = table(folder, strong.audacity(EVENTS), name="farm.txt")
    table(folder, strong.audacity(EVENTS[:1]), name="town.txt")
    # Rounding is no disagreement.
    table(folder, "path,onset,offset,label", "town.wav,0.52,1.25,Bark", name="town.csv")
    assert events_of(folder)["town.wav"] == (Event(0.52, 1.25, "Bark"),)
    table(folder, strong.raven("farm.wav", EVENTS[:2], 8000), name="farm.selections.txt")
    with pytest.raises(DataError) as caught:
        strong.read(folder)
    assert str(caught.value) == (
        f"{one}, line 3: has Bark from 2 to 2.5 s in farm.wav, which "
        f"{folder / 'farm.selections.txt'} has not. Two tables about one sound have to agree: keep "
        "one of them."
    )


HEADER = "path,onset,offset,label"


@pytest.mark.parametrize(
    "line, message",
    [
        ("farm.wav,2,1,Bark", "line 3: ends at 1 s, but starts at 2 s."),
        ("farm.wav,2,2,Bark", "line 3: ends at 2 s, but starts at 2 s."),
        ("farm.wav,x,2,Bark", "line 3: onset must be a number of seconds, got 'x'."),
        ("farm.wav,1,,Bark", "line 3: offset must be a number of seconds, got ''."),
        ("farm.wav,-1,2,Bark", "line 3: onset lies outside the recording, at -1 s."),
        ("farm.wav,1,nan,Bark", "line 3: offset lies outside the recording, at nan s."),
        ("farm.wav,1,2,", "line 3: has no label."),
        ("farm.wav,3,4.06,Bark", "line 3: ends at 4.06 s, but farm.wav lasts 4.000 s."),
        (
            "farm.wav,0.5,1.5,Bark",
            "line 3: Bark from 0.5 to 1.5 s overlaps with Bark from 0 to 1 s (line 2). One label "
            "is one event at a time: join them.",
        ),
        (",1,2,Bark", "line 3: names no sound file."),
        ("cow.wav,1,2,Moo", "line 3: no such file: {folder}/cow.wav."),
    ],
)
def test_an_error_names_the_line(folder, line, message):
    path = table(folder, HEADER, "farm.wav,0,1,Bark", line)
    with pytest.raises(DataError) as caught:
        strong.read(path)
    assert str(caught.value) == f"{path}, {message.format(folder=folder)}"


def test_an_event_may_end_with_the_recording_as_tables_round(folder):
    path = table(folder, HEADER, "farm.wav,3,4.04,Bark")
    assert events_of(path) == {"farm.wav": (Event(3.0, 4.0, "Bark"),)}


@pytest.mark.parametrize(
    "name, lines, message",
    [
        (
            "notes.txt",
            ["hello"],
            "not a table of events. The first line has to name the columns "
            "path,onset,offset,label, or those of DCASE (filename, onset, offset, event_label) or "
            "of Raven (Begin Time (s), ...); in an Audacity label track it is: onset, tab, offset, "
            "tab, label.",
        ),
        ("a.csv", [HEADER], "lists no recordings."),
        (
            "cow.txt",
            ["0\t1\tMoo"],
            "belongs to a sound called cow beside it, where there is nothing.",
        ),
        (
            "farm.txt",
            ["Selection\tBegin Time (s)\tEnd Time (s)", "1\t0\t1"],
            "a selection table with labels has the column End Time (s) and one of Annotation, "
            "Label, Species, Common Name. It has: Selection, Begin Time (s), End Time (s).",
        ),
    ],
)
def test_what_is_no_table_is_refused(folder, name, lines, message):
    path = table(folder, *lines, name=name)
    with pytest.raises(DataError) as caught:
        strong.read(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_folder_without_tables_is_refused(folder):
    with pytest.raises(DataError) as caught:
        strong.read(folder)
    assert str(caught.value) == f"{folder}: holds no table of events (.csv, .tsv, .txt)."


def test_a_line_with_too_many_values_is_named(folder):
    path = table(
        folder, "\t".join(strong.DCASE_COLUMNS), "farm.wav\t0\t1\tBark\tloud", name="a.tsv"
    )
    with pytest.raises(DataError) as caught:
        strong.read(path)
    assert str(caught.value) == f"{path}, line 2: expected 4 values, got 5."
