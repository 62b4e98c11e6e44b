"""Clips that cannot be read: reported once, counted, and refused when there are too many."""

import pytest

from auricle.errors import DataError, DataWarning
from auricle.training.history import Faults


@pytest.fixture
def faults(tmp_path) -> Faults:
    return Faults(tmp_path, {"training": 50, "validation": 10}, 0.05)


def test_a_faulty_clip_is_reported_once_and_counted_in_every_epoch(faults):
    for _ in range(2):
        faults.start("training")
        if not faults.reasons:
            with pytest.warns(DataWarning) as caught:
                faults.note("training", [("a.wav", "a.wav: no sound.")])
            assert [str(one.message) for one in caught] == ["skipped: a.wav: no sound."]
        else:
            faults.note("training", [("a.wav", "a.wav: no sound.")])
        assert faults.check("training") == 1
    assert (faults.folder / "faults.csv").read_text() == "path,reason\na.wav,a.wav: no sound.\n"


def test_too_many_faulty_clips_end_the_training(faults):
    with pytest.warns(DataWarning):
        faults.note("training", [(f"{n}.wav", f"{n}.wav: no sound.") for n in range(2)])
    assert not faults.too_many("training")
    with pytest.warns(DataWarning):
        faults.note("training", [("2.wav", "2.wav: no sound.")])
    assert faults.too_many("training")
    with pytest.raises(DataError) as caught:
        faults.check("training")
    assert str(caught.value) == (
        "3 of 50 training clips (6.0%) cannot be read, more than data.max_faulty_share=0.05 "
        f"allows. The first: 0.wav: no sound. {faults.folder / 'faults.csv'} lists those that were "
        "met. Move them away, or raise data.max_faulty_share; of clips with labels, auricle "
        "prepare --check leaves all out beforehand."
    )
    assert faults.check("validation") == 0


def test_a_training_without_a_clip_is_no_training(tmp_path):
    faults = Faults(tmp_path, {"training": 2}, max_share=1.0)
    with pytest.warns(DataWarning):
        faults.note("training", [(f"{n}.wav", f"{n}.wav: no sound.") for n in range(2)])
    with pytest.raises(DataError) as caught:
        faults.check("training")
    assert str(caught.value) == (
        "none of the 2 training clips can be read. The first: 0.wav: no sound."
    )


def test_without_faults_there_is_no_file(faults):
    faults.check("training")
    assert list(faults.folder.iterdir()) == []
