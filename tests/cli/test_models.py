"""`auricle models`: what is told of the built-in models."""

import json

from typer.testing import CliRunner

from auricle import catalogue, checkpoint
from auricle.cli.main import app
from auricle.inference import names


def run(*words):
    result = CliRunner().invoke(app, ["models", *words])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_each_built_in_model_has_size_labels_score_and_speed():
    lines = run().splitlines()
    assert [line.split()[0] for line in lines[::5]] == names.builtin_names()
    assert lines[:4] == [
        "esc10         Names one of ten sounds in a recording.",
        "  size        2.9 MB, 1.44 M parameters, scores 5.06 s in one piece",
        "  labels      10: chainsaw; clock_tick; crackling_fire; crying_baby; and 6 more",
        "  score       83.5% accuracy (ESC-10, mean of 5 folds)",
    ]
    assert lines[4].startswith("  speed       ")
    assert " ms for 10 s of sound (one thread, " in lines[4]


def test_json_holds_all_of_it():
    text = run("--json")
    rows = {row["name"]: row for row in json.loads(text)}
    assert text.count("\n") == 1
    assert sorted(rows) == names.builtin_names()
    keywords = rows["keywords"]
    assert len(keywords["labels"]) == 12
    assert (keywords["sample_rate"], keywords["thresholds"]) == (16_000, False)
    assert len(keywords["scores"]) == 4
    assert (len(rows["tagger"]["labels"]), rows["tagger"]["thresholds"]) == (527, True)
    assert dict(zip(rows["tagger"]["labels"], rows["tagger"]["ids"], strict=True))["Dog"] == (
        "/m/0bt9lr"
    )
    assert keywords["ids"] is None
    assert keywords["speed"]["milliseconds"] > 0


def test_what_was_not_recorded_is_said(tiny_model, monkeypatch):
    monkeypatch.setattr(names, "BUILTIN", tiny_model.parent)
    count = sum(each.numel() for each in checkpoint.load(tiny_model).model.parameters())
    assert run().splitlines() == [
        "tiny",
        f"  size        0.1 MB, {count / 1e6:.2f} M parameters, scores 2.02 s in one piece",
        "  labels      4: dog; cat; rain; sea",
        "  score       not recorded",
        "  speed       not recorded",
    ]


def test_public_models_follow_with_size_licence_score_place_and_state(monkeypatch, tmp_path):
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path))
    lines = run("--all").splitlines()
    assert lines[: len(run().splitlines())] == run().splitlines()
    first = lines.index("ced-tiny      CED-tiny, AudioSet's 527 labels.")
    assert lines[first + 1 : first + 6] == [
        "  size        22.0 MB, 5.5 M parameters",
        "  licence     Apache-2.0",
        "  score       48.1% mAP (AudioSet; as published, not measured here)",
        "  from        https://huggingface.co/mispeech/ced-tiny, revision ace276d29dd0",
        "  cached      no",
    ]
    text = "\n".join(lines)
    assert "size unknown, 88 M parameters" in text
    assert "https://huggingface.co/ta012/SSLAM_AS2M_Finetuned, revision unknown: the newest" in text
    assert "  licence     not stated; forbids any use that the authors did not permit, for" in text
    assert "  from        no address known; see https://github.com/MyParadise21/ASDA" in text
    assert lines[-1] == f"Public models are kept in {tmp_path}"


def test_json_holds_public_models_too():
    rows = {row["name"]: row for row in json.loads(run("--all", "--json"))}
    assert set(rows) == {*names.builtin_names(), *catalogue.names()}
    assert rows["ast"]["sha256"] == catalogue.find("ast").sha256
    assert (rows["eat-base"]["bytes"], rows["eat-base"]["cached"]) == (None, False)
