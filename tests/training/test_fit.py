"""The loop around any step, with a step of two weights."""

import errno
import importlib.util
import signal
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from auricle.errors import MissingExtraError, UserError
from auricle.training import Machine, SupervisedConfig, framework
from auricle.training.adapter import LoaderSpec, LoaderSpecs
from auricle.training.fit import fit
from auricle.training.history import History
from auricle.training.sampling import Shuffle
from auricle.training.step import Step


class Numbers(Dataset):
    """Eight rows `(two inputs, index)`."""

    def __init__(self):
        self.inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
        self.epochs = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.inputs[index], index


class Toy(Step):
    """A linear layer that learns to double the sum of its inputs, and notes all it sees."""

    best_by = "score"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1, bias=False)
        self.order = []
        self.draws = []
        self.trained = []  # the weights before each step
        self.validated = []  # the weights in each validation
        self.dtype = None
        self.stop_after = 10**9
        self.error = KeyboardInterrupt()

    def loss(self, batch):
        inputs, indices = batch
        if len(self.order) >= self.stop_after:
            raise self.error
        self.order.append(indices.tolist())
        self.draws.append(torch.rand(()).item())
        self.trained.append(self.model.weight.detach().clone())
        outputs = self.model(inputs)
        self.dtype = outputs.dtype
        return (outputs.float()[:, 0] - 2 * inputs.sum(dim=1)).square().mean()

    def validate(self, batch):
        assert not self.training
        self.validated.append(self.model.weight.detach().clone())
        return (batch[0],)

    def metrics(self, outputs):
        assert sum(len(inputs) for (inputs,) in outputs) == 8
        return {"validation_loss": 0.5, "score": 0.75, "other": None}

    def idle(self):
        raise AssertionError("one process always has clips")


class Outcome:
    """What a run of a toy left."""

    def __init__(self, folder, seed=0, toy=None, validate=True, **settings):
        self.toy = toy or Toy()
        self.saved = []
        values = {"epochs": 3, "batch_size": 2, "loss": "ce"}
        config = SupervisedConfig(**{**values, "optimizer": {"learning_rate": 0.1}, **settings})
        self.data = Numbers()
        train = spec(self.data, Shuffle(self.data, seed))
        validation = spec(Numbers(), SequentialSampler(range(8))) if validate else None
        self.history = History(folder, "score", self.save)
        machine = Machine("cpu")
        specs = LoaderSpecs(train, validation)
        self.run = lambda: fit(self.toy, specs, config, self.history, seed, machine)

    def save(self, path, record, weights):
        self.saved.append((path.name, weights["weight"].detach().clone()))

    def saved_to(self, name: str) -> list[Tensor]:
        return [weight for folder, weight in self.saved if folder == name]


def spec(data, order) -> LoaderSpec:
    return LoaderSpec(order, lambda batches: DataLoader(data, batch_sampler=batches))


def run(folder, **settings) -> Outcome:
    outcome = Outcome(folder, **settings)
    outcome.run()
    return outcome


def test_every_epoch_is_recorded(tmp_path):
    records = run(tmp_path).history.records
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert records[0]["train_loss"] > records[2]["train_loss"]
    numbers = {name: records[2][name] for name in ("validation_loss", "score", "other")}
    assert numbers == {"validation_loss": 0.5, "score": 0.75, "other": None}
    assert records[0]["clips_per_second"] > 0


def test_the_recorded_learning_rate_is_that_of_the_last_step(tmp_path):
    schedule = {"name": "multistep", "start": 1, "factor": 0.5}
    records = run(tmp_path, schedule=schedule).history.records
    assert [record["learning_rate"] for record in records] == pytest.approx([0.1, 0.05, 0.025])


def test_logs_are_written_for_spreadsheets_and_tensorboard(tmp_path):
    run(tmp_path)
    header = (tmp_path / "logs" / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert {"epoch", "train_loss_epoch", "score"} <= set(header.split(","))
    assert list((tmp_path / "logs" / "tensorboard").glob("events*"))


def test_each_epoch_has_its_own_order_and_the_data_set_knows_which_it_is(tmp_path):
    outcome = run(tmp_path)
    epochs = [outcome.toy.order[start : start + 4] for start in (0, 4, 8)]
    assert all(sorted(sum(epoch, [])) == list(range(8)) for epoch in epochs)
    assert len({str(epoch) for epoch in epochs}) == 3
    assert outcome.data.epochs == [0, 0, 1, 2]  # once before workers are started


def test_the_same_seed_gives_the_same_run_bit_for_bit(tmp_path):
    first = run(tmp_path / "first", seed=3)
    torch.rand(5)  # whatever was drawn before does not matter
    second = run(tmp_path / "second", seed=3)
    other = run(tmp_path / "other", seed=4)
    assert first.toy.order == second.toy.order != other.toy.order
    assert first.toy.draws == second.toy.draws != other.toy.draws
    assert torch.equal(first.toy.model.weight, second.toy.model.weight)


def test_the_randomness_of_an_epoch_does_not_depend_on_the_epochs_before(tmp_path):
    class Greedy(Toy):
        def loss(self, batch):
            if len(self.order) < 4:
                torch.rand(7)
            return super().loss(batch)

    plain, greedy = run(tmp_path / "plain"), run(tmp_path / "greedy", toy=Greedy())
    assert plain.toy.draws[:4] != greedy.toy.draws[:4]
    assert plain.toy.draws[4:] == greedy.toy.draws[4:]


def test_an_order_follows_from_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[int]:
        shuffle = Shuffle(range(20), seed)
        shuffle.set_epoch(epoch)
        return list(shuffle)

    assert sorted(order(0, 3)) == list(range(20))
    assert order(0, 3) == order(0, 3)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_without_validation_all_goes_the_same_way(tmp_path):
    outcome = run(tmp_path, validate=False)
    assert "validation_loss" not in outcome.history.records[0]
    assert len(outcome.saved) == 6  # each epoch is the last and the best


def test_validation_comes_every_so_many_epochs_and_chooses_among_those(tmp_path):
    class Falling(Toy):
        def metrics(self, outputs):
            return {"validation_loss": 0.5, "score": 1 / len(self.validated)}

    outcome = run(tmp_path, toy=Falling(), epochs=5, validate_every=2)
    validated = [record["epoch"] for record in outcome.history.records if "score" in record]
    assert validated == [2, 4, 5]  # the last one always
    assert len(outcome.toy.validated) == 3 * 4
    assert (outcome.history.best["epoch"], len(outcome.saved_to("last"))) == (2, 5)
    assert len(outcome.saved_to("best")) == 2  # the first epoch, too, until another is validated


def test_the_average_is_validated_and_saved_and_training_goes_on_without_it(tmp_path):
    outcome = run(tmp_path, average_decay=0.9)
    toy, weights = outcome.toy, [*outcome.toy.trained[1:]]
    average = weights[0]  # after the first step
    averages = [average]
    for count, weight in enumerate(weights[1:], start=1):
        decay = min(0.9, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * weight
        averages.append(average)
    torch.testing.assert_close(toy.validated[0], averages[3])
    torch.testing.assert_close(toy.validated[4], averages[7])
    torch.testing.assert_close(outcome.saved_to("last")[0], averages[3])
    assert not torch.allclose(toy.trained[4], averages[3])
    plain = run(tmp_path / "plain")
    assert all(map(torch.equal, toy.trained, plain.toy.trained))


def test_the_gradient_is_clipped(tmp_path):
    start = Toy().model.weight
    clipped = run(tmp_path / "clipped", gradient_clip=1e-12).toy.model.weight  # below Adam's eps
    free = run(tmp_path / "free").toy.model.weight
    assert (clipped - start).abs().max() < 1e-3
    assert (free - start).abs().max() > 0.1


def test_mixed_precision_reaches_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("auricle.training.machine.has_bf16_instructions", lambda: True)
    assert run(tmp_path / "mixed", precision="bf16-mixed").toy.dtype is torch.bfloat16
    assert run(tmp_path / "single").toy.dtype is torch.float32


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path):
    """Eight clips in batches of six: the second batch is smaller, and its parts are uneven."""
    settings = {"batch_size": 6, "epochs": 2}
    whole, parts = run(tmp_path / "whole", **settings), run(tmp_path, **settings, accumulate=3)
    assert [len(batch) for batch in whole.toy.order[:2]] == [6, 2]
    assert [len(batch) for batch in parts.toy.order[:4]] == [2, 2, 2, 2]
    assert sum(parts.toy.order, []) == sum(whole.toy.order, [])
    torch.testing.assert_close(parts.toy.model.weight, whole.toy.model.weight)
    losses = [[record["train_loss"] for record in each.history.records] for each in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1])


def test_the_weights_of_epochs_are_averaged_validated_and_saved(tmp_path):
    outcome = run(tmp_path, average_epochs=(2, 3))
    average = outcome.saved_to("average")[0]
    torch.testing.assert_close(average, (outcome.toy.trained[8] + outcome.saved_to("last")[2]) / 2)
    assert torch.equal(outcome.toy.validated[-1], average)
    assert outcome.history.average == {
        "epochs": [2, 3],
        "validation_loss": 0.5,
        "score": 0.75,
        "other": None,
        "faulty_validation_clips": 0,
    }


def test_epochs_that_were_not_reached_are_not_averaged(tmp_path):
    outcome = run(tmp_path, average_epochs=(3, 3), early_stop=1)
    assert outcome.history.average is None
    assert outcome.saved_to("average") == []


def test_training_ends_after_some_epochs_without_a_better_one(tmp_path):
    class Peak(Toy):
        def metrics(self, outputs):
            scores = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]
            return {"validation_loss": 0.5, "score": scores[len(self.validated) // 4 - 1]}

    outcome = run(tmp_path, toy=Peak(), epochs=6, early_stop=2)
    assert [record["epoch"] for record in outcome.history.records] == [1, 2, 3, 4]
    assert outcome.history.best["epoch"] == 2


def test_training_ends_early_only_where_it_was_validated(tmp_path):
    outcome = run(tmp_path, epochs=12, validate_every=4, early_stop=3)
    assert len(outcome.history.records) == 8
    assert outcome.history.best["epoch"] == 4


@pytest.mark.parametrize(
    "error, message",
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has"),
            "out of memory: CUDA out of memory. Tried to allocate 2 GiB.",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            "out of memory: DefaultCPUAllocator: can't allocate memory: you tried 8 bytes.",
        ),
    ],
)
def test_too_large_a_batch_is_reported_with_what_to_change(tmp_path, error, message):
    outcome = Outcome(tmp_path)
    outcome.toy.stop_after, outcome.toy.error = 2, error
    with pytest.raises(UserError) as caught:
        outcome.run()
    assert str(caught.value) == (
        f"{message} Give a larger training.accumulate (a batch is taken in so many parts, the "
        "result stays the same), a smaller training.batch_size, training.precision=bf16-mixed, or "
        "a shorter data.crop_seconds."
    )


def test_other_errors_stay_what_they_are(tmp_path):
    outcome = Outcome(tmp_path)
    outcome.toy.stop_after, outcome.toy.error = 2, RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="^a bug$"):
        outcome.run()


def test_a_full_disk_is_reported_with_how_to_go_on(tmp_path):
    outcome = Outcome(tmp_path)
    outcome.toy.stop_after = 2
    outcome.toy.error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(UserError) as caught:
        outcome.run()
    assert str(caught.value) == (
        f"{tmp_path}: the disk is full ([Errno 28] No space left on device). Finished epochs are "
        f"kept; free some space and go on with: auricle train --resume {tmp_path}"
    )


def test_an_interruption_keeps_the_finished_epochs_and_the_next_ctrl_c(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    outcome = Outcome(tmp_path)
    outcome.toy.stop_after = 6
    with pytest.raises(KeyboardInterrupt):
        outcome.run()
    assert [record["epoch"] for record in outcome.history.records] == [1]
    assert signal.getsignal(signal.SIGINT) is before


def test_people_see_one_line_an_epoch_and_nothing_of_lightning(tmp_path, capfd):
    run(tmp_path)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split("  ")[0] for line in err.splitlines()] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]


@pytest.mark.parametrize("package", ["lightning", "tensorboard"])
def test_a_missing_package_is_named_with_the_extra_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    spec = importlib.util.spec_from_file_location("framework_again", framework.__file__)
    with pytest.raises(MissingExtraError) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert str(caught.value) == (
        f"training needs the package '{package}', which is not installed. "
        "Install it with: pip install 'auricle[train]'"
    )
