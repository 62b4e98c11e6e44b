"""What a run leaves behind, and which epoch is the best."""

import json

import pytest

from auricle.errors import ConfigError
from auricle.training.history import History


@pytest.fixture
def history(tmp_path) -> History:
    def save(folder, record, weights):
        folder.mkdir(exist_ok=True)
        (folder / "epoch").write_text(str(record["epoch"]))

    return History(tmp_path, "accuracy", save)


def record(epoch: int, **values: float | None) -> dict:
    return {"epoch": epoch, "train_loss": 1.0, "seconds": 2.0, "clips_per_second": 40.4, **values}


def saved(history: History) -> dict[str, int]:
    names = ("last", "best")
    return {name: int((history.folder / name / "epoch").read_text()) for name in names}


def test_the_best_epoch_has_the_best_score(history):
    for epoch, accuracy in enumerate([0.5, 0.9, 0.7], start=1):
        history.add(record(epoch, accuracy=accuracy, validation_loss=float(epoch)), {})
    assert saved(history) == {"last": 3, "best": 2}
    assert history.best["epoch"] == 2


def test_of_equal_scores_the_lower_loss_wins_then_the_earlier_epoch(history):
    for epoch, loss in enumerate([0.5, 0.3, 0.3], start=1):
        history.add(record(epoch, accuracy=1.0, validation_loss=loss), {})
    assert saved(history)["best"] == 2


def test_a_score_that_is_not_defined_is_the_worst(history):
    history.add(record(1, accuracy=0.1, validation_loss=1.0), {})
    history.add(record(2, accuracy=None, validation_loss=0.5), {})
    assert saved(history) == {"last": 2, "best": 1}


def test_without_validation_the_last_epoch_is_the_best(history):
    history.add(record(1), {})
    history.add(record(2), {})
    assert saved(history) == {"last": 2, "best": 2}


def test_an_epoch_that_was_not_validated_is_not_better_than_one_that_was(history):
    history.add(record(1), {})
    history.add(record(2, accuracy=0.1, validation_loss=1.0), {})
    history.add(record(3), {})
    assert saved(history) == {"last": 3, "best": 2}


def test_metrics_are_one_object_an_epoch(history):
    records = [record(1, accuracy=0.5, validation_loss=1.0), record(2)]
    for each in records:
        history.add(each, {})
    lines = (history.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == records == history.records


def test_the_line_for_people(history):
    history.add(record(1, accuracy=0.5, validation_loss=0.25, mAP=None), {})
    assert history.line(3) == (
        "epoch 1/3  train_loss 1.0000  validation_loss 0.2500  accuracy 0.5000  "
        "2.0 s  40 clips/s  0:00:04 left  best"
    )
    history.add(record(2, accuracy=0.4, validation_loss=0.25), {})
    assert history.line(3).endswith("40 clips/s  0:00:02 left")
    assert history.line(2).endswith("40 clips/s")


def test_without_a_score_no_epoch_is_called_the_best(history):
    history.add(record(1, validation_loss=0.25), {})
    assert history.best["epoch"] == 1
    assert history.line(1).endswith("40 clips/s")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved(history):
    history.add(record(1), {})
    with pytest.raises(ConfigError) as caught:
        history.add({**record(2), "train_loss": float("nan")}, {})
    assert str(caught.value) == (
        "epoch 2: the training loss is nan. Lower training.optimizer.learning_rate, set "
        "training.gradient_clip, or use training.precision=32-true."
    )
    assert saved(history) == {"last": 1, "best": 1}


def test_a_history_that_is_restored_forgets_what_was_not_completed(history):
    for epoch, accuracy in enumerate([0.5, 0.9, 0.7], start=1):
        history.add(record(epoch, accuracy=accuracy, validation_loss=1.0), {})
    history.restore(history.records[:1], writes=True)
    assert history.best["epoch"] == 1
    assert len((history.folder / "metrics.jsonl").read_text().splitlines()) == 1
    history.add(record(2, accuracy=0.4, validation_loss=1.0), {})
    assert history.epochs_since_best() == 1


def test_a_process_without_weights_to_write_only_notes(history):
    history.add(record(1), None)
    assert history.best["epoch"] == 1
    assert list(history.folder.iterdir()) == []
