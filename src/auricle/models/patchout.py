"""Patchout: training hears only some of a clip's patches, and is cheaper for it.

Source: Koutini et al. 2022 (PaSST), section 2.3, the unstructured kind. The patches are taken out
of the sequence, after positions were added, so that attention and perceptrons have less to do.

Shapes: B clips, N patch tokens, K of them kept, D width.
"""

import torch
from torch import Tensor

from auricle.models.packing import TokenLayout
from auricle.models.patch_masks import take


def leave_out(tokens: Tensor, layout: TokenLayout, share: float) -> tuple[Tensor, TokenLayout]:
    """Patches `(B, N, D)` without a random `share` of each clip's own: `(B, K, D)`.

    What is kept stays in order; of every clip that is at least one patch. Drawn for each clip from
    the global generator of the tokens' device.
    """
    valid = layout.valid(tokens.device).expand(tokens.shape[:2])
    places = _draw(valid, _num_kept(layout, share))
    return take(tokens, layout, places)


def _num_kept(layout: TokenLayout, share: float) -> list[int]:
    """Patches that each clip keeps; one number where all clips are alike."""
    if layout.column_counts is None:
        counts = [layout.num_patches]
    else:
        counts = (layout.rows * layout.column_counts).tolist()
    return [max(1, round(count * (1 - share))) for count in counts]


def _draw(valid: Tensor, num_kept: list[int]) -> Tensor:
    """Random valid places of each clip in rising order, then -1: `(B, max(num_kept))`."""
    num_places = valid.shape[1]
    draws = torch.rand(valid.shape, device=valid.device).masked_fill(~valid, 2.0)  # padding: last
    places = draws.argsort(dim=1)[:, : max(num_kept)]
    if min(num_kept) == max(num_kept):
        return places.sort(dim=1).values
    limits = torch.tensor(num_kept, device=valid.device)[:, None]
    beyond = torch.arange(max(num_kept), device=valid.device) >= limits
    places = places.masked_fill(beyond, num_places).sort(dim=1).values
    return places.masked_fill(places == num_places, -1)
