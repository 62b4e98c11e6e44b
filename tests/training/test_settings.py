"""Losses take logits and probabilities."""

import math

import pytest
import torch

from auricle.training.settings import LOSSES, smooth


def test_bce_has_no_second_sigmoid():
    logits, targets = torch.tensor([[3.0, -2.0]]), torch.tensor([[1.0, 0.0]])
    expected = (math.log1p(math.exp(-3)) + math.log1p(math.exp(-2))) / 2
    assert LOSSES["bce"].function(logits, targets).item() == pytest.approx(expected)


def test_ce_takes_mixed_targets():
    logits, targets = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.3, 0.7, 0.0]])
    log_sum = math.log(sum(math.exp(logit) for logit in (1.0, 2.0, 0.0)))
    expected = -(0.3 * (1 - log_sum) + 0.7 * (2 - log_sum))
    assert LOSSES["ce"].function(logits, targets).item() == pytest.approx(expected)


def test_smoothing_keeps_the_sum_of_a_distribution():
    smoothed = smooth(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 0.2)
    torch.testing.assert_close(smoothed, torch.tensor([[0.85, 0.05, 0.05, 0.05]]))
