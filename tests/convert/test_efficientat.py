"""EfficientAT's files: the width from the shapes, labels from the classes, strict about tensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from auricle import checkpoint, convert, models
from auricle.convert.efficientat import their_name
from auricle.errors import CheckpointError


def released_tensors(num_classes: int = 3, width: float = 0.1) -> dict[str, Tensor]:
    """Random tensors under the names of a released file."""
    settings = {"width": width, "num_classes": num_classes}
    state = models.build("mobilenet", settings).state_dict()
    return {their_name(name, state): value for name, value in state.items()}


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def message(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path, **options)
    return str(error.value)


def test_the_names_are_those_of_the_released_files():
    tensors = released_tensors(num_classes=527, width=0.4)
    assert len(tensors) == 312
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    assert shapes["features.0.0.weight"] == (8, 1, 3, 3)
    assert shapes["features.1.block.0.0.weight"] == (8, 1, 3, 3)  # expands nothing
    assert shapes["features.4.block.1.0.weight"] == (32, 1, 5, 5)
    assert shapes["features.4.block.2.conc_se_layers.0.fc1.weight"] == (8, 32)
    assert shapes["features.4.block.3.1.running_var"] == (16,)
    assert shapes["features.15.block.1.1.num_batches_tracked"] == ()
    assert shapes["features.16.0.weight"] == (384, 64, 1, 1)
    assert shapes["classifier.2.weight"] == (512, 384)
    assert shapes["classifier.5.bias"] == (527,)


@pytest.mark.parametrize("file", ["mn.pt", "mn.pth", "mn.safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "net."])
def test_every_kind_of_file_gives_the_same_model(tmp_path, file, prefix):
    tensors = released_tensors()
    named = {prefix + name: value for name, value in tensors.items()}
    read = convert.read(save(named, tmp_path / file))
    state = read.model.state_dict()
    assert all(
        torch.equal(value, tensors[their_name(name, state)]) for name, value in state.items()
    )
    assert not read.training
    assert read.config.provenance["layout"] == "efficientat"


@pytest.mark.parametrize("width", [0.1, 0.2, 0.4, 0.5, 0.6, 1.0, 2.0, 3.0, 4.0])
def test_the_width_follows_from_the_shapes(tmp_path, width):
    read = convert.read(save(released_tensors(width=width), tmp_path / "mn.safetensors"))
    assert read.model.config.width == width


def test_the_number_of_classes_gives_the_labels(tmp_path):
    audioset = convert.read(save(released_tensors(527), tmp_path / "mn.pt"))
    assumed = "128 mel bins and a hop of 10 ms assumed: the tensors do not show them"
    assert (audioset.labels[0], audioset.labels[-1]) == ("Speech", "Field recording")
    assert audioset.config.provenance["notes"] == [assumed]
    other = convert.read(save(released_tensors(3), tmp_path / "mn.pt"))
    assert other.labels == ["class 0", "class 1", "class 2"]
    assert other.config.provenance["notes"] == [
        assumed,
        "unknown classes: sigmoid and numbered labels assumed",
    ]
    assert (other.config.activation, other.config.front_end.name) == ("sigmoid", "efficientat")


def test_frames_make_longer_windows_and_a_stride_has_no_place(tmp_path):
    path = save(released_tensors(), tmp_path / "mn.pt")
    assert convert.read(path).model.config.max_frames == 1000
    assert convert.read(path, frames=3000).model.config.max_frames == 3000
    assert message(path, stride=10) == (
        f"{path}: an EfficientAT MobileNet has no patches; leave out --stride."
    )


def test_missing_left_over_and_mis_shaped_tensors_are_named(tmp_path):
    tensors = released_tensors()
    del tensors["features.9.block.2.1.running_mean"]
    tensors["extra"] = torch.zeros(2)
    tensors["classifier.5.bias"] = torch.zeros(4)
    path = save(tensors, tmp_path / "mn.pt")
    assert message(path) == (
        f"{path}: the tensors are not those of this model. Missing: "
        "features.9.block.2.1.running_mean. Left over: extra. "
        "Mis-shaped: classifier.5.bias is (4,) and should be (3,)."
    )


def test_another_head_is_refused(tmp_path):
    tensors = {
        name: value for name, value in released_tensors().items() if "classifier" not in name
    }
    path = save(tensors | {"classifier.0.weight": torch.zeros(3, 96, 1, 1)}, tmp_path / "mn.pt")
    assert message(path) == (
        f"{path}: the tensor 'classifier.5.weight' is missing, which gives the sizes."
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_converted_model_is_saved_and_loaded(tmp_path, dtype):
    read = convert.read(save(released_tensors(width=0.2), tmp_path / "mn.pt"))
    checkpoint.save(read, tmp_path / "ours", dtype)
    loaded = checkpoint.load(tmp_path / "ours")
    assert loaded.config == read.config
    for name, value in read.model.state_dict().items():
        stored = value.to(dtype).to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(loaded.model.state_dict()[name], stored), name


@pytest.mark.parametrize(
    "layout, who", [("ast", "the authors' layout"), ("huggingface", "the layout of Hugging Face")]
)
def test_a_mobilenet_cannot_be_written_as_an_ast(tmp_path, layout, who):
    read = convert.read(save(released_tensors(), tmp_path / "mn.pt"))
    with pytest.raises(CheckpointError) as error:
        convert.write(read, tmp_path / "out", layout)
    start = f"{who} has no place for the model 'mobilenet'; only 'ast' can be written."
    assert str(error.value).startswith(start)
