"""How many GPU-hours masked self-distillation on AudioSet would take, from whole steps of a recipe.

    python benchmarks/pretraining_hours.py --device cuda [--recipe pretrain_asda_base] [--out FILE]
    python benchmarks/pretraining_hours.py --size tiny --batch 2 --seconds 2 --steps 1 --rounds 1

A step is what `auricle pretrain` does with a batch: filterbank, one pass of the teacher over the
whole clips, 16 students that see a fifth, their decoder, the way back, the clipped gradient, the
optimizer, the teacher's average. The clips are noise that is on the device: reading and decoding
are left out, as if workers kept up. Where the memory does not hold a batch, it is taken in parts.

Useful products are those of the teacher's way forward, and three times (forward, and back for
inputs and for weights) those of students and decoder; they are counted by torch. Nothing else is
counted, so that the share of the peak holds all that the rest costs.

Hours are those of as many clips as the authors' updates hear. `--out` writes all of it as JSON.
"""

import argparse
import gc
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from measures import operations, peak_gigabytes, peak_share, seconds_of
from torch import nn

from auricle.data import Batch
from auricle.experiment.prepared import Sources
from auricle.experiment.read import parse
from auricle.experiment.recipe import PretrainRecipe
from auricle.experiment.run import build_checkpoint
from auricle.experiment.steps import build_pretraining
from auricle.training import optimizer
from auricle.training.objectives import SelfDistillation
from auricle.training.pretraining import Pretraining

RECIPE_SECONDS = 10  # of a clip of AudioSet, for which the recipes have 1024 frames
DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
# Source: configurations released with EAT and ASDA: 4 processes of 12 clips.
UPDATES = {"EAT": 400_000, "ASDA": 800_000}
CLIPS_AN_UPDATE = 48
# Source: Chen et al. 2024 (EAT): around 58 hours on 4 RTX 3090, taken as those of the released
# configuration, 10 epochs of the base size. ASDA's are not published.
PUBLISHED_HOURS = {"EAT": 4 * 58.0, "ASDA": None}


class WholeStep:
    """All that a step on one batch of noise does, in `parts` parts."""

    def __init__(self, recipe: PretrainRecipe, seconds: float, device: str, parts: int):
        self.step = build(recipe).to(device).train()
        self.config, self.device = recipe.training, device
        self.optimizer = optimizer.build(self.step.model, self.config.optimizer)
        self.scaler = torch.amp.GradScaler(device, enabled=self.config.precision == "16-mixed")
        batch = noise(recipe, seconds, device)
        self.parts = list(zip(*(each.chunk(parts) for each in batch[:2]), strict=True))
        self.count = 0

    def __call__(self) -> None:
        dtype = DTYPES[self.config.precision]
        for waveforms, lengths in self.parts:
            with torch.autocast(self.device, dtype, enabled=dtype != torch.float32):
                loss = self.step.loss(Batch(waveforms, lengths, torch.empty(0)))
            self.scaler.scale(loss / len(self.parts)).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.step.model.parameters(), self.config.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.count += 1
        self.step.updated(self.count)


def read(options: argparse.Namespace) -> PretrainRecipe:
    """The recipe, with what the options change."""
    frames = 16 * math.ceil(64 * options.seconds / RECIPE_SECONDS)  # whole patches
    overrides = [
        "data.source=none",  # which is not read
        f"model.max_frames={frames}",
        f"front_end.padding.frames={frames}",
        f"training.batch_size={options.batch}",
        f"training.precision={options.precision}",
        "training.optimizer.learning_rate=1e-8",  # as a warm-up begins
    ]
    if options.size:
        overrides.append(f"model.size={options.size}")
    recipe = parse(options.recipe, overrides, "pretrain")
    assert isinstance(recipe, PretrainRecipe)
    return recipe


def build(recipe: PretrainRecipe) -> Pretraining:
    """The step of the recipe, untrained."""
    trained, new_parameters = build_checkpoint(recipe, [], recipe.front_end.fbank())
    return build_pretraining(recipe, Sources(), trained, new_parameters)


def noise(recipe: PretrainRecipe, seconds: float, device: str) -> Batch:
    """A batch of clips as long as each other."""
    num_samples = round(seconds * recipe.front_end.sample_rate)
    waveforms = 0.1 * torch.randn(recipe.training.batch_size, num_samples, device=device)
    lengths = torch.full((len(waveforms),), num_samples, device=device)
    return Batch(waveforms, lengths, torch.empty(0))


def operations_a_clip(recipe: PretrainRecipe, seconds: float) -> int:
    """Multiplications and additions of the useful products of a step, for one of its clips."""
    training = recipe.training.model_copy(update={"batch_size": 1})
    alone = recipe.model_copy(update={"training": training})
    step = build(alone).train()
    objective = step.model
    assert isinstance(objective, SelfDistillation), "others have no teacher"
    heard = step.fbank(*noise(alone, seconds, "cpu")[:2])
    teacher = operations(lambda: objective.teacher.encode(*heard))
    learning = operations(lambda: objective(*heard)) - teacher
    return teacher + 3 * learning


def measure(recipe: PretrainRecipe, options: argparse.Namespace, parts: int) -> dict[str, Any]:
    """Seconds of a step, and the most memory it held."""
    step = WholeStep(recipe, options.seconds, options.device, parts)

    def steps() -> None:
        for _ in range(options.steps):
            step()

    steps()  # warms up
    rounds = [seconds_of(steps, options.device) / options.steps for _ in range(options.rounds)]
    return {
        "parts": parts,
        "seconds_a_step": statistics.median(rounds),
        "rounds": rounds,
        "peak_gigabytes": peak_gigabytes(options.device),
    }


def measure_what_fits(recipe: PretrainRecipe, options: argparse.Namespace) -> dict[str, Any]:
    """The same with as few parts as the memory needs."""
    for parts in (n for n in range(1, options.batch + 1) if options.batch % n == 0):
        if options.device == "cuda":
            gc.collect()  # what the try before held
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            return measure(recipe, options, parts)
        except torch.OutOfMemoryError:
            print(f"a batch in {parts} parts: out of memory", file=sys.stderr)
    raise SystemExit("The memory does not hold a single clip.")


def extrapolate(clips_per_second: float) -> dict[str, dict[str, Any]]:
    """GPU-hours of each system's pretraining at this speed, beside its authors'."""
    found = {}
    for name, updates in UPDATES.items():
        clips = updates * CLIPS_AN_UPDATE
        found[name] = {
            "updates": updates,
            "clips_an_update": CLIPS_AN_UPDATE,
            "clips_heard": clips,
            "gpu_hours": clips / clips_per_second / 3600,
            "published_gpu_hours": PUBLISHED_HOURS[name],
        }
    return found


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The table for people."""
    settings, share = result["settings"], result["peak_share"]
    yield (
        f"{settings['recipe']}, size {settings['size']}, {settings['seconds']:g} s a clip, "
        f"{settings['clones']} clones, {settings['precision']}, {result['machine']}"
    )
    yield f"{'a step':<52}{settings['batch']} clips, parts: {result['parts']}"
    yield f"{'seconds a step':<52}{result['seconds_a_step']:.3f}"
    yield f"{'clips a second':<52}{result['clips_per_second']:.3g}"
    yield f"{'useful operations a clip':<52}{result['operations_a_clip'] / 1e12:.3g} T"
    yield f"{'useful operations a second':<52}{result['operations_a_second'] / 1e12:.3g} T"
    shown = "unknown" if share is None else f"{share:.1%}"
    yield f"{'share of the 16-bit peak of the card':<52}{shown}"
    yield f"{'peak memory':<52}{result['peak_gigabytes']:.1f} GB"
    for name, row in result["hours"].items():
        what = f"{row['updates']:,} x {row['clips_an_update']} = {row['clips_heard'] / 1e6:.1f} M"
        published = row["published_gpu_hours"]
        beside = f"published: {published:g}" if published else "not published"
        title = f"GPU-hours, as {name}: {what} clips"
        yield f"{title:<52}{row['gpu_hours']:.1f} ({beside})"
    yield "Hours: updates x clips of an update, at this speed, reading sounds left out."
    yield "Published: EAT, base size, 10 s a clip, about 58 hours on 4 RTX 3090."


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipe", default="pretrain_asda_base", help="of self-distillation")
    parser.add_argument("--size", help="of the model (default: the recipe's)")
    parser.add_argument("--batch", type=int, default=CLIPS_AN_UPDATE, help="clips (default 48)")
    parser.add_argument("--seconds", type=float, default=RECIPE_SECONDS, help="of a clip")
    parser.add_argument("--steps", type=int, default=10, help="of a round (default 10)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=DTYPES, help="(default: 16-mixed; CPU: bf16-mixed)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    is_cuda = options.device == "cuda"
    options.precision = options.precision or ("16-mixed" if is_cuda else "bf16-mixed")
    return options


def main() -> None:
    """Measure and print."""
    options = parsed()
    torch.set_num_threads(options.threads)
    recipe = read(options)
    measured = measure_what_fits(recipe, options)
    rate = options.batch / measured["seconds_a_step"]
    products = operations_a_clip(recipe, options.seconds)
    objective = recipe.pretraining.objective
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    settings |= {"model": recipe.model.to_dict(), "clones": getattr(objective, "clones", None)}
    is_cuda = options.device == "cuda"
    result = {
        "settings": settings,
        "machine": torch.cuda.get_device_name() if is_cuda else f"CPU, threads: {options.threads}",
        "torch": torch.__version__,
        **measured,
        "clips_per_second": rate,
        "operations_a_clip": products,
        "operations_a_second": products * rate,
        "peak_share": peak_share(products * rate, options.device),
        "hours": extrapolate(rate),
    }
    print("\n".join(lines(result)))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
