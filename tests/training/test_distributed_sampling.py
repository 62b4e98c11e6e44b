"""How several processes share the clips of each batch."""

import pytest

from auricle.training.sampling import DistributedBatchSampler, Shuffle


def portions(num_clips: int, accumulate: int, num_processes: int) -> list[DistributedBatchSampler]:
    order = Shuffle(range(num_clips), seed=0)
    return [
        DistributedBatchSampler(order, 12, accumulate, rank, num_processes)
        for rank in range(num_processes)
    ]


@pytest.mark.parametrize("num_clips", [24, 25, 31, 35, 5])
@pytest.mark.parametrize("accumulate, num_processes", [(1, 2), (3, 2), (2, 3), (4, 1)])
def test_all_together_hear_the_batches_that_one_would_hear(num_clips, accumulate, num_processes):
    alone = list(portions(num_clips, 1, 1)[0])
    shared = [list(each) for each in portions(num_clips, accumulate, num_processes)]
    pieces = [sum(parts, []) for parts in zip(*shared, strict=True)]
    batches = [sum(pieces[n : n + accumulate], []) for n in range(0, len(pieces), accumulate)]
    assert [sorted(batch) for batch in batches] == [sorted(batch) for batch in alone]
    assert sorted(sum(batches, [])) == list(range(num_clips))


def test_every_process_has_as_many_pieces_though_some_are_empty():
    shared = [list(each) for each in portions(25, 1, 3)]
    assert [[len(piece) for piece in pieces] for pieces in shared] == [
        [4, 4, 1],
        [4, 4, 0],
        [4, 4, 0],
    ]
    assert [len(each) for each in portions(25, 1, 3)] == [3, 3, 3]


def test_a_piece_knows_how_many_clips_its_batch_has():
    shared = portions(31, 3, 2)[0]
    assert [shared.clips_of_batch(piece) for piece in range(len(shared))] == [12] * 6 + [7, 7]


def test_an_epoch_that_was_stopped_goes_on_and_the_next_is_whole():
    whole, resumed = portions(31, 3, 1)[0], portions(31, 3, 1)[0]
    resumed.start = 2
    assert list(resumed) == list(whole)[2:]
    assert list(resumed) == list(whole)
    assert len(resumed) == len(whole)
