"""Metrics of events against sed_scores_eval, in an environment of its own: it needs old pandas."""

import json
import subprocess
import sys

import numpy as np
import pytest

from auricle.data.strong import Event
from auricle.evaluation.events import (
    PSDS1,
    PSDS2,
    Recording,
    event_based,
    intersection_based,
    psds,
    segment_based,
)

LABELS = ["alarm", "dog", "speech"]
SECONDS, HOP, THRESHOLD = 10.0, 0.1, 0.5
PACKAGES = ["numpy", "pandas<3", "scipy", "einops", "lazy-dataset", "matplotlib"]

# sed_eval, of which it needs one function, brings packages that no longer install everywhere.
STAND_IN = '''
def bipartite_match(graph):
    """Largest matching of a dictionary of neighbours: partner by neighbour."""
    partner = {}
    def assign(node, tried):
        for other in graph[node]:
            if other not in tried:
                tried.add(other)
                if other not in partner or assign(partner[other], tried):
                    partner[other] = node
                    return True
    for node in graph:
        assign(node, set())
    return partner
'''

REFERENCE = """
import json, sys
import numpy as np
from sed_scores_eval import collar_based, intersection_based, segment_based
from sed_scores_eval.base_modules.scores import create_score_dataframe
case = json.load(sys.stdin)
frame = lambda scores: create_score_dataframe(np.array(scores), case["times"], case["labels"])
scores = {str(at): frame(scores) for at, scores in enumerate(case["scores"])}
truth = {str(at): list(map(tuple, events)) for at, events in enumerate(case["truth"])}
seconds = {name: case["seconds"] for name in scores}
cut = {"threshold": case["threshold"]}
collars = {"onset_collar": 0.2, "offset_collar": 0.2, "offset_collar_rate": 0.2}
both = {"dtc_threshold": 0.5, "gtc_threshold": 0.5}
first = {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_st": 1.0}
second = {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5}
json.dump({
    "event_based": collar_based.fscore(scores, truth, **cut, **collars)[0],
    "segment_based": segment_based.fscore(scores, truth, seconds, **cut, segment_length=1.0)[0],
    "intersection_based": intersection_based.fscore(scores, truth, **cut, **both)[0],
    "psds1": intersection_based.psds(scores, truth, seconds, **first)[0],
    "psds2": intersection_based.psds(scores, truth, seconds, **second, alpha_st=1.0)[0],
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Runs sed_scores_eval on a case and gives what it finds."""
    folder = tmp_path_factory.mktemp("sed_scores_eval")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet"]
    try:
        subprocess.run([*pip, *PACKAGES], check=True, capture_output=True)
        package = ["--no-deps", "sed-scores-eval-np2==0.0.4"]
        subprocess.run([*pip, *package], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"sed_scores_eval cannot be installed: {error.stderr.decode()[-300:]}")
    (folder / "sed_eval").mkdir()
    (folder / "sed_eval" / "__init__.py").touch()
    (folder / "sed_eval" / "util.py").write_text(STAND_IN)

    def run(case: dict) -> dict:
        done = subprocess.run(
            [python, "-c", REFERENCE],
            input=json.dumps(case),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(folder), "PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def recordings(random: np.random.Generator, noise: float) -> list[Recording]:
    """Recordings with true events, scores that follow them roughly, and events above THRESHOLD."""
    found = []
    for _ in range(40):
        truth = []
        for label in LABELS:
            end = 0.0
            while random.random() < 0.6:
                onset = round(end + random.uniform(0.1, 3.0), 3)
                end = round(onset + random.uniform(0.3, 3.0), 3)
                if end <= SECONDS:
                    truth.append(Event(onset, end, label))
        scores = np.zeros((round(SECONDS / HOP), len(LABELS)))
        for event in truth:
            label = LABELS.index(event.label) if random.random() < 0.9 else random.integers(3)
            first, last = np.round(np.array([event.onset, event.offset]) / HOP).astype(int)
            first, last = first + random.integers(-2, 3), last + random.integers(-2, 3)
            scores[max(first, 0) : last, label] += random.uniform(0.3, 1.0)
        scores = (scores + random.normal(0, noise, scores.shape)).clip(0, 1).round(2)
        found.append(Recording(SECONDS, truth, list(above(scores)), scores, HOP))
    return found


def above(scores: np.ndarray):
    for column, label in enumerate(LABELS):
        steps = np.diff(np.pad(scores[:, column] > THRESHOLD, 1).astype(int))
        for first, last in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
            yield Event(first * HOP, last * HOP, label)


@pytest.mark.slow
@pytest.mark.parametrize("seed, noise", [(0, 0.0), (1, 0.02), (2, 0.05), (3, 0.1)])
def test_metrics_are_those_of_sed_scores_eval(reference, seed, noise):
    given = recordings(np.random.default_rng(seed), noise)
    times = np.minimum(np.arange(round(SECONDS / HOP) + 1) * HOP, SECONDS).tolist()
    theirs = reference(
        {
            "labels": LABELS,
            "times": times,
            "seconds": SECONDS,
            "threshold": THRESHOLD,
            "scores": [recording.scores.tolist() for recording in given],
            "truth": [
                [(event.onset, event.offset, event.label) for event in recording.truth]
                for recording in given
            ],
        }
    )
    for metric in (event_based, segment_based, intersection_based):
        ours, other = metric(given, LABELS), theirs[metric.__name__]
        assert ours["micro"]["f1"] == pytest.approx(other["micro_average"], abs=1e-12)
        assert ours["macro"]["f1"] == pytest.approx(other["macro_average"], abs=1e-12)
        by_label = {row["label"]: row["f1"] for row in ours["classes"]}
        assert by_label == pytest.approx({label: other[label] for label in LABELS}, abs=1e-12)
    assert 0 < theirs["psds2"] < 1
    assert psds(given, LABELS, PSDS1)["psds"] == pytest.approx(theirs["psds1"], abs=1e-12)
    assert psds(given, LABELS, PSDS2)["psds"] == pytest.approx(theirs["psds2"], abs=1e-12)
