"""Records of answers, and the formats they are written in."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from auricle.errors import ConfigError
from auricle.inference import Group, Prediction, Recognition, records


def answer(score=0.25, recognised=None, groups=None):
    best = [Prediction("a, b", score, recognised), Prediction("c", 0.1234567, recognised)]
    whole = records.Part(Recognition(0.0, 2.00049, best, None, silence=False), groups)
    return records.Answer(Path("x/dog.wav"), "tiny", whole, [whole])


def test_a_record_is_rounded_and_holds_no_more_than_plain_values():
    assert records.record(answer()) == {
        "file": "x/dog.wav",
        "duration": 2.0,
        "model": "tiny",
        "labels": [{"label": "a, b", "score": 0.25}, {"label": "c", "score": 0.123457}],
        "recognised": None,
        "silence": False,
    }


def test_rows_are_those_of_the_columns():
    rows = records.rows(answer(recognised=False))
    assert rows[0] == ["x/dog.wav", 0.0, 2.0, "a, b", 0.25, 0, 0]
    assert len(rows[0]) == len(records.COLUMNS)
    group = Group("Animal", 0.5, (Prediction("Pets", 0.5), Prediction("Dog", 0.25)))
    [row] = records.rows(answer(groups=[group]))
    assert row == ["x/dog.wav", 0.0, 2.0, "Animal", 0.5, "", 0, "Pets > Dog"]
    assert records.title(group) == "Animal > Pets > Dog (25.0%)"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_never_holds_a_number_that_is_none(number):
    line = records.json_line(answer(score=number))
    assert json.loads(line, parse_constant=pytest.fail)["labels"][0]["score"] is None


def test_the_name_of_a_file_holds_nothing_that_a_terminal_obeys():
    foreign = replace(answer(), file=Path("\x1b[2J\x9b.wav"))
    texts = [records.choose_format(name).text(foreign) for name in ("table", "csv", "json")]
    assert [text.isprintable() for text in "".join(texts).splitlines()] == [True] * 6
    assert texts[0].startswith("\\x1b[2J\\x9b.wav\n")
    assert json.loads(texts[2])["file"] == "\x1b[2J\x9b.wav"


def test_csv_quotes_what_has_to_be():
    assert records.choose_format("csv").header(False) + records.choose_format("csv").text(
        answer()
    ) == (
        "file,start,end,label,score,recognised,silence\n"
        'x/dog.wav,0.0,2.0,"a, b",0.25,,0\n'
        "x/dog.wav,0.0,2.0,c,0.123457,,0\n"
    )


def test_an_unknown_format_is_refused():
    with pytest.raises(ConfigError) as caught:
        records.choose_format("jsn")
    assert str(caught.value) == (
        "unknown format 'jsn'. Did you mean 'json'? Known: csv, json, table."
    )
