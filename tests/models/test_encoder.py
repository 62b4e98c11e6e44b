"""Attention, which every encoder shares."""

import pytest
import torch
from torch.nn import functional as F

from auricle.models.encoder import LONGEST_WIDENED, attend


def parts(num_tokens, dtype):
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randn(2, 4, num_tokens, 8, generator=generator) for _ in range(3))
    return [part.to(dtype) for part in drawn]


def plain(query, key, value, mask=0.0):
    scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5 + mask
    return scores.softmax(dim=3) @ value


@pytest.mark.parametrize("num_tokens", [1, 30])
def test_it_is_the_plain_formula(num_tokens):
    query, key, value = parts(num_tokens, torch.float64)
    mask = torch.randn(2, 1, num_tokens, num_tokens, dtype=torch.float64)
    torch.testing.assert_close(attend(query, key, value), plain(query, key, value))
    torch.testing.assert_close(attend(query, key, value, mask), plain(query, key, value, mask))


@pytest.mark.parametrize("mask_dtype", [None, torch.bool, torch.bfloat16])
def test_under_autocast_short_sequences_are_computed_in_float32(mask_dtype):
    short = parts(30, torch.bfloat16)
    mask = None if mask_dtype is None else torch.ones(30, 30).tril().to(mask_dtype)
    wide_mask = mask.float() if mask_dtype is torch.bfloat16 else mask
    wide = F.scaled_dot_product_attention(*(part.float() for part in short), wide_mask)
    narrow = F.scaled_dot_product_attention(*short, mask)
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(*short, mask)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wide.bfloat16())
    assert not torch.equal(found, narrow)


def test_under_autocast_long_sequences_stay_in_16_bits():
    long = parts(LONGEST_WIDENED + 1, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attend(*long), F.scaled_dot_product_attention(*long))


def test_under_autocast_what_is_learned_is_what_float32_learns():
    narrow = [part.requires_grad_() for part in parts(30, torch.bfloat16)]
    wide = [part.detach().float().requires_grad_() for part in narrow]
    with torch.autocast("cpu", torch.bfloat16):
        attend(*narrow).float().square().sum().backward()
    attend(*wide).square().sum().backward()
    for here, there in zip(narrow, wide, strict=True):
        torch.testing.assert_close(here.grad.float(), there.grad, rtol=0.02, atol=0.02)
