"""Conformer parts against plain second implementations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from auricle.models.conformer import (
    BRANCHES,
    STARTS,
    ClipNorm,
    ConformerBlock,
    ConformerConfig,
    ConvolutionModule,
    RelativePositions,
    RotaryPositions,
    SequenceConvolution,
)
from auricle.models.encoder import SelfAttention
from auricle.models.patches import TokenLayout


def layout(rows=2, columns=6, prefix=1, counts=None):
    return TokenLayout(prefix, rows, columns, counts)


def test_attention_is_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention = SelfAttention(8, num_heads=2).double()
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)
    mask = torch.rand(2, 1, 1, 5) > 0.3
    mask[..., 0] = True
    query, key, value = attention.project(tokens)
    scores = (query @ key.transpose(2, 3) / 4**0.5).masked_fill(~mask, -torch.inf)
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(tokens, mask), attention.output(mixed))


def test_the_sequence_convolution_is_a_depthwise_convolution_over_tokens():
    torch.manual_seed(0)
    convolution = SequenceConvolution(4, 5)
    tokens = torch.randn(2, 12, 4)
    expected = convolution.filters(tokens.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(convolution(tokens, layout()), expected)


@pytest.mark.parametrize(
    ("axis", "reached"),
    [
        ("sequence", [(0, 4), (0, 5), (1, 0)]),  # runs on into the next row
        ("rows", [(0, 4), (0, 5)]),
        ("grid", [(0, 4), (0, 5), (1, 4), (1, 5)]),
    ],
)
def test_the_last_patch_of_the_first_row_reaches_its_neighbours_along_the_axis(axis, reached):
    torch.manual_seed(0)
    config = ConformerConfig(convolution_axis=axis, kernel_size=3, dropout=0.0)
    module = ConvolutionModule(config, 4).eval()
    tokens = torch.randn(1, 13, 4)
    changed = tokens.clone()
    changed[:, 1 + 5] += 1.0
    difference = (module(changed, layout()) - module(tokens, layout()))[0, 1:].abs().sum(dim=1)
    assert [(index // 6, index % 6) for index in difference.nonzero().flatten().tolist()] == reached


def test_prefix_tokens_bypass_the_convolution_or_take_part():
    tokens = torch.randn(1, 13, 4)
    for choice, takes_part in (("bypass", False), ("through", True)):
        torch.manual_seed(0)
        config = ConformerConfig(prefix_tokens=choice, kernel_size=3, dropout=0.0)
        module = ConvolutionModule(config, 4).eval()
        changed = tokens.clone()
        changed[:, 0] += 1.0
        difference = (module(changed, layout()) - module(tokens, layout()))[0]
        assert bool(difference.any()) == takes_part


def test_clip_norm_is_group_norm_where_nothing_is_padding():
    norm, reference = ClipNorm(6), nn.GroupNorm(1, 6)
    tokens = torch.randn(3, 7, 6)
    expected = reference(tokens.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(norm(tokens, torch.ones(1, 7, dtype=torch.bool)), expected)


def test_rotary_scores_depend_on_distance_only():
    rotary = RotaryPositions(1, 8)
    query, key = torch.randn(8), torch.randn(8)
    places = layout(rows=3, columns=4, prefix=0)
    turned_query, turned_key, _ = rotary(
        query.expand(1, 1, 12, 8), key.expand(1, 1, 12, 8), None, places
    )
    scores = (turned_query @ turned_key.transpose(2, 3))[0, 0]
    torch.testing.assert_close(scores[0, 5], scores[5, 10])  # one row and one column apart
    assert not torch.isclose(scores[0, 5], scores[0, 6])


def test_rotary_angles_are_not_rounded_to_16_bits():
    rotary = RotaryPositions(1, 32)
    heads = torch.randn(1, 1, 101, 32, generator=torch.Generator().manual_seed(0))
    heads = heads.bfloat16().float()  # so that both start from the same numbers
    places = layout(rows=1, columns=101, prefix=0)
    exact = rotary(heads, heads, None, places)[0]
    half = rotary(heads.bfloat16(), heads.bfloat16(), None, places)[0]
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.05)


def test_a_block_is_that_of_gulati():
    """Half feed-forward, attention, convolution, half feed-forward, norm; plainly, unpadded."""
    torch.manual_seed(0)
    config = ConformerConfig(start="standard", kernel_size=3, feedforward_ratio=2.0, dropout=0.0)
    block = ConformerBlock(config, 8, num_heads=2).eval()
    for parameter in block.parameters():
        parameter.data = 0.5 * torch.randn_like(parameter)
    tokens = torch.randn(2, 12, 8)

    def feedforward(part, inputs):
        return part.contract(F.silu(part.expand(inputs)))

    def convolution(part, inputs):
        gated = F.glu(part.expand(inputs), dim=-1)
        filtered = part.depthwise.filters(gated.transpose(1, 2)).transpose(1, 2)
        return part.contract(F.silu(part.norm.affine(filtered)))

    norms, out = block.norms, tokens
    out = out + feedforward(block.feedforward_in, norms["feedforward_in"](out)) / 2
    out = out + block.attention(norms["attention"](out))
    out = out + convolution(block.convolution, norms["convolution"](out))
    out = out + feedforward(block.feedforward_out, norms["feedforward_out"](out)) / 2
    torch.testing.assert_close(block(tokens, None, layout(prefix=0)), block.norm(out))


def test_relative_positions_start_without_effect_and_know_row_and_column():
    relative = RelativePositions(2, 4)
    heads = torch.randn(1, 2, 13, 4)
    assert not relative(heads, heads, None, layout())[2].any()
    relative.columns.data[:, 64 + 1] = 5.0  # one column later
    bias = relative(heads, heads, None, layout())[2]
    assert bias[0, 0, 1, 2] == 5.0
    assert bias[0, 0, 2, 1] == 0.0
    assert bias[0, 0, 0].abs().sum() == 0.0  # the prefix token has no place


@pytest.mark.parametrize("start", STARTS)
def test_a_block_starts_as_its_setting_says(start):
    """How far it changes its input."""
    torch.manual_seed(0)
    config = ConformerConfig(start=start, kernel_size=3, dropout=0.0, block_norm="off")
    block, tokens = ConformerBlock(config, 8, 2), torch.randn(1, 13, 8)
    change = (block(tokens, None, layout()) - tokens).abs().amax().item()
    lowest, highest = {"zero": (0, 0), "layer_scale": (1e-7, 1e-4), "standard": (0.01, 9)}[start]
    assert lowest <= change <= highest
    assert set(block.scales) == (set(BRANCHES) if start == "layer_scale" else set())
