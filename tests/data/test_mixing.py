"""Mixup, against the arithmetic of its definition."""

import pytest
import torch

from auricle.config import from_dict
from auricle.data import (
    Batch,
    ClipDataset,
    Fault,
    Mixup,
    MixupConfig,
    PartneredDataset,
    Partners,
    collate,
    collate_with_partners,
    read,
)
from auricle.errors import ConfigError


def batch(size=8, samples=100):
    """Clips of several lengths, each with an offset and a class of its own."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(10, samples + 1, (size,), generator=generator)
    waveforms = torch.rand(size, samples, generator=generator)  # mean about 0.5
    waveforms *= torch.arange(samples) < lengths[:, None]
    return waveforms, lengths, torch.eye(size)


def shares(targets):
    """Who was mixed with whom: partner and first share of each clip of a `batch`."""
    partner = (targets - torch.diag(targets.diag())).argmax(dim=1)
    return partner, targets.diag()


@pytest.mark.parametrize("seed", range(5))
def test_a_mixed_clip_is_the_weighted_sum_of_two_without_its_mean(seed):
    waveforms, lengths, targets = batch()
    torch.manual_seed(seed)
    mixed, new_lengths, new_targets = Mixup(MixupConfig(rate=1.0))(waveforms, lengths, targets)
    assert torch.equal(new_lengths, lengths)
    partner, share = shares(new_targets)
    for i, length in enumerate(lengths.tolist()):
        first = waveforms[i, :length] - waveforms[i, :length].mean()
        whole = waveforms[partner[i], : lengths[partner[i]]]
        second = torch.zeros(length)
        fits = min(length, len(whole))
        second[:fits] = (whole - whole.mean())[:fits]
        if share[i] == 1:  # its own partner
            second = first
        expected = share[i] * first + (1 - share[i]) * second
        torch.testing.assert_close(mixed[i, :length], expected - expected.mean())
        assert not mixed[i, length:].any()


def test_targets_are_mixed_in_the_same_shares():
    waveforms, lengths, _ = batch(size=64)
    torch.manual_seed(0)
    _, _, targets = Mixup(MixupConfig(rate=1.0))(waveforms, lengths, torch.eye(64))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(64))
    assert ((targets > 0).sum(dim=1) <= 2).all()
    assert len(targets.diag().unique()) > 50  # every clip draws a share of its own


def test_shares_follow_the_beta_distribution():
    mixup = Mixup(MixupConfig(rate=1.0, alpha=10.0))
    torch.manual_seed(0)
    waveforms, lengths = torch.zeros(4000, 1), torch.ones(4000, dtype=torch.int64)
    first = torch.zeros(4000, 4000).fill_diagonal_(1)
    share = mixup(waveforms, lengths, first)[2].diag()
    share = share[share < 1]  # all but those who met themselves
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert share.var().item() == pytest.approx(1 / (4 * (2 * 10 + 1)), rel=0.1)


def test_the_rate_is_the_share_of_clips_that_are_mixed_and_others_stay_as_they_are():
    waveforms, lengths, targets = batch(size=1000)
    torch.manual_seed(0)
    mixed, _, new_targets = Mixup(MixupConfig(rate=0.3))(waveforms, lengths, targets)
    untouched = (mixed == waveforms).all(dim=1)
    assert 0.65 < untouched.float().mean() < 0.75
    assert torch.equal(new_targets[untouched], targets[untouched])


def test_a_batch_of_one_meets_itself():
    waveforms, lengths, targets = batch(size=1)
    mixed, _, new_targets = Mixup(MixupConfig(rate=1.0))(waveforms, lengths, targets)
    length = lengths.item()
    expected = waveforms[0, :length] - waveforms[0, :length].mean()
    torch.testing.assert_close(mixed[0, :length], expected)
    torch.testing.assert_close(new_targets, targets)


def test_evaluation_mixes_nothing():
    given = batch()
    for ours, theirs in zip(Mixup(MixupConfig(rate=1.0)).eval()(*given), given, strict=True):
        assert ours is theirs


def test_the_same_seed_gives_the_same_mixture():
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(Mixup(MixupConfig(rate=0.5))(*batch())[0])
    assert torch.equal(*results)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": -0.1}, "rate: Input should be greater than or equal to 0, got -0.1."),
        ({"rate": 1.1}, "rate: Input should be less than or equal to 1, got 1.1."),
        ({"alpha": 0.0}, "alpha: Input should be greater than 0, got 0.0."),
        ({"alfa": 1.0}, "unknown key 'alfa'. Did you mean 'alpha'? Known: alpha, rate."),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        from_dict(MixupConfig, values, "mixup")
    assert str(caught.value) == f"mixup: {message}"


def test_partners_that_come_with_a_batch_are_added_to_their_rows_and_to_no_others():
    waveforms, lengths, targets = batch()
    others, sizes, _ = batch(size=2, samples=120)
    partners = Partners(others, sizes, torch.full((2, 8), 0.5), torch.tensor([5, 1]))
    torch.manual_seed(0)
    mixed, new_lengths, new_targets = Mixup(MixupConfig(rate=0.5))(
        waveforms, lengths, targets, partners
    )
    assert torch.equal(new_lengths, lengths)
    rest = [row for row in range(8) if row not in (1, 5)]
    assert torch.equal(mixed[rest], waveforms[rest])
    assert torch.equal(new_targets[rest], targets[rest])
    for number, row in enumerate((5, 1)):
        share = 2 * new_targets[row, row] - 1
        assert 0 < share < 1
        length = int(lengths[row])
        first = waveforms[row, :length] - waveforms[row, :length].mean()
        whole = others[number, : sizes[number]]
        second = torch.zeros(length)
        fits = min(length, len(whole))
        second[:fits] = (whole - whole.mean())[:fits]
        expected = share * first + (1 - share) * second
        torch.testing.assert_close(mixed[row, :length], expected - expected.mean())
        torch.testing.assert_close(
            new_targets[row], share * targets[row] + (1 - share) * torch.full((8,), 0.5)
        )


@pytest.fixture
def dataset(noise_clips):
    """Forty clips of 0.3 s, of the labels a and b in turn."""
    manifest = read(noise_clips(fold=[1] * 40))
    return ClipDataset(manifest, ["a", "b"], 16_000, crop_seconds=0.1, seed=3, skip_faulty=True)


def test_partners_are_drawn_from_all_clips_whatever_is_in_the_batch(dataset):
    partnered = PartneredDataset(dataset, 0.5, seed=3)
    found = []
    for epoch in range(10):
        partnered.set_epoch(epoch)
        made = collate_with_partners([partnered[index] for index in range(0, 40, 2)])  # of label a
        assert made.targets[:, 0].all()
        found.append(made.partners.targets)
        assert made.partners.waveforms.shape == (len(made.partners.rows), 1600)
    partners = torch.cat(found)
    assert len(partners) / 200 == pytest.approx(0.5, abs=0.1)
    assert partners[:, 1].mean() == pytest.approx(0.5, abs=0.15)


def test_partners_follow_from_seed_epoch_and_clip_alone(dataset):
    def partners(epoch, indices, seed=3):
        partnered = PartneredDataset(dataset, 1.0, seed)
        partnered.set_epoch(epoch)
        return [partnered[index][1][0] for index in indices]

    whole, part = partners(1, range(10)), partners(1, [7])
    assert torch.equal(whole[7], part[0])
    assert not torch.equal(partners(2, [7])[0], part[0])
    assert not torch.equal(partners(1, [7], seed=4)[0], part[0])


def test_a_partner_has_a_crop_of_its_own(dataset):
    partnered, clips = PartneredDataset(dataset, 1.0, seed=3), [clip for clip, _ in dataset]
    partners = [partnered[index][1][0] for index in range(10)]
    assert not any(torch.equal(one, other) for one in partners for other in clips)


def test_the_clips_themselves_are_the_same_with_and_without_partners(dataset):
    partnered = PartneredDataset(dataset, 1.0, seed=3)
    with_partners = collate_with_partners([partnered[index] for index in range(5)])
    without = collate([dataset[index] for index in range(5)])
    assert torch.equal(with_partners.waveforms, without.waveforms)


def test_a_partner_that_cannot_be_read_is_left_out():
    clip, fault = (torch.ones(4), torch.ones(1)), Fault("x.wav", "x.wav: no sound")
    made = collate_with_partners([(clip, fault), (fault, clip), (clip, None), (clip, clip)])
    assert isinstance(made, Batch)
    assert (len(made.waveforms), made.faults) == (3, (fault,))
    assert made.partners.rows.tolist() == [2]
    none = collate_with_partners([(clip, None)])
    assert none.partners.rows.tolist() == []
    assert torch.equal(Mixup(MixupConfig(rate=1.0))(*none[:3], none.partners)[0], none.waveforms)
