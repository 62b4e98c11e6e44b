"""MobileNet: published sizes, true variable length, what batch norm learns, what is passed on."""

import copy
import math

import pytest
import torch
from torch import nn

from auricle import models
from auricle.errors import ConfigError
from auricle.models.mobilenet import BatchNorm, Columns, round_channels

FRAME_COUNTS = torch.tensor([1, 500, 97, 32, 33])


def small(**settings):
    """A small network whose weights and running statistics all matter."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build(
            "mobilenet", {"width": 0.1, "num_classes": 5, "num_mels": 64, **settings}
        )
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.normal_(module.weight, 1, 0.2, generator)
            nn.init.normal_(module.bias, 0, 0.2, generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, module.in_features**-0.5, generator)
    return model.eval()


def noise(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(
    "size, parameters",  # in millions; EfficientAT's README
    [
        ("mn04", 0.98),
        ("mn05", 1.43),
        ("mn10", 4.88),
        ("mn20", 17.91),
        ("mn30", 39.09),
        ("mn40", 68.43),
    ],
)
def test_a_published_size_has_its_number_of_parameters(size, parameters):
    with torch.device("meta"):
        model = models.build("mobilenet", {"size": size})
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(parameters, abs=0.006)


@pytest.mark.parametrize(
    "channels, rounded", [(1.6, 8), (6.4, 8), (12, 16), (36.8, 40), (40.8, 40), (9.6, 16)]
)
def test_channels_are_rounded_to_multiples_of_eight_but_not_far_down(channels, rounded):
    assert round_channels(channels) == rounded


@pytest.mark.parametrize("beyond", [77.0, math.inf, math.nan])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-5)])
@torch.no_grad()
def test_a_clip_gives_the_same_logits_alone_and_in_a_batch(dtype, tolerance, beyond):
    model = small().to(dtype)
    features = noise(5, 500, 64, dtype=dtype)
    for clip, count in zip(features, FRAME_COUNTS, strict=True):
        clip[count:] = beyond
    together = model(features, FRAME_COUNTS)
    alone = [model(clip[None, :count]) for clip, count in zip(features, FRAME_COUNTS, strict=True)]
    assert together.std() > 0.1  # the clips are told apart, so the comparison says something
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=tolerance)


@torch.no_grad()
def test_counts_of_whole_clips_change_nothing():
    model, features = small(), noise(2, 100, 64)
    assert torch.equal(model(features, torch.tensor([100, 100])), model(features))


def test_whole_clips_are_normalised_as_by_torch():
    ours, theirs = BatchNorm(4, 1e-3, 0.01), nn.BatchNorm2d(4, 1e-3, 0.01)
    maps = 3 * noise(3, 4, 5, 7) + 2
    padded = torch.cat([maps, torch.full((3, 4, 5, 2), 55.0)], dim=3)
    found = ours(padded, Columns(torch.tensor([7, 7, 7])))[..., :7]
    torch.testing.assert_close(found, theirs(maps), rtol=0, atol=1e-5)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


def test_batch_norm_learns_from_true_columns_alone():
    norm, maps = BatchNorm(4, 1e-3, 1.0), noise(2, 4, 5, 7)
    maps[0, :, :, 3:] = math.nan
    norm(maps, Columns(torch.tensor([3, 7])))
    seen = torch.cat([maps[0, :, :, :3], maps[1]], dim=2).flatten(1)
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=1))
    torch.testing.assert_close(norm.running_var, seen.var(dim=1))


def test_a_training_step_does_not_depend_on_what_lies_beyond_a_clip():
    gradients, states = [], []
    for filling in (0.0, 55.0):
        model = small(dropout=0.0).train()
        features = noise(2, 300, 64)
        features[0, 60:] = filling
        model(features, torch.tensor([60, 300])).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        states.append(copy.deepcopy(list(model.buffers())))
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0])
    for one, other in zip(gradients[0] + states[0], gradients[1] + states[1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 32, 33, 1000])
@torch.no_grad()
def test_tokens_are_the_places_of_the_last_map(frames):
    model = small()
    places = []
    model.top.register_forward_hook(lambda module, inputs, result: places.append(result[0].shape))
    embedding = model.embed(noise(1, frames, 64))
    assert embedding.shape == (1, 6 * 16)
    assert model.num_tokens(frames) == places[0][2] * places[0][3]


def test_new_classes_get_a_new_head_and_everything_else_is_copied():
    source = small()
    target = models.build("mobilenet", {**source.config.to_dict(), "num_classes": 3})
    report = models.transfer(source, target)
    assert report.fresh == ("head.linear.weight", "head.linear.bias")
    features = noise(2, 90, 64)
    torch.testing.assert_close(target.eval().embed(features), source.embed(features))
    norms = [model.encoder.blocks[9].filter.norm for model in (source, target)]
    assert torch.equal(norms[0].running_var, norms[1].running_var)


def test_layers_count_the_blocks_from_the_stem_to_the_head():
    layers = small().parameter_layers()
    assert layers["stem.convolution.weight"] == 0
    assert layers["encoder.blocks.0.filter.norm.bias"] == 1
    assert layers["encoder.blocks.14.gate.squeeze.weight"] == 15
    assert layers["hidden.weight"] == layers["head.linear.weight"] == 16


def test_without_classes_there_is_no_head():
    model = small(num_classes=0)
    assert not list(model.head.parameters())
    assert model(noise(1, 40, 64)).shape == (1, 128)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"size": "mn11"},
            "model: unknown size 'mn11'. Did you mean 'mn10'? Known: mn01, mn02, mn04, mn05, mn10, "
            "mn20, mn30, mn40.",
        ),
        ({"width": 0.0}, "model: width: Input should be greater than 0, got 0.0."),
        ({"dropout": 1.0}, "model: dropout: Input should be less than 1, got 1.0."),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError) as error:
        models.build("mobilenet", settings)
    assert str(error.value) == message


def test_other_mel_bins_are_refused():
    with pytest.raises(ConfigError) as error:
        small()(noise(1, 40, 128))
    assert str(error.value) == "features have 128 mel bins, the model was built for 64."
