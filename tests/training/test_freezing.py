"""Linear probe: what comes from the initial weights neither learns nor moves."""

import torch
from torch import nn

from auricle import models
from auricle.training import Augmentations, Supervised, SupervisedConfig
from auricle.training.optimizer import OptimizerConfig, build
from auricle.training.step import freeze

SETTINGS = {
    "num_classes": 3,
    "width": 16,
    "depth": 2,
    "num_heads": 2,
    "dropout": 0.5,
    "conformer": {"num_blocks": 1, "convolution_norm": "batch_norm"},
}


def probe(learning):
    """A model of which only parameters that begin with `learning` learn, and what rests."""
    model = models.build("ham_ast", SETTINGS)
    names = [name for name, _ in model.named_parameters() if name.startswith(learning)]
    return model, freeze(model, names)


def test_only_the_named_parameters_learn():
    model, _ = probe("head.")
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"head.norm.weight", "head.norm.bias", "head.linear.weight"} | {
        "head.linear.bias"
    }


def test_frozen_parts_rest_in_eval_mode_and_others_train():
    model, frozen = probe(("head.", "encoder.blocks.1."))
    assert model.encoder.blocks[0] in frozen
    assert not any(module.training for module in model.encoder.blocks[0].modules())
    assert all(module.training for module in model.encoder.blocks[1].modules())
    assert not any(module.training for module in model.before_norm.modules())
    assert model.training
    assert model.head.training


def test_a_step_changes_nothing_but_what_learns():
    torch.manual_seed(0)
    model, _ = probe("head.")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build(model, OptimizerConfig(learning_rate=0.1, weight_decay=0.5))
    model(torch.randn(4, 64, 128)).square().sum().backward()
    optimizer.step()
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {name for name in before if name.startswith("head.")}


def test_modules_without_parameters_stay_in_train_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    assert freeze(model, ["2.weight", "2.bias"]) == [model[0]]
    assert model[1].training


def test_a_step_in_train_mode_leaves_what_is_frozen_in_eval_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    config = SupervisedConfig(
        epochs=1, batch_size=2, loss="ce", optimizer={"learning_rate": 0.1}, freeze="backbone"
    )
    augmentations = Augmentations(*(nn.Identity() for _ in range(4)))
    labels = ["dog", "cat"]
    step = Supervised(nn.Identity(), model, labels, config, augmentations, {"1.weight", "1.bias"})
    step.eval().train()
    assert [part.training for part in model] == [False, True]
