"""What is said of stored thresholds."""

import pytest

from auricle.cli import judging


@pytest.mark.parametrize(
    "common, shown", [(0.125, "0.125"), (None, "0.5, as these clips cannot decide")]
)
def test_of_many_classes_that_share_a_threshold_some_are_named(common, shown):
    rows = [
        {"label": f"class {place}", "threshold": common, "shared_threshold": True}
        for place in range(14)
    ]
    rows.append({"label": "dog", "threshold": 0.3, "shared_threshold": False})
    named = ", ".join(f"class {place}" for place in range(12))
    assert judging._describe_thresholds(rows) == (
        "thresholds of 15 classes stored; 14 of fewer than 5 clips, or of all, share one "
        f"({shown}): {named} and 2 more"
    )


def test_when_every_class_has_its_own_threshold_nothing_else_is_said():
    rows = [{"label": "dog", "threshold": 0.3, "shared_threshold": False}]
    assert judging._describe_thresholds(rows) == "thresholds of 1 classes stored"
