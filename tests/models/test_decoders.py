"""The decoders of pretraining against plain second forms of them, in float64; clips of any length.

Shapes: B clips, F rows, T columns, N patch places, D width, H heads, K width of a head.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from auricle.models.decoders import (
    ConvDecoder,
    ConvDecoderConfig,
    TransformerDecoder,
    TransformerDecoderConfig,
)
from auricle.models.patches import TimeMajorLayout, TokenLayout

ROWS, COLUMNS, WIDTH, GROUPS, HEADS = 3, 5, 16, 4, 2
LAYOUTS = [TokenLayout, TimeMajorLayout]


def decoder(kind):
    torch.manual_seed(0)
    if kind is ConvDecoder:
        built = ConvDecoder(ConvDecoderConfig(depth=3, groups=GROUPS), WIDTH)
    else:
        built = TransformerDecoder(TransformerDecoderConfig(depth=2, num_heads=HEADS), WIDTH)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built.double()


def places(layout):
    """Row and column of every patch of a whole clip, in the order of its tokens."""
    if isinstance(layout, TimeMajorLayout):
        return [(row, column) for column in range(COLUMNS) for row in range(ROWS)]
    return [(row, column) for row in range(ROWS) for column in range(COLUMNS)]


def normal(values, epsilon):
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()


def gelu(values):
    return values * (1 + torch.erf(values / math.sqrt(2))) / 2


def convolved(grid, convolution):
    """A grouped convolution of `(F, T, D)` as a sum over the places that it reaches."""
    size = convolution.weight.shape[2]
    reach = size // 2
    padded = F.pad(grid, (0, 0, reach, reach, reach, reach))
    parts = zip(padded.chunk(GROUPS, 2), convolution.weight.chunk(GROUPS), strict=True)
    heard = [
        sum(
            part[row : row + ROWS, column : column + COLUMNS] @ weight[:, :, row, column].T
            for row in range(size)
            for column in range(size)
        )
        for part, weight in parts
    ]
    return torch.cat(heard, dim=2) + convolution.bias


def plain_convolutions(built, tokens, layout):
    """One clip `(N, D)`, by way of its grid."""
    rows, columns = zip(*places(layout), strict=True)
    grid = tokens.new_zeros(ROWS, COLUMNS, WIDTH)
    grid[rows, columns] = tokens
    for convolution in built.convolutions:
        grid = grid + gelu(normal(convolved(grid, convolution), 1e-5))
    return grid[rows, columns] @ built.output.weight.T + built.output.bias


def position(row, column):
    """Sines, then cosines, of the row in the first half and of the column in the second."""
    quarter = WIDTH // 4
    angles = [
        [place / 10000 ** (step / quarter) for step in range(quarter)] for place in (row, column)
    ]
    waves = [wave(angle) for half in angles for wave in (math.sin, math.cos) for angle in half]
    return torch.tensor(waves).double()  # of float32, as positions are kept


def attended(attention, tokens):
    mixed = []
    both = attention.query_key_value
    query, key, value = (tokens @ both.weight.T + both.bias).chunk(3, dim=1)
    for own in torch.arange(WIDTH).chunk(HEADS):
        scores = query[:, own] @ key[:, own].T / math.sqrt(WIDTH // HEADS)
        shares = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
        mixed.append(shares @ value[:, own])
    return torch.cat(mixed, dim=1) @ attention.output.weight.T + attention.output.bias


def plain_blocks(built, tokens, layout):
    """One clip `(N, D)`, head by head."""

    def normed(norm, epsilon):
        return normal(tokens, epsilon) * norm.weight + norm.bias

    tokens = tokens + torch.stack([position(*place) for place in places(layout)])
    for block in built.blocks:
        tokens = tokens + attended(block.attention, normed(block.attention_norm, 1e-6))
        expand, contract = block.mlp.expand, block.mlp.contract
        hidden = gelu(normed(block.mlp_norm, 1e-6) @ expand.weight.T + expand.bias)
        tokens = tokens + hidden @ contract.weight.T + contract.bias
    return normed(built.norm, 1e-5)


PLAIN = {ConvDecoder: plain_convolutions, TransformerDecoder: plain_blocks}


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("kind", PLAIN)
@torch.no_grad()
def test_a_decoder_is_its_plain_form(kind, order):
    built, layout = decoder(kind), order(1, ROWS, COLUMNS, None)
    tokens = torch.randn(3, ROWS * COLUMNS, WIDTH, dtype=torch.float64)
    expected = torch.stack([PLAIN[kind](built, clip, layout) for clip in tokens])
    torch.testing.assert_close(built(tokens, layout), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", LAYOUTS)
@pytest.mark.parametrize("kind", PLAIN)
@torch.no_grad()
def test_a_clip_gives_the_same_alone_and_beside_longer_ones(kind, order):
    built, counts = decoder(kind), torch.tensor([COLUMNS, 3, 1])
    tokens = torch.randn(3, ROWS * COLUMNS, WIDTH, dtype=torch.float64)
    for clip, count in zip(tokens, counts, strict=True):
        clip[ROWS * count :] = 100.0  # beyond the clip
    together = built(tokens, order(1, ROWS, COLUMNS, counts))
    for clip, count, found in zip(tokens, counts.tolist(), together, strict=True):
        own = ROWS * count
        alone = built(clip[None, :own], order(1, ROWS, count, None))[0]
        torch.testing.assert_close(found[:own], alone, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("settings", "width", "count"),
    [({}, 768, 2_585_856), ({"depth": 3, "kernel": 5}, 1024, 5_967_872)],
    ids=["base", "large"],
)
def test_eats_decoders_have_as_many_weights_as_the_released_ones(settings, width, count):
    with torch.device("meta"):
        built = ConvDecoder(ConvDecoderConfig(**settings), width)
    assert sum(parameter.numel() for parameter in built.parameters()) == count
