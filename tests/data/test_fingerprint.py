"""Which clips a model was trained on: counted by their names, in a bounded size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from auricle.data import Clip, Manifest, fingerprints, trained_on
from auricle.data.clips import Joined, Span


def manifest(numbers, folder="audio", suffix="wav"):
    clips = [Clip(Path(f"/data/{folder}/{i}.{suffix}"), ("a",)) for i in numbers]
    return Manifest(Path("/data/clips.csv"), clips)


def provenance(*sets):
    return {"recipe": "x", "trained_on": [each for some in sets for each in fingerprints(some)]}


def test_few_clips_are_counted_exactly():
    of = provenance(manifest(range(100)))
    assert trained_on(of, manifest(range(90, 120))) == 10
    assert trained_on(of, manifest(range(100, 120))) == 0


def test_a_clip_is_known_after_a_move_in_another_format_and_packed():
    of = provenance(manifest(range(10)))
    moved = [Clip(Path("elsewhere/audio/3.flac"), ("b",))]
    shard = Path("/s/0.tar")
    packed = [
        replace(moved[0], path=shard / "00.flac", span=Span(shard, 0, 1), source="audio/4.wav")
    ]
    assert trained_on(of, Manifest(Path("m.csv"), moved)) == 1
    assert trained_on(of, Manifest(Path("m.csv"), packed)) == 1
    assert trained_on(of, manifest(range(10), folder="other")) == 0


def test_many_clips_are_estimated_and_take_no_more_room():
    many = manifest(range(20_000))
    of = provenance(many)
    assert len(json.dumps(of)) < 10_000
    assert trained_on(of, many) == 20_000
    assert trained_on(of, manifest(range(10_000, 30_000))) == pytest.approx(10_000, rel=0.1)
    assert trained_on(of, manifest(range(20_000, 40_000))) == 0


def test_the_clips_of_several_sets_are_all_known():
    one, two = manifest(range(5)), manifest(range(5, 10))
    both = replace(one, clips=Joined([one.clips, two.clips]))
    assert trained_on(provenance(both), manifest(range(3, 8))) == 5


def test_a_start_and_the_members_of_an_average_are_known_too():
    first = provenance(manifest(range(5)))
    later = {"trained_on": fingerprints(manifest(range(5, 7)), first)}
    assert trained_on(later, manifest(range(5))) == 5
    average = {"average_of": [{"provenance": later}, {"provenance": {}}]}
    assert trained_on(average, manifest(range(5))) == 5
    for _ in range(9):
        later = {"trained_on": fingerprints(manifest([9]), later)}
    assert len(later["trained_on"]) == 4


@pytest.mark.parametrize(
    "of",
    [
        {},
        {"trained_on": "clips.csv"},
        {"trained_on": [{"clips": 3}, 7]},
        {"trained_on": [{"names": "x", "smallest": "AAAAAAAA"}]},
        {"trained_on": [{"names": 1, "smallest": "AAA"}]},
        {"trained_on": [{"names": 9, "smallest": ""}]},
    ],
)
def test_a_provenance_that_does_not_say_it_gives_none(of):
    assert trained_on(of, manifest(range(3))) is None
    assert len(fingerprints(manifest(range(3)), of)) <= 2  # what is no fingerprint is not kept


def test_a_clip_is_known_from_within_its_folder(monkeypatch, tmp_path):
    here = Manifest(Path("clips.csv"), [Clip(Path("3.wav"), ("a",))])
    for name, known in (("other", 0), ("audio", 1)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert trained_on(provenance(manifest(range(10))), here) == known
