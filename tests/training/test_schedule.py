"""Schedules: the rows of the published recipes, computed by hand."""

import pytest

from auricle.config import Settings, from_dict
from auricle.errors import ConfigError
from auricle.training.optimizer import (
    Length,
    MultiStepConfig,
    ScheduleConfig,
    WarmupCosineConfig,
    curve,
)

AUDIOSET = MultiStepConfig(warmup_steps=1000, start=2, every=1, factor=0.5)
BALANCED = MultiStepConfig(warmup_steps=1000, start=10, every=5, factor=0.5)
ESC50 = MultiStepConfig(start=5, every=1, factor=0.85)


def at_epochs(config: ScheduleConfig, length: Length, epochs: list[int]) -> list[float]:
    """Factors in the last step of the given epochs, counted from 0."""
    factor = curve(config, length)
    return [factor((epoch + 1) * length.steps_per_epoch - 1) for epoch in epochs]


def test_audioset_is_halved_in_each_epoch_from_the_third():
    # 2 million clips in batches of 12: about 160,000 steps an epoch
    found = at_epochs(AUDIOSET, Length(160_000, 5), [0, 1, 2, 3, 4])
    assert found == [1, 1, 0.5, 0.25, 0.125]


def test_balanced_audioset_is_halved_every_five_epochs_from_the_eleventh():
    found = at_epochs(BALANCED, Length(1_800, 25), [0, 9, 10, 14, 15, 19, 20, 24])
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_esc50_falls_by_fifteen_percent_in_each_epoch_from_the_sixth():
    found = at_epochs(ESC50, Length(34, 25), [0, 4, 5, 6, 24])
    assert found == pytest.approx([1, 1, 0.85, 0.7225, 0.85**20])
    assert curve(ESC50, Length(34, 25))(0) == 1  # no warm-up


def test_the_authors_warm_up_rises_every_fifty_steps_from_zero():
    factor = curve(AUDIOSET, Length(160_000, 5))
    steps = [0, 49, 50, 99, 100, 500, 949, 950, 999, 1000, 1001]
    assert [factor(step) for step in steps] == pytest.approx(
        [0, 0, 0.05, 0.05, 0.1, 0.5, 0.9, 0.95, 0.95, 1, 1]
    )


def test_a_decay_within_the_warm_up_counts():
    factor = curve(AUDIOSET, Length(100, 5))
    assert factor(250) == pytest.approx(0.25 * 0.5)


def test_the_cosine_rises_in_a_line_and_falls_to_its_final_fraction():
    config = WarmupCosineConfig(warmup_fraction=0.2, final_fraction=0.1)
    factor = curve(config, Length(10, 5))
    steps = [0, 4, 9, 10, 30, 50, 60]
    assert [factor(step) for step in steps] == pytest.approx([0.1, 0.5, 1, 1, 0.55, 0.1, 0.1])


def test_a_run_of_one_step_learns():
    assert curve(WarmupCosineConfig(), Length(1, 1))(0) == 1


class Recipe(Settings):
    """A recipe with a schedule."""

    schedule: ScheduleConfig


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"name": "cosine"},
            "test: schedule.name: unknown name 'cosine'. Did you mean 'warmup_cosine'? "
            "Known: multistep, warmup_cosine.",
        ),
        (
            {"name": "multistep", "strat": 2, "start": 2, "factor": 0.5},
            "test: schedule: unknown key 'strat'. Did you mean 'start'? "
            "Known: every, factor, name, start, warmup_steps, warmup_update_every.",
        ),
        (
            {"name": "multistep", "start": 2, "factor": 1.5},
            "test: schedule.factor: Input should be less than or equal to 1, got 1.5.",
        ),
    ],
)
def test_a_wrong_schedule_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(Recipe, {"schedule": values}, "test")
    assert str(caught.value) == message
