"""The device: from a word to what this machine has."""

import pytest
import torch

from auricle.errors import ConfigError
from auricle.inference import device


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many graphics cards, and maybe Apple's."""

    def have(num_cuda: int, has_mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: num_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)

    return have


@pytest.mark.parametrize(
    "num_cuda, has_mps, fastest", [(0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps")]
)
def test_auto_is_the_fastest_present(machine, num_cuda, has_mps, fastest):
    machine(num_cuda, has_mps)
    assert device.choose("auto") == torch.device(fastest)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_present_is_taken(machine, name):
    machine(2, False)
    assert device.choose(name) == torch.device(name)


@pytest.mark.parametrize("name", ["mps", "mps:0"])  # a tensor there says the second of itself
def test_an_apple_device_is_taken_by_either_name(machine, name):
    machine(0, True)
    assert device.choose(name) == torch.device(name)


@pytest.mark.parametrize(
    "num_cuda, name, message",
    [
        (0, "gpu", "unknown device 'gpu'. Did you mean 'cpu'? Known: auto, cpu, cuda, mps."),
        (0, "cuda", "device 'cuda' is not available on this machine. Available: cpu."),
        (1, "cuda:3", "device 'cuda:3' is not available on this machine. Available: cuda:0, cpu."),
        (1, "mps", "device 'mps' is not available on this machine. Available: cuda:0, cpu."),
        (1, "cuda:x", "device 'cuda:x' is not available on this machine. Available: cuda:0, cpu."),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine, num_cuda, name, message):
    machine(num_cuda, False)
    with pytest.raises(ConfigError) as caught:
        device.choose(name)
    assert str(caught.value) == message
