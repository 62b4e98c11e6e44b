"""From a recipe's clips to what the training loop asks for: an order, and a loader of batches."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from auricle import data
from auricle.checkpoint import Checkpoint
from auricle.experiment.prepared import Prepared
from auricle.experiment.recipe import TrainRecipe, UnlabelledDataConfig
from auricle.inference import engine
from auricle.training import Machine
from auricle.training.machine import ignore_signals
from auricle.training.sampling import (
    WEIGHTS,
    Repeated,
    Shuffle,
    SimilarLengths,
    Weighted,
    crops_in,
    shared_weights,
)

if TYPE_CHECKING:
    from auricle.training.adapter import LoaderSpec, LoaderSpecs

ROUNDING = 0.001  # seconds that a clip played faster may lose between two sample rates


def loader_specs(prepared: Prepared, trained: Checkpoint, machine: Machine) -> "LoaderSpecs":
    """The clips to train on, in a new order each epoch, and those that validate, in their own."""
    from auricle.training import adapter  # here, so that recipes are read without lightning

    recipe, rate = prepared.recipe, prepared.recipe.front_end.sample_rate
    longest = min(engine.longest_samples(trained) / rate, prepared.longest_seconds)
    shortest = max(engine.shortest_samples(trained) / rate, prepared.shortest_seconds)
    labels = prepared.labels if prepared.are_labelled else None

    def spec(manifest: data.Manifest, crop_seconds: float, trains: bool) -> "LoaderSpec":
        played = recipe.augmentation.speed if trains else 1.0
        dataset = data.ClipDataset(
            manifest,
            labels,
            prepared.sample_rate,
            crop_seconds,
            recipe.seed,
            shortest_seconds=shortest * played + ROUNDING * (played > 1),
            skip_faulty=True,
        )

        read: Dataset[Any] = dataset
        together: Callable[..., data.Batch] = data.collate
        if trains and isinstance(recipe, TrainRecipe) and recipe.mixup.partners == "set":
            read = data.PartneredDataset(dataset, recipe.mixup.rate, recipe.seed)
            together = data.collate_with_partners

        def load(batches: Sampler[list[int]]) -> DataLoader:
            return DataLoader(
                read,
                batch_sampler=batches,
                num_workers=recipe.data.workers,
                collate_fn=together,
                pin_memory=machine.kind == "cuda",
                worker_init_fn=ignore_signals,
                # Its own: starting workers must not draw from the numbers that training draws from.
                generator=torch.Generator(),
            )

        order = _order(prepared, dataset, crop_seconds) if trains else SequentialSampler(dataset)
        return adapter.LoaderSpec(order, load)

    train = spec(prepared.train, min(recipe.data.crop_seconds or longest, longest), trains=True)
    validation = spec(prepared.validation, longest, trains=False) if prepared.validation else None
    return adapter.LoaderSpecs(train, validation, recipe.data.max_faulty_share)


def _order(prepared: Prepared, dataset: data.ClipDataset, crop_seconds: float) -> Shuffle:
    recipe, count = prepared.recipe, len(dataset)
    training = recipe.training
    wants_seconds = training.similar_lengths or training.sampling == "length"
    seconds = data.durations(prepared.train.clips) if wants_seconds else torch.zeros(count)
    order = _draws(prepared, dataset, crops_in(seconds, crop_seconds))
    if not training.similar_lengths:
        return order
    return SimilarLengths(order, seconds.clamp(max=crop_seconds), training.batch_size)


def _draws(prepared: Prepared, dataset: data.ClipDataset, crops: Tensor) -> Shuffle:
    """Which clips an epoch has; `crops` (N,) holds how many fit into each."""
    recipe = prepared.recipe
    sampling, settings = recipe.training.sampling, recipe.data
    if sampling in WEIGHTS:
        return Weighted(dataset, recipe.seed, WEIGHTS[sampling](prepared.train.table))
    counts = crops if sampling == "length" else torch.ones_like(crops)
    if isinstance(settings, UnlabelledDataConfig) and settings.more:
        more = settings.more
        shares = [1 - sum(each.share for each in more), *(each.share for each in more)]
        weights = shared_weights(counts, prepared.sizes, shares)
        return Weighted(dataset, recipe.seed, weights, int(counts.sum()))
    if sampling == "length":
        return Repeated(dataset, recipe.seed, counts)
    return Shuffle(dataset, recipe.seed)
