"""Hours of pretraining from whole steps, and the products that count as useful."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
OPTIONS = Namespace(
    recipe="pretrain_asda_base", size="tiny", batch=1, seconds=2, precision="32-true"
)


@pytest.fixture
def hours(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("pretraining_hours")


def by_hand(config, clones, decoder, kept, places):
    """Multiply-adds of one clip's step: teacher, students, decoder."""
    width, patch = config.width, 16 * 16
    layer = width * 6 * width + 2 * width * int(config.mlp_ratio * width)

    def encoder(tokens):  # two maps a head
        return config.depth * (tokens * layer + 4 * tokens**2 * width)

    patches = places * patch * width
    grid = decoder.depth * decoder.kernel**2 * width**2 // decoder.groups + width**2
    teacher = patches + encoder(places + 1)
    learning = patches + clones * (encoder(kept + 1) + places * grid)
    return teacher + 3 * learning


def test_the_products_are_those_that_a_calculation_by_hand_gives(hours):
    recipe = hours.read(OPTIONS)
    objective = hours.build(recipe).model
    places = 8 * 13  # 208 frames
    multiply_adds = by_hand(
        objective.student.config, 16, objective.config.decoder, kept=20, places=places
    )
    assert hours.operations_a_clip(recipe, 2) == 2 * multiply_adds


def test_the_way_back_is_twice_the_way_forward_but_for_the_input(hours):
    recipe = hours.read(OPTIONS)
    # torch counts the way back of grouped convolutions as of whole ones.
    settings = recipe.pretraining.model_dump()
    settings["objective"]["decoder"]["groups"] = 1
    recipe = recipe.model_copy(update={"pretraining": type(recipe.pretraining)(**settings)})
    step = hours.build(recipe).train()
    objective = step.model
    features = step.fbank(*hours.noise(recipe, 2, "cpu")[:2])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        objective(*features).loss.mean().backward()
    to_input = 2 * 8 * 13 * 16 * 16 * objective.student.config.width  # nobody asks for this one
    assert counter.get_total_flops() == hours.operations_a_clip(recipe, 2) - to_input


def test_a_step_in_parts_changes_all_weights_and_the_teacher(hours):
    recipe = hours.read(Namespace(**{**vars(OPTIONS), "batch": 2}))
    step = hours.WholeStep(recipe, 2, "cpu", parts=2)
    objective = step.step.model
    before = {name: value.clone() for name, value in objective.named_parameters()}
    for group in step.optimizer.param_groups:
        group["lr"] = 1e-2
    step()
    same = [name for name, value in objective.named_parameters() if value.equal(before[name])]
    assert not [name for name in same if "positions" not in name]
    assert all(parameter.grad is None for parameter in objective.parameters())


def test_the_command_prints_hours_and_writes_all_numbers(hours, monkeypatch, capsys, tmp_path):
    words = "--size tiny --batch 1 --seconds 2 --steps 1 --rounds 1 --precision 32-true"
    out = tmp_path / "hours.json"
    monkeypatch.setattr(sys, "argv", ["pretraining_hours.py", *words.split(), "--out", str(out)])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    hours.main()
    table = capsys.readouterr().out
    assert "unknown" in table and "(published: 232)" in table and "(not published)" in table
    result = json.loads(out.read_text())
    assert result["peak_share"] is None and result["settings"]["clones"] == 16
    eat, asda = result["hours"]["EAT"], result["hours"]["ASDA"]
    assert eat["clips_heard"] == 19_200_000
    assert asda["gpu_hours"] == 2 * eat["gpu_hours"]
    assert eat["gpu_hours"] == pytest.approx(19.2e6 * result["seconds_a_step"] / 3600)


def test_the_share_of_the_peak_is_that_of_the_card(hours, monkeypatch):
    measures = importlib.import_module("measures")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert measures.peak_share(98.9e12, "cuda") == pytest.approx(0.1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA GeForce RTX 3090")
    assert measures.peak_share(1e12, "cuda") is None


def test_a_batch_that_does_not_fit_is_taken_in_parts(hours, monkeypatch, capsys):
    def measure(recipe, options, parts):
        if parts < 4:
            raise torch.OutOfMemoryError
        return {"parts": parts}

    monkeypatch.setattr(hours, "measure", measure)
    options = Namespace(batch=12, device="cpu")
    assert hours.measure_what_fits(None, options) == {"parts": 4}
    assert capsys.readouterr().err.count("out of memory") == 3
