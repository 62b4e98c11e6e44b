"""Class-balanced sampling: clips of rare labels are heard more often."""

from collections import Counter
from collections.abc import Callable, Iterator, Sized

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
    return _weights(clips, lambda count: 1000 / (count + 0.01))


def square_root_weights(clips: Clips) -> Tensor:
    """The same with 1 / sqrt(clips with the label): a label is drawn as often as the root says.

    Source: Mahajan et al. 2018, section 2.2; for labels so rare that drawing them as often as
    frequent ones would repeat a few clips without end.
    """
    return _weights(clips, lambda count: max(count, 1) ** -0.5)  # 0: of another split


WEIGHTS = {"balanced": balanced_weights, "square_root": square_root_weights}


def _weights(clips: Clips, weight_of: Callable[[int], float]) -> Tensor:
    column = clips.columns.labels
    codes = clips.codes(column)
    counts: Counter[str] = Counter()
    numbers = np.bincount(codes, minlength=len(column.values)).tolist()
    for names, number in zip(column.values, numbers, strict=True):
        for name in names:
            counts[name] += number
    # Speed: a sum for each combination of labels, of which there are few, not for each clip.
    weights = [sum(weight_of(counts[name]) for name in names) for names in column.values]
    return torch.tensor(weights, dtype=torch.float64)[torch.from_numpy(codes)]
