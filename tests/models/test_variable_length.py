"""True variable length: a clip in a padded, masked batch gives the logits that it gives alone.

Every alternative of the tables is tried, in both precisions, on 0.3 s to 20 s mixed.
"""

import pytest
import torch

from auricle import models

FRAME_COUNTS = torch.tensor([28, 1998, 498, 98, 300])  # 0.3 s, 20 s, 5 s, 1 s, 3 s
SETTINGS = {
    "num_classes": 5,
    "num_mels": 64,
    "max_frames": 2048,
    "width": 32,
    "depth": 2,
    "num_heads": 2,
}
CONFORMER = {
    "place": ["before_norm", "after_norm"],
    "block_norm": ["on", "off"],
    "start": ["layer_scale", "standard"],
    "prefix_tokens": ["through"],
    "convolution_axis": ["grid", "rows"],
    "convolution_norm": ["batch_norm", "group_norm"],
    "positions": ["relative", "rotary"],
}
CHANNEL_ATTENTION = {
    "place": ["before_norm"],
    "pooling": ["with_prefix", "segments"],
    "combination": ["concatenation", "learned"],
    "normalization": ["none", "l2", "softmax"],
    "scoring": ["direct"],
    "gate": ["residual", "residual_sigmoid"],
}
CASES = [
    {},
    {"conformer": None},
    {"channel_attention": None},
    {"patch": [64, 2], "stride": [64, 2]},
    {"patch": [8, 4], "stride": [6, 3], "max_frames": 2100},
    {"patch": [64, 8], "stride": [64, 4], "stem": [4, 6]},
    {"patch": [64, 8], "stride": [64, 4], "stem": [4, 6], "stem_depth": 3},
    {"readout": "cls"},
    {"readout": "patch_mean"},
    *({"conformer": {key: value}} for key, values in CONFORMER.items() for value in values),
    *({"channel_attention": {k: value}} for k, vs in CHANNEL_ATTENTION.items() for value in vs),
]


def lively(model):
    """Weights that make every part matter: with the usual start, whole branches are near zero."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm_weight = parameter.ndim == 1 and name.endswith("weight")
        scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.data = (is_norm_weight + scale * noise).to(parameter.dtype)
    return model.eval()


def small(case, **overrides):
    """A small HAM-AST with one choice of the tables."""
    case = {**case, **overrides}
    if case.get("conformer", {}) is not None:
        case["conformer"] = {"num_blocks": 2, "kernel_size": 7, **case.get("conformer", {})}
    return lively(models.build("ham_ast", {**SETTINGS, **case}))


def identifier(case):
    return ",".join(f"{key}={value}" for key, value in case.items()) or "defaults"


@pytest.mark.parametrize("case", CASES, ids=identifier)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-5)])
@torch.no_grad()
def test_a_clip_gives_the_same_logits_alone_and_in_a_batch(case, dtype, tolerance):
    model = small(case).to(dtype)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(5, 2000, 64, generator=generator, dtype=dtype)
    for clip, count in zip(features, FRAME_COUNTS, strict=True):
        clip[count:] = 77.0  # what stands there must not matter
    together = model(features, FRAME_COUNTS)
    alone = [model(clip[None, :count]) for clip, count in zip(features, FRAME_COUNTS, strict=True)]
    assert together.std() > 0.1  # the clips are told apart, so the comparison says something
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=tolerance)


def test_batch_norm_learns_nothing_from_padding():
    model = small({"conformer": {"convolution_norm": "batch_norm", "dropout": 0.0}}).train()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    features, counts = torch.randn(2, 300, 64), torch.tensor([60, 300])
    states = []
    for filling in (0.0, 55.0):
        for norm in norms:
            norm.reset_running_stats()
        features[0, 60:] = filling
        model(features, counts)
        states.append([norm.running_mean.clone() for norm in norms])
    assert norms
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
