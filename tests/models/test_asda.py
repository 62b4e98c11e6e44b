"""ASDA and EAT: published sizes, true variable length, fixed positions, what pretraining needs."""

import dataclasses
import math

import pytest
import torch

from auricle import models
from auricle.errors import AudioError, CheckpointError, ConfigError
from auricle.models.encoder import DropPath
from auricle.models.patches import sin_cos_positions

EAT = {"differential": None, "mlp_ratio": 4.0}
SMALL = {"num_classes": 5, "num_mels": 64, "max_frames": 128, "width": 32, "depth": 2}
FRAME_COUNTS = torch.tensor([16, 500, 97, 32, 47])
CASES = [{}, EAT, {"readout": "patch_mean"}, {"patch": [32, 8]}, {"stored_columns": 3}]
CASES += [{"differential": {"form": "diff_v1"}}, {"differential": {"form": "diff_v2"}}]


def small(**settings):
    """A small network whose weights all matter."""
    model = models.build("asda", {**SMALL, "num_heads": 2, **settings})
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm_weight = parameter.ndim == 1 and name.endswith("weight")
        scale = 2 * parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.data = is_norm_weight + scale * noise
    return model.eval()


def noise(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize(
    "settings, parameters",
    [
        ({}, 92_771_087),
        ({"num_classes": 50}, 92_404_274),
        ({"num_classes": 0}, 92_364_288),
        (EAT, 85_660_943),
        ({**EAT, "num_classes": 35}, 85_282_595),
        ({**EAT, "size": "large"}, 303_117_839),
        ({"stored_columns": 768}, 92_771_087),  # a table is no parameter
    ],
)
def test_a_published_size_has_its_number_of_parameters(settings, parameters):
    with torch.device("meta"):
        model = models.build("asda", {"size": "base", **settings})
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-5)])
@torch.no_grad()
def test_a_clip_gives_the_same_logits_alone_and_in_a_batch(case, dtype, tolerance):
    model = small(**case).to(dtype)
    features = noise(5, 500, 64, dtype=dtype)
    for clip, count in zip(features, FRAME_COUNTS, strict=True):
        clip[count:] = math.nan  # what stands there must not matter
    together = model(features, FRAME_COUNTS)
    alone = [model(clip[None, :count]) for clip, count in zip(features, FRAME_COUNTS, strict=True)]
    assert together.std() > 0.1  # the clips are told apart, so the comparison says something
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=tolerance)


@torch.no_grad()
def test_frames_that_fill_no_patch_are_not_heard():
    model, features = small(), noise(1, 47, 64)
    assert torch.equal(model(features), model(features[:, :32]))
    assert model.num_tokens(47) == model.encode(features)[0].shape[1] == 1 + 4 * 2


def test_positions_hold_the_frequency_first_and_then_the_time():
    table = sin_cos_positions(rows=8, columns=3, width=768)
    sine, cosine = 0.841471, 0.540302  # of 1
    places = {  # row and column: columns 0, 192, 384 and 576 of the position
        (0, 0): [0, 1, 0, 1],
        (1, 0): [sine, cosine, 0, 1],
        (0, 1): [0, 1, sine, cosine],
    }
    for (row, column), expected in places.items():
        assert table[row, column, [0, 192, 384, 576]].tolist() == pytest.approx(expected, abs=1e-6)
    assert table[0, 2, 385].item() == pytest.approx(math.sin(2 * 10000 ** (-1 / 192)), abs=1e-6)


@torch.no_grad()
def test_positions_go_on_beyond_the_longest_window():
    longer = small(max_frames=512)
    assert torch.equal(small(max_frames=64)(noise(1, 500, 64)), longer(noise(1, 500, 64)))
    assert not any(name.startswith("positions") for name in longer.state_dict())


@torch.no_grad()
def test_a_stored_table_is_used_as_far_as_it_goes():
    model = small(stored_columns=3)
    assert model.state_dict()["positions.table"].shape == (4, 3, 32)
    model.positions.table.fill_(7.0)
    positions = model.positions(5)
    assert (positions[:, :3] == 7).all()
    assert torch.equal(positions[:, 3:], sin_cos_positions(4, 5, 32)[:, 3:])
    assert torch.equal(model.positions(2), positions[:, :2])


@pytest.mark.parametrize("stored_columns, expected", [(0, "formula"), (2, "formula"), (3, "table")])
def test_a_stored_table_is_passed_on_to_a_model_that_has_its_place(stored_columns, expected):
    source, target = small(stored_columns=3), small(stored_columns=stored_columns)
    source.positions.table.fill_(7.0)
    report = models.transfer(source, target)
    assert ("positions.table" in report.copied) == (expected == "table")
    is_passed_on = bool((target.positions(2) == 7).all())
    assert is_passed_on == (expected == "table")


@pytest.mark.parametrize(
    ("theirs", "ours", "setting"),
    [
        (None, {}, "softmax attention (model.differential=null)"),
        ({}, None, "differential attention (model.differential={})"),
    ],
)
def test_weights_of_another_attention_lead_to_its_setting(theirs, ours, setting):
    source, target = small(differential=theirs), small(differential=ours)
    with pytest.raises(CheckpointError) as error:
        models.transfer(source, target)
    assert str(error.value).endswith(f"Use a model with these parts, {setting}.")


@torch.no_grad()
def test_chosen_tokens_meet_only_each_other_and_cls():
    model = small()
    patches, layout = model.patchify(noise(2, 128, 64))
    assert (layout.rows, layout.columns, patches.shape) == (4, 8, (2, 32, 32))
    chosen = [3, 4, 9, 20]
    places = torch.tensor([0, 4, 5, 10, 21])  # with cls in front
    mask = torch.zeros(33, dtype=torch.bool)
    mask[places] = True
    among_all = model.encoder(model.with_prefix(patches), mask[None, None, None])
    kept = torch.tensor([chosen, chosen])
    alone = model.encode_patches(patches[:, chosen], dataclasses.replace(layout, visible_ids=kept))
    torch.testing.assert_close(alone, among_all[:, places], rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", [{}, EAT], ids=["asda", "eat"])
@torch.no_grad()
def test_the_trace_is_what_each_perceptron_gives_before_sum_and_norm(case):
    model = small(**case)
    given = []
    for block in model.encoder.blocks:
        block.mlp.contract.register_forward_hook(lambda module, inputs, out: given.append(out))
    patches, layout = model.patchify(noise(2, 64, 64))
    said = model.trace_patches(patches, layout)
    assert all(torch.equal(one, other) for one, other in zip(said, given, strict=True))
    tokens = model.encode_patches(patches, layout)
    last = model.encoder.blocks[-1].mlp_norm
    assert tokens[0, 1].sub(last.bias).div(last.weight).std().item() == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_the_trace_of_a_pre_norm_block_is_the_same_quantity():
    model = models.build("ast", {**SMALL, "num_heads": 2}).eval()
    tokens = noise(2, 6, 32)
    result, said = model.encoder.trace(tokens)
    assert torch.equal(result, model.encoder(tokens))
    block = model.encoder.blocks[0]
    summed = tokens + block.attention(block.attention_norm(tokens))
    assert torch.equal(said[0], block.mlp(block.mlp_norm(summed)))


def test_both_branches_are_left_out_before_their_norms():
    model = small(drop_path=0.5, depth=3)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == [0, 0.25, 0.5]
    block = model.encoder.blocks[2].train()
    block.drop_path.rate = 1 - 1e-9  # every clip skips both branches
    tokens = noise(2, 6, 32)
    torch.testing.assert_close(block(tokens), block.mlp_norm(block.attention_norm(tokens)))


def test_cls_starts_as_noise_and_patches_like_a_linear_layer():
    model = models.build("asda", {"size": "small", "depth": 1})
    assert model.prefix_tokens.std().item() == pytest.approx(1, abs=0.2)
    bound = math.sqrt(6 / (256 + 384))
    weight = model.patches.projection.weight
    assert 0.99 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_every_weight_learns():
    model = small().train()
    model(noise(2, 64, 64), torch.tensor([64, 40])).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_without_classes_there_is_no_head():
    model = small(num_classes=0)
    assert not list(model.head.parameters())
    assert model(noise(1, 64, 64)).shape == (1, 32)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"width": 30}, "model: width (30) must be a multiple of 4, for its positions."),
        ({"num_heads": 3}, "model: width (32) must be a multiple of num_heads (3)."),
        (
            {"num_heads": 1, "differential": {"form": "diff_v1"}},
            "model: num_heads (1) must be even where heads are halved.",
        ),
        ({"patch": [0, 16]}, "model: patch (0, 16) and stride (0, 16) must be at least 1."),
        (
            {"patch": [65, 16]},
            "model: patch (65, 16) does not fit into num_mels (64) x max_frames (128).",
        ),
        (
            {"size": "huge"},
            "model: unknown size 'huge'. Known: base, large, small, tiny.",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError) as error:
        models.build("asda", {**SMALL, "num_heads": 2, **settings})
    assert str(error.value) == message


def test_a_clip_below_one_patch_and_other_mel_bins_are_refused():
    with pytest.raises(AudioError) as error:
        small()(noise(2, 64, 64), torch.tensor([64, 15]))
    assert str(error.value) == (
        "a clip has 15 frames, one patch needs 16: give a longer clip, or fill it up "
        "(front_end.padding.frames)."
    )
    with pytest.raises(ConfigError) as error:
        small()(noise(1, 64, 128))
    assert str(error.value) == "features have 128 mel bins, the model was built for 64."
