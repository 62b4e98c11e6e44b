"""A matched student varies as its teacher does, and answers nothing else."""

import pytest
import torch

from auricle import checkpoint, models
from auricle.errors import CheckpointError, ConfigError
from auricle.evaluation.agreement import Both, check_can_match, match_moments, matched


def log_odds(scores):
    return scores.double().logit()


@pytest.fixture
def scores():
    """Of a student that hears half of what its teacher hears, about 200 clips and 5 labels."""
    generator = torch.Generator().manual_seed(0)
    heard = torch.randn(200, 5, generator=generator, dtype=torch.float64)
    levels = torch.tensor([-6.0, -4, -3, -1, 0])
    return (0.5 * heard + 0.7 * levels).sigmoid(), (2 * heard + levels).sigmoid()


def test_mean_and_deviation_become_the_teachers(scores):
    student, teacher = scores
    scale, shift = match_moments(student, teacher)
    assert scale.tolist() == pytest.approx([4.0] * 5)
    found, wanted = scale * log_odds(student) + shift, log_odds(teacher)
    torch.testing.assert_close(found.mean(0), wanted.mean(0))
    torch.testing.assert_close(found.std(0), wanted.std(0))


def test_a_label_that_never_changes_gets_the_mean_alone(scores):
    student, teacher = scores
    student[:, 2] = 0.25
    scale, shift = match_moments(student, teacher)
    assert scale[2] == 1
    assert (log_odds(student[:, 2]) + shift[2]).mean().item() == pytest.approx(
        log_odds(teacher)[:, 2].mean().item()
    )


def test_the_copy_answers_what_the_scale_says(tiny_model, scores):
    student = checkpoint.load(tiny_model)
    student.config = student.config.model_copy(update={"activation": "sigmoid"})
    heard, wanted = (each[:, : len(student.labels)] for each in scores)
    both = Both(None, [None] * 200, student.labels, heard, wanted, [])
    copied = matched(student, both, {"teacher": "big"})
    scale, shift = match_moments(heard, wanted)
    features = torch.randn(3, 64, student.model.config.num_mels)
    student.model.eval(), copied.model.eval()
    with torch.no_grad():
        before, after = student.model(features), copied.model(features)
    torch.testing.assert_close(after, (scale * before + shift).float())
    assert copied.config.provenance["matched"] == {"teacher": "big", "clips": 200}
    assert (copied.config.metrics, copied.config.about, copied.config.thresholds) == ({}, {}, None)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_scores_that_depend_on_each_other_are_refused(tiny_model, role):
    pair = {name: checkpoint.load(tiny_model) for name in ("student", "teacher")}
    for name, each in pair.items():
        activation = "softmax" if name == role else "sigmoid"
        each.config = each.config.model_copy(update={"activation": activation})
    with pytest.raises(CheckpointError) as caught:
        check_can_match(**pair)
    assert str(caught.value) == (
        f"the {role} answers with a softmax, so that its scores depend on each other, and cannot "
        "be matched. Use models whose labels stand for themselves (training.loss=bce)."
    )


def test_a_teacher_that_lacks_labels_is_refused(tiny_model):
    student, teacher = (checkpoint.load(tiny_model) for _ in range(2))
    names = {**student.config.id2label, "0": "howl"}
    for each, update in ((student, {"id2label": names}), (teacher, {})):
        each.config = each.config.model_copy(update={"activation": "sigmoid", **update})
    with pytest.raises(CheckpointError) as caught:
        check_can_match(student, teacher)
    assert str(caught.value) == (
        "the teacher does not know 1 of the student's labels: howl. Name another teacher."
    )


def test_a_model_without_labels_has_nothing_to_scale():
    start = models.build(
        "ast", {"num_classes": 0, "max_frames": 32, "width": 8, "depth": 1, "num_heads": 2}
    )
    with pytest.raises(ConfigError) as caught:
        start.scale_logits(torch.ones(2), torch.zeros(2))
    assert str(caught.value) == "a model without labels has no logits that could be scaled."
