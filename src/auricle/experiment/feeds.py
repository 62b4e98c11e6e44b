"""From a recipe's clips to what the training loop asks for: an order, and a loader of batches."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, SequentialSampler

from auricle import data
from auricle.checkpoint import Checkpoint
from auricle.experiment.clips import Clips
from auricle.experiment.recipe import Recipe
from auricle.inference import engine
from auricle.training import Machine
from auricle.training.sampling import (
    WEIGHTS,
    Repeated,
    SimilarLengths,
    Weighted,
    crops_in,
    shared_weights,
)
from auricle.training.shuffle import Shuffle
from auricle.training.stopping import ignore_signals

if TYPE_CHECKING:
    from auricle.training.fit import Feeds

ROUNDING = 0.001  # seconds that a clip played faster may lose between two sample rates


def clip_feeds(recipe: Recipe, clips: Clips, trained: Checkpoint, machine: Machine) -> "Feeds":
    """The clips to train on, in a new order each epoch, and those that validate, in their own."""
    from auricle.training import fit  # here, so that recipes can be read without lightning

    longest = min(
        engine.longest_samples(trained) / recipe.front_end.sample_rate, clips.longest_seconds
    )
    heard = engine.shortest_samples(trained) / recipe.front_end.sample_rate
    shortest = max(heard, clips.shortest_seconds)
    labels = clips.labels if clips.are_labelled else None

    def feed(manifest: data.Manifest, crop_seconds: float, trains: bool) -> "fit.Feed":
        played = recipe.augmentation.speed if trains else 1.0
        dataset = data.ClipDataset(
            manifest,
            labels,
            clips.sample_rate,
            crop_seconds,
            recipe.seed,
            shortest_seconds=shortest * played + ROUNDING * (played > 1),
            skip_faulty=True,
        )

        def load(portions: Sampler[list[int]]) -> DataLoader:
            return DataLoader(
                dataset,
                batch_sampler=portions,
                num_workers=recipe.data.workers,
                collate_fn=data.collate,
                pin_memory=machine.kind == "cuda",
                worker_init_fn=ignore_signals,
                # Its own: starting workers must not draw from the numbers that training draws from.
                generator=torch.Generator(),
            )

        order = (
            _order(recipe, clips, dataset, crop_seconds) if trains else SequentialSampler(dataset)
        )
        return fit.Feed(order, load)

    train = feed(clips.train, min(recipe.data.crop_seconds or longest, longest), trains=True)
    validation = feed(clips.validation, longest, trains=False) if clips.validation else None
    return fit.Feeds(train, validation, recipe.data.max_faulty_share)


def _order(recipe: Recipe, clips: Clips, dataset: data.ClipDataset, crop_seconds: float) -> Shuffle:
    training, count = recipe.training, len(dataset)
    wants_seconds = training.similar_lengths or training.sampling == "length"
    seconds = data.durations(clips.train.clips) if wants_seconds else torch.zeros(count)
    order = _draws(recipe, clips, dataset, crops_in(seconds, crop_seconds))
    if not training.similar_lengths:
        return order
    return SimilarLengths(order, seconds.clamp(max=crop_seconds), training.batch_size)


def _draws(recipe: Recipe, clips: Clips, dataset: data.ClipDataset, crops: Tensor) -> Shuffle:
    """Which clips an epoch has; `crops` (N,) says how many fit into each."""
    sampling, more = recipe.training.sampling, recipe.data.more
    if sampling in WEIGHTS:
        return Weighted(dataset, recipe.seed, WEIGHTS[sampling](clips.train.table))
    counts = crops if sampling == "length" else torch.ones_like(crops)
    if more:
        shares = [1 - sum(each.share for each in more), *(each.share for each in more)]
        weights = shared_weights(counts, clips.sizes, shares)
        return Weighted(dataset, recipe.seed, weights, int(counts.sum()))
    if sampling == "length":
        return Repeated(dataset, recipe.seed, counts)
    return Shuffle(dataset, recipe.seed)
