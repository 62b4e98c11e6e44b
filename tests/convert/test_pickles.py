"""PyTorch files: tensors come out, nothing in them runs, and what cannot be used says why."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from auricle import convert
from auricle.errors import CheckpointError


class Payload:
    """Unpickling this runs a command that creates a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


def message(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path)
    return str(error.value)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_that_would_execute_code_is_refused_and_not_run(tmp_path, is_zip):
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    content = {"v.cls_token": torch.zeros(1, 1, 64), "payload": Payload(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    command = f"{os.system.__module__}.system"  # posix.system or nt.system
    assert message(path) == (
        f"{path}: holds more than tensors: it asks for {command!r}. Nothing in it was run. "
        "If you trust its origin, load it where it was made, save only the state_dict() (as "
        ".safetensors or with torch.save) and convert that."
    )
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the payload does work: it is the reader that is safe
    assert trace.exists()


@pytest.mark.parametrize("protocol", [4, 5])
def test_a_newer_pickle_that_would_execute_code_is_refused_and_not_run(tmp_path, protocol):
    trace, path = tmp_path / "trace", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Payload(trace), protocol=protocol))
    assert message(path) == (
        f"{path}: uses instructions of pickle that torch.save does not write by itself. Nothing in "
        "it was run. If you trust its origin, load it where it was made, save only the "
        "state_dict() (as .safetensors or with torch.save) and convert that."
    )
    assert not trace.exists()


def test_a_bare_pickle_that_would_execute_code_is_refused_and_not_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Payload(trace), protocol=2))
    assert "Nothing in it was run." in message(path)
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused_by_the_name_of_its_class(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    assert "it asks for 'torch.nn.modules.linear.Linear'." in message(path)


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "empty.pth"
    path.touch()
    assert message(path) == f"{path}: the file is empty. Download or copy it again."


def test_text_under_the_name_of_weights_says_so(tmp_path):
    path = tmp_path / "page.pth"
    path.write_text("<!DOCTYPE html>")
    assert message(path) == (
        f"{path}: not a PyTorch file (it is neither a zip archive nor a pickle). Check what was "
        "downloaded; a web page saved under this name looks like this."
    )


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_file_that_was_cut_off_says_so(tmp_path, is_zip, kept):
    path = tmp_path / "cut.pth"
    tensors = {f"v.{index}": torch.zeros(100) for index in range(20)}
    torch.save(tensors, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert message(path) == (
        f"{path}: incomplete or damaged: it starts like a PyTorch file and cannot be read to its "
        "end. Download or copy it again."
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, about TorchScript
def test_a_torchscript_archive_is_refused(tmp_path):
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert message(path) == (
        f"{path}: a TorchScript archive, that is a program with weights in it, and programs are "
        "not run here. Save the model's state_dict() with torch.save and convert that."
    )


def test_a_list_of_tensors_is_refused(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(2)], path)
    assert message(path) == f"{path}: expected tensors by name, the file holds a list."


def test_a_plain_value_among_the_tensors_is_refused_by_name(tmp_path):
    path = tmp_path / "mixed.pth"
    torch.save({"a": torch.zeros(2), "epoch": 3}, path)
    assert message(path) == (
        f"{path}: expected tensors by name, 'epoch' holds a int. Save only the model's "
        "state_dict() and convert that."
    )


def test_tensors_of_an_unknown_model_are_refused_with_their_names(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({f"layer{index}": torch.zeros(2) for index in range(4)}, path)
    assert message(path) == (
        f"{path}: holds tensors named layer0, layer1, layer2; convert reads an AST of its authors "
        "or of Hugging Face, EfficientAT, EAT, ASDA, CED, PaSST, DeiT, ViT or DINOv2."
    )


def test_a_missing_file_and_an_unknown_ending_say_so(tmp_path):
    absent, text = tmp_path / "absent.pth", tmp_path / "notes.txt"
    text.touch()
    assert message(absent) == f"{absent}: no such file or folder."
    assert message(text) == (
        f"{text}: not a file of weights. Known endings: .pth, .pt, .bin, .safetensors, .onnx."
    )


def test_damaged_safetensors_and_onnx_files_say_so(tmp_path):
    onnx = tmp_path / "model.onnx"
    onnx.write_text("no protobuf")
    safetensors = tmp_path / "model.safetensors"
    safetensors.write_bytes(b"short")
    assert message(onnx) == f"{onnx}: not an ONNX model with weights. Download or copy it again."
    assert message(safetensors).startswith(f"{safetensors}: not a whole .safetensors file (")


def test_only_files_of_weights_and_foreign_folders_look_readable(tmp_path):
    weights, other = tmp_path / "a.pth", tmp_path / "a.wav"
    for path in (weights, other):
        path.touch()
    foreign, own, broken = (tmp_path / name for name in ("foreign", "own", "broken"))
    for folder, text in ((foreign, '{"model_type": "x"}'), (own, '{"format": 1}'), (broken, "{")):
        folder.mkdir()
        (folder / "config.json").write_text(text)
    readable = [path for path in tmp_path.iterdir() if convert.can_read(path)]
    assert sorted(readable) == [weights, foreign]
    assert not convert.can_read(tmp_path / "absent.pth")
