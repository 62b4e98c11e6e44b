"""Class-balanced sampling: clips of rare labels are heard more often."""

from collections import Counter
from collections.abc import Iterator, Sized

import numpy as np
import torch
from torch import Tensor

from auricle.data.clips import Clips
from auricle.training.shuffle import Shuffle, mix_seeds


class Balanced(Shuffle):
    """As many clips an epoch as there are, drawn with replacement by `weights` `(N,)`.

    The draws follow from (seed, epoch) alone.
    """

    def __init__(self, dataset: Sized, seed: int, weights: Tensor):
        super().__init__(dataset, seed)
        self.weights = weights

    def __iter__(self) -> Iterator[int]:
        """Indices of clips, some more than once."""
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        draws = torch.multinomial(self.weights, len(self), replacement=True, generator=generator)
        yield from draws.tolist()


def balanced_weights(clips: Clips) -> Tensor:
    """How likely each clip is drawn, relative to the others, `(N,)`.

    The sum over a clip's labels of 1000 / (clips with the label + 0.01): Gong et al. 2021, as
    released (YuanGongND/ast, egs/audioset/gen_weight_file.py).
    """
    column = clips.columns.labels
    codes = clips.codes(column)
    counts: Counter[str] = Counter()
    numbers = np.bincount(codes, minlength=len(column.values)).tolist()
    for names, number in zip(column.values, numbers, strict=True):
        for name in names:
            counts[name] += number
    # Speed: a sum for each combination of labels, of which there are few, not for each clip.
    weights = [sum(1000 / (counts[name] + 0.01) for name in names) for names in column.values]
    return torch.tensor(weights, dtype=torch.float64)[torch.from_numpy(codes)]
