"""Channel attention against plain second implementations, one choice of the tables at a time."""

import pytest
import torch
from torch.nn import functional as F

from auricle.config import from_dict
from auricle.errors import ConfigError
from auricle.models.ham_ast import NORMALIZATIONS, ChannelAttention, ChannelAttentionConfig
from auricle.models.model import READOUTS
from auricle.models.patches import TokenLayout

LAYOUT = TokenLayout(num_prefix=2, rows=3, columns=4, column_counts=None)


@pytest.fixture
def tokens():
    return torch.randn(2, 14, 8, generator=torch.Generator().manual_seed(0))


def lively(**choices):
    """A module whose gates differ from token to token, as after training."""
    torch.manual_seed(1)
    attention = ChannelAttention(ChannelAttentionConfig(reduction=2, **choices), 8)
    for parameter in attention.parameters():
        parameter.data = torch.randn_like(parameter)
    return attention


def excited(attention, descriptor):
    return attention.excite(F.relu(attention.squeeze(descriptor)))


def test_the_default_is_max_plus_mean_of_patches_norm_mlp_sigmoid(tokens):
    attention = lively()
    patches = tokens[:, 2:]
    combined = patches.amax(dim=1, keepdim=True) + patches.mean(dim=1, keepdim=True)
    gate = excited(attention, attention.normalize(combined)).sigmoid()
    torch.testing.assert_close(attention(tokens, LAYOUT), tokens * gate)


@pytest.mark.parametrize(
    ("normalization", "function"),
    [
        ("none", lambda combined: combined),
        ("l2", lambda combined: combined / combined.square().mean(dim=-1, keepdim=True).sqrt()),
        ("softmax", lambda combined: combined.exp() / combined.exp().mean(-1, keepdim=True)),
    ],
)
def test_the_descriptor_is_normalised_before_the_mlp(tokens, normalization, function):
    attention = lively(normalization=normalization, pooling="with_prefix", gate="residual")
    combined = tokens.amax(dim=1, keepdim=True) + tokens.mean(dim=1, keepdim=True)
    expected = tokens + tokens * excited(attention, function(combined))
    torch.testing.assert_close(attention(tokens, LAYOUT), expected)


@pytest.mark.parametrize(
    ("gate", "weigh"),
    [
        ("multiply", lambda scores: scores.sigmoid()),
        ("residual", lambda scores: 1 + scores),
        ("residual_sigmoid", lambda scores: 1 + scores.sigmoid()),
    ],
)
def test_the_literal_reading_pools_combines_normalises_and_weights(tokens, gate, weigh):
    attention = lively(scoring="direct", gate=gate)
    assert [name for name, _ in attention.named_parameters()] == [
        "normalize.weight",
        "normalize.bias",
    ]
    patches = tokens[:, 2:]
    combined = patches.amax(dim=1, keepdim=True) + patches.mean(dim=1, keepdim=True)
    centred = combined - combined.mean(dim=-1, keepdim=True)
    scores = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    scores = scores * attention.normalize.weight + attention.normalize.bias
    torch.testing.assert_close(attention(tokens, LAYOUT), tokens * weigh(scores))


def test_direct_scores_of_two_numbers_a_channel_are_refused():
    with pytest.raises(ConfigError) as caught:
        from_dict(
            ChannelAttentionConfig, {"scoring": "direct", "combination": "concatenation"}, "model"
        )
    assert str(caught.value) == (
        "model: scoring direct needs one number for each channel, combination concatenation gives "
        "two; choose another."
    )


@pytest.mark.parametrize("scoring", ["mlp", "direct"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_no_normalisation_makes_the_weights_of_all_clips_alike(scoring, normalization):
    """At AST's width, from a fresh start: clips differ by as much as their channels do."""
    torch.manual_seed(0)
    config = ChannelAttentionConfig(scoring=scoring, normalization=normalization)
    attention = ChannelAttention(config, 768)
    descriptors = attention.normalize(torch.randn(16, 1, 768))
    scores = attention.squeeze(descriptors) if scoring == "mlp" else descriptors
    between_clips = scores.std(dim=0).mean()
    assert between_clips > 0.3


@pytest.mark.parametrize("combination", ["concatenation", "learned"])
def test_max_and_mean_are_combined_as_chosen(tokens, combination):
    attention = lively(normalization="none", combination=combination)
    largest, mean = (f(tokens[:, 2:], dim=1, keepdim=True) for f in (torch.amax, torch.mean))
    if combination == "learned":
        first, second = attention.combine.preference.softmax(dim=0)
        combined = first * largest + second * mean
    else:
        combined = torch.cat([largest, mean], dim=-1)
    expected = tokens * excited(attention, combined).sigmoid()
    torch.testing.assert_close(attention(tokens, LAYOUT), expected)


def test_segments_add_the_surroundings_in_time_and_prefix_tokens_take_the_clip_twice(tokens):
    attention = lively(normalization="none", pooling="segments", segment_columns=3)
    grid = tokens[:, 2:].unflatten(1, (3, 4))  # (B, F, T, D)

    def pooled(part):
        return part.amax(dim=(1, 2)) + part.mean(dim=(1, 2))

    clip, early, late = pooled(grid), pooled(grid[:, :, :3]), pooled(grid[:, :, 3:])
    row = torch.stack([clip + early] * 3 + [clip + late], dim=1)
    combined = torch.cat([torch.stack([clip + clip] * 2, dim=1), row, row, row], dim=1)
    expected = tokens * excited(attention, combined).sigmoid()
    torch.testing.assert_close(attention(tokens, LAYOUT), expected)


def test_readouts_are_what_their_names_say(tokens):
    layout = TokenLayout(2, 3, 4, torch.tensor([4, 2]))  # the second clip has 6 patches
    torch.testing.assert_close(READOUTS["prefix_mean"](tokens, layout), tokens[:, :2].mean(dim=1))
    assert torch.equal(READOUTS["cls"](tokens, layout), tokens[:, 0])
    expected = torch.stack([tokens[0, 2:].mean(dim=0), tokens[1, 2:8].mean(dim=0)])
    torch.testing.assert_close(READOUTS["patch_mean"](tokens, layout), expected)
