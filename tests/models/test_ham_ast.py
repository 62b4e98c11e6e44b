"""HAM-AST: the paper's composition, its start from AST, and the choices it leaves open."""

import pytest
import torch

from auricle import models
from auricle.errors import CheckpointError, ConfigError
from auricle.models.conformer import ConformerConfig

TINY = {"size": "tiny", "num_classes": 50, "max_frames": 128}
EXACT = {"conformer": {"block_norm": "off"}, "channel_attention": {"gate": "residual"}}


@pytest.fixture(scope="module")
def pretrained():
    """An AST-tiny whose weights are far from a fresh start, as training leaves them."""
    torch.manual_seed(0)
    model = models.build("ast", TINY).eval()
    for name, parameter in model.named_parameters():
        scale = 0.3 if name.endswith("bias") else 1.0
        parameter.data += scale * parameter.std().nan_to_num(0.1) * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def features():
    return torch.randn(3, 98, 128, generator=torch.Generator().manual_seed(3))


def ham_from(pretrained, choices=None):
    torch.manual_seed(1)
    ham = models.build("ham_ast", {**TINY, **(choices or {})}).eval()
    models.transfer(pretrained, ham, with_head=True)
    return ham


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"conformer": {"place": "after_norm"}},
        {"conformer": {"convolution_axis": "grid", "kernel_size": 3}},
        {"conformer": {"positions": "relative"}},
        {"channel_attention": None},
        {"channel_attention": {"combination": "concatenation"}},
        {"channel_attention": {"gate": "residual_sigmoid"}},
    ],
    ids=str,
)
@torch.no_grad()
def test_started_from_ast_it_gives_the_logits_of_that_ast(pretrained, features, choices):
    ham = ham_from(pretrained, choices)
    torch.testing.assert_close(ham(features), pretrained(features), rtol=0, atol=1e-4)


@torch.no_grad()
def test_with_residual_gate_and_no_block_norm_it_is_the_ast_bit_for_bit(pretrained, features):
    ham = ham_from(pretrained, EXACT)
    assert torch.equal(ham(features), pretrained(features))


def step(ham, features, learning_rate):
    """One Adam step, as the published recipes take it, on the modules that AST does not have."""
    new = [p for n, p in ham.named_parameters() if n.startswith(("before_norm", "after_norm"))]
    optimizer = torch.optim.Adam(new, lr=learning_rate, betas=(0.95, 0.999))
    torch.nn.functional.cross_entropy(ham(features), torch.tensor([1, 2, 3])).backward()
    optimizer.step()


@pytest.mark.parametrize("choices", [{}, EXACT], ids=["defaults", "exact"])
def test_after_one_optimiser_step_it_is_still_near(pretrained, features, choices):
    """At the ESC-50 recipe's rate, the largest change stays below a tenth of the logits' spread.

    (At Speech Commands' 2.5e-4 the step is 25 times as large: docs/ham.md.)
    """
    ham = ham_from(pretrained, choices)
    step(ham, features, learning_rate=1e-5)
    with torch.no_grad():
        before, after = pretrained(features), ham(features)
    change = (after - before).abs().max() / before.std()
    assert 1e-4 < change < 0.1


def test_after_one_step_at_the_highest_published_rate_every_gate_is_still_near_one_half(
    pretrained, features
):
    ham = ham_from(pretrained, {"conformer": None})
    step(ham, features, learning_rate=2.5e-4)
    with torch.no_grad():
        tokens, _ = ham.encode(features)
        ungated, _ = pretrained.encode(features)
    gates = (tokens / ungated)[ungated.abs() > 0.1]
    assert 0.497 < gates.min() < gates.max() < 0.503


@torch.no_grad()
def test_without_either_part_it_is_ast():
    settings = {**TINY, "conformer": None, "channel_attention": None}
    names = models.build("ham_ast", settings).state_dict().keys()
    assert names == models.build("ast", TINY).state_dict().keys()


@pytest.mark.parametrize("place", ["before_norm", "after_norm"])
@pytest.mark.parametrize("part", ["conformer", "channel_attention"])
def test_a_part_stands_on_the_side_of_the_norm_that_it_is_given(place, part):
    parts = {"conformer": None, "channel_attention": None, part: {"place": place}}
    names = models.build("ham_ast", {**TINY, **parts}).state_dict().keys()
    found = {name.partition(".")[0] for name in names}
    assert found & {"before_norm", "after_norm"} == {place}


def test_every_parameter_gets_a_gradient(features):
    torch.manual_seed(0)
    ham = models.build("ham_ast", {**TINY, "depth": 2, "conformer": {"num_blocks": 1}})
    optimizer = torch.optim.SGD(ham.parameters(), lr=1e-3)
    # The last block's convolution reaches the prefix tokens only through the channel attention, and
    # both start at zero: its first layers get a gradient in the third step.
    for _ in range(3):
        optimizer.zero_grad()
        ham(features).square().sum().backward()
        optimizer.step()
    without = [
        name
        for name, parameter in ham.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without == []


@pytest.mark.parametrize(("ratio", "millions"), [(4.0, 13.61), (2.0, 8.89), (1.0, 6.53)])
def test_a_block_has_the_size_of_the_spec(ratio, millions):
    settings = {"size": "base", "conformer": {"num_blocks": 1, "feedforward_ratio": ratio}}
    with torch.device("meta"):
        with_block = models.build("ham_ast", settings)
        without = models.build("ham_ast", {**settings, "conformer": None})
    counts = [sum(p.numel() for p in model.parameters()) for model in (with_block, without)]
    assert (counts[0] - counts[1]) / 1e6 == pytest.approx(millions, abs=0.006)


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError) as error:
        models.build("ham_ast", {"conformer": {"kernel_size": 32}})
    assert str(error.value) == "model: conformer: kernel_size (32) must be odd."


def test_conformer_heads_that_do_not_divide_the_width_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError) as error:
        models.configure("ham_ast", {"size": "tiny", "conformer": {"num_heads": 5}})
    assert str(error.value) == ("model: width (192) must be a multiple of conformer.num_heads (5).")


def test_prefix_tokens_cannot_pass_a_convolution_on_the_grid():
    with pytest.raises(ConfigError) as error:
        settings = {"prefix_tokens": "through", "convolution_axis": "grid"}
        models.build("ham_ast", {"conformer": settings})
    assert str(error.value) == (
        "model: conformer: prefix_tokens 'through' needs convolution_axis 'sequence': "
        "prefix tokens have no place on the axis 'grid'."
    )


def test_the_papers_order_cannot_be_turned_round():
    places = {
        "conformer": {"place": "after_norm"},
        "channel_attention": {"place": "before_norm"},
    }
    with pytest.raises(ConfigError) as error:
        models.build("ham_ast", places)
    assert str(error.value) == (
        "model: conformer.place after_norm with channel_attention.place before_norm would turn "
        "the paper's order round: the Conformers come first."
    )


def test_ham_weights_do_not_fit_into_ast_and_the_message_says_which():
    ham = models.build("ham_ast", {**TINY, "conformer": None, "depth": 1})
    target = models.build("ast", {**TINY, "depth": 1})
    with pytest.raises(CheckpointError) as error:
        models.transfer(ham, target)
    assert str(error.value) == (
        "the initial weights hold tensors that the model has no place for: "
        "after_norm.channel_attention.excite.bias, after_norm.channel_attention.excite.weight, "
        "after_norm.channel_attention.normalize.bias, "
        "after_norm.channel_attention.normalize.weight, "
        "after_norm.channel_attention.squeeze.bias and 1 more. Use a model with these parts."
    )


def test_transfer_refuses_another_width_and_names_the_tensor():
    source = models.build("ast", {**TINY, "depth": 1})
    target = models.build("ast", {**TINY, "depth": 1, "width": 384, "num_heads": 6})
    with pytest.raises(CheckpointError) as error:
        models.transfer(source, target)
    assert str(error.value) == (
        "the initial weights' prefix_tokens has shape (2, 192), the model's has (2, 384): "
        "choose the same patch and size."
    )


def test_transfer_adapts_positions_and_keeps_a_new_head():
    source = models.build("ast", {**TINY, "depth": 1, "max_frames": 512})
    target = models.build("ast", {**TINY, "depth": 1, "num_classes": 35})
    report = models.transfer(source, target)
    assert report.adapted == ("positions.grid",)
    assert set(report.fresh) == {name for name in target.state_dict() if name.startswith("head.")}
    assert torch.equal(target.positions.grid, source.positions.grid[:, 19:31])


def test_block_norm_is_on_before_the_final_norm_only():
    assert ConformerConfig().has_block_norm
    assert not ConformerConfig(place="after_norm").has_block_norm
