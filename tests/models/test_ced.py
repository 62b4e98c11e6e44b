"""CED: lengths, its batch norm over the mels, and starts from one of another length."""

import pytest
import torch

from auricle import checkpoint, models
from auricle.features import CEDFilterbankConfig, PaddingConfig

SMALL = {"width": 64, "depth": 2, "num_heads": 1, "num_classes": 3}
FRAMES, COUNTS = 200, torch.tensor([200, 57, 16])


def filled(value: float) -> torch.Tensor:
    """Features of which those beyond the clips' ends are `value`."""
    features = torch.randn(3, FRAMES, 64, generator=torch.Generator().manual_seed(0))
    beyond = torch.arange(FRAMES)[None] >= COUNTS[:, None]
    return features.masked_fill(beyond[..., None], value).double()


def test_sound_gives_the_same_alone_and_in_a_batch():
    front_end = CEDFilterbankConfig(padding=PaddingConfig(frames=16))
    ours = checkpoint.create("ced", SMALL, front_end, list("abc"), "sigmoid").double().eval()
    clips, lengths = 1e-6 * torch.randn(3, 32_000).double(), torch.tensor([32_000, 9000, 300])
    clips[:, 0] = 1  # a frame beyond the end would repeat it, and be louder than all before
    together, counts = ours.fbank(clips, lengths)
    assert counts.tolist() == [201, 57, 16]
    with torch.no_grad():
        logits = ours.logits(clips, lengths)
        for index, length in enumerate(lengths.tolist()):
            alone, _ = ours.fbank(clips[[index], :length])
            own = together[index, : counts[index]]
            torch.testing.assert_close(own, alone[0], rtol=0, atol=1e-6)
            expected = ours.logits(clips[[index], :length])[0]
            torch.testing.assert_close(logits[index], expected, rtol=0, atol=1e-9)


def test_training_learns_nothing_from_padding():
    states, outputs = [], []
    for value in (0.0, 1e3):
        torch.manual_seed(0)
        model = models.build("ced", SMALL).double().train()
        outputs.append(model(filled(value), COUNTS))
        states.append(model.state_dict()["input_norm.running_mean"])
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-9)
    torch.testing.assert_close(*states, rtol=0, atol=1e-12)
    assert states[0].abs().max() > 0


@pytest.mark.parametrize("frames", [512, 1012, 2000])
def test_a_model_of_another_length_starts_from_its_positions(frames):
    source = models.build("ced", SMALL)
    target = models.build("ced", {**SMALL, "max_frames": frames})
    report = models.transfer(source, target, with_head=True)
    assert report.adapted == (() if frames == 1012 else ("positions.columns",))
    table, adapted = source.positions.columns, target.positions.columns
    if frames < 1013:
        assert torch.equal(adapted, table[: frames // 16])
    else:
        torch.testing.assert_close(adapted[[0, -1]], table[[0, -1]])
        assert adapted.shape == (125, 64)
