"""AST: shapes, settings, refusals. Equality with transformers' AST: tests/parity."""

import pytest
import torch

from auricle import models
from auricle.errors import AudioError, ConfigError

SMALL = {"width": 16, "depth": 1, "num_heads": 2, "num_classes": 3}


@pytest.mark.parametrize(("frames", "tokens"), [(1024, 1214), (512, 602), (128, 146), (16, 14)])
def test_tokens_are_the_patches_and_two_prefix_tokens(frames, tokens):
    model = models.build("ast", {**SMALL, "max_frames": 1024})
    assert model.num_tokens(frames) == tokens
    assert model.encode(torch.randn(1, frames, 128))[0].shape == (1, tokens, 16)


@pytest.mark.parametrize(
    ("settings", "mels"),
    [
        ({"patch": [128, 2], "stride": [128, 2]}, 128),
        ({"patch": [32, 8], "stride": [16, 3]}, 128),
        ({"patch": [14, 14], "stride": [14, 14]}, 128),
        ({"num_mels": 40, "patch": [40, 1], "stride": [40, 1]}, 40),
        ({"num_prefix_tokens": 1, "readout": "cls"}, 128),
        ({"stem": [4, 8], "patch": [128, 8], "stride": [128, 8]}, 128),
        ({"stem": [4, 8], "stem_depth": 2, "patch": [128, 8], "stride": [128, 8]}, 128),
    ],
    ids=str,
)
def test_any_patch_stride_and_mel_count(settings, mels):
    model = models.build("ast", {**SMALL, "num_mels": mels, **settings})
    assert model(torch.randn(2, 98, mels)).shape == (2, 3)


@pytest.mark.parametrize(
    ("classes", "frames", "millions"), [(527, 1024, 88.132), (35, 128, 86.933)]
)
def test_the_base_model_has_the_published_size(classes, frames, millions):
    """The published counts include the two unused 1000-way heads of the DeiT weights."""
    with torch.device("meta"):
        model = models.build("ast", {"size": "base", "num_classes": classes, "max_frames": frames})
    count = sum(parameter.numel() for parameter in model.parameters())
    unused = 2 * (768 * 1000 + 1000)
    assert (count + unused) / 1e6 == pytest.approx(millions, abs=0.0006)


def test_without_classes_the_model_is_a_start_and_returns_embeddings():
    model = models.build("ast", {**SMALL, "num_classes": 0})
    assert model(torch.randn(2, 98, 128)).shape == (2, 16)


def test_evaluation_is_deterministic():
    model = models.build("ast", {**SMALL, "dropout": 0.5}).eval()
    features = torch.randn(2, 98, 128)
    assert torch.equal(model(features), model(features))


def test_a_clip_shorter_than_a_patch_is_refused():
    model = models.build("ast", SMALL)
    with pytest.raises(AudioError) as error:
        model(torch.randn(2, 98, 128), torch.tensor([98, 15]))
    assert str(error.value) == (
        "a clip has 15 frames, one patch needs 16: give a longer clip, or fill it up "
        "(front_end.padding.frames)."
    )


def test_a_clip_longer_than_the_positions_is_refused():
    model = models.build("ast", {**SMALL, "max_frames": 128})
    with pytest.raises(ConfigError) as error:
        model(torch.randn(1, 498, 128))
    assert str(error.value) == (
        "a clip has 498 frames, the model's positions end at 128: cut it into windows, "
        "as Classifier does."
    )


def test_other_mel_bins_are_refused():
    with pytest.raises(ConfigError) as error:
        models.build("ast", SMALL)(torch.randn(1, 98, 64))
    assert str(error.value) == "features have 64 mel bins, the model was built for 128."


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "asd",
            {},
            "model: unknown model 'asd'. Did you mean 'asda'? Known: asda, ast, ced, ham_ast, "
            "mobilenet, multiscale_ast.",
        ),
        (
            "ast",
            {"size": "smal"},
            "model: unknown size 'smal'. Did you mean 'small'? Known: base, small, tiny.",
        ),
        ("ast", {"num_heads": 7}, "model: width (768) must be a multiple of num_heads (7)."),
        (
            "ast",
            {"patch": [200, 16]},
            "model: patch (200, 16) does not fit into num_mels (128) x max_frames (1024).",
        ),
        (
            "ast",
            {"stride": [0, 10]},
            "model: patch (16, 16) and stride (0, 10) must be at least 1.",
        ),
        (
            "ast",
            {"patch": [128, 8], "stride": [128, 6], "stem": [8, 16]},
            "model: patch (128, 8), stride (128, 6) and num_mels (128) must be multiples of 4 "
            "behind a stem of 2 convolutions.",
        ),
        ("ast", {"depth": 0}, "model: depth: Input should be greater than or equal to 1, got 0."),
    ],
)
def test_impossible_settings_are_refused(name, settings, message):
    with pytest.raises(ConfigError) as error:
        models.build(name, settings)
    assert str(error.value) == message
