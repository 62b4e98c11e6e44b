"""Optimizers: groups of one rate and one decay."""

import pytest
import torch
from torch import nn

from auricle import models
from auricle.errors import ConfigError
from auricle.training.optimizer import LayerwiseOptimizerConfig, OptimizerConfig, build


def groups(config: OptimizerConfig, new: tuple[str, ...] = ()) -> list[tuple[float, float, int]]:
    """Rate, decay and number of parameters of each group of a small model's optimizer."""
    model = nn.ModuleDict(
        {"old": nn.Linear(3, 2), "head": nn.Linear(2, 2), "norm": nn.LayerNorm(2)}
    )
    built = build(model, config, new)
    return sorted((g["lr"], g["weight_decay"], len(g["params"])) for g in built.param_groups)


def test_adamw_leaves_vectors_without_decay():
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5)
    assert groups(config) == [(0.1, 0.0, 4), (0.1, 0.5, 2)]


@pytest.mark.parametrize("form", ["asda", "diff_v1", "diff_v2"])
def test_what_a_lambda_is_learned_from_is_decayed_only_where_it_is_a_matrix(form):
    settings = {"width": 8, "depth": 1, "num_heads": 2, "differential": {"form": form}}
    model = models.build("asda", {**settings, "num_classes": 2})
    built = build(model, OptimizerConfig(learning_rate=0.1, weight_decay=0.5))
    decay_of = {
        id(p): group["weight_decay"] for group in built.param_groups for p in group["params"]
    }
    found = {
        name.partition(".attention.weight.")[2]: decay_of[id(parameter)]
        for name, parameter in model.named_parameters()
        if ".attention.weight." in name
    }
    vectors = dict.fromkeys(("queries.0", "queries.1", "keys.0", "keys.1"), 0.0)
    assert found == {"asda": {}, "diff_v1": vectors, "diff_v2": {"projection.weight": 0.5}}[form]


def test_adam_decays_all_parameters_as_the_authors_do():
    config = OptimizerConfig(name="adam", learning_rate=0.1, weight_decay=0.5)
    assert groups(config) == [(0.1, 0.5, 6)]


def test_new_modules_learn_faster():
    config = OptimizerConfig(name="adam", learning_rate=0.1, new_modules_factor=10)
    assert groups(config, ("head.weight", "head.bias")) == [(0.1, 0.0, 4), (1.0, 0.0, 2)]


def test_the_named_optimizer_is_built_with_its_betas():
    config = OptimizerConfig(name="adam", learning_rate=0.1, betas=(0.95, 0.999))
    built = build(nn.Linear(2, 2), config)
    assert type(built) is torch.optim.Adam
    assert built.defaults["betas"] == (0.95, 0.999)


def rates(
    config: OptimizerConfig, new: tuple[str, ...] = (), model: str = "ham_ast"
) -> dict[str, float]:
    """The rate of every parameter of a small model."""
    small = models.build(model, {"width": 8, "depth": 3, "num_heads": 2, "num_classes": 2})
    built = build(small, config, new)
    rate_of = {id(p): group["lr"] for group in built.param_groups for p in group["params"]}
    return {name: rate_of[id(parameter)] for name, parameter in small.named_parameters()}


def test_layers_nearer_to_the_sound_learn_more_slowly():
    found = rates(LayerwiseOptimizerConfig(learning_rate=1.0, layer_decay=0.5))
    blocks = [found[f"encoder.blocks.{index}.mlp.expand.weight"] for index in range(3)]
    assert blocks == [0.125, 0.25, 0.5]
    first = ("patches.projection.weight", "prefix_tokens", "positions.grid", "positions.prefix")
    assert {found[name] for name in first} == {0.0625}
    rest = {rate for name, rate in found.items() if not name.startswith(("encoder.", *first))}
    assert {found["norm.weight"], found["head.linear.bias"]} == {1.0}
    assert rest - {0.0625} == {1.0}  # patches.projection.bias is of layer 0


def test_of_asda_the_blocks_alone_learn_more_slowly():
    found = rates(LayerwiseOptimizerConfig(learning_rate=1.0, layer_decay=0.65), model="asda")
    blocks = {f"encoder.blocks.{index}.": 0.65 ** (3 - index) for index in range(3)}
    for name, rate in found.items():
        expected = next((blocks[start] for start in blocks if name.startswith(start)), 1.0)
        assert rate == pytest.approx(expected), name


def test_layer_decay_of_what_has_no_layers_is_refused():
    with pytest.raises(ConfigError) as caught:
        build(nn.Linear(2, 2), LayerwiseOptimizerConfig(learning_rate=1.0, layer_decay=0.5))
    assert str(caught.value) == (
        "training.optimizer.layer_decay: Linear has no layers to decay by."
    )


def test_new_modules_and_layer_decay_multiply():
    name = "encoder.blocks.2.mlp.expand.weight"
    config = LayerwiseOptimizerConfig(learning_rate=1.0, layer_decay=0.5, new_modules_factor=10)
    assert rates(config, (name,))[name] == 5.0


def test_parameters_that_do_not_learn_are_left_out():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    built = build(layer, OptimizerConfig(learning_rate=0.1))
    assert [p for group in built.param_groups for p in group["params"]] == [layer.weight]
