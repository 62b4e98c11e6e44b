"""Events in the formats of people and programs."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from auricle.data import strong
from auricle.data.strong import Event
from auricle.errors import ConfigError
from auricle.inference.records import EVENT_FORMATS, EventAnswer, choose_event_format
from auricle.inference.timeline import Columns, Timeline

EVENTS = [
    Event(1202.04, 1229.5, "Rain", 0.8149),
    Event(1210.0, 1210.3, "Bark & <howl>", 0.5),
    Event(1230.0, 1240.0, "Rain", 0.3),
]


def answer(events=EVENTS, seconds: float = 2400.0, dropped: int = 0) -> EventAnswer:
    num_hops = round(seconds * 10)
    mask = np.arange(num_hops) < dropped
    columns = Columns(np.zeros(2, np.float32))
    labels = ["Rain", "Bark & <howl>"]
    timeline = Timeline(
        labels, seconds, 0.1, np.zeros(num_hops), list(events), mask, False, columns
    )
    return EventAnswer(Path("farm/night.flac"), "tagger", timeline, 8000.0)


def text(name: str, given: EventAnswer | None = None) -> str:
    chosen = choose_event_format(name)
    return chosen.header + chosen.text(given or answer())


def test_the_table_is_for_people():
    assert text("table").splitlines() == [
        "farm/night.flac",
        "  0:20:02 - 0:20:30  Rain  81 %",
        "  0:20:10 - 0:20:11  Bark & <howl>  50 %",
        "  0:20:30 - 0:20:40  Rain  30 %",
    ]
    short = answer([Event(2.04, 2.3, "Bark", 0.5)], seconds=600.0)
    assert text("table", short).splitlines()[1:] == ["  0:00:02.0 - 0:00:02.3  Bark  50 %"]
    assert text("table", answer([])).splitlines()[1:] == ["  no events"]
    assert text("table", answer([], dropped=125)).splitlines()[2:] == ["  dropped: 12.5 s"]


def test_json_has_all_of_an_answer():
    [line] = text("json", answer(EVENTS[:1], dropped=30)).splitlines()
    assert json.loads(line) == {
        "file": "farm/night.flac",
        "duration": 2400.0,
        "model": "tagger",
        "hop": 0.1,
        "frame_scores": False,
        "events": [{"start": 1202.04, "end": 1229.5, "label": "Rain", "score": 0.8149}],
        "dropped": 3.0,
    }


def test_csv_has_a_row_for_each_event():
    rows = list(csv.DictReader(io.StringIO(text("csv"))))
    assert rows[0] == {
        "file": "farm/night.flac",
        "start": "1202.04",
        "end": "1229.5",
        "label": "Rain",
        "score": "0.8149",
    }
    assert len(rows) == 3


def test_dcase_has_a_header_and_a_row_for_each_event():
    assert text("dcase").splitlines()[:2] == [
        "filename\tonset\toffset\tevent_label",
        "farm/night.flac\t1202.040\t1229.500\tRain",
    ]


@pytest.mark.parametrize("name", ["raven", "audacity", "dcase"])
def test_what_programs_read_we_read_again(name, tmp_path):
    import soundfile

    events = [Event(0.5, 1.25, "Bark", 0.5), Event(1.0, 1.5, "Rain", 0.25)]
    given = answer(events, seconds=2.0)
    (tmp_path / "farm").mkdir()
    sound = tmp_path / "farm" / "night.flac"
    soundfile.write(sound, np.zeros(32_000), 16_000)
    folder = tmp_path if name == "dcase" else sound.parent
    suffix = choose_event_format(name).suffix or ".tsv"
    path = folder / f"night.flac{suffix}"
    path.write_text(text(name, given))
    [recording] = strong.read(path).recordings
    assert recording.path == sound
    assert [(e.onset, e.offset, e.label) for e in recording.events] == [
        (e.onset, e.offset, e.label) for e in events
    ]


def test_subtitles_show_events_in_a_player():
    assert text("vtt", answer(EVENTS[:2])) == (
        "WEBVTT\n\n00:20:02.040 --> 00:20:29.500\nRain 81 %\n\n"
        "00:20:10.000 --> 00:20:10.300\nBark &amp; &lt;howl&gt; 50 %\n"
    )
    assert "\n12:00:00.000 -->" in text("vtt", answer([Event(43200, 43201, "Rain", 0.5)]))


def test_a_textgrid_has_a_tier_for_each_label_whose_intervals_fill_it():
    quoted = [*EVENTS, Event(0.0, 1.0, 'Say "cheese"', 0.5)]
    document = text("textgrid", answer(sorted(quoted, key=lambda event: event.onset)))
    assert document.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n')
    names = re.findall(r"name = (.*)", document)
    assert names == ['"Say ""cheese"""', '"Rain"', '"Bark & <howl>"']
    rain = document.split("item [2]:")[1].split("item [3]:")[0]
    intervals = re.findall(r"xmin = ([\d.]+)\n\s+xmax = ([\d.]+)\n\s+text = (.*)", rain)
    assert [(float(start), float(end), name) for start, end, name in intervals] == [
        (0.0, 1202.04, '""'),
        (1202.04, 1229.5, '"Rain"'),
        (1229.5, 1230.0, '""'),
        (1230.0, 1240.0, '"Rain"'),
        (1240.0, 2400.0, '""'),
    ]
    assert "intervals: size = 5" in rain
    assert text("textgrid", answer([])).splitlines()[3:] == [
        "xmin = 0",
        "xmax = 2400.000000",
        "tiers? <absent>",
    ]


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError) as caught:
        choose_event_format("vvt")
    assert str(caught.value) == (
        "unknown format 'vvt'. Did you mean 'vtt'? Known: audacity, csv, dcase, json, raven, "
        "table, textgrid, vtt."
    )
    assert len(EVENT_FORMATS) == 8
