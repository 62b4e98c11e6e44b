"""How many clips a second a training step takes, beside a plain loop over transformers' AST.

    python benchmarks/training.py [--threads 2] [--rounds 5] [--device cuda --batch 64] [--json]

A step reads the clips, makes features, and runs the model forward, backward and through AdamW. All
have AST's small size (22 M parameters, stride 10) and the same clips of five seconds: ESC-10's
where it is ($AURICLE_DATA or ../shared/data), else noise. The plain loop reads with soundfile and
makes its features with ASTFeatureExtractor, batch by batch, in float32, as its documentation does.
All take turns, and a ratio is the median over the rounds. Needs the package transformers.

On a GPU, the share of the card's matrix peak is that of the products in a step (3 times those of
the forward pass), counted by torch, at the fastest of our precisions.
"""

import argparse
import json
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers
from measures import operations, peak_share, seconds_of
from torch import Tensor, nn

from auricle import audio, data, models
from auricle.features import (
    Fbank,
    FbankConfig,
    FeatureNoise,
    FeatureNoiseConfig,
    SpecAugment,
    SpecAugmentConfig,
)
from auricle.training import (
    Augmentations,
    LayerwiseOptimizerConfig,
    Supervised,
    SupervisedConfig,
    optimizer,
)

SAMPLE_RATE = 16_000
NUM_SAMPLES = 5 * SAMPLE_RATE
NUM_CLASSES = 10
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
PROJECT = Path(__file__).parents[1]
PEER = "transformers"
PEER_MODEL = "transformers, features given"

Step = Callable[[], Tensor]


def find_clips(number: int, folder: Path) -> list[Path]:
    """Sound files of five seconds: ESC-10's, or noise written to `folder`."""
    shared = Path(os.environ.get("AURICLE_DATA", PROJECT.parent / "shared" / "data"))
    paths = sorted((shared / "esc10" / "audio").glob("*.flac"))[:number]
    if len(paths) == number:
        return paths
    noise = np.random.default_rng(0).normal(0, 0.1, (number, NUM_SAMPLES))
    paths = [folder / f"{index}.flac" for index in range(number)]
    for path, clip in zip(paths, noise, strict=True):
        soundfile.write(path, clip, SAMPLE_RATE)
    return paths


class Ours:
    """Our training step: what `auricle train` runs for each batch.

    Args:
        dtype: of autocast; None is float32 throughout.
    """

    def __init__(self, paths: list[Path], device: str, dtype: torch.dtype | None, patchout: float):
        self.paths, self.device, self.dtype = paths, device, dtype
        fbank = Fbank(FbankConfig())
        settings = {"size": "small", "num_classes": NUM_CLASSES, "patchout": patchout}
        model = models.build("ast", {**settings, "max_frames": fbank.num_frames(NUM_SAMPLES)})
        rates = LayerwiseOptimizerConfig(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        config = SupervisedConfig(epochs=1, batch_size=len(paths), loss="ce", optimizer=rates)
        labels = [str(index) for index in range(NUM_CLASSES)]
        self.step = (
            Supervised(fbank, model, labels, config, augmentations(fbank)).to(device).train()
        )
        self.optimizer = optimizer.build(model, rates)

    def read(self) -> data.Batch:
        """The batch, on the device."""
        waveforms, lengths = audio.pad_batch([audio.load(p, SAMPLE_RATE) for p in self.paths])
        wanted = torch.eye(NUM_CLASSES)[targets(len(self.paths))]
        device = self.device
        return data.Batch(waveforms.to(device), lengths.to(device), wanted.to(device))

    def features(self) -> Tensor:
        """What comes before the model."""
        batch = self.read()
        return self.step.fbank(batch.waveforms, batch.lengths)[0]

    def __call__(self) -> Tensor:
        is_mixed = self.dtype is not None
        with torch.autocast(self.device, self.dtype) if is_mixed else nullcontext():
            loss = self.step.loss(self.read())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


class Theirs:
    """A plain loop over transformers' AST; `features` given, it does not make them."""

    def __init__(self, paths: list[Path], device: str, is_given: bool):
        self.paths, self.device = paths, device
        frames = Fbank(FbankConfig()).num_frames(NUM_SAMPLES)
        self.extractor = transformers.ASTFeatureExtractor(max_length=frames)
        config = transformers.ASTConfig(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            intermediate_size=1536,
            max_length=frames,
        )
        config.num_labels = NUM_CLASSES
        self.model = nn.Module.to(transformers.ASTForAudioClassification(config), device).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        self.given = self.features() if is_given else None

    def features(self) -> Tensor:
        """What comes before the model."""
        clips = [soundfile.read(path, dtype="float32")[0] for path in self.paths]
        made = self.extractor(clips, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        return made["input_values"].to(self.device)

    def __call__(self) -> Tensor:
        features = self.features() if self.given is None else self.given
        labels = targets(len(self.paths)).to(self.device)
        loss = self.model(input_values=features, labels=labels).loss
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def augmentations(fbank: Fbank) -> Augmentations:
    """As light as the plain loop: no augmentation, and masks that cost next to nothing."""
    return Augmentations(
        data.Augmentation(data.AugmentationConfig(), SAMPLE_RATE),
        data.Mixup(data.MixupConfig()),
        SpecAugment(SpecAugmentConfig(), fbank.padding_value),
        FeatureNoise(FeatureNoiseConfig()),
    )


def targets(number: int) -> Tensor:
    """A class for each clip."""
    return torch.arange(number) % NUM_CLASSES


def contestants(paths: list[Path], device: str, patchout: float) -> dict[str, Step]:
    """What is timed, by name."""
    bf16 = torch.bfloat16
    return {
        PEER: Theirs(paths, device, is_given=False),
        PEER_MODEL: Theirs(paths, device, is_given=True),
        "auricle, 32-true": Ours(paths, device, None, 0.0),
        "auricle, bf16-mixed": Ours(paths, device, bf16, 0.0),
        f"auricle, bf16-mixed, patchout {patchout:g}": Ours(paths, device, bf16, patchout),
    }


def measure(paths: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Clips a second, ratios to the plain loop, and the share of features and reading."""
    calls = contestants(paths, options.device, options.patchout)
    seconds = partial(seconds_of, device=options.device)
    for call in calls.values():
        call()
    before_model = {name: call.features for name, call in calls.items() if isinstance(call, Ours)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    before: dict[str, list[float]] = {name: [] for name in before_model}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
        for name, call in before_model.items():
            before[name].append(seconds(call))
    results = {}
    for name, own in times.items():
        results[name] = {
            "clips_per_second": len(paths) / statistics.median(own),
            "ratio": median_ratio(times[PEER], own),
            "ratio_without_extractor": median_ratio(times[PEER_MODEL], own),
        }
        if name in before:
            results[name]["features_share"] = median_ratio(before[name], own)
    return results


def median_ratio(above: list[float], below: list[float]) -> float:
    """The middle one of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def useful_operations(paths: list[Path]) -> int:
    """Multiplications and additions in the matrix products of one step on the batch."""
    ours = Ours(paths, "cpu", None, 0.0)
    features = ours.features()
    return 3 * operations(lambda: ours.step.model(features))  # backward: twice the forward pass


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--rounds", type=int, default=5, help="in turns (default 5)")
    parser.add_argument("--batch", type=int, default=8, help="clips (default 8)")
    parser.add_argument("--patchout", type=float, default=0.5, help="share (default 0.5)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module="transformers")
    if options.device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    with tempfile.TemporaryDirectory() as folder:
        paths = find_clips(options.batch, Path(folder))
        results = measure(paths, options)
        if options.device == "cuda":
            row = results["auricle, bf16-mixed"]
            rate = row["clips_per_second"] / len(paths) * useful_operations(paths)
            row["peak_share"] = peak_share(rate, options.device)
    if options.json:
        print(json.dumps({**vars(options), "results": results}))
        return
    print(f"{options.batch} clips of 5 s a step, {options.threads} threads, {options.device}")
    for name, row in results.items():
        shown = [f"{row['clips_per_second']:8.2f} clips/s", f"{row['ratio']:6.2f} x"]
        shown.append(f"{row['ratio_without_extractor']:6.2f} x without extractor")
        if "features_share" in row:
            shown.append(f"{row['features_share']:6.1%} features and reading")
        if row.get("peak_share"):
            shown.append(f"{row['peak_share']:.1%} of the card's matrix peak")
        print(f"{name:36} {'  '.join(shown)}")


if __name__ == "__main__":
    main()
