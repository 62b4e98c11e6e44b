"""`auricle describe`, for people and as JSON."""

import json

import torch
from typer.testing import CliRunner

from auricle import checkpoint
from auricle.cli.main import app
from auricle.features import FbankConfig


def describe(*words: object):
    return CliRunner().invoke(app, ["describe", *map(str, words)])


def test_a_size_is_described_for_people():
    lines = describe("ast-base").stdout.splitlines()
    assert lines[:6] == [
        "ast-base: ast",
        "  multiply-adds  130.514 G for one clip of 10.26 s (1024 frames)",
        "  tokens         1,214 for the same clip",
        "  activation     sigmoid",
        "  labels         527: Speech; Male speech, man speaking; Female speech, woman speaking; "
        "Child speech, kid speaking; Conversation; Narration, monologue; Babbling; Speech "
        "synthesizer; Shout; Bellow; Whoop; Yell; and 515 more",
        "  parameters     86,594,063",
    ]
    assert "    patches    197,376" in lines
    assert "  settings" in lines
    assert "  provenance: none recorded" in lines
    assert not any("lambda " in line for line in lines)


def test_nested_settings_have_dotted_names(tiny_model):
    text = describe(tiny_model).stdout
    assert "\n    conformer.num_blocks " in text
    assert "\n    padding.frames  16\n" in text


def test_json_is_one_object(tiny_model):
    result = describe(tiny_model, "--json")
    facts = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert facts["labels"] == ["dog", "cat", "rain", "sea"]
    assert set(facts) == {
        "name", "model", "parameters", "parameters_of", "multiply_adds", "tokens", "frames",
        "seconds", "settings", "front_end", "activation", "labels", "metrics", "provenance",
        "learned_lambdas",
    }  # fmt: skip


def test_learned_lambdas_are_said_of_each_block(tmp_path):
    settings = {"size": "tiny", "depth": 2, "differential": {"lambda_kind": "learned"}}
    model = checkpoint.create("asda", settings, FbankConfig(), ["dog", "cat"], "softmax")
    for block, product in zip(model.model.encoder.blocks, (0.5, 0.25), strict=True):
        learned = block.attention.weight
        with torch.no_grad():
            for vector in (*learned.queries, *learned.keys):
                vector.zero_()
            learned.queries[0][0] = learned.keys[0][0] = product**0.5
    checkpoint.save(model, tmp_path / "model")
    lines = describe(tmp_path / "model").stdout.splitlines()
    assert "  learned lambda  0.75, 0.38" in lines  # exp(0.5) - 1 + 0.1, exp(0.25) - 1 + 0.1


def test_an_unknown_model_is_one_line_and_exit_code_2(tmp_path):
    result = describe(tmp_path / "absent")
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'absent'}: no such checkpoint folder.\n"
