"""CED's files, of the hub and of its authors: sizes from the shapes, strict about tensors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from auricle import checkpoint, convert, models
from auricle.convert.ced import to_theirs
from auricle.errors import CheckpointError

SMALL = {"width": 64, "depth": 2, "num_heads": 1, "num_classes": 3}
# As in preprocessor_config.json of mispeech/ced-tiny.
EXTRACTOR = {"f_max": None, "f_min": 0, "feature_size": 64, "hop_size": 160, "n_fft": 512}


def bare_tensors(**settings: int) -> dict[str, Tensor]:
    """Random tensors under the names that both kinds of files share."""
    state = models.build("ced", {**SMALL, **settings}).state_dict()
    return {name: value.contiguous() for name, value in to_theirs(state).items()}


def hub_folder(folder: Path, tensors: dict[str, Tensor], **config: object) -> Path:
    """A folder as it is on the hub."""
    named = {
        name if name.startswith("outputlayer.") else f"encoder.{name}": value
        for name, value in tensors.items()
    }
    folder.mkdir()
    save_file(named, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "ced", **config}))
    (folder / "preprocessor_config.json").write_text(json.dumps(EXTRACTOR))
    return folder


def authors_file(path: Path, tensors: dict[str, Tensor]) -> Path:
    """A file as its authors release it."""
    named = {name.replace("init_bn.", "init_bn.1."): value for name, value in tensors.items()}
    named["front_end.0.spectrogram.window"] = torch.hann_window(512)
    named["front_end.0.mel_scale.fb"] = torch.zeros(257, 64)
    torch.save(named, path)
    return path


def message(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path, **options)
    return str(error.value)


def test_the_names_and_shapes_are_those_of_the_released_files():
    tensors = bare_tensors(width=192, depth=12, num_heads=3, num_classes=527)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert shapes["time_pos_embed"] == (1, 192, 1, 63)
    assert shapes["freq_pos_embed"] == (1, 192, 4, 1)
    assert shapes["init_bn.running_mean"] == (64,)
    assert shapes["init_bn.num_batches_tracked"] == ()
    assert shapes["patch_embed.proj.weight"] == (192, 1, 16, 16)
    assert shapes["blocks.11.attn.qkv.weight"] == (576, 192)
    assert shapes["blocks.11.attn.proj.bias"] == (192,)
    assert shapes["blocks.0.mlp.fc1.weight"] == (768, 192)
    assert shapes["blocks.0.norm2.weight"] == (192,)
    assert shapes["norm.bias"] == shapes["outputlayer.0.bias"] == (192,)
    assert shapes["outputlayer.1.weight"] == (527, 192)
    weights = sum(v.numel() for n, v in tensors.items() if not n.startswith("init_bn."))
    assert round(weights / 1e6, 1) == 5.5  # as published for CED-tiny


def test_both_kinds_of_files_give_the_same_model(tmp_path):
    tensors = bare_tensors()
    hub = convert.read(hub_folder(tmp_path / "hub", tensors, num_heads=1, target_length=1012))
    authors = convert.read(authors_file(tmp_path / "ced.pt", tensors))
    assert hub.model.config == authors.model.config
    for name, value in hub.model.state_dict().items():
        assert torch.equal(value, authors.model.state_dict()[name]), name
    assert authors.config.provenance["dropped"] == [
        "front_end.0.spectrogram.window",
        "front_end.0.mel_scale.fb",
    ]
    assert hub.config.provenance["layout"] == "ced"
    assert not hub.training


def test_sizes_front_end_and_labels(tmp_path):
    read = convert.read(authors_file(tmp_path / "ced.pt", bare_tensors(num_classes=527)))
    config = read.model.config
    assert (config.width, config.depth, config.num_heads, config.max_frames) == (64, 2, 1, 1012)
    assert (read.labels[0], read.labels[-1]) == ("Speech", "Field recording")
    assert (read.config.activation, read.config.front_end.name) == ("sigmoid", "ced")
    assert (read.fbank.num_frames(160_000), read.fbank.num_frames(256)) == (1001, 0)
    other = convert.read(authors_file(tmp_path / "three.pt", bare_tensors()))
    assert other.labels == ["class 0", "class 1", "class 2"]
    assert other.config.provenance["notes"] == ["unknown classes: sigmoid assumed"]


def test_a_converted_model_is_saved_and_loaded(tmp_path):
    read = convert.read(authors_file(tmp_path / "ced.pt", bare_tensors()))
    checkpoint.save(read, tmp_path / "ours")
    loaded = checkpoint.load(tmp_path / "ours")
    assert loaded.config == read.config
    waveforms = torch.randn(1, 16_000)
    assert torch.equal(loaded.logits(waveforms), read.logits(waveforms))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"pooling": "token"}, "pooling is 'token'; a CED that can be read has 'mean'"),
        ({"hop_size": 320}, "hop_size is 320; a CED that can be read has 160"),
        ({"center": False}, "center is False; a CED that can be read has True"),
    ],
)
def test_settings_that_our_model_has_not_are_refused(tmp_path, config, problem):
    folder = hub_folder(tmp_path / "hub", bare_tensors(), **config)
    assert message(folder) == f"{folder}: its {problem}."


def test_missing_left_over_and_mis_shaped_tensors_are_named(tmp_path):
    tensors = bare_tensors()
    del tensors["blocks.1.attn.proj.bias"]
    tensors["token_pos_embed"] = torch.zeros(1, 64)
    tensors["norm.bias"] = torch.zeros(4)
    path = authors_file(tmp_path / "ced.pt", tensors)
    assert message(path) == (
        f"{path}: the tensors are not those of this model. Missing: blocks.1.attn.proj.bias. "
        "Left over: token_pos_embed. Mis-shaped: norm.bias is (4,) and should be (64,)."
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stride": 10}, "CED's patches never overlap; leave out --stride."),
        (
            {"frames": 512},
            "--frames 512 makes 32 columns of patches, the file has positions for 63; leave out "
            "--frames.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, problem):
    path = authors_file(tmp_path / "ced.pt", bare_tensors())
    assert message(path, **options) == f"{path}: {problem}"
