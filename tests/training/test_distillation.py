"""The step of distillation: what it asks of the teacher, and what it takes for an error."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from auricle import checkpoint
from auricle.config import from_dict
from auricle.data import (
    Augmentation,
    AugmentationConfig,
    Mixup,
    MixupConfig,
    Overlap,
    OverlapConfig,
)
from auricle.errors import ConfigError
from auricle.features import (
    FbankConfig,
    FeatureNoise,
    FeatureNoiseConfig,
    PaddingConfig,
    SpecAugment,
    SpecAugmentConfig,
)
from auricle.models import ColumnEmbeddings
from auricle.training import (
    Alignment,
    Augmentations,
    Distillation,
    DistillationConfig,
    Teacher,
    start_head,
    teacher_statistics,
)
from auricle.training.distillation import Outputs, TeacherStatistics, explained
from auricle.training.settings import Diverged

LABELS = ["dog", "cat", "rain"]


def model(rate=16_000, width=8, activation="sigmoid", seed=0, random=True, **settings):
    """A checkpoint whose answers, with random weights, vary from clip to clip; or a fresh one."""
    front_end = FbankConfig(
        sample_rate=rate, num_mels=16, mean=-5.0, std=4.0, padding=PaddingConfig(frames=16)
    )
    settings = {"width": width, "depth": 1, "num_heads": 2, "max_frames": 64, **settings}
    torch.manual_seed(seed)
    built = checkpoint.create("ast", settings, front_end, LABELS, activation)
    for parameter in built.parameters() if random else ():
        nn.init.normal_(parameter, std=0.5)
    return built


def scenes(**overlap):
    return Augmentations(
        Augmentation(AugmentationConfig(), 16_000),
        Mixup(MixupConfig()),
        SpecAugment(SpecAugmentConfig(), 0.0),
        FeatureNoise(FeatureNoiseConfig()),
        Overlap(OverlapConfig(**overlap), 16_000),
    )


def batch(size=4, samples=6000):
    """Tones of several heights, in noise, which are easily told apart."""
    torch.manual_seed(7)
    lengths = torch.randint(3000, samples + 1, (size,))
    hertz = 100 * 60 ** torch.rand(size, 1)
    waveforms = torch.sin(2 * torch.pi * hertz * torch.arange(samples) / 16_000)
    waveforms = waveforms + 0.01 * torch.randn(size, samples)
    return waveforms * (torch.arange(samples) < lengths[:, None]), lengths, torch.zeros(size, 0)


def spread_of(teacher):
    return teacher_statistics([teacher.outputs(*batch(16)[:2])])


def step(teacher_model=None, student=None, rate=16_000, **weights):
    teacher = Teacher(teacher_model or model(width=12, seed=1))
    student = student or model()
    config = DistillationConfig(teacher="t", **{"logits": 0.0, **weights})
    return Distillation(student, teacher, spread_of(teacher), config, scenes(), rate)


def test_each_error_is_what_its_definition_says():
    waveforms, lengths, targets = batch()
    one = step(logits=1.0)
    taught = one.teacher.outputs(waveforms, lengths)
    said = one.model(*one.fbank(waveforms, lengths))
    spread = one.statistics
    by_hand = {
        "probabilities": F.binary_cross_entropy_with_logits(said.logits, taught.logits.sigmoid()),
        "logits": ((said.logits - taught.logits) / spread.logit_std).square().mean(),
        "embedding": (
            said.embeddings - (taught.embeddings - spread.embedding_mean) / spread.embedding_std
        )
        .square()
        .mean(),
    }
    for name, expected in by_hand.items():
        one.config = DistillationConfig(teacher="t", **{"logits": 0.0, name: 1.0})
        torch.testing.assert_close(one.loss((waveforms, lengths, targets)), expected)
    one.config = DistillationConfig(teacher="t", probabilities=2.0, logits=3.0, embedding=0.5)
    total = 2 * by_hand["probabilities"] + 3 * by_hand["logits"] + 0.5 * by_hand["embedding"]
    torch.testing.assert_close(one.loss((waveforms, lengths, targets)), total)


def test_with_a_softmax_teacher_probabilities_are_those_of_exclusive_classes():
    waveforms, lengths, targets = batch()
    one = step(
        model(width=12, seed=1, activation="softmax"),
        model(activation="softmax"),
        probabilities=1.0,
    )
    said = one.model(*one.fbank(waveforms, lengths)).logits
    taught = one.teacher.outputs(waveforms, lengths).logits
    expected = F.cross_entropy(said, taught.softmax(dim=1))
    torch.testing.assert_close(one.loss((waveforms, lengths, targets)), expected)


def test_teacher_and_student_hear_one_scene_each_at_its_own_rate():
    waveforms, lengths, targets = batch(samples=12_000)
    torch.manual_seed(0)
    one = step(model(rate=32_000, width=12, seed=1), rate=32_000, logits=1.0)
    one.augmentations.overlap = Overlap(OverlapConfig(rate=1.0), 16_000)
    heard = {}
    for name in ("for_student", "for_teacher"):
        one.get_submodule(name).register_forward_hook(
            lambda module, inputs, outputs, name=name: heard.update({name: (inputs, outputs)})
        )
    one.train().loss((waveforms, lengths, targets))
    (scene, ends), (for_student, student_ends) = heard["for_student"]
    assert not torch.equal(scene, waveforms)
    assert torch.equal(heard["for_teacher"][0][0], scene)
    assert torch.equal(heard["for_teacher"][1][0], scene)  # 32 kHz is what it hears
    assert torch.equal(student_ends, (ends + 1) // 2)
    assert for_student.shape[1] == scene.shape[1] // 2


def test_a_scene_is_augmented_overlapped_and_mixed_in_this_order():
    one = step(logits=1.0).train()
    made = []

    class Noted(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, waveforms, *others):
            made.append(self.name)
            return waveforms + 1, *others[:2]

    for name in ("augmentation", "overlap", "mixup"):
        setattr(one.augmentations, name, Noted(name))
    waveforms, lengths, targets = batch()
    scene, _, _ = one.augmentations.mixed((waveforms, lengths, targets))
    assert made == ["augmentation", "overlap", "mixup"]
    torch.testing.assert_close(scene, waveforms + 3)


def test_the_teacher_answers_in_float32_whatever_the_training_does():
    teacher, (waveforms, lengths, _) = Teacher(model(seed=1)), batch()
    expected = teacher.outputs(waveforms, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        found = teacher.outputs(waveforms, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_teacher_never_learns_and_is_no_part_of_what_is_stored():
    one = step(logits=1.0, embedding=1.0)
    before = {name: value.clone() for name, value in one.teacher.checkpoint.state_dict().items()}
    optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
    one.train().loss(batch()).backward()
    optimizer.step()
    after = one.teacher.checkpoint.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not one.teacher.checkpoint.training
    assert {name.split(".")[0] for name in one.state_dict()} == {"model", "fbank"} - {
        "fbank" if not one.fbank.state_dict() else ""
    }


def test_a_student_comes_to_say_what_its_teacher_says():
    teacher, student = model(width=12, seed=1), model(width=16, random=False)
    with torch.no_grad():
        teacher.model.head.linear.weight.mul_(30)
    one = step(teacher, student, probabilities=0.2, logits=1.0, embedding=0.5)
    start_head(one.model.model, one.statistics)
    optimizer = torch.optim.Adam(one.parameters(), lr=1e-2)
    clips = batch(16)
    before = one.eval().metrics([one.validate(clips)])
    for _ in range(40):
        loss = one.train().loss(clips)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = one.eval().metrics([one.validate(clips)])
    assert after["validation_loss"] < 0.3 * before["validation_loss"]
    assert after["explained"] > 0.8 > 0.1 > before["explained"]


def test_metrics_against_answers_that_are_known():
    one = step(logits=1.0)
    taught = torch.tensor([[3.0, -1.0, -2.0], [-1.0, 2.0, -3.0], [-2.0, -2.0, 1.0]])
    metrics = one.metrics([(taught, taught, torch.tensor([0.5, 1.0, 0.0]))])
    assert metrics == {"validation_loss": 0.5, "explained": 1.0, "agreement": 1.0, "mAP": 1.0}


def test_agreement_asks_for_the_teachers_best_three():
    names = [f"class {number}" for number in range(5)]
    front_end = FbankConfig(num_mels=16, mean=-5.0, std=4.0)
    settings = {"width": 8, "depth": 1, "num_heads": 2, "max_frames": 64}
    wide = checkpoint.create("ast", settings, front_end, names, "sigmoid")
    one = step(wide, checkpoint.create("ast", settings, front_end, names, "sigmoid"), logits=1.0)
    taught = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]]).repeat(4, 1)
    said = torch.eye(5)[[0, 2, 3, 4]]
    assert one.metrics([(said, taught, torch.zeros(4))])["agreement"] == 0.5


def test_the_mean_explains_nothing_and_constant_classes_do_not_count():
    taught = torch.tensor([[1.0, 0.0, 7.0], [3.0, 2.0, 7.0]])
    mean = taught.mean(dim=0).expand_as(taught)
    assert explained(mean, taught) == pytest.approx(0.0)
    assert explained(taught + torch.tensor([0.0, 0.0, 1.0]), taught) == 1.0
    assert explained(taught[:1], taught[:1]) is None  # nothing varies


def test_logits_that_are_no_numbers_end_the_training():
    one = step(logits=1.0)
    said = torch.full((2, 3), float("nan"))
    with pytest.raises(Diverged, match="outputs for the validation clips are not numbers"):
        one.metrics([(said, torch.zeros(2, 3), torch.zeros(2))])


def test_only_the_students_own_weights_are_saved():
    one = step(embedding=1.0)
    weights = one.to_save(one.model.state_dict())
    assert set(weights) == set(one.model.model.state_dict())
    assert set(one.new_parameters) == {"projection.weight", "projection.bias"}


def test_the_spread_is_that_of_all_batches_together():
    torch.manual_seed(0)
    logits, embeddings = torch.randn(9, 3), torch.cat([torch.randn(9, 1), torch.ones(9, 1)], dim=1)
    parts = zip(logits.split(4), embeddings.split(4), strict=True)
    spread = teacher_statistics([Outputs(*part) for part in parts])
    torch.testing.assert_close(spread.logit_mean, logits.mean(dim=0))
    torch.testing.assert_close(spread.logit_std, logits.std(dim=0))
    assert spread.embedding_std[1] == 1e-3  # a number that never varies does not divide by zero


def test_a_fresh_head_starts_from_the_teachers_mean():
    student = model()
    spread = TeacherStatistics(
        torch.tensor([-3.0, -5.0, 1.0]), torch.ones(3), torch.zeros(2), torch.ones(2)
    )
    start_head(student.model, spread)
    assert torch.equal(student.model.head.linear.bias, spread.logit_mean)


def test_idle_reaches_every_weight_with_zero():
    one = step(logits=1.0)
    one.idle().backward()
    assert one.idle() == 0
    assert all(parameter.grad is not None for parameter in one.model.parameters())


def test_a_distillation_that_asks_for_nothing_is_refused():
    with pytest.raises(ConfigError) as caught:
        from_dict(DistillationConfig, {"teacher": "t", "logits": 0}, "recipe")
    assert str(caught.value) == (
        "recipe: one of probabilities, logits, embedding, column_logits and column_embedding must "
        "be above 0."
    )


def columns_of(patch, stride, width=8, seed=0):
    """A model whose embedding is the mean over columns of `patch` frames, `stride` apart."""
    sides = {"patch": (16, patch), "stride": (16, stride), "readout": "patch_mean"}
    return model(width=width, seed=seed, **sides)


def step_over_time(teacher, student, **weights):
    config = DistillationConfig(teacher="t", **{"logits": 0.0, **weights})
    listening = Teacher(teacher, has_columns=True)
    statistics = teacher_statistics([listening.outputs(*batch(16)[:2])])
    return Distillation(student, listening, statistics, config, scenes(), 16_000)


def by_hand(one, waveforms, lengths, kind):
    """The mean error over the columns of each clip, clip by clip and column by column."""
    student, teacher = one.model.model, one.teacher.checkpoint
    errors = []
    for waveform, length in zip(waveforms, lengths, strict=True):
        sound = waveform[None, :length]
        theirs = teacher.model.embed_columns(*teacher.fbank(sound)).values[0]
        ours = student.embed_columns(*one.fbank(sound)).values[0]
        middles = 3.5 + 4 * torch.arange(len(ours))  # patches of 8 frames, 4 apart
        of_clip = []
        for number, target in enumerate(theirs):
            middle = 7.5 + 10 * number  # patches of 16 frames, 10 apart
            near = (middles >= middle - 5) & (middles < middle + 5)
            if not near.any():
                continue
            mean, statistics = ours[near].mean(dim=0), one.statistics
            if kind == "column_logits":
                difference = student.classify(mean) - teacher.model.classify(target)
                scale = statistics.column_logit_std
            else:
                units = statistics.embedding_std
                difference = one.model.projection(mean) * units + statistics.embedding_mean - target
                scale = statistics.column_embedding_std
            of_clip.append((difference / scale).square().mean())
        errors.append(torch.stack(of_clip).mean())
    return torch.stack(errors)


@pytest.mark.parametrize("kind", ["column_logits", "column_embedding"])
def test_the_errors_over_time_are_those_of_the_plain_loop(kind):
    one = step_over_time(columns_of(16, 10, 12, seed=1), columns_of(8, 4), **{kind: 0.5})
    waveforms, lengths, _ = clips = batch()
    assert len(set(lengths.tolist())) > 1
    _, _, errors = one.validate(clips)
    torch.testing.assert_close(errors, 0.5 * by_hand(one, waveforms, lengths, kind))
    torch.testing.assert_close(one.loss(clips), errors.mean())


def test_errors_over_time_are_added_to_those_of_the_clip():
    teacher, student = columns_of(16, 10, 12, seed=1), columns_of(8, 4)
    clips = batch()
    alone = {
        kind: step_over_time(teacher, student, **{kind: 1.0}).loss(clips)
        for kind in ("logits", "column_logits")
    }
    both = step_over_time(teacher, student, logits=1.0, column_logits=1.0).loss(clips)
    torch.testing.assert_close(both, alone["logits"] + alone["column_logits"])


def test_a_slower_student_gives_its_nearest_column():
    one = step_over_time(columns_of(8, 4, 12, seed=1), columns_of(16, 16), column_logits=1.0)
    align = one.model.alignment
    values = torch.arange(3.0)[None, :, None]  # middles at 75, 235 and 395 ms
    aligned, valid = align(ColumnEmbeddings(values, torch.tensor([2])), 12)  # 35, 75, ... 475 ms
    assert valid[0].tolist() == [True] * 8 + [False] * 4
    assert aligned[0, :8, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_columns_of_a_student_learn_what_its_teachers_columns_are():
    one = step_over_time(
        columns_of(16, 10, 12, seed=1), columns_of(8, 4), column_logits=1.0, column_embedding=1.0
    )
    optimizer = torch.optim.Adam(one.parameters(), lr=1e-2)
    clips = batch(16)
    before = one.loss(clips).item()
    for _ in range(30):
        optimizer.zero_grad()
        one.loss(clips).backward()
        optimizer.step()
    assert one.loss(clips).item() < 0.5 * before


FAULT = (
    "distillation.column_logits and distillation.column_embedding: {} has no columns in time: "
    "ast with these settings does not average them. Set both to 0, or use a mobilenet, or a "
    "transformer with readout patch_mean and no patchout."
)


@pytest.mark.parametrize(
    ("teacher", "student", "who"),
    [
        (model(), columns_of(8, 4), "the teacher (distillation.teacher)"),
        (columns_of(8, 4), model(), "the student (model)"),
        (
            columns_of(8, 4),
            model(readout="patch_mean", patchout=0.5),
            "the student (model)",
        ),
    ],
)
def test_a_model_without_columns_is_refused(teacher, student, who):
    with pytest.raises(ConfigError) as caught:
        Alignment(student, teacher)
    assert str(caught.value) == FAULT.format(who)
