"""Mixup: two clips at once, with both their labels.

Shapes: B clips, P partners, S samples, C classes.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.config import Settings
from auricle.data.batching import Partners
from auricle.padding import inside


class MixupConfig(Settings):
    """Settings of mixup. AST trains with alpha 10 and the rate 0.5 on AudioSet."""

    rate: float = Field(default=0.0, ge=0, le=1)  # share of the clips that are mixed
    alpha: float = Field(default=10.0, gt=0)  # of the Beta distribution of the first clip's share


class LabelledMixupConfig(MixupConfig):
    """The same for clips with labels."""

    # Where the second clips come from: the batch, or uniformly the whole training set, as in AST's
    # code. It matters where clips are drawn by their labels, and so the batch is.
    partners: Literal["batch", "set"] = "batch"


class Mixup(nn.Module):
    """Adds to some clips another one, in training mode only.

    A clip's share is drawn from Beta(alpha, alpha), its partner uniformly from the batch (it may be
    itself), unless partners come with it; the partner is cut or zero-padded to the clip's length.
    Both enter without their means, and the mean of the sum is removed again. Targets are mixed in
    the same shares; lengths stay.

    Input and output: waveforms `(B, S)`, lengths `(B,)`, targets `(B, C)`.

    Source: Tokozume et al. 2018, as in the code of Gong et al. 2021 (AST).
    """

    def __init__(self, config: MixupConfig):
        super().__init__()
        self.config = config

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        targets: Tensor,
        partners: Partners | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not self.training or self.config.rate == 0:
            return waveforms, lengths, targets
        if partners is not None:
            return self._with(partners, waveforms, lengths, targets)
        size, device = len(waveforms), waveforms.device
        alpha = torch.full((size, 1), self.config.alpha, device=device)
        share = torch.distributions.Beta(alpha, alpha).sample()  # (B, 1)
        partner = torch.randint(size, (size,), device=device)
        chosen = torch.rand(size, 1, device=device) < self.config.rate

        centred = _without_mean(waveforms, lengths)
        mixed = _without_mean(share * centred + (1 - share) * centred[partner], lengths)
        waveforms = torch.where(chosen, mixed, waveforms)
        mixed_targets = share * targets + (1 - share) * targets[partner]
        return waveforms, lengths, torch.where(chosen, mixed_targets, targets)

    def _with(
        self, partners: Partners, waveforms: Tensor, lengths: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Every one of the `partners` added to its row of the batch."""
        rows = partners.rows
        if not len(rows):
            return waveforms, lengths, targets
        alpha = torch.full((len(rows), 1), self.config.alpha, device=waveforms.device)
        share = torch.distributions.Beta(alpha, alpha).sample()  # (P, 1)
        second = _without_mean(partners.waveforms, partners.lengths)
        second = F.pad(second, (0, waveforms.shape[1] - second.shape[1]))  # or cut: below 0
        mixed = share * _without_mean(waveforms[rows], lengths[rows]) + (1 - share) * second
        mixed_targets = share * targets[rows] + (1 - share) * partners.targets
        waveforms = waveforms.index_copy(0, rows, _without_mean(mixed, lengths[rows]))
        return waveforms, lengths, targets.index_copy(0, rows, mixed_targets)


def _without_mean(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Each clip minus the mean of its true samples, and zero beyond them."""
    own = inside(lengths, waveforms.shape[1])
    mean = (waveforms * own).sum(dim=1, keepdim=True) / lengths[:, None].clamp(min=1)
    return (waveforms - mean) * own
