"""The linear probe: what it learns, and how it chooses its regularisation."""

import sys

import pytest
import torch

from auricle.errors import MissingExtraError
from auricle.evaluation import linear


def task_of(classes, embeddings, groups=None, single_label=True):
    targets = torch.nn.functional.one_hot(torch.tensor(classes), max(classes) + 1)
    groups = torch.arange(len(classes)) if groups is None else torch.tensor(groups)
    return linear.Task(embeddings.double(), targets, groups, single_label)


@pytest.fixture
def clusters():
    """60 clips of three classes, whose first two numbers of eight tell them apart."""
    generator = torch.Generator().manual_seed(0)
    classes = [place % 3 for place in range(60)]
    centres = torch.tensor([[3.0, 0.0], [0.0, 3.0], [-3.0, -3.0]])
    noise = torch.randn(60, 8, generator=generator)
    noise[:, :2] += centres[classes]
    return task_of(classes, noise)


def right(scores, task):
    return (scores.argmax(dim=1) == task.targets.argmax(dim=1)).double().mean().item()


def test_classes_that_lie_apart_are_told_apart(clusters):
    scores = linear.fit(clusters, 1.0)(clusters.embeddings)
    assert right(scores, clusters) > 0.95
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(60, dtype=torch.float64))


def test_regularisation_without_end_leaves_even_scores(clusters):
    scores = linear.fit(clusters, 1e-12)(clusters.embeddings)
    torch.testing.assert_close(scores, torch.full_like(scores, 1 / 3), atol=1e-6, rtol=0)


def test_a_class_that_is_not_learned_from_scores_nothing(clusters):
    some = clusters.of(clusters.targets[:, 1] == 0)
    scores = linear.fit(some, 1.0)(clusters.embeddings)
    assert (scores[:, 1] == 0).all()
    only = linear.fit(some.of(some.targets[:, 2] == 1), 1.0)(clusters.embeddings)
    assert only.tolist() == [[0.0, 0.0, 1.0]] * 60


def test_several_labels_have_a_regression_each(clusters):
    targets = clusters.targets.clone()
    targets[:, 1] |= targets[:, 0]  # class 1 is heard wherever class 0 is
    task = linear.Task(clusters.embeddings, targets, clusters.groups, False)
    scores = linear.fit(task, 1.0)(clusters.embeddings)
    assert ((scores > 0.5) == (targets == 1)).double().mean() > 0.95


def test_neither_scale_nor_a_place_that_never_changes_matters(clusters):
    embeddings = clusters.embeddings * 7 - 3
    embeddings[:, 5] = 2.0
    moved = linear.Task(embeddings, clusters.targets, clusters.groups, True)
    found = linear.standardised(moved)
    expected = linear.standardised(clusters).task.embeddings.clone()
    expected[:, 5] = 0
    torch.testing.assert_close(found.task.embeddings, expected)
    torch.testing.assert_close(found.apply(embeddings), expected)


def test_inner_parts_keep_groups_whole_and_spread_classes():
    classes = [place // 2 % 3 for place in range(60)]
    groups = [place // 2 for place in range(60)]
    parts = linear.inner_parts(task_of(classes, torch.zeros(60, 1), groups), seed=1)
    assert sorted(row for part in parts for row in part.tolist()) == list(range(60))
    for part in parts:
        assert {groups[row] for row in part.tolist()}.isdisjoint(
            groups[row] for other in parts if other is not part for row in other.tolist()
        )
        assert [[classes[row] for row in part.tolist()].count(c) for c in range(3)] == [4, 4, 4]
    other = linear.inner_parts(task_of(classes, torch.zeros(60, 1), groups), seed=2)
    assert [part.tolist() for part in parts] != [part.tolist() for part in other]


def test_regularisation_is_strong_where_there_is_nothing_to_learn(clusters):
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    nothing = linear.Task(clusters.embeddings[shuffled], clusters.targets, clusters.groups, True)
    assert linear.choose_strength(linear.standardised(nothing).task, 0) <= 1e-3
    assert linear.choose_strength(linear.standardised(clusters).task, 0) >= 1e-1


def test_one_group_alone_cannot_choose():
    task = task_of([0, 1, 0, 1], torch.randn(4, 3), groups=[0, 0, 0, 0])
    assert linear.choose_strength(task, 0) == linear.STRENGTHS[0]


def test_an_absent_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(MissingExtraError) as caught:
        linear.check_installed()
    assert str(caught.value) == (
        "the linear probe needs the package 'sklearn', which is not installed. "
        "Install it with: pip install 'auricle[train]'"
    )


def test_logits_are_those_of_the_scores_for_two_classes_and_more(clusters):
    two = clusters.of(clusters.targets[:, 2] == 0)
    two = linear.Task(two.embeddings, two.targets[:, :2], two.groups, True)
    for task in (clusters, two):
        found = linear.fit(task, 1.0)
        logits = task.embeddings @ found.weight.T + found.bias
        torch.testing.assert_close(logits.softmax(dim=1), found(task.embeddings))
        assert right(logits, task) > 0.95


def test_a_clip_of_double_weight_counts_as_two(clusters):
    weights = torch.ones(60, dtype=torch.float64)
    weights[:7] = 2
    weighted = linear.Task(clusters.embeddings, clusters.targets, clusters.groups, True, weights)
    twice = clusters.of(torch.tensor([*range(60), *range(7)]))
    one, other = linear.fit(weighted, 0.1), linear.fit(twice, 0.1)
    torch.testing.assert_close(one.weight, other.weight, rtol=0, atol=1e-3)
    parts = linear.inner_parts(weighted, seed=0)
    logits = linear.held_out_logits(weighted, parts, 0.1)
    repeated = torch.cat([logits, logits[:7]])
    assert linear.log_likelihood(logits, weighted) == pytest.approx(
        linear.log_likelihood(repeated, twice)
    )
