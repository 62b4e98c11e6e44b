"""Waveforms are cut and filled up without a sample lost or added."""

import pytest
import torch

from auricle import audio


def test_a_crop_is_the_samples_from_start():
    waveform = torch.arange(10.0)
    assert audio.crop(waveform, 3, 4).tolist() == [3, 4, 5, 6]


def test_a_crop_at_the_end_is_shorter():
    assert audio.crop(torch.arange(10.0), 8, 4).tolist() == [8, 9]


def test_a_crop_before_the_start_is_a_bug():
    with pytest.raises(AssertionError):
        audio.crop(torch.arange(10.0), -1, 4)


def test_padding_adds_zeros_at_the_end():
    assert audio.pad(torch.ones(2), 4).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_padding_never_cuts(length):
    assert audio.pad(torch.ones(2), length).tolist() == [1, 1]


def test_crop_and_pad_take_batches():
    batch = torch.ones(3, 5)
    assert audio.crop(batch, 1, 2).shape == (3, 2)
    assert audio.pad(batch, 8).shape == (3, 8)


def test_a_batch_has_true_lengths_and_zeros_after_them():
    waveforms = [torch.full((length,), float(length)) for length in (3, 1, 4)]
    batch, lengths = audio.pad_batch(waveforms)
    assert batch.tolist() == [[3, 3, 3, 0], [1, 0, 0, 0], [4, 4, 4, 4]]
    assert lengths.tolist() == [3, 1, 4]
    assert lengths.dtype == torch.int64
