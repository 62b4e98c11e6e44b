"""Engines: what turns a batch of waveforms into scores and embeddings, on one device.

Shapes: B waveforms, S samples, C classes, D width of the embedding, T frames.
"""

import copy
import platform
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from auricle import features
from auricle.checkpoint import Checkpoint
from auricle.errors import ConfigError, unknown_name
from auricle.inference import names
from auricle.models import PatchTransformer
from auricle.padding import deviation_over, inside, mean_over

DEVICES = ("auto", "cpu", "cuda", "mps")
LOG_MEL = "log-mel"  # the name of the baseline
LOG_MEL_SECONDS = 30.0  # of its windows
MOST_AT_ONCE = 4  # batches: more take memory, and large ones have work for several cores


class Engine(Protocol):
    """Scores and embeds waveforms `(B, S)`, mono, at its own rate, zero beyond `lengths` `(B,)`.

    Waveforms come from the CPU and results go there, as float32.

    Attributes:
        sample_rate: in Hz.
        labels: names of the C classes, in the order of the scores; empty: it only embeds.
        thresholds: from which score on each label is recognised; None: nothing was calibrated.
        shortest_samples, longest_samples: lengths that it takes.
        batches_at_once: how many it computes best at once, in threads; 1: one after another.
        omits_pauses: whether it scores windows without their pauses; otherwise as they are.
    """

    @property
    def sample_rate(self) -> int: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def thresholds(self) -> tuple[float, ...] | None: ...
    @property
    def shortest_samples(self) -> int: ...
    @property
    def longest_samples(self) -> int: ...
    @property
    def batches_at_once(self) -> int: ...
    @property
    def omits_pauses(self) -> bool: ...

    def score(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return scores `(B, C)` from 0 to 1."""

    def embed(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return embeddings `(B, D)`."""


class TorchEngine:
    """A checkpoint in eval mode on a device.

    Args:
        device: "auto" (the fastest present), "cpu", "cuda", "cuda:1" or "mps".
        deviation: append the standard deviation over the last patches to embeddings, `(B, 2 D)`.

    Raises:
        ConfigError: unknown device; `deviation` of a model that keeps no patches to its end.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto", deviation: bool = False):
        self.device = choose_device(device)
        if deviation and not isinstance(checkpoint.model, PatchTransformer):
            raise ConfigError(
                "deviation: it is taken over patches, which an ast, ham_ast or asda keeps to its "
                f"end and a {checkpoint.config.model} does not."
            )
        self.checkpoint = checkpoint.to(self.device).eval()
        self._scored = self.checkpoint
        if self.device.type == "cpu" and prefers_onednn():
            self._scored = with_onednn(self.checkpoint)
        self.deviation = deviation
        self.labels = checkpoint.labels
        self.thresholds = checkpoint.config.thresholds
        self.sample_rate = checkpoint.config.front_end.sample_rate
        self.shortest_samples = shortest_samples(checkpoint)
        self.longest_samples = longest_samples(checkpoint)
        self.omits_pauses = checkpoint.config.front_end.padding.mode == "repeat"

    @property
    def batches_at_once(self) -> int:
        """One for each core that torch may use, up to a few; 1 on other devices."""
        return cores_at_once(self.device)

    @torch.no_grad()  # not inference_mode: people train probes on embeddings
    def score(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return scores `(B, C)` from 0 to 1."""
        scores = self._scored.score(waveforms.to(self.device), lengths.to(self.device))
        return scores.float().cpu()

    @torch.no_grad()
    def embed(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return embeddings `(B, D)`, what the head reads, or `(B, 2 D)` with the deviation."""
        waveforms, lengths = waveforms.to(self.device), lengths.to(self.device)
        model = self._scored.model
        if self.deviation and isinstance(model, PatchTransformer):
            embeddings = model.embed_with_deviation(*self._scored.fbank(waveforms, lengths))
        else:
            embeddings = self._scored.embed(waveforms, lengths)
        return embeddings.float().cpu()


class LogMel:
    """The baseline of probes, without a model: mean and deviation over time of 128 log-mel bands.

    Raises:
        ConfigError: unknown device.
    """

    labels: list[str] = []
    thresholds = None
    omits_pauses = False

    def __init__(self, device: str = "auto"):
        self.device = choose_device(device)
        self.fbank = features.Fbank(features.FbankConfig()).to(self.device)
        self.sample_rate = self.fbank.config.sample_rate
        self.shortest_samples = self.fbank.shortest_size
        self.longest_samples = round(LOG_MEL_SECONDS * self.sample_rate)

    @property
    def batches_at_once(self) -> int:
        """As of `TorchEngine`."""
        return cores_at_once(self.device)

    def score(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return `(B, 0)`: it has no classes."""
        return torch.empty(len(waveforms), 0)

    @torch.no_grad()
    def embed(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return the means of the bands and then their standard deviations, `(B, 256)`."""
        waveforms, lengths = waveforms.to(self.device), lengths.to(self.device)
        log_mel, counts = self.fbank.log_mel(waveforms, lengths)
        valid = inside(counts, log_mel.shape[1])
        parts = [mean_over(log_mel, valid), deviation_over(log_mel, valid)]
        return torch.cat(parts, dim=1).float().cpu()


def load_embedder(
    name_or_path: str | Path, device: str = "auto", seed: int = 0, deviation: bool = False
) -> Engine:
    """Load what embeds: "log-mel", a size such as "ham_ast-tiny", or any model, labels or not.

    Args:
        seed: of the weights of a size, which was never trained.
        deviation: as of `TorchEngine`.

    Raises:
        CheckpointError: nothing is called so, or what is there cannot be used.
        ConfigError: unknown device or size; `deviation` of what has no patches.
    """
    name = str(name_or_path)
    if name == LOG_MEL and not Path(name).exists():
        if deviation:
            raise ConfigError(f"deviation: {LOG_MEL} has it anyway, so leave it out.")
        return LogMel(device)
    if not names.is_size(name):
        return TorchEngine(names.resolve(name_or_path), device, deviation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TorchEngine(names.untrained(name, []), device, deviation)


class OneDnnLinear(nn.Linear):
    """A linear layer that oneDNN computes where no gradient is wanted.

    torch leaves float32 to MKL, whose kernels for AVX-512 do not run on AMD's processors: there
    oneDNN takes less than half the time (`benchmarks/linear.py`).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        is_float32 = inputs.dtype == self.weight.dtype == torch.float32
        is_plain = is_float32 and not torch.is_autocast_enabled("cpu")
        if torch.is_grad_enabled() or not is_plain or inputs.device.type != "cpu":
            return F.linear(inputs, self.weight, self.bias)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self.weight, self.bias, "none", [], ""
        )
        return product


@cache
def prefers_onednn() -> bool:
    """Whether oneDNN is faster than MKL on this processor: on AMD's, by `benchmarks/linear.py`."""
    backends = torch.backends
    if not (backends.mkldnn.is_available() and backends.mkl.is_available()):
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # not of torch's public interface
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return "AuthenticAMD" in platform.processor()


def with_onednn(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of the same tensors whose linear layers oneDNN computes.

    The given one stays as it is: it may be in training, and its losses are not to depend on
    whether it was scored in between.
    """
    tensors = (*checkpoint.parameters(), *checkpoint.buffers())
    twin = copy.deepcopy(checkpoint, {id(tensor): tensor for tensor in tensors})
    for layer in twin.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = OneDnnLinear
    return twin


def cores_at_once(device: torch.device) -> int:
    """How many batches a device computes best at once."""
    # Threads do not inherit autocast.
    if device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return 1
    return min(MOST_AT_ONCE, torch.get_num_threads())


def longest_frames(checkpoint: Checkpoint) -> int:
    """Return how many frames the model takes at once."""
    padding = checkpoint.config.front_end.padding
    return padding.frames if padding.mode == "fixed" else checkpoint.model.config.max_frames


def longest_samples(checkpoint: Checkpoint) -> int:
    """Return the most samples that make no more than `longest_frames`: the length of a window."""
    return checkpoint.fbank.num_samples(longest_frames(checkpoint) + 1) - 1


def shortest_samples(checkpoint: Checkpoint) -> int:
    """Return the fewest samples that it takes, or one frame's where the front end fills up."""
    shortest_frames = checkpoint.model.config.shortest_frames
    fills_up = checkpoint.config.front_end.padding.frames >= shortest_frames
    return checkpoint.fbank.num_samples(1 if fills_up else shortest_frames)


def choose_device(name: str) -> torch.device:
    """Return the device called "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest present.

    Raises:
        ConfigError: there is no such kind of device, or this machine has none.
    """
    if name.partition(":")[0] not in DEVICES:
        raise ConfigError(unknown_name("device", name, DEVICES))
    present = available_devices()
    if name == "auto":
        return torch.device(present[0])
    if not {name, f"{name}:0", name.removesuffix(":0")} & set(present):
        raise ConfigError(
            f"device {name!r} is not available on this machine. Available: {', '.join(present)}."
        )
    return torch.device(name)


def available_devices() -> list[str]:
    """Names of the devices of this machine, fastest first."""
    accelerators = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        accelerators.append("mps")
    return [*accelerators, "cpu"]
