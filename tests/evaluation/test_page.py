"""report.html: complete, alone, and safe whatever things are called."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from auricle.data import Clip, Manifest
from auricle.evaluation import page, report
from auricle.evaluation.evaluate import ScoredClips, measure

LABELS = ["<b>bark", 'me"ow', "r&b"]


@pytest.fixture
def evaluation(tmp_path):
    """Six clips, the second of which is wrong; one is called like markup."""
    folder = tmp_path / "sounds & more"
    names = ["a.wav", "<script>alert(1) #1?.wav", "c.wav", "d.wav", "e.wav", "f.wav"]
    clips = [Clip(folder / name, (LABELS[index % 3],)) for index, name in enumerate(names)]
    scores = torch.eye(3)[torch.tensor([0, 2, 2, 0, 1, 2])] * 0.5 + 0.2
    manifest = Manifest(folder / "clips.csv", tuple(clips))
    return measure(manifest, ScoredClips(clips, scores, []), LABELS)


class Reader(HTMLParser):
    """What a browser would see: tags with attributes, and text by tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self._open = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")
        self._open = tag

    def handle_data(self, data):
        if self.cells and self._open in ("td", "a"):
            self.cells[-1] += data.strip("\n")

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def written(evaluation, tmp_path, **asked):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    record = report.metrics_record(evaluation, {"model": "m", "data": "d"} | asked)
    return Reader(page.page(evaluation, record, folder))


def test_the_page_needs_no_network_and_no_other_file(evaluation, tmp_path):
    seen = written(evaluation, tmp_path)
    pictures = [image["src"] for image in seen.of("img")]
    assert len(pictures) == 4
    assert all(source.startswith("data:image/png;base64,") for source in pictures)
    assert seen.of("link") == []
    assert seen.of("script") == [{}]
    links = [a["href"] for a in seen.of("a")] + [audio["src"] for audio in seen.of("audio")]
    assert not [link for link in links if "//" in link or ":" in link]


def test_worst_clips_can_be_listened_to(evaluation, tmp_path):
    seen = written(evaluation, tmp_path)
    [link], [player] = seen.of("a"), seen.of("audio")
    assert link["href"] == player["src"]
    place = tmp_path / "out" / unquote(link["href"])
    assert place.resolve() == evaluation.clips[1].path.resolve()
    assert player["preload"] == "none"


def test_every_name_is_escaped(evaluation, tmp_path):
    seen = written(evaluation, tmp_path, model="<img src=x>", trained_on=3)
    assert seen.cells[seen.cells.index("trained_on") + 1] == "3"
    assert {'me"ow', "<b>bark", "r&b"} < set(seen.cells)
    assert "<script>alert(1) #1?.wav" in seen.cells
    assert len(seen.of("script")) == 1
    assert seen.of("b") == []
    assert "<img src=x>" in seen.cells


def test_every_class_has_a_row_that_can_be_sorted(evaluation, tmp_path):
    seen = written(evaluation, tmp_path)
    assert {"class": "sortable"} in seen.of("table")
    for row in evaluation.metrics["classes"]:
        place = seen.cells.index(row["label"])
        expected = [row["clips"], *(f"{row[key]:.3f}" for key in ("average_precision", "auc"))]
        assert seen.cells[place + 1 : place + 4] == list(map(str, expected))


def test_members_of_an_ensemble_have_a_table(evaluation, tmp_path):
    members = [{"member": "<a>", "weight": 0.5, "mAP": 0.25, "d_prime": None}]
    seen = written(evaluation, tmp_path, members=members)
    place = seen.cells.index("<a>")
    assert seen.cells[place : place + 4] == ["<a>", "0.500", "0.250", "-"]


def test_a_sound_within_a_shard_has_no_link(evaluation, tmp_path):
    from auricle.data.clips import Span

    clips = [replace(clip, span=Span(Path("x.tar"), 0, 1)) for clip in evaluation.clips]
    seen = written(replace(evaluation, clips=clips), tmp_path)
    assert seen.of("a") == seen.of("audio") == []


def test_nothing_wrong_is_said(evaluation, tmp_path):
    right = measure(
        evaluation.manifest,
        ScoredClips(evaluation.clips, evaluation.targets.float(), []),
        LABELS,
    )
    assert right.metrics["d_prime"] is None
    folder = tmp_path / "out"
    folder.mkdir()
    text = page.page(right, report.metrics_record(right, {}), folder)
    assert "<p>No clip is wrong.</p>" in text
    assert ">inf<" not in text and ">nan<" not in text
    assert "<td>not defined: infinite, as mAUC is exactly 1</td>" in text


def test_a_name_that_is_no_text_can_be_written(evaluation, tmp_path):
    """A file system may hold names that are not UTF-8."""
    odd = replace(evaluation.clips[1], path=evaluation.clips[1].path.with_name("\udcff.wav"))
    clips = [evaluation.clips[0], odd, *evaluation.clips[2:]]
    report.write(replace(evaluation, clips=clips), tmp_path / "out", {})
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "%FF.wav" in text
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert stored["worst"][0]["clip"] == "\\udcff.wav"
    assert "\n\\udcff.wav," in (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8")


def test_classes_that_no_clip_has_stand_last(evaluation, tmp_path):
    clips = [evaluation.clips[index] for index in (1, 2, 4, 5)]
    heard = ScoredClips(clips, evaluation.scores[[1, 2, 4, 5]], [])
    few = measure(evaluation.manifest, heard, LABELS)
    text = " ".join(written(few, tmp_path).cells)
    first = [text.index(label) for label in ('me"ow', "r&b", "<b>bark")]
    assert first == sorted(first)
