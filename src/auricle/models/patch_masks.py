"""Masks of pretraining: the patches a student sees, and its tokens back among the masked ones.

Shapes: B clips, N patches, K of them visible, D width; R students (clones) see each clip.
"""

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.errors import ConfigError
from auricle.models.patches import TokenLayout
from auricle.padding import inside

PADDING = -1  # instead of the index of a patch that a shorter clip does not have
BLOCK_SURPLUS = 0.07  # Parity: EAT's mask_prob_adjust, as blocks overlap and are cut at the edges

Range = tuple[int, int]


def num_visible(num_patches: int, mask_ratio: float) -> int:
    """Of `num_patches` those that stay; 102 of 512 where a share of 0.8 is masked.

    Raises:
        ConfigError: nothing would be left, or nothing masked.
    """
    visible = math.floor(num_patches * (1 - mask_ratio) + 1e-6)
    if not 0 < visible < num_patches:
        raise ConfigError(
            f"mask_ratio {mask_ratio:g} of a clip of {num_patches} patches leaves {visible} to "
            "see: a student must see one at least, and one must be hidden. Use longer clips, or "
            "another share."
        )
    return visible


def draw_visible(
    valid: Tensor,
    layout: TokenLayout,
    mask_ratio: float,
    block: int = 1,
    chunk: Range | None = None,
) -> Tensor:
    """Indices of the patches that stay visible, `(B, K)` in order, then `PADDING`.

    Each clip keeps `num_visible` of its own. All draws come from the device's global generator.

    Args:
        valid: which patches belong to their clip, `(B, N)`.
        block: visible patches come in blocks of `block` x `block` around random patches, cut at the
            edges, so that what is masked cannot be guessed from next to it; then single patches are
            dropped or added at random. Source: the inverse block masks of data2vec 2.0 (Baevski et
            al. 2023, section 3.2), as EAT has them. 1: each patch is drawn alone.
        chunk: instead, masked patches come in squares down and to the right of random patches, cut
            at the edges, until they are enough; the side of a clip's squares is drawn from this
            range. Source: MAE-AST (Baade et al. 2022), as released, after SSAST. There the squares
            go on in the next row, and a batch shares one mask.

    Raises:
        ConfigError: a clip is too short for the share.
    """
    counts = [num_visible(count, mask_ratio) for count in valid.sum(dim=1).tolist()]
    if chunk is None:
        priority = _in_blocks(valid, layout, mask_ratio, block)
    else:
        priority = -_first_chunk(valid, layout, chunk)
    # Within one priority in random order; padding comes last.
    order = priority + _draws(valid)
    ranked = order.masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True)
    own = inside(torch.tensor(counts, device=valid.device), max(counts))
    size = valid.shape[1]
    visible = ranked[:, : max(counts)].masked_fill(~own, size).sort(dim=1).values
    return visible.masked_fill(visible == size, PADDING)


def repeat_clips(layout: TokenLayout, clones: int) -> TokenLayout:
    """The layout of a batch in which every clip is `clones` times in a row."""
    counts = layout.column_counts
    repeated = None if counts is None else counts.repeat_interleave(clones)
    return dataclasses.replace(layout, column_counts=repeated)


def scatter_tokens(tokens: Tensor, visible_ids: Tensor, others: Tensor) -> Tensor:
    """`others` `(B, N, D)` with `tokens` `(B, K, D)` in place of those with `visible_ids`."""
    size = others.shape[1]
    full = torch.cat([others, others[:, :1]], dim=1)  # one token more, which takes the padding
    target = visible_ids.masked_fill(visible_ids < 0, size)[..., None].expand_as(tokens)
    return full.scatter(1, target, tokens.to(full.dtype))[:, :size]


def is_masked(valid: Tensor, visible_ids: Tensor) -> Tensor:
    """Whether a patch belongs to its clip and is not visible, `(B, N)`."""
    size = valid.shape[1]
    seen = torch.zeros(len(valid), size + 1, dtype=torch.bool, device=valid.device)
    seen = seen.scatter(1, visible_ids.masked_fill(visible_ids < 0, size), value=True)
    return valid & ~seen[:, :-1]


def _in_blocks(valid: Tensor, layout: TokenLayout, mask_ratio: float, block: int) -> Tensor:
    """1 where a patch is in one of its clip's blocks, else 0: `(B, N)`."""
    device = valid.device
    if block == 1:  # a patch alone is no block: the random order of all is the draw
        return torch.zeros(valid.shape, device=device)
    share = (1 - mask_ratio + BLOCK_SURPLUS) / block**2
    # Parity: rounded down, 5 blocks of 5 x 5 for 512 patches and 2 for 256; one at least is ours.
    numbers = [max(1, math.floor(count * share)) for count in valid.sum(dim=1).tolist()]
    centres = _draws(valid).masked_fill(~valid, -1)
    centres = centres.topk(min(max(numbers), valid.shape[1])).indices  # (B, blocks)
    near = inside(torch.tensor(numbers, device=device), centres.shape[1])[..., None]
    for coordinate in layout.coordinates(device):
        own = coordinate.expand(valid.shape)
        distance = own[:, None] - own.gather(1, centres)[..., None]  # (B, blocks, N)
        near = near & (distance >= -(block // 2)) & (distance < block - block // 2)
    return near.any(dim=1).float()


def _first_chunk(valid: Tensor, layout: TokenLayout, chunk: Range) -> Tensor:
    """For each patch, how early a square covers it: the sooner the larger, `(B, N)` from 1 to N.

    A square starts at every patch, in random order; those that come too late are never masked.
    """
    smallest, largest = chunk
    starts = _draws(valid).masked_fill(~valid, -1).argsort(dim=1).argsort(dim=1) + 1
    grid = layout.unpack(starts[..., None].float()).permute(0, 3, 1, 2)  # (B, 1, F, C)
    sides = torch.randint(smallest, largest + 1, (len(valid),), device=valid.device)
    covered = torch.zeros_like(grid)
    for side in range(smallest, largest + 1):
        before = F.pad(grid, (side - 1, 0, side - 1, 0))
        pooled = F.max_pool2d(before, side, stride=1)
        covered = torch.where((sides == side)[:, None, None, None], pooled, covered)
    return layout.pack(covered.permute(0, 2, 3, 1))[..., 0]


def _draws(valid: Tensor) -> Tensor:
    return torch.rand(valid.shape, device=valid.device, dtype=torch.float32)
