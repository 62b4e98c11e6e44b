"""Mean and standard deviation along a sequence, which padding cannot disturb.

Shapes: B clips, N places (tokens or frames), D width; `valid` `(B, N)` or `(1, N)` says which of
them belong to a clip.
"""

from torch import Tensor


def mean_over(values: Tensor, valid: Tensor) -> Tensor:
    """Mean `(B, D)` of `values` `(B, N, D)` over the valid places."""
    inside = valid[..., None]
    return (values * inside).sum(dim=1) / inside.sum(dim=1)


def deviation_over(values: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation `(B, D)` of `values` `(B, N, D)` over the valid places."""
    apart = values - mean_over(values, valid)[:, None]
    return mean_over(apart.square(), valid).sqrt()
