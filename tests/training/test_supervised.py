"""The supervised step, with stand-ins for filterbank and model."""

import pytest
import torch
from torch import nn

from auricle.data import Batch, Partners
from auricle.training import Augmentations, Supervised, SupervisedConfig
from auricle.training.settings import Diverged

LABELS = ["cat", "dog"]


class Fbank(nn.Module):
    """One frame a clip, whose two mels are its first two samples."""

    def forward(self, waveforms, lengths):
        return waveforms[:, None, :2], torch.ones(len(waveforms), dtype=torch.int64)


class Model(nn.Module):
    """Logits are the mels, scaled."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features, frame_counts):
        return features[:, 0] * self.scale


class Recorded(nn.Module):
    """Notes that it was called, and in which mode; adds `amount` to what comes first."""

    def __init__(self, calls: list, name: str, amount: float = 0.0):
        super().__init__()
        self.calls, self.name, self.amount = calls, name, amount

    def forward(self, first, *others):
        self.calls.append(self.name)
        changed = first + self.amount
        return (changed, *others[:2]) if self.name in ("augmentation", "mixup") else changed


def step(calls: list, loss: str = "ce", **settings) -> Supervised:
    config = SupervisedConfig(
        epochs=1, batch_size=2, loss=loss, optimizer={"learning_rate": 0.1}, **settings
    )
    names = ("augmentation", "mixup", "masking", "noise")
    augmentations = Augmentations(*(Recorded(calls, name, 1.0) for name in names))
    return Supervised(Fbank(), Model(), LABELS, config, augmentations)


BATCH = (torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([2, 2]), torch.eye(2))


def test_a_training_batch_is_augmented_mixed_masked_then_noisy():
    calls = []
    loss = step(calls).loss(BATCH)
    assert calls == ["augmentation", "mixup", "masking", "noise"]
    # each stand-in adds 1 to both logits, which a softmax does not see
    expected = nn.functional.cross_entropy(BATCH[0], BATCH[2])
    torch.testing.assert_close(loss, expected)


def test_the_partners_of_mixup_are_augmented_too():
    augmentations, given = step([]).augmentations, []
    augmentations.mixup.register_forward_pre_hook(lambda module, inputs: given.append(inputs[3]))
    partners = Partners(BATCH[0][:1], BATCH[1][:1], BATCH[2][:1], torch.tensor([1]))
    augmentations.mixed(Batch(*BATCH, partners=partners))
    assert torch.equal(given[0].waveforms, BATCH[0][:1] + 1)


def test_a_validation_batch_is_taken_as_it_is():
    calls = []
    logits, targets = step(calls).validate(BATCH)
    assert calls == []
    assert torch.equal(logits, BATCH[0])
    assert torch.equal(targets, BATCH[2])


def test_label_smoothing_is_for_training_only():
    plain, smoothed = step([]), step([], label_smoothing=0.2)
    assert smoothed.loss(BATCH) > plain.loss(BATCH)
    outputs = [plain.validate(BATCH)]
    assert smoothed.metrics(outputs) == plain.metrics(outputs)


@pytest.mark.parametrize("loss, best_by", [("ce", "accuracy"), ("bce", "mAP")])
def test_metrics_are_over_all_batches(loss, best_by):
    made = step([], loss)
    first = (torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    second = (torch.tensor([[3.0, 1.0], [0.5, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    metrics = made.metrics([first, second])
    assert made.best_by == best_by
    assert step([], loss, best_by="accuracy").best_by == "accuracy"
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert list(metrics) == ["validation_loss", "accuracy", "mAP"]
    logits, targets = torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
    expected = made.criterion.function(logits, targets).item()
    assert metrics["validation_loss"] == pytest.approx(expected)


def test_clips_of_several_labels_have_no_accuracy():
    outputs = [(torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))]
    metrics = step([], "bce").metrics(outputs)
    assert list(metrics) == ["validation_loss", "mAP"]


def test_a_model_that_diverged_is_an_error_of_the_user():
    outputs = [(torch.full((2, 2), torch.nan), torch.eye(2))]
    with pytest.raises(Diverged) as error:
        step([]).metrics(outputs)
    assert str(error.value) == (
        "the model's outputs for the validation clips are not numbers. Lower "
        "training.optimizer.learning_rate, set training.gradient_clip, or use "
        "training.precision=32-true."
    )
