"""A checkpoint that scores soft sound as louder, and short sound repeated."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
import torch

from auricle import checkpoint
from auricle.features import PaddingConfig

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("set_front_end")


def test_only_the_front_end_changes(script, tiny_model, tmp_path, monkeypatch, tone):
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    words = ["set_front_end.py", str(copy), "--dbfs", "-25", "--frames", "98"]
    monkeypatch.setattr(sys, "argv", words)
    script.main()
    before, after = checkpoint.load(tiny_model), checkpoint.load(copy)
    assert after.config.front_end.min_level_dbfs == -25
    padding = PaddingConfig(mode="repeat", frames=98)
    changes = {"min_level_dbfs": -25.0, "padding": padding}
    expected = before.config.front_end.model_copy(update=changes)
    assert after.config == before.config.model_copy(update={"front_end": expected})
    state = after.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in before.state_dict().items())
    loud, soft = tone[None], 0.01 * tone[None]
    torch.testing.assert_close(after.score(loud), before.score(loud), rtol=0, atol=0)
    assert not torch.allclose(after.score(soft), before.score(soft), atol=1e-4)
    short, second = loud[:, :4000], loud[:, :4000].repeat(1, 4)[:, : 400 + 97 * 160]
    torch.testing.assert_close(after.score(short), before.score(second), rtol=0, atol=0)
