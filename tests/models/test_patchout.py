"""Patchout: training hears some of a clip's patches, in order, and nothing else changes."""

import pytest
import torch

from auricle import models
from auricle.errors import ConfigError
from auricle.models.patches import TokenLayout, leave_out

SMALL = {
    "num_classes": 3,
    "num_mels": 32,
    "max_frames": 96,
    "patch": [16, 8],
    "stride": [16, 8],
    "width": 16,
    "depth": 2,
    "num_heads": 2,
}
CONFORMERS = [
    {"convolution_axis": axis, "convolution_norm": norm, "positions": positions}
    for axis, norm, positions in [
        ("sequence", "layer_norm", "none"),
        ("grid", "batch_norm", "relative"),
        ("rows", "group_norm", "rotary"),
    ]
]


def numbered(batch, rows, columns):
    """Tokens `(B, F, T, 1)` that hold 100 * row + column."""
    grid = 100 * torch.arange(rows)[:, None] + torch.arange(columns)
    return grid.float().expand(batch, -1, -1)[..., None]


def thinned(counts, share, rows=4, columns=10, batch=3):
    """The layout, the grid, the packed tokens before, and tokens and layout after."""
    layout = TokenLayout(2, rows, columns, None if counts is None else torch.tensor(counts))
    grid = numbered(batch, rows, columns)
    torch.manual_seed(0)
    return layout, grid, *leave_out(layout.pack(grid), layout, share)


@pytest.mark.parametrize(("share", "kept"), [(0.0, 40), (0.25, 30), (0.5, 20), (0.99, 1)])
def test_a_share_of_the_patches_is_gone_from_the_sequence(share, kept):
    _, _, tokens, layout = thinned(None, share)
    assert tokens.shape == (3, kept, 1)
    assert layout.num_patches == kept
    assert layout.valid(tokens.device).all()
    assert layout.attention_mask(tokens.device) is None


def test_patches_stay_in_order_and_each_clip_draws_its_own():
    _, _, tokens, _ = thinned(None, 0.5)
    assert (tokens[:, 1:] > tokens[:, :-1]).all()
    assert not torch.equal(tokens[0], tokens[1])


def test_every_patch_is_left_out_equally_often():
    torch.manual_seed(0)
    layout = TokenLayout(0, 2, 5, None)
    tokens = layout.pack(torch.zeros(4000, 2, 5, 1))
    kept = leave_out(tokens, layout, 0.4)[1].visible_ids
    shares = kept.flatten().bincount() / 4000
    torch.testing.assert_close(shares, torch.full((10,), 0.6), atol=0.04, rtol=0)


def test_clips_of_mixed_lengths_lose_a_share_of_their_own_patches():
    _, _, tokens, layout = thinned([10, 5, 1], 0.5)
    valid = layout.valid(tokens.device)
    assert valid.sum(dim=1).tolist() == [20, 10, 2]
    assert (tokens[~valid] == 0).all()
    assert (tokens[1, :10, 0] % 100 < 5).all()
    assert (tokens[2, :2, 0] % 100 == 0).all()
    assert layout.attention_mask(tokens.device).sum(dim=(1, 2, 3)).tolist() == [22, 12, 4]


def test_at_least_one_patch_of_a_clip_is_left():
    _, _, tokens, layout = thinned([10, 1, 1], 0.99, rows=1)
    assert layout.valid(tokens.device).tolist() == [[True]] * 3


@pytest.mark.parametrize("counts", [None, [10, 5, 1]], ids=["whole", "mixed"])
def test_coordinates_packing_and_unpacking_follow_the_kept_patches(counts):
    _, grid, tokens, layout = thinned(counts, 0.5)
    valid = layout.valid(tokens.device).expand(tokens.shape[:2])
    rows, columns = layout.coordinates(tokens.device)
    assert torch.equal((100 * rows + columns)[valid].float(), tokens[..., 0][valid])
    assert torch.equal(layout.pack(grid), tokens)
    unpacked = layout.unpack(1 + tokens)  # 1: so that the first patch is no zero
    present = unpacked != 0
    assert present.sum(dim=(1, 2, 3)).tolist() == valid.sum(dim=1).tolist()
    assert torch.equal(unpacked[present], (1 + grid)[present])


@pytest.mark.parametrize("conformer", CONFORMERS, ids=lambda case: case["convolution_axis"])
def test_a_clip_does_not_depend_on_its_neighbours(conformer, monkeypatch):
    """The same patches are left out of each clip, so that it can be compared with itself alone."""

    def last_ones(valid, num_kept):
        places = torch.arange(valid.shape[1]).expand(valid.shape)
        counts = valid.sum(dim=1).tolist()
        kept = [
            row[count - n : count] for row, count, n in zip(places, counts, num_kept, strict=True)
        ]
        return torch.nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=-1)

    monkeypatch.setattr("auricle.models.patches._draw", last_ones)
    settings = {"num_blocks": 1, "start": "standard", "dropout": 0.0, **conformer}
    torch.manual_seed(0)
    model = models.build("ham_ast", {**SMALL, "conformer": settings, "patchout": 0.5})
    features, counts = torch.randn(3, 96, 32), torch.tensor([96, 40, 16])
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    model.train()
    for norm in norms:  # which by its nature mixes the clips of a batch
        norm.eval()
    together = model(features, counts)
    for index, count in enumerate(counts.tolist()):
        alone = model(features[index : index + 1, :count], counts[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


@pytest.mark.parametrize("conformer", CONFORMERS, ids=lambda case: case["convolution_axis"])
@pytest.mark.parametrize("counts", [None, [96, 40, 8]], ids=["whole", "mixed"])
def test_every_parameter_learns(conformer, counts):
    settings = {"num_blocks": 1, "start": "standard", **conformer}
    torch.manual_seed(0)
    model = models.build("ham_ast", {**SMALL, "conformer": settings, "patchout": 0.5})
    torch.nn.init.normal_(model.after_norm["channel_attention"].excite.weight)
    counts = None if counts is None else torch.tensor(counts)
    model(torch.randn(3, 96, 32), counts).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_training_leaves_patches_out_and_evaluation_hears_all():
    torch.manual_seed(0)
    model = models.build("ast", {**SMALL, "patchout": 0.5})
    whole = models.build("ast", SMALL)
    whole.load_state_dict(model.state_dict())
    features = torch.randn(2, 96, 32)
    assert model.encode(features)[0].shape[1] == 2 + 12
    assert not torch.equal(model(features), model(features))
    assert torch.equal(model.eval()(features), whole.eval()(features))


def test_a_share_of_all_is_refused():
    with pytest.raises(ConfigError) as caught:
        models.build("ast", {**SMALL, "patchout": 1.0})
    assert str(caught.value) == "model: patchout: Input should be less than 1, got 1.0."
