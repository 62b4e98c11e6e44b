"""Masked reconstruction against a plain second form of it, in float64."""

import pytest
import torch
from torch.nn import functional as F

from auricle import models
from auricle.config import from_dict
from auricle.errors import ConfigError
from auricle.training import objectives as module
from auricle.training.objectives import (
    MaskedReconstruction,
    MaskedReconstructionConfig,
)

CONFIG = {"name": "masked_reconstruction", "decoder": {"depth": 1, "num_heads": 2}}


def objective(kind="ast", **settings):
    torch.manual_seed(0)
    student = models.build(
        kind,
        {
            "num_classes": 0,
            "num_mels": 32,
            "max_frames": 96,
            "patch": [16, 8],
            "width": 16,
            "depth": 2,
            "num_heads": 2,
            **({"stride": [16, 8]} if kind == "ast" else {}),
        },
    )
    config = MaskedReconstructionConfig.model_validate({**CONFIG, **settings})
    return MaskedReconstruction(student, config).double()


def plain(built, features, kept):
    """Both parts for whole clips of one length, patch by patch."""
    generative, discriminative = [], []
    columns = features.shape[1] // 8
    for clip, seen in zip(features, kept, strict=True):
        patches, layout = built.student.patchify(clip[None])
        grid = type(layout)(layout.num_prefix, layout.rows, layout.columns, None, seen[None])
        tokens = built.student.encode_patches(patches[:, seen], grid)[0, layout.num_prefix :]
        full = built.hidden_token.detach().expand(patches.shape[1], -1).clone()
        full[seen] = tokens
        decoded = built.decoder(full[None], layout)[0]
        order = layout.coordinates(features.device)
        wanted = []
        for row, column in zip(order[0][0].tolist(), order[1][0].tolist(), strict=True):
            piece = clip[8 * column : 8 * column + 8, 16 * row : 16 * row + 16]  # time, frequency
            wanted.append(piece.T.flatten())
        assert len(wanted) == 2 * columns
        hidden = [place for place in range(len(wanted)) if place not in seen.tolist()]
        own = torch.stack([wanted[place] for place in hidden])
        said, told = built.reconstruct(decoded)[hidden], built.discriminate(decoded)[hidden]
        generative.append((said - own).square().mean())
        scores = told @ own.T
        discriminative.append(F.cross_entropy(scores, torch.arange(len(hidden))))
    return torch.stack(generative), torch.stack(discriminative)


@pytest.mark.parametrize("kind", ["ast", "asda"])
@torch.no_grad()
def test_both_parts_are_those_of_a_plain_loop(kind, monkeypatch):
    built = objective(kind).eval()
    features = torch.randn(3, 48, 32, dtype=torch.float64)
    drawn = []
    keep = module.draw_visible
    monkeypatch.setattr(
        module,
        "draw_visible",
        lambda *given, **masks: drawn.append(keep(*given, **masks)) or drawn[0],
    )
    terms = built(features, None)
    generative, discriminative = plain(built, features, drawn[0])
    found = terms.parts
    torch.testing.assert_close(found["reconstruction_loss"], generative, rtol=1e-9, atol=0)
    torch.testing.assert_close(found["discrimination_loss"], discriminative, rtol=1e-9, atol=0)
    torch.testing.assert_close(terms.loss, 10 * generative + discriminative, rtol=1e-9, atol=0)


def test_clips_of_other_lengths_and_their_padding_have_no_influence(monkeypatch):
    built = objective().eval().float()
    features = torch.randn(2, 64, 32)
    kept = torch.tensor([[0, 5, 9, 15], [1, 7, -1, -1]])
    monkeypatch.setattr(module, "draw_visible", lambda *given, **masks: kept)
    together = built(features, torch.tensor([64, 32]))
    louder = features.clone()
    louder[1, 32:] = 100.0
    again = built(louder, torch.tensor([64, 32]))
    torch.testing.assert_close(together.loss, again.loss)


def test_everything_learns():
    built = objective().float()
    built(torch.randn(2, 48, 32), None).loss.mean().backward()
    silent = {name for name, part in built.named_parameters() if part.grad is None}
    assert silent == set()


def test_hidden_patches_are_told_apart_in_32_bits_where_layers_have_16():
    """Features near silence are large and alike: in 16 bits their scores would be, too."""
    random = torch.Generator().manual_seed(0)
    said = torch.randn(2, 16, 64, generator=random)
    wanted = torch.randn(2, 16, 64, generator=random) * 0.1 - 1.0
    hidden = torch.ones(2, 16, dtype=torch.bool)
    alone = module._matching_error(said, wanted, hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        among_16 = module._matching_error(said, wanted, hidden)
    assert torch.equal(alone, among_16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_loss_is_in_32_bits_where_layers_have_16(dtype):
    built = objective().float()
    with torch.autocast("cpu", dtype=dtype):
        terms = built(torch.randn(2, 48, 32), None)
    assert {part.dtype for part in (terms.loss, *terms.parts.values())} == {torch.float32}


@pytest.mark.parametrize(
    ("values", "masks"),
    [
        ({}, {"chunk": (3, 5)}),
        ({"chunk": [2, 4]}, {"chunk": (2, 4)}),
        ({"block": 1}, {"block": 1}),
        ({"block": 2, "chunk": None}, {"block": 2}),
    ],
)
def test_masks_are_chunks_as_mae_asts_unless_a_block_is_given(values, masks):
    read = from_dict(MaskedReconstructionConfig, values, "objective")
    assert read.masks == masks
    assert from_dict(MaskedReconstructionConfig, read.to_dict(), "objective") == read


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"block": 2, "chunk": [3, 5]}, "chunk and block cannot be given together; choose one."),
        ({"chunk": [5, 3]}, "chunk (5, 3) must be a range, the smaller side first."),
    ],
)
def test_impossible_masks_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(MaskedReconstructionConfig, values, "objective")
    assert str(caught.value) == f"objective: {message}"
