"""The average of checkpoints: exact, and only of checkpoints that are alike."""

import pytest
import torch

from auricle import averaging, checkpoint
from auricle.errors import CheckpointError
from auricle.features import FbankConfig, PaddingConfig

SETTINGS = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 128}
REMEDY = "Only checkpoints that differ in nothing but their weights can be averaged."


def made(seed, labels=("cat", "dog"), mean=-5.0, activation="softmax", **settings):
    front_end = FbankConfig(num_mels=32, mean=mean, padding=PaddingConfig(frames=16))
    built = checkpoint.create(
        "ham_ast",
        SETTINGS | {"conformer": {"num_blocks": 1}} | settings,
        front_end,
        list(labels),
        activation,
        {"seed": seed},
    )
    generator = torch.Generator().manual_seed(seed)
    for value in built.model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) - 0.5)
        else:
            value.fill_(seed)
    return built


def test_every_number_is_the_mean():
    members = [made(seed) for seed in (1, 2, 3)]
    averaged = averaging.average([(f"run/{seed}", m) for seed, m in enumerate(members, 1)])
    weights = averaged.model.state_dict()
    assert any(not value.is_floating_point() for value in weights.values()) or len(weights) > 10
    for name, value in weights.items():
        stacked = torch.stack([member.model.state_dict()[name] for member in members])
        if value.is_floating_point():
            expected = stacked.double().mean(dim=0).float()
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)
        else:
            assert torch.equal(value, stacked[-1])
    assert not averaged.training


def test_integers_are_those_of_the_last():
    weights = [{"steps": torch.tensor(step), "w": torch.tensor(1.0 * step)} for step in (1, 6)]
    mean = averaging._mean(weights)
    assert (mean["steps"].item(), mean["w"].item()) == (6, 3.5)


def test_sums_are_exact_where_32_bits_are_not():
    weights = [{"w": torch.tensor(value)} for value in (1e8, 1.0, -1e8)]
    assert averaging._mean(weights)["w"].item() == pytest.approx(1 / 3, rel=1e-6)


def test_the_members_stay_as_they_are_and_the_provenance_lists_them():
    members = [made(1), made(2)]
    before = [{k: v.clone() for k, v in m.model.state_dict().items()} for m in members]
    averaged = averaging.average([("first", members[0]), ("second", members[1])])
    for member, weights in zip(members, before, strict=True):
        assert all(torch.equal(v, weights[k]) for k, v in member.model.state_dict().items())
    origins = averaged.config.provenance["average_of"]
    assert [(origin["checkpoint"], origin["provenance"]) for origin in origins] == [
        ("first", {"seed": 1}),
        ("second", {"seed": 2}),
    ]
    assert averaged.config.metrics == {}
    assert averaged.config.thresholds is None
    assert averaged.config.about == {}


def test_the_average_of_equal_weights_scores_the_same(tone):
    one, other = made(4).eval(), made(4).eval()
    averaged = averaging.average([("one", one), ("other", other)])
    assert torch.equal(averaged.score(tone[None]), one.score(tone[None]))


@pytest.mark.parametrize(
    "other, message",
    [
        ({"width": 32}, "b: has model_settings.width 32, a has 16."),
        (
            {"conformer": {"num_blocks": 2}},
            "b: has model_settings.conformer.num_blocks 2, a has 1.",
        ),
        ({"mean": -4.0}, "b: has front_end.mean -4.0, a has -5.0."),
        ({"activation": "sigmoid"}, "b: has activation 'sigmoid', a has 'softmax'."),
        (
            {"labels": ("cat", "sea")},
            "b: its labels are not those of a: it lacks 'dog'; it adds 'sea'.",
        ),
        (
            {"labels": ("dog", "cat")},
            "b: its labels are not those of a: the order differs from 0 on ('cat' there, 'dog' "
            "here).",
        ),
    ],
)
def test_a_difference_is_refused_by_name(other, message):
    with pytest.raises(CheckpointError) as caught:
        averaging.average([("a", made(1)), ("b", made(2, **other))])
    assert str(caught.value) == f"{message} {REMEDY}"


def test_a_setting_that_is_newer_than_a_checkpoint_has_its_default(tone):
    older, newer = made(1), made(2)
    attention = {**newer.config.model_settings["channel_attention"]}
    assert attention.pop("scoring") == "mlp"
    settings = {**newer.config.model_settings, "channel_attention": attention}
    older.config = older.config.model_copy(update={"model_settings": settings})
    averaging.average([("older", older), ("newer", newer)])


def test_one_checkpoint_has_no_average():
    with pytest.raises(CheckpointError) as caught:
        averaging.average([("a", made(1))])
    assert str(caught.value) == "an average needs at least two checkpoints, got 1."


def test_a_long_difference_of_labels_is_cut():
    first = [f"class {index}" for index in range(9)]
    assert averaging.label_difference(first, ["class 0"]) == (
        "it lacks 'class 1', 'class 2', 'class 3' and 5 more"
    )
