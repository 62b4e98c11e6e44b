"""`auricle statistics`: what it prints fits a recipe."""

import numpy as np
import pytest
import soundfile
import typer
import yaml
from typer.testing import CliRunner

from auricle.cli.prepare import statistics
from auricle.data import measure_statistics, read
from auricle.features import FbankConfig


def test_it_prints_what_a_recipe_takes(tmp_path):
    lines = ["path,labels,split,fold", "0.wav,a,train,1", "1.wav,b,train,2", "2.wav,a,test,1"]
    source = tmp_path / "m.csv"
    source.write_text("\n".join(lines))
    for index in range(3):
        noise = np.random.default_rng(index).normal(0, 0.1 / (index + 1), 8000)
        soundfile.write(tmp_path / f"{index}.wav", noise, 16_000)
    app = typer.Typer()
    app.command()(statistics)
    conditions = ["--split", "train", "--not-fold", "1", "--num-mels", "40"]
    result = CliRunner().invoke(app, [str(source), *conditions])
    assert result.exit_code == 0, result.output

    chosen = read(source).select(split="train", not_fold=1)
    assert len(chosen.clips) == 1
    expected = measure_statistics(chosen, FbankConfig(num_mels=40))
    values = yaml.safe_load(result.stdout)
    assert values == pytest.approx({"mean": expected.mean, "std": expected.std}, abs=1e-6)
    assert FbankConfig(**values).mean == values["mean"]
