"""Multiscale AST: the pyramid against a plain one, true variable length, what it costs."""

import math

import pytest
import torch
from torch.nn import functional as F

from auricle import models
from auricle.errors import AudioError, ConfigError
from auricle.inference.description import multiply_adds
from auricle.models.encoder import DropPath

SMALL = {
    "num_classes": 5,
    "num_mels": 32,
    "max_frames": 120,
    "patch": [8, 8],
    "stride": [4, 4],
    "width": 8,
    "depths": [1, 2, 1],
    "pooling": [[1, 2], [2, 3]],
}
CASES = [
    {},
    {"pooling": [[2, 2], [1, 1]]},
    {"num_heads": 2, "pooling": [[1, 4], [7, 1]]},
    {"depths": [2], "pooling": []},
]
FRAME_COUNTS = torch.tensor([8, 120, 57, 12, 31])  # from one patch to the longest
TEN_SECONDS = 998


def small(**settings):
    """A small pyramid whose weights all matter: with the usual start, branches are near zero."""
    model = models.build("multiscale_ast", {**SMALL, **settings}).double()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        is_norm_weight = parameter.ndim == 1 and name.endswith("weight")
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.data = is_norm_weight + scale * noise
    return model.eval()


def noise(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def num_parameters(name, settings):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in models.build(name, settings).parameters())


# A plain second implementation: one clip, its tokens as a grid (rows, columns, width), windows and
# heads in loops.


def windows(grid, step):
    """Of every window: where it stands, and its places as (place in the window, row, column)."""
    reach = [length // 2 for length in step]
    rows, columns = (math.ceil(length / by) for length, by in zip(grid.shape, step, strict=False))
    for row in range(rows):
        for column in range(columns):
            around = [
                (
                    (down + reach[0], along + reach[1]),
                    row * step[0] + down,
                    column * step[1] + along,
                )
                for down in range(-reach[0], reach[0] + 1)
                for along in range(-reach[1], reach[1] + 1)
            ]
            yield (
                (row, column),
                [
                    (place, y, x)
                    for place, y, x in around
                    if 0 <= y < grid.shape[0] and 0 <= x < grid.shape[1]
                ],
            )


def plain_norm(weights, name, tokens, epsilon=1e-6):
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def plain_linear(weights, name, tokens):
    return tokens @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def as_grid(found):
    """A grid of what was found by place."""
    rows, columns = (1 + max(place[axis] for place in found) for axis in (0, 1))
    return torch.stack(
        [torch.stack([found[row, column] for column in range(columns)]) for row in range(rows)]
    )


def plain_filter(weights, name, grid, step):
    if step == (1, 1):
        return grid
    filters = weights[f"{name}.filter.weight"][:, 0]
    found = {
        place: sum(filters[:, i, j] * grid[y, x] for (i, j), y, x in inside)
        for place, inside in windows(grid, step)
    }
    return plain_norm(weights, f"{name}.norm", as_grid(found))


def plain_attention(query, key, value, num_heads):
    found = []
    for q, k, v in zip(
        *(part.flatten(0, 1).chunk(num_heads, dim=1) for part in (query, key, value)), strict=True
    ):
        found.append((q @ k.T / math.sqrt(q.shape[1])).softmax(dim=1) @ v)
    return torch.cat(found, dim=1).view_as(query)


def plain_block(weights, name, grid, step, key_step, num_heads):
    normed = plain_norm(weights, f"{name}.attention_norm", grid)
    projected = plain_linear(weights, f"{name}.attention.query_key_value", normed)
    query, key, value = projected.chunk(3, dim=2)
    query = plain_filter(weights, f"{name}.attention.query_pool", query, step)
    key = plain_filter(weights, f"{name}.attention.key_pool", key, key_step)
    value = plain_filter(weights, f"{name}.attention.value_pool", value, key_step)
    mixed = query + plain_attention(query, key, value, num_heads)
    if f"{name}.shortcut.weight" in weights:
        wide = plain_linear(weights, f"{name}.shortcut", normed)
        grid = as_grid(
            {
                place: torch.stack([wide[y, x] for _, y, x in inside]).amax(dim=0)
                for place, inside in windows(wide, step)
            }
        )
    grid = grid + plain_linear(weights, f"{name}.attention.output", mixed)
    hidden = plain_linear(
        weights, f"{name}.mlp.expand", plain_norm(weights, f"{name}.mlp_norm", grid)
    )
    return grid + plain_linear(weights, f"{name}.mlp.contract", F.gelu(hidden))


def plain_model(model, clip):
    """Logits of one clip `(T, M)`."""
    weights, config = model.state_dict(), model.config
    (high, long), (down, along) = config.patch, config.stride
    filters = weights["patches.projection.weight"][:, 0]
    grid = as_grid(
        {
            (row, column): (filters * clip[column * along :, row * down :][:long, :high].T).sum(
                dim=(1, 2)
            )
            + weights["patches.projection.bias"]
            + weights["positions.grid"][row, column]
            for row in range((config.num_mels - high) // down + 1)
            for column in range((len(clip) - long) // along + 1)
        }
    )
    block = 0
    for stage, depth in enumerate(config.depths):
        for index in range(depth):
            is_entry = stage > 0 and index == 0
            later = config.pooling[stage - 1 if is_entry else stage :]
            keys = tuple(math.prod(step[axis] for step in later) for axis in (0, 1))
            step = config.pooling[stage - 1] if is_entry else (1, 1)
            heads = config.num_heads * 2**stage
            grid = plain_block(weights, f"encoder.blocks.{block}", grid, step, keys, heads)
            block += 1
    read = plain_norm(weights, "norm", grid).flatten(0, 1).mean(dim=0)
    return plain_linear(weights, "head.linear", plain_norm(weights, "head.norm", read, 1e-5))


@pytest.mark.parametrize("case", CASES, ids=str)
@torch.no_grad()
def test_the_pyramid_is_the_plain_one(case):
    model, features = small(**case), noise(1, 45, 32)
    expected = plain_model(model, features[0])
    assert expected.std() > 0.1
    torch.testing.assert_close(model(features)[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("beyond", [77.0, math.nan])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-5)])
@torch.no_grad()
def test_a_clip_gives_the_same_logits_alone_and_in_a_batch(case, beyond, dtype, tolerance):
    model = small(**case).to(dtype)
    features = noise(5, 120, 32, dtype=dtype)
    for clip, count in zip(features, FRAME_COUNTS, strict=True):
        clip[count:] = beyond
    together = model(features, FRAME_COUNTS)
    alone = [model(clip[None, :count]) for clip, count in zip(features, FRAME_COUNTS, strict=True)]
    assert together.std() > 0.1  # the clips are told apart, so the comparison says something
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=tolerance)


@torch.no_grad()
def test_every_length_from_one_patch_to_the_longest_is_heard_as_alone():
    model, features = small(), noise(1, 120, 32)
    counts = torch.arange(8, 121)
    together = model(features.expand(len(counts), -1, -1), counts)
    alone = torch.cat([model(features[:, :count]) for count in counts])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


@torch.no_grad()
def test_counts_of_whole_clips_change_nothing():
    model, features = small(), noise(2, 100, 32)
    assert torch.equal(model(features, torch.tensor([100, 100])), model(features))


def test_gradients_reach_every_weight_and_ignore_what_lies_beyond_a_clip():
    gradients = []
    for filling in (0.0, 55.0):
        model, features = small().train(), noise(2, 120, 32)
        features[0, 40:] = filling
        model(features, torch.tensor([40, 120])).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    reached = {name: gradient.abs().sum() > 0 for name, gradient in gradients[0].items()}
    assert [name for name, is_reached in reached.items() if not is_reached] == []
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=0, atol=0)


def test_it_learns_from_scratch_to_tell_where_a_sound_is():
    torch.manual_seed(0)
    model = models.build("multiscale_ast", {**SMALL, "num_classes": 2})
    features = 0.1 * torch.randn(16, 64, 32)
    targets = torch.arange(16) % 2
    features[targets == 0, :, :16] += 1
    features[targets == 1, :, 16:] += 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(features), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5
    assert losses[-1] < 0.2


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 3.431), ("small", 13.151), ("base", 51.462)]
)
def test_a_size_has_40_percent_fewer_parameters_than_that_ast(size, millions):
    found = num_parameters("multiscale_ast", {"size": size})
    assert found / 1e6 == pytest.approx(millions, abs=6e-4)
    assert found <= 0.6 * num_parameters("ast", {"size": size})


@pytest.mark.parametrize(
    ("size", "billions"), [("tiny", 1.631), ("small", 5.854), ("base", 22.073)]
)
def test_ten_seconds_cost_less_than_a_quarter_of_that_ast(size, billions):
    found = multiply_adds("multiscale_ast", {"size": size}, TEN_SECONDS)
    assert found / 1e9 == pytest.approx(billions, abs=6e-4)
    assert 4 * found <= multiply_adds("ast", {"size": size}, TEN_SECONDS)


@torch.no_grad()
def test_tokens_become_fewer_and_wider_from_stage_to_stage():
    with torch.device("meta"):
        model = models.build("multiscale_ast", {"size": "base"})
        shapes = []
        for block in model.encoder.blocks:
            block.register_forward_hook(
                lambda _, inputs, result: shapes.append(result[0].shape[1:])
            )
        model(torch.zeros(1, TEN_SECONDS, 128))
    stages = [(15 * 248, 96), (15 * 124, 192), (8 * 62, 384), (4 * 31, 768)]
    depths = (2, 3, 16, 3)
    expected = [stage for stage, depth in zip(stages, depths, strict=True) for _ in range(depth)]
    assert [tuple(shape) for shape in shapes] == expected
    assert model.num_tokens(TEN_SECONDS) == 4 * 31
    keys = {block.attention.key_pool.step for block in model.encoder.blocks}
    assert keys == {(4, 8), (4, 4), (2, 2), (1, 1)}  # always to the last grid


def test_layers_count_the_blocks_of_all_stages():
    layers = small().parameter_layers()
    assert layers["patches.projection.weight"] == layers["positions.grid"] == 0
    assert layers["encoder.blocks.0.attention.key_pool.filter.weight"] == 1
    assert layers["encoder.blocks.1.shortcut.weight"] == 2
    assert layers["encoder.blocks.3.mlp.expand.weight"] == 4
    assert layers["norm.weight"] == layers["head.linear.weight"] == 5


def test_stochastic_depth_grows_in_a_line_over_all_stages():
    model = small(drop_path=0.3)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    features = noise(1, 64, 32).expand(8, -1, -1)
    assert len(model.train()(features).unique(dim=0)) > 1
    assert torch.equal(model.eval()(features), small()(features))


def test_pools_start_as_means():
    model = models.build("multiscale_ast", SMALL)
    attention = model.encoder.blocks[0].attention
    assert attention.key_pool.filter.kernel_size == (3, 7)  # of a step of 2 and one of 6
    assert torch.allclose(attention.key_pool.filter.weight, torch.tensor(1 / 21))
    assert not list(attention.query_pool.parameters())


def test_another_length_and_other_classes_start_from_what_was_learned():
    source = small()
    target = models.build("multiscale_ast", {**SMALL, "num_classes": 3, "max_frames": 64}).double()
    report = models.transfer(source, target)
    assert report.adapted == ("positions.grid",)
    assert set(report.fresh) == {name for name in target.state_dict() if name.startswith("head.")}


def test_without_classes_there_is_no_head():
    model = small(num_classes=0)
    assert not list(model.head.parameters())
    assert model(noise(1, 40, 32)).shape == (1, 32)


def test_a_summary_tells_first_and_last_stage():
    assert small(num_heads=2).config.summary == (
        "width 8 to 32, depth 4 in 3 stages, heads 2 to 8",
        "8 x 8 patches, stride 4 x 4, 32 mel bins, 120 frames",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"size": "large"},
            "model: unknown size 'large'. Known: base, small, tiny.",
        ),
        ({"stride": [0, 4]}, "model: patch (16, 8) and stride (0, 4) must be at least 1."),
        (
            {"max_frames": 7},
            "model: patch (16, 8) does not fit into num_mels (128) x max_frames (7).",
        ),
        ({"num_heads": 5}, "model: width (96) must be a multiple of num_heads (5)."),
        (
            {"depths": [1, 0, 1, 1]},
            "model: depths (1, 0, 1, 1) must be at least 1: each stage has a block.",
        ),
        (
            {"depths": [1, 2]},
            "model: pooling has 3 steps, depths 2 stages: give one step for each stage but the "
            "first.",
        ),
        (
            {"depths": [1, 1], "pooling": [[0, 2]]},
            "model: pooling ((0, 2),) must be at least 1.",
        ),
        (
            {"depths": []},
            "model: depths: Tuple should have at least 1 item after validation, not 0, got [].",
        ),
        ({"depth": 12}, "model: unknown key 'depth'. Did you mean 'depths'?"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        models.build("multiscale_ast", settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("features", "counts", "kind", "message"),
    [
        ((1, 40, 64), None, ConfigError, "features have 64 mel bins, the model was built for 32."),
        (
            (2, 40, 32),
            [7, 40],
            AudioError,
            "a clip has 7 frames, one patch needs 8: give a longer clip, or fill it up "
            "(front_end.padding.frames).",
        ),
        (
            (1, 124, 32),
            None,
            ConfigError,
            "a clip has 124 frames, the model's positions end at 120: cut it into windows, as "
            "Classifier does.",
        ),
    ],
)
def test_clips_that_do_not_fit_are_refused(features, counts, kind, message):
    with pytest.raises(kind) as caught:
        small()(noise(*features), None if counts is None else torch.tensor(counts))
    assert str(caught.value) == message
