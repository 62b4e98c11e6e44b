"""What a machine cannot do is refused by name; what it can reaches lightning."""

import pytest
import torch

from auricle.errors import ConfigError
from auricle.training import Machine, SupervisedConfig
from auricle.training.adapter import LoaderSpec, LoaderSpecs
from auricle.training.fit import fit
from auricle.training.framework import FSDPStrategy, lightning
from auricle.training.history import History
from auricle.training.step import Step

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="refused only without CUDA")


def config(**settings) -> SupervisedConfig:
    values = {"epochs": 1, "batch_size": 12, "loss": "ce", "optimizer": {"learning_rate": 0.1}}
    return SupervisedConfig(**{**values, **settings})


@NO_GPU
@pytest.mark.parametrize(
    "machine, settings, message",
    [
        (
            Machine("cuda"),
            {},
            "--device cuda: this machine has no CUDA device that torch can use. Use --device cpu, "
            "or install a driver and a build of torch for it.",
        ),
        (Machine("gpu"), {}, "--device gpu: choose one of auto, cpu, cuda."),
        (Machine(strategy="dp"), {}, "--strategy dp: choose one of auto, ddp, fsdp."),
        (Machine("cpu", devices=0), {}, "--devices 0: give 1 or more."),
        (Machine("cpu", nodes=0), {}, "--nodes 0: give 1 or more."),
        (Machine("cpu", save_every=0), {}, "--save-every 0: give more than 0 minutes."),
        (
            Machine("cpu", devices=2, strategy="fsdp"),
            {},
            "--strategy fsdp needs CUDA devices. On a CPU use --strategy ddp, with which every "
            "process holds the whole model.",
        ),
        (
            Machine("cpu"),
            {"precision": "16-mixed"},
            "training.precision: 16-mixed needs a CUDA device; use bf16-mixed or 32-true here.",
        ),
        (
            Machine("cpu", devices=4, nodes=2),
            {"accumulate": 2},
            "training.batch_size is 12, which 8 processes with training.accumulate=2 cannot share "
            "evenly. Use a multiple of 16.",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(machine, settings, message):
    with pytest.raises(ConfigError) as caught:
        machine.check(config(**settings))
    assert str(caught.value) == message


def one_gpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.parametrize(
    "machine, settings, message",
    [
        (
            Machine(devices=3),
            {},
            "--devices 3: this machine has 1 CUDA device. Use --devices 1.",
        ),
        (
            Machine(strategy="fsdp"),
            {"average_decay": 0.9},
            "--strategy fsdp: weights are not averaged where processes share them. Use --strategy "
            "ddp, or leave training.average_decay and training.average_epochs out.",
        ),
        (
            Machine(strategy="fsdp"),
            {"average_epochs": (1, 1)},
            "--strategy fsdp: weights are not averaged where processes share them. Use --strategy "
            "ddp, or leave training.average_decay and training.average_epochs out.",
        ),
    ],
)
def test_what_a_machine_with_one_gpu_cannot_do_is_refused(monkeypatch, machine, settings, message):
    one_gpu(monkeypatch)
    with pytest.raises(ConfigError) as caught:
        machine.check(config(**settings))
    assert str(caught.value) == message


def test_other_processes_than_torchrun_started_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as caught:
        Machine("cpu").check(config())
    assert str(caught.value) == (
        "--devices 1: torchrun has started 2 processes here. Use --devices 2."
    )
    Machine("cpu", devices=2).check(config())


class Asked(Exception):
    """Ends a fit once the Trainer was asked for."""


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What the Trainer is asked for."""
    options: dict = {}

    def trainer(**given):
        options.update(given)
        raise Asked

    monkeypatch.setattr(lightning, "Trainer", trainer)
    return options


class Toy(Step):
    model = torch.nn.Linear(1, 1)
    loss = idle = validate = metrics = None


def ask(tmp_path, machine: Machine, **settings) -> None:
    history = History(tmp_path, "score", lambda *parts: None)
    specs = LoaderSpecs(LoaderSpec(torch.utils.data.SequentialSampler(range(4)), None), None)
    with pytest.raises(Asked):
        fit(Toy(), specs, config(**settings), history, 0, machine)


def test_settings_reach_the_trainer(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("auricle.training.machine.has_bf16_instructions", lambda: True)
    ask(tmp_path, Machine("cpu", 2, 3), accumulate=2, gradient_clip=0.5, precision="bf16-mixed")
    expected = {
        "accelerator": "cpu",
        "devices": 2,
        "num_nodes": 3,
        "strategy": "ddp",
        "accumulate_grad_batches": 2,
        "gradient_clip_val": 0.5,
        "precision": "bf16-mixed",
        "limit_val_batches": 0,
    }
    assert {name: asked[name] for name in expected} == expected


@pytest.mark.parametrize("has_bf16", [True, False])
def test_bf16_is_left_where_the_cpu_has_no_instructions_for_it(
    asked, tmp_path, monkeypatch, capsys, has_bf16
):
    monkeypatch.setattr("auricle.training.machine.has_bf16_instructions", lambda: has_bf16)
    used = "bf16-mixed" if has_bf16 else "32-true"
    ask(tmp_path, Machine("cpu"), precision="auto")
    assert (asked["precision"], capsys.readouterr().err) == (used, "")
    ask(tmp_path, Machine("cpu"), precision="bf16-mixed")
    said = (
        "training.precision: this CPU has no instructions for bf16-mixed, which would be up to 60 "
        "times slower; training in 32-true.\n"
    )
    assert (asked["precision"], capsys.readouterr().err) == (used, "" if has_bf16 else said)
    ask(tmp_path, Machine("cpu"), precision="32-true")
    assert asked["precision"] == "32-true"


def test_shared_weights_reach_the_trainer(asked, tmp_path, monkeypatch):
    one_gpu(monkeypatch)
    ask(tmp_path, Machine(strategy="fsdp"))
    assert isinstance(asked["strategy"], FSDPStrategy)


def test_one_process_needs_no_strategy(asked, tmp_path):
    ask(tmp_path, Machine("cpu"))
    assert (asked["strategy"], asked["devices"]) == ("auto", 1)


def test_memory_is_measured():
    assert 0.05 < Machine("cpu").peak_memory_gb() < 64
