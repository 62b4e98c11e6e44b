"""Which patches a masked student sees, and how tokens go there and back.

Shapes: B clips, N patch places, K of them kept, D width; R students (clones) hear each clip.
"""

import dataclasses
import math

import torch
from torch import Tensor

from auricle.errors import ConfigError
from auricle.models.patches import TokenLayout
from auricle.padding import inside

PADDING = -1  # in place of a patch that a shorter clip does not have


def num_kept(num_patches: int, hidden_share: float) -> int:
    """Of `num_patches` those that stay; 102 of 512 where a share of 0.8 is hidden.

    Raises:
        ConfigError: nothing would be left, or nothing hidden.
    """
    kept = math.floor(num_patches * (1 - hidden_share) + 1e-6)
    if not 0 < kept < num_patches:
        raise ConfigError(
            f"hidden_share {hidden_share:g} of a clip of {num_patches} patches leaves {kept} to "
            "see: a student must see one at least, and one must be hidden. Use longer clips, or "
            "another share."
        )
    return kept


def draw_kept(valid: Tensor, layout: TokenLayout, hidden_share: float, block: int) -> Tensor:
    """Places of the patches that are kept, `(B, K)` in order, then `PADDING`.

    Inverse block masks of data2vec 2.0 (Baevski et al. 2023, section 3.2), as EAT uses them: what
    is kept stands together, so that what is hidden cannot be guessed from next to it. Blocks of
    `block` x `block` patches around random patches, cut at the edges; as many as hold what is to be
    kept. Then single patches are dropped or added at random, until their number is `num_kept`
    exactly. With a block of 1 all are drawn alone. All draws come from the device's global
    generator.

    Args:
        valid: the places that hold a patch of their clip, `(B, N)`.

    Raises:
        ConfigError: a clip is too short for the share.
    """
    device, places = valid.device, valid.shape[1]
    counts = [num_kept(count, hidden_share) for count in valid.sum(dim=1).tolist()]
    # Patches in blocks first, then others, each in random order; padding comes last.
    order = _in_blocks(valid, layout, counts, block) + _draws(valid)
    ranked = order.masked_fill(~valid, -1).argsort(dim=1, descending=True)[:, : max(counts)]
    own = inside(torch.tensor(counts, device=device), max(counts))
    kept = ranked.masked_fill(~own, places).sort(dim=1).values
    return kept.masked_fill(kept == places, PADDING)


def clones_of(layout: TokenLayout, clones: int) -> TokenLayout:
    """The places of a batch in which every clip stands `clones` times in a row."""
    counts = layout.column_counts
    repeated = None if counts is None else counts.repeat_interleave(clones)
    return dataclasses.replace(layout, column_counts=repeated)


def put_back(tokens: Tensor, kept: Tensor, others: Tensor) -> Tensor:
    """`others` `(B, N, D)` with `tokens` `(B, K, D)` at the places `kept`."""
    num_places = others.shape[1]
    full = torch.cat([others, others[:, :1]], dim=1)  # one place more, which takes the padding
    target = kept.masked_fill(kept < 0, num_places)[..., None].expand_as(tokens)
    return full.scatter(1, target, tokens.to(full.dtype))[:, :num_places]


def hidden_places(valid: Tensor, kept: Tensor) -> Tensor:
    """Where a clip has a patch that is not kept, `(B, N)`."""
    seen = torch.zeros(len(valid), valid.shape[1] + 1, dtype=torch.bool, device=valid.device)
    seen = seen.scatter(1, kept.masked_fill(kept < 0, valid.shape[1]), value=True)
    return valid & ~seen[:, :-1]


def _in_blocks(valid: Tensor, layout: TokenLayout, counts: list[int], block: int) -> Tensor:
    """1 where a patch stands in one of its clip's blocks, else 0: `(B, N)`."""
    device = valid.device
    if block == 1:  # A patch alone is no block: the random order of all is the draw
        return torch.zeros(valid.shape, device=device)
    numbers = torch.tensor([math.ceil(count / block**2) for count in counts], device=device)
    most = int(numbers.max())
    centres = _draws(valid).masked_fill(~valid, -1)
    centres = centres.topk(min(most, valid.shape[1])).indices  # (B, blocks)
    near = inside(numbers, centres.shape[1])[..., None]
    for coordinate in layout.coordinates(device):
        own = coordinate.expand(valid.shape)
        apart = own[:, None] - own.gather(1, centres)[..., None]  # (B, blocks, N)
        near = near & (apart >= -(block // 2)) & (apart < block - block // 2)
    return near.any(dim=1).float()


def _draws(valid: Tensor) -> Tensor:
    return torch.rand(valid.shape, device=valid.device, dtype=torch.float32)
