"""Masked self-distillation against a plain second form of it, in float64; and the teacher."""

import copy
import math
import re
import warnings

import pytest
import torch
from torch.nn import functional as F

from auricle import models
from auricle.data import Batch
from auricle.errors import TrainingWarning
from auricle.models.patch_masks import draw_visible, repeat_clips
from auricle.training import objectives as module
from auricle.training import pretraining
from auricle.training.objectives import (
    NOISE,
    SelfDistillation,
    SelfDistillationConfig,
    deviation,
    layer_targets,
    relative_deviation,
)
from auricle.training.pretraining import WATCH_EVERY, Pretraining

SMALL = {
    "num_classes": 0,
    "num_mels": 32,
    "max_frames": 96,
    "patch": [8, 8],
    "width": 16,
    "depth": 3,
    "num_heads": 2,
}
KINDS = {
    "asda": {},
    "ast": {"stride": [8, 8]},
    "ham_ast": {"stride": [8, 8], "conformer": {"num_blocks": 1, "kernel_size": 3}},
}
CONFIG = {
    "clones": 3,
    "block": 2,
    "utterance": 0.5,
    "mask_ratio": 0.75,
    "decoder": {"depth": 2, "groups": 4},
}
BATCH_SIZE = 6


def objective(kind="asda", **settings):
    torch.manual_seed(0)
    student = models.build(kind, {**SMALL, **KINDS[kind]})
    built = SelfDistillation(
        student, SelfDistillationConfig.model_validate({**CONFIG, **settings}), BATCH_SIZE
    )
    for parameter in built.student.parameters():  # a teacher of its own, and nothing near zero
        parameter.data += 0.2 * torch.randn_like(parameter)
    return built.double()


def perceptrons(model, features):
    """What each block's perceptron says of all tokens."""
    said = []
    hooks = [
        block.mlp.register_forward_hook(lambda module, inputs, out: said.append(out))
        for block in model.encoder.blocks
    ]
    model.encode(features)
    for hook in hooks:
        hook.remove()
    return said


def plain(built, features, kept, noise):
    """The loss of whole clips of one length, one clip, clone and patch after the other."""
    config, width = built.config, built.student.config.width
    frame_sum, frame_count, utterance_sum = 0.0, 0, 0.0
    row = 0
    for clip in features:
        said = perceptrons(built.teacher, clip[None])
        prefix = len(built.teacher.prefix_tokens)
        layers = [F.instance_norm(layer[:, prefix:].mT).mT for layer in said]
        targets = F.layer_norm(sum(layers) / len(layers), [width])[0]
        patches, layout = built.student.patchify(clip[None])
        for _ in range(config.clones):
            seen = kept[row]
            tokens = built.student.encode_patches(patches[:, seen], _only(layout, seen))[0]
            full = noise[row].clone()
            full[seen] = tokens[prefix:]
            decoded = built.decoder(full[None], layout)[0]
            for place in range(len(targets)):
                if place not in seen.tolist():
                    frame_sum += (decoded[place] - targets[place]).square().sum() / math.sqrt(width)
                    frame_count += 1
            error = tokens[:prefix].mean(dim=0) - targets.mean(dim=0)
            utterance_sum += error.square().sum() / math.sqrt(width)
            row += 1
    return frame_sum / frame_count, utterance_sum


def _only(layout, seen):
    return type(layout)(layout.num_prefix, layout.rows, layout.columns, None, seen[None])


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_a_plain_loop(kind, monkeypatch):
    built = objective(kind).eval()
    features = torch.randn(BATCH_SIZE, 64, 32, dtype=torch.float64)
    drawn = {}
    normal, keep = torch.randn, module.draw_visible

    def noise(*sizes, **options):
        drawn["noise"] = normal(*sizes, **{**options, "dtype": torch.float64})
        return drawn["noise"]

    def noted(*arguments):
        drawn["kept"] = keep(*arguments)
        return drawn["kept"]

    monkeypatch.setattr(module, "draw_visible", noted)
    monkeypatch.setattr(module.torch, "randn", noise)
    terms = built(features, None)
    monkeypatch.undo()
    frame, utterance = plain(built, features, drawn["kept"], NOISE * drawn["noise"])
    assert terms.parts["frame_loss"].mean().item() == pytest.approx(frame.item(), rel=1e-9)
    assert terms.parts["utterance_loss"].mean().item() == pytest.approx(utterance.item(), rel=1e-9)
    expected = frame + 0.5 * utterance
    assert terms.loss.mean().item() == pytest.approx(expected.item(), rel=1e-9)


def terms_of(built, features, counts, kept, noise):
    """The terms with these kept patches and this noise, instead of new ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "draw_visible", lambda *given: kept)
        patched.setattr(module.torch, "randn", lambda *sizes, **options: noise)
        return built(features, counts)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_loss_of_a_clip_is_the_same_alone_and_beside_longer_ones(kind):
    built = objective(kind).eval()
    features = torch.randn(3, 64, 32, dtype=torch.float64)
    counts = torch.tensor([64, 45, 24])
    for clip, count in zip(features, counts, strict=True):
        clip[count:] = 100.0  # beyond the clip
    _, layout = built.student.patchify(features, counts)
    clones = repeat_clips(layout, built.config.clones)
    valid = clones.valid(features.device)
    kept = draw_visible(valid, clones, built.config.mask_ratio, built.config.block)
    noise = torch.randn(*valid.shape, SMALL["width"], dtype=torch.float64)
    together = terms_of(built, features, counts, kept, noise)
    for index, count in enumerate(counts):
        rows = torch.arange(len(valid)).chunk(len(counts))[index]  # its clones
        places, num_seen = int(valid[rows[0]].sum()), int((kept[rows[0]] >= 0).sum())
        own = kept[rows, :num_seen], noise[rows, :places]
        alone = terms_of(built, features[index : index + 1, :count], None, *own)
        assert together.loss[index].item() == pytest.approx(alone.loss.item(), rel=1e-9)
        for name, part in alone.parts.items():
            assert together.parts[name][index].item() == pytest.approx(part.item(), rel=1e-9), name


def shapes_heard(model):
    """A list to which every call of the parts of every block adds the shape of its tokens."""
    shapes = []
    for block in model.encoder.blocks:
        for part in (block.attention, block.mlp):
            part.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    return shapes


@pytest.mark.parametrize("kind", KINDS)
def test_clones_share_one_pass_of_the_teacher_and_compute_what_they_see(kind):
    built = objective(kind, clones=16, mask_ratio=0.8).float()
    prefix, parts = len(built.student.prefix_tokens), 2 * built.student.config.depth
    teacher, student = shapes_heard(built.teacher), shapes_heard(built.student)
    built(torch.randn(2, 64, 32), None)
    assert teacher == [(2, prefix + 32, 16)] * parts
    assert student == [(2 * 16, prefix + 6, 16)] * parts  # a fifth of 32 patches


def test_padding_has_no_influence_on_targets():
    built = objective().eval()
    features = torch.randn(2, 64, 32, dtype=torch.float64)
    counts = torch.tensor([64, 40])
    _, layout = built.student.patchify(features, counts)
    valid = layout.valid(features.device)
    together = built._targets(features, counts, valid)
    own = int(valid[1].sum())
    alone = built._targets(features[1:, :40], None, torch.ones(1, own, dtype=torch.bool))
    torch.testing.assert_close(together[1, :own], alone[0], rtol=0, atol=1e-6)
    assert (together[1, own:] == 0).all()


def test_targets_are_normal_over_patches_of_each_layer_and_then_over_the_width():
    said = [5 + 3 * torch.randn(2, 20, 16) for _ in range(4)]
    targets = layer_targets(said, torch.ones(2, 20, dtype=torch.bool))
    assert targets.mean(dim=2).abs().max() < 1e-5
    assert targets.std(dim=2, correction=0).sub(1).abs().max() < 1e-3


def test_nothing_learns_but_the_student_and_its_decoder():
    built = objective().float()
    built(torch.randn(2, 64, 32), None).loss.mean().backward()
    assert all(parameter.grad is None for parameter in built.teacher.parameters())
    learning = [*built.student.parameters(), *built.decoder.parameters()]
    assert all(parameter.grad is not None for parameter in learning)
    assert built.train().teacher.training is False


def test_the_teacher_follows_with_a_decay_that_rises_in_a_line():
    built = objective(first_decay=0.9, last_decay=0.99, decay_steps=10)
    assert [built.decay_at(step) for step in (0, 5, 10, 99)] == pytest.approx(
        [0.9, 0.945, 0.99, 0.99]
    )
    teacher, student = (
        copy.deepcopy(model.prefix_tokens.data) for model in (built.teacher, built.student)
    )
    built.updated(6)  # the sixth step
    expected = 0.945 * teacher + 0.055 * student
    torch.testing.assert_close(built.teacher.prefix_tokens.data, expected, rtol=0, atol=1e-12)


def test_the_deviation_tells_equal_vectors_from_different_ones():
    assert deviation(torch.randn(1000, 8)).item() == pytest.approx(1, abs=0.05)
    assert deviation(torch.ones(1000, 8)).item() == pytest.approx(1e-3)


def the_teacher_says_the_same_everywhere(built):
    for block in built.teacher.encoder.blocks:
        torch.nn.init.zeros_(block.mlp.contract.weight)


def the_decoder_says_the_same_everywhere(built):
    torch.nn.init.zeros_(built.decoder.output.weight)


def the_encoder_says_the_same_everywhere(built):
    """Its teacher still hears the sound in the first block, so that targets and answers differ."""
    last = built.student.encoder.blocks[-1].mlp_norm
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.ones_(last.bias)


def trained_once(collapse=lambda built: None):
    """A step of pretraining that has just heard a batch."""
    built = objective().float()
    collapse(built)
    step = Pretraining(lambda *given: given, built, lambda *given: given)
    step.loss(Batch(torch.randn(2, 64, 32), None, torch.zeros(2, 0)))
    return step


@pytest.mark.parametrize(
    ("collapse", "name", "least"),
    [
        (the_teacher_says_the_same_everywhere, "targets", 0.1),
        (the_decoder_says_the_same_everywhere, "answers", 0.01),
        (the_encoder_says_the_same_everywhere, "embeddings", 0.05),
    ],
)
def test_a_collapse_is_reported_when_it_is_looked_for(collapse, name, least):
    step = trained_once(collapse)
    step.updated(2 * WATCH_EVERY - 1)
    with pytest.warns(TrainingWarning) as warned:
        step.updated(2 * WATCH_EVERY)
    [text] = [str(warning.message) for warning in warned]
    [number] = re.findall(r"deviation ([\d.]+),", text)
    assert float(number) < least
    assert text == (
        f"step 20: the {name} are nearly the same for all patches (deviation {number}, at least "
        f"{least} is healthy): pretraining has collapsed. Lower "
        "training.optimizer.learning_rate, or raise pretraining.objective.first_decay, in a new "
        "run."
    )


def test_what_has_not_collapsed_is_not_reported():
    step = trained_once()
    step.updated(WATCH_EVERY)
    assert not step.low


def seen_in_turn(step, *looks):
    """Which of the looks at these deviations are reported, as their texts."""
    texts = []
    for number, values in enumerate(looks, start=1):
        names = ("target_deviation", "prediction_deviation", "embedding_deviation")
        deviations = dict(zip(names, map(torch.tensor, values), strict=True))
        step.last = step.last._replace(**deviations)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            step.updated(number * WATCH_EVERY)
        texts += [str(one.message) for one in warned]
    return texts


def test_each_collapse_is_reported_when_it_begins():
    low = (0.5, 0.001, 0.5)
    texts = seen_in_turn(trained_once(), low, low, (0.5, 0.5, 0.5), (0.001, 0.5, 0.5), low)
    assert [text.partition(" are ")[0] for text in texts] == [
        "step 10: the answers",
        "step 40: the targets",
        "step 50: the answers",
    ]


def test_numbers_that_are_none_are_no_collapse():
    none = float("nan")
    assert seen_in_turn(trained_once(), (none, none, none)) == []


@pytest.mark.parametrize("turned", [1, -1])
def test_numbers_that_are_none_in_one_process_hide_nothing_in_another(monkeypatch, turned):
    sides = [(float("nan"),) * 3, (0.001, 0.5, 0.5)][::turned]
    monkeypatch.setattr(pretraining, "gather", lambda values: sides)
    [text] = seen_in_turn(trained_once(), (0.5, 0.5, 0.5))
    assert text.startswith("step 10: the targets are nearly the same")


def test_the_relative_deviation_is_a_share_of_the_size():
    vectors = torch.randn(1000, 8)
    assert relative_deviation(vectors).item() == pytest.approx(1, abs=0.01)
    assert relative_deviation(1000 * vectors).item() == pytest.approx(1, abs=0.01)
    shifted = vectors + 3.0
    assert relative_deviation(shifted).item() == pytest.approx(10**-0.5, abs=0.02)
    assert relative_deviation(torch.ones(1000, 8)).item() == 0


def test_what_learns_beside_the_student_is_new():
    step = trained_once()
    assert step.new_parameters
    decoder = {f"decoder.{name}" for name, _ in step.model.decoder.named_parameters()}
    assert step.new_parameters == decoder
    told = Pretraining(torch.nn.Identity(), step.model, torch.nn.Identity(), None, False, {"x"})
    assert told.new_parameters == decoder | {"student.x"}


def test_a_run_that_goes_on_with_a_validation_has_its_numbers():
    """A state may be of the end of an epoch, before its validation: nothing was trained since."""
    step = Pretraining(lambda *given: given, objective().float(), torch.nn.Identity()).eval()
    batch = Batch(torch.randn(2, 64, 32), None, torch.zeros(2, 0))
    found = step.metrics([step.validate(batch)])
    assert list(found) == [
        "validation_loss",
        "frame_loss",
        "utterance_loss",
        "target_deviation",
        "prediction_deviation",
        "embedding_deviation",
    ]
    assert found == step.metrics([step.validate(batch)])  # the same masks
