"""Differential attention: every published form against its formula, written out plainly."""

import math

import pytest
import torch

from auricle import models
from auricle.config import from_dict
from auricle.errors import ConfigError
from auricle.models.differential_attention import (
    FORMS,
    DifferentialAttention,
    DifferentialConfig,
)

WIDTH, HEADS, TOKENS = 24, 4, 7


def module(layer=2, **settings):
    torch.manual_seed(0)
    config = DifferentialConfig(**settings)
    built = DifferentialAttention(config, WIDTH, HEADS, layer).double()
    for name, parameter in built.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm.weight" in name else 0.0, std=0.3)
    return built


def plain(attention, tokens, mask, number, queries, keys, values):
    """The formula, head by head and token by token: `(B, N, H, V)`."""
    if not mask.is_floating_point():
        mask = torch.zeros(mask.shape, dtype=tokens.dtype).masked_fill(~mask, -math.inf)
    mask = mask.expand(-1, queries[0].shape[2], -1, -1)
    heads = []
    for head in range(queries[0].shape[2]):
        maps = []
        for index in (0, 1):
            scores = queries[index][:, :, head] @ keys[index][:, :, head].transpose(1, 2)
            scores = scores / math.sqrt(queries[index].shape[3])
            maps.append((scores + mask[:, head]).softmax(dim=2))
        factor = number if isinstance(number, float) else number[:, :, head : head + 1]
        heads.append((maps[0] - factor * maps[1]) @ values[:, :, head])
    return torch.stack(heads, dim=2)


def batch():
    torch.manual_seed(1)
    tokens = torch.randn(3, TOKENS, WIDTH, dtype=torch.float64)
    counts = torch.tensor([TOKENS, 4, 1])
    mask = (torch.arange(TOKENS) < counts[:, None])[:, None, None]  # (B, 1, 1, N)
    return tokens, counts, mask


def added(mask, attention):
    """A mask `(B, H, N, N)` of a number for every score, and -inf where `mask` is False."""
    numbers = torch.randn(len(mask), attention.num_heads, TOKENS, TOKENS, dtype=torch.float64)
    return numbers.masked_fill(~mask, -math.inf)


def check(attention, expected, tokens, counts, mask):
    found = attention(tokens, mask)
    for row, count in enumerate(counts):
        assert (found[row, :count] - expected[row, :count]).abs().max() < 1e-12


@pytest.mark.parametrize("is_added", [False, True])
def test_asda_is_the_released_formula(is_added):
    attention, (tokens, counts, mask) = module(), batch()
    mask = added(mask, attention) if is_added else mask
    query, key = attention.query(tokens), attention.key(tokens)
    queries, keys = (
        [half.unflatten(2, (HEADS, -1)) for half in both.chunk(2, dim=2)] for both in (query, key)
    )
    values = attention.value(tokens).unflatten(2, (HEADS, -1))
    mixed = plain(attention, tokens, mask, 0.1, queries, keys, values).flatten(2)
    norm = attention.norm.norm
    centred = mixed - mixed.mean(dim=2, keepdim=True)
    scaled = centred / (mixed.var(dim=2, keepdim=True, correction=0) + 1e-5).sqrt()
    expected = attention.output(0.95 * (scaled * norm.weight + norm.bias))
    check(attention, expected, tokens, counts, mask)


@pytest.mark.parametrize("is_added", [False, True])
def test_version_1_halves_the_heads_learns_lambda_and_norms_each_head(is_added):
    attention, (tokens, counts, mask) = module(layer=3, form="diff_v1"), batch()
    mask = added(mask, attention) if is_added else mask
    heads = HEADS // 2
    queries, keys = (
        [half.unflatten(2, (heads, -1)) for half in both.chunk(2, dim=2)]
        for both in (attention.query(tokens), attention.key(tokens))
    )
    values = attention.value(tokens).unflatten(2, (heads, -1))
    assert values.shape[3] == 2 * queries[0].shape[3] == 2 * (WIDTH // HEADS)
    start = 0.8 - 0.6 * math.exp(-0.9)
    learned = attention.weight
    products = [(learned.queries[i] @ learned.keys[i]).exp().item() for i in (0, 1)]
    number = products[0] - products[1] + start
    mixed = plain(attention, tokens, mask, number, queries, keys, values)
    norm = attention.norm.norm
    scaled = mixed / (mixed.square().mean(dim=3, keepdim=True) + 1e-5).sqrt() * norm.weight
    expected = attention.output((1 - start) * scaled.flatten(2))
    check(attention, expected, tokens, counts, mask)


@pytest.mark.parametrize("is_added", [False, True])
def test_version_2_shares_keys_and_weighs_every_token(is_added):
    attention, (tokens, counts, mask) = module(form="diff_v2"), batch()
    mask = added(mask, attention) if is_added else mask
    queries = [half.unflatten(2, (HEADS, -1)) for half in attention.query(tokens).chunk(2, dim=2)]
    key = attention.key(tokens).unflatten(2, (HEADS, -1))
    values = attention.value(tokens).unflatten(2, (HEADS, -1))
    number = (tokens @ attention.weight.projection.weight.T).sigmoid()
    mixed = plain(attention, tokens, mask, number, queries, [key, key], values)
    check(attention, attention.output(mixed.flatten(2)), tokens, counts, mask)


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_does_not_depend_on_its_padding(form):
    attention, (tokens, counts, mask) = module(form=form), batch()
    together = attention(tokens, mask)
    for row, count in enumerate(counts):
        alone = attention(tokens[row : row + 1, :count])
        torch.testing.assert_close(together[row : row + 1, :count], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_every_weight_learns(form):
    attention, (tokens, _, mask) = module(form=form), batch()
    attention(tokens, mask).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in attention.parameters())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["ast", "ham_ast"])
def test_a_transformer_takes_it_as_a_setting(name, form):
    settings = {"width": 16, "depth": 2, "num_heads": 2, "max_frames": 64, "num_classes": 3}
    model = models.build(name, {**settings, "differential": {"form": form}}).eval()
    kinds = {type(block.attention) for block in model.encoder.blocks}
    assert kinds == {DifferentialAttention}
    assert [block.attention.scale for block in model.encoder.blocks] == pytest.approx(
        {"asda": [0.95, 0.95], "diff_v1": [0.8, 0.2 + 0.6 * math.exp(-0.3)], "diff_v2": [1, 1]}[
            form
        ]
    )
    assert model(torch.randn(2, 64, 128)).shape == (2, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"form": "v3"}, "unknown form 'v3'. Known: asda, diff_v1, diff_v2."),
        ({"lambda_value": None}, "lambda_kind fixed needs lambda_value."),
        (
            {"lambda_kind": "token", "scale": None},
            "lambda_kind token starts nowhere that scale could follow: give scale.",
        ),
        (
            {"lambda_kind": "token", "lambda_value": 0.3},
            "lambda_kind token finds its own lambda: leave out lambda_value.",
        ),
        (
            {"form": "diff_v2", "lambda_value": 0.3},
            "lambda_kind token finds its own lambda: leave out lambda_value.",
        ),
        (
            {"lambda_kind": "learned", "lambda_value": 1.0, "scale": None},
            "lambda_value 1 leaves a scale of 1 - lambda of nothing: give scale, or a lambda_value "
            "below 1.",
        ),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(DifferentialConfig, values, "differential")
    assert str(caught.value) == f"differential: {message}"


@pytest.mark.parametrize("values", [{"lambda_kind": "token"}, {"form": "diff_v2"}])
def test_settings_with_lambdas_of_tokens_are_read_as_they_were_written(values):
    config = from_dict(DifferentialConfig, values, "differential")
    assert from_dict(DifferentialConfig, config.to_dict(), "differential") == config
    assert config.lambda_value is None


def test_heads_that_cannot_be_halved_are_refused():
    with pytest.raises(ConfigError) as caught:
        models.configure("ast", {"width": 15, "num_heads": 3, "differential": {"form": "diff_v1"}})
    assert str(caught.value) == "model: num_heads (3) must be even where heads are halved."
