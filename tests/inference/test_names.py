"""What a model may be called, and what is said when nothing is called so."""

import json
import shutil

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

import auricle
from auricle import checkpoint, convert
from auricle.errors import CheckpointError
from auricle.features import FbankConfig, PaddingConfig
from auricle.inference import builtin_names, names, resolve


@pytest.fixture
def builtins(tmp_path, tiny_model, monkeypatch):
    """A package that ships the tiny model as "esc10"."""
    folder = tmp_path / "builtin"
    shutil.copytree(tiny_model, folder / "esc10")
    monkeypatch.setattr(names, "BUILTIN", folder)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_folder_is_loaded(tiny_model):
    assert (
        resolve(tiny_model).labels
        == resolve(str(tiny_model)).labels
        == checkpoint.load(tiny_model).labels
    )


def test_a_path_in_the_home_folder_is_found(tiny_model, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    assert resolve("~/tiny").labels == ["dog", "cat", "rain", "sea"]


def test_a_builtin_name_is_loaded(builtins, here):
    assert builtin_names() == ["esc10"]
    assert resolve("esc10").labels == ["dog", "cat", "rain", "sea"]


def test_a_folder_of_sounds_does_not_hide_the_builtin_of_its_name(builtins, here):
    (here / "esc10").mkdir()
    assert resolve("esc10").labels == ["dog", "cat", "rain", "sea"]


def test_a_checkpoint_here_comes_before_the_builtin_of_its_name(builtins, here, tiny_model):
    shutil.copytree(tiny_model, here / "esc10")
    config = json.loads((here / "esc10" / "config.json").read_text())
    config["id2label"]["0"] = "wolf"
    (here / "esc10" / "config.json").write_text(json.dumps(config))
    assert resolve("esc10").labels[0] == "wolf"


def test_foreign_weights_are_converted(tiny_model, tmp_path):
    settings = {"width": 64, "depth": 1, "num_heads": 1, "max_frames": 64}
    front_end = FbankConfig(num_mels=64, padding=PaddingConfig(mode="fixed", frames=64))
    ours = checkpoint.create("ast", settings, front_end, ["a", "b"], "sigmoid")
    convert.write(ours.eval(), tmp_path / "foreign", "huggingface")
    assert resolve(tmp_path / "foreign").labels == ["a", "b"]


def test_load_model_gives_the_bare_model(tiny_model):
    model = auricle.load_model(tiny_model)
    assert model(torch.zeros(1, 100, 32), torch.tensor([100])).shape == (1, 4)


def test_an_unknown_name_offers_the_nearest(builtins, here):
    with pytest.raises(CheckpointError) as caught:
        resolve("esc01")
    assert str(caught.value) == (
        "unknown model 'esc01'. Did you mean 'esc10'? Known: esc10. More, with a network: auricle "
        "models --all"
    )
    with pytest.raises(CheckpointError, match="^unknown model 'ced-tni'. Did you mean 'ced-tiny'"):
        resolve("ced-tni")


def test_a_missing_path_is_not_looked_for_on_the_hub(here, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("hub"))
    (here / "runs").mkdir()
    for name in ("runs/best", "runs/esc50/best", "./best"):
        with pytest.raises(CheckpointError) as caught:
            resolve(name)
        path = name.removeprefix("./")
        assert str(caught.value) == f"{path}: no such checkpoint folder."


@pytest.mark.parametrize("name", ["gone.pth", "runs/gone.safetensors"])
def test_a_missing_file_of_weights_is_named(here, name, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("hub"))
    with pytest.raises(CheckpointError) as caught:
        resolve(name)
    assert str(caught.value) == f"{name}: no such file or folder."


def test_a_model_without_permission_is_refused(open_folder, ordinary_user, tiny_model):
    closed = open_folder / "closed"
    shutil.copytree(tiny_model, closed)
    weights = open_folder / "model.safetensors"
    weights.write_bytes(b"")
    weights.chmod(0)
    closed.chmod(0)
    with ordinary_user():
        for name in (closed, closed / "best"):
            with pytest.raises(CheckpointError) as caught:
                resolve(name)
            path = name if name != closed else closed / "config.json"
            assert str(caught.value) == (
                f"{path}: permission denied. Make it readable for the user who runs this."
            )
        with pytest.raises(CheckpointError) as caught:
            resolve(weights)
        assert str(caught.value) == (
            f"{weights}: cannot be read ([Errno 13] Permission denied: {str(weights)!r})."
        )
    closed.chmod(0o755)


def test_a_file_that_holds_no_weights_is_refused(here):
    (here / "model.txt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"^model\.txt: not a file of weights\. Known"):
        resolve("model.txt")


def test_a_hub_id_is_fetched_without_anything_that_could_be_run(here, tiny_model, monkeypatch):
    asked = {}

    def download(repo_id: str, allow_patterns: list[str]) -> str:
        asked.update(repo_id=repo_id, allow_patterns=allow_patterns)
        return str(tiny_model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve("owner/tiny").labels == ["dog", "cat", "rain", "sea"]
    assert asked == {
        "repo_id": "owner/tiny",
        "allow_patterns": ["*.json", "*.safetensors", "README.md"],
    }


@pytest.mark.parametrize(
    "error, message",
    [
        (
            errors.LocalEntryNotFoundError("Got: ConnectError: no route.\nMore text."),
            "'owner/tiny' is not a folder here, and the Hugging Face hub cannot be reached "
            "(Got: ConnectError: no route). Connect, or give the path of a checkpoint folder.",
        ),
        (
            errors.HFValidationError("Repo id must be in the form 'a/b'."),
            "'owner/tiny' is neither a folder here nor a public model on the Hugging Face hub. "
            "Check the name; for a private model log in first with: hf auth login",
        ),
        (
            errors.RepositoryNotFoundError.__new__(errors.RepositoryNotFoundError),
            "'owner/tiny' is neither a folder here nor a public model on the Hugging Face hub. "
            "Check the name; for a private model log in first with: hf auth login",
        ),
    ],
    ids=["offline", "bad name", "absent"],
)
def test_a_hub_id_that_cannot_be_fetched_says_why(here, monkeypatch, error, message):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError) as caught:
        resolve("owner/tiny")
    assert str(caught.value) == message


def test_offline_is_said_by_the_real_library_too(here, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="^'owner/tiny' is not a folder here, and the Hugg"):
        resolve("owner/tiny")
