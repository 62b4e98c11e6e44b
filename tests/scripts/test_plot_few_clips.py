"""Accuracy against labelled clips a class, from the logs of an ablation."""

import importlib
import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("plot_few_clips")


@pytest.fixture
def kept(tmp_path):
    """Two starts, two numbers of clips, two seeds, two folds."""
    lines = [
        {
            "cell": f"{start}-{clips}",
            "run": f"seed-{seed}-fold-{fold}",
            "metrics": {
                "accuracy": (0.5 if start == "scratch" else 0.7) + 0.1 * seed + 0.02 * fold
            },
        }
        for start in ("scratch", "pretrained")
        for clips in ("1", "all")
        for seed in (0, 1)
        for fold in (1, 2)
    ]
    folder = tmp_path / "sounds"
    folder.mkdir()
    (folder / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_score_of_a_seed_is_the_mean_over_its_folds(script, kept):
    found = script.scores_of(kept)
    assert set(found) == {"scratch", "pretrained"}
    assert found["scratch"]["1"] == pytest.approx([53, 63])
    assert found["pretrained"]["all"] == pytest.approx([73, 83])


def test_all_stands_at_its_number_of_clips(script, kept, tmp_path, monkeypatch):
    out = tmp_path / "few_clips.png"
    monkeypatch.setattr(
        sys, "argv", ["plot_few_clips.py", str(kept), "--all", "32", "--out", str(out)]
    )
    script.main()
    assert out.read_bytes().startswith(b"\x89PNG")
    axes = importlib.import_module("matplotlib.figure").Figure().subplots()
    script.draw(axes, kept, 32)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "32\n(all)"]
    assert axes.get_xscale() == "log"


def test_a_grid_of_something_else_is_refused(script, kept):
    (kept / "runs.jsonl").write_text(json.dumps({"cell": "v1", "run": "seed-0", "metrics": {}}))
    with pytest.raises(SystemExit, match="v1/seed-0 is no run of few clips"):
        script.scores_of(kept)
