"""What every model answers: its layers, and what ends its residual branches."""

import pytest
import torch
from torch import nn

from auricle import models
from auricle.errors import CheckpointError, ConfigError
from auricle.models import Model

SIZES = {"width": 16, "depth": 2, "num_heads": 2}
PATCHES = {"num_mels": 32, "max_frames": 64, "num_classes": 3, "patch": [8, 8]}
STRIDE = {"stride": [8, 8]}
TRANSFORMER = {**SIZES, **PATCHES}
CONFORMER = {"conformer": {"num_blocks": 1, "kernel_size": 3}}
PYRAMID = {**PATCHES, **STRIDE, "width": 8, "pooling": [[2, 2]]}
SMALL = {
    "asda": [TRANSFORMER, {**TRANSFORMER, "stored_columns": 4}],
    "ast": [
        {**TRANSFORMER, **STRIDE},
        {**TRANSFORMER, **STRIDE, "stem": [4, 6], "stem_depth": 2, "num_classes": 0},
        *(
            {**TRANSFORMER, **STRIDE, "differential": {"form": form}}
            for form in ("asda", "diff_v1")
        ),
        {**TRANSFORMER, **STRIDE, "differential": {"form": "diff_v2"}},
    ],
    "ced": [TRANSFORMER],
    "ham_ast": [
        {**TRANSFORMER, **STRIDE, **CONFORMER},
        {**TRANSFORMER, **STRIDE, "conformer": None, "channel_attention": None},
    ],
    "multiscale_ast": [{**PYRAMID, "depths": [1, 2]}],
    "mobilenet": [{"width": 0.1, "num_mels": 32, "num_classes": 3}],
}
CASES = [(name, settings) for name, cases in SMALL.items() for settings in cases]
DEEPER = [(name, {"depth": 4}) for name in ("ast", "ced", "ham_ast")] + [
    ("multiscale_ast", {"depths": [1, 4]})
]


def built(name: str, settings: dict, seed: int) -> Model:
    """A model in which every weight has an effect."""
    torch.manual_seed(seed)
    model = models.build(name, settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def test_every_kind_of_model_is_tried_here():
    assert SMALL.keys() == models.MODELS.keys()


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_parameter_is_in_one_layer_and_blocks_follow_each_other(name, settings):
    model = models.build(name, settings)
    layers = model.parameter_layers()
    assert list(layers) == [parameter for parameter, _ in model.named_parameters()]
    blocks = [layers[parameter] for parameter in layers if parameter.startswith("encoder.blocks.")]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) == len(model.residual_outputs()) == len(model.encoder.blocks)
    assert {layers[n] for n in layers if n.startswith("head.")} <= {max(layers.values())}


def test_a_model_that_does_not_answer_cannot_be_built():
    class Silent(Model):
        def embed(self, features, frame_counts=None):
            return features

        def num_tokens(self, frames):
            return frames

    with pytest.raises(TypeError, match=r"abstract.*layers.*residual_outputs"):
        Silent()


class Forgetful(models.AST):
    """An AST with a part that belongs to no layer."""

    def __init__(self, config):
        super().__init__(config)
        self.extra = nn.Linear(2, 2)


class Doubled(models.AST):
    """An AST whose head stands in two layers."""

    def layers(self):
        return [*super().layers(), [self.head.norm]]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Forgetful, "Forgetful.layers() holds the parameter extra.weight 0 times"),
        (Doubled, "Doubled.layers() holds the parameter head.norm.weight 2 times"),
    ],
)
def test_a_parameter_outside_the_layers_or_in_two_is_refused(kind, message):
    model = kind(models.configure("ast", SMALL["ast"][0]))
    with pytest.raises(ConfigError) as caught:
        model.parameter_layers()
    assert str(caught.value) == f"{message}: each must be in exactly one layer."


@pytest.mark.parametrize(("name", "settings"), CASES)
@torch.no_grad()
def test_a_block_without_its_residual_outputs_passes_its_input_on(name, settings):
    model = built(name, settings, seed=0)
    for block, outputs in zip(model.encoder.blocks, model.residual_outputs(), strict=True):
        if not outputs:
            continue
        for parameter in (p for module in outputs for p in module.parameters()):
            parameter.zero_()
        if name == "mobilenet":
            maps, columns = torch.randn(2, block.project.norm.num_features, 4, 6), None
            columns = models.mobilenet.Columns(None)
            torch.testing.assert_close(block(maps, columns)[0], maps, rtol=0, atol=0)
        elif name == "multiscale_ast":
            layout = models.patches.TokenLayout(0, 4, 6, None)
            tokens = torch.randn(2, 24, block.attention.output.out_features)
            torch.testing.assert_close(block(tokens, layout)[0], tokens, rtol=0, atol=0)
        else:
            tokens = torch.randn(2, 9, 16)
            torch.testing.assert_close(block(tokens), tokens, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "settings"), [c for c in CASES if c[0] in dict(DEEPER)])
@torch.no_grad()
def test_a_deeper_model_begins_as_its_source(name, settings):
    source = built(name, settings, seed=0)
    target = built(name, {**settings, **dict(DEEPER)[name]}, seed=1)
    features, counts = torch.randn(2, 64, 32), torch.tensor([64, 40])
    expected = source(features, counts)
    assert (target(features, counts) - expected).abs().max() > 0.1  # so it says something
    models.transfer(source, target, with_head=True)
    assert len(target.residual_outputs()) > len(source.residual_outputs())
    torch.testing.assert_close(target(features, counts), expected, rtol=0, atol=1e-6)


def test_blocks_that_cannot_pass_their_input_on_make_no_deeper_model():
    source = models.build("asda", TRANSFORMER)
    target = models.build("asda", {**TRANSFORMER, "depth": 3})
    with pytest.raises(CheckpointError) as caught:
        models.transfer(source, target)
    assert str(caught.value) == (
        "the initial weights have 2 blocks, the model has 3: its block 2 cannot pass its input "
        "on, so that it would not begin as they do. Use the same depth."
    )


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_the_default_precision_of_torch_changes_nothing(name, settings, request):
    features, counts = torch.randn(2, 64, 32), torch.tensor([64, 40])
    results = []
    for default in (torch.float32, torch.float64):
        if default is torch.float64:
            request.getfixturevalue("double_by_default")
        torch.manual_seed(0)
        model = models.build(name, settings)
        assert torch.get_default_dtype() is default
        results.append([*model.state_dict().values(), model.train()(features, counts)])
    for single, double in zip(*results, strict=True):
        torch.testing.assert_close(double, single, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "settings"), CASES)
@torch.no_grad()
def test_classes_are_reordered_in_the_last_layer(name, settings):
    model = built(name, settings, seed=0)
    features = torch.randn(2, 64, 32)
    before = model(features)
    if settings["num_classes"] == 0:
        with pytest.raises(ConfigError) as caught:
            model.reorder_classes([0])
        message = "a model without labels has no logits that could be reordered."
        assert str(caught.value) == message
        return
    model.reorder_classes([2, 0, 1])
    torch.testing.assert_close(model(features), before[:, [2, 0, 1]], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("name", "settings"), [c for c in CASES if c[1].get("num_classes")])
@torch.no_grad()
def test_the_last_layer_is_a_linear_function_of_what_it_reads(name, settings):
    model = built(name, settings, seed=0)
    features = torch.randn(2, 64, 32)
    read = model.last_input(model.embed(features))
    weight, bias = torch.randn(3, read.shape[1]), torch.randn(3)
    model.set_classifier(weight, bias)
    torch.testing.assert_close(model(features), read @ weight.T + bias, rtol=1e-4, atol=1e-4)
