"""Public models as their authors lay them out, with random weights, on a server of this machine."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from auricle import catalogue, checkpoint, convert, models
from auricle.catalogue.table import table
from auricle.convert import ced, eat, efficientat, passt
from auricle.convert.layout import to_theirs
from auricle.features import FbankConfig

AUDIOSET = [f"label {index}" for index in range(527)]
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AURICLE_ACCEPT_LICENSE", raising=False)
    return tmp_path / "cache"


def lively(name: str, settings: dict) -> dict[str, torch.Tensor]:
    """Random weights of a model, in which running variances are positive."""
    torch.manual_seed(0)
    state = models.build(name, {"num_classes": 527, **settings}).state_dict()
    for key, value in state.items():
        if value.is_floating_point() and not key.startswith("positions.table"):
            value.normal_(0, 0.05)
            if key.endswith("running_var"):
                value.abs_().add_(1)
    return state


def ced_files(size: str) -> Files:
    tensors = {
        name if name.startswith("outputlayer.") else f"encoder.{name}": value.contiguous()
        for name, value in ced.to_theirs(lively("ced", {"size": size})).items()
    }
    extractor = {"f_max": None, "f_min": 0, "feature_size": 64, "hop_size": 160, "n_fft": 512}
    config = {"model_type": "ced", "name": f"ced-{size}", "outputdim": 527, "pooling": "mean"}
    return {
        "config.json": json.dumps(config).encode(),
        "preprocessor_config.json": json.dumps(extractor).encode(),
        "model.safetensors": save(tensors, {"format": "pt"}),
    }


def ast_files() -> Files:
    front_end = FbankConfig(padding={"mode": "fixed", "frames": 1024})
    made = checkpoint.create("ast", {"size": "base"}, front_end, AUDIOSET, "sigmoid")
    with tempfile.TemporaryDirectory() as folder:
        convert.write(made.eval(), Path(folder) / "ast", "huggingface")
        return {path.name: path.read_bytes() for path in (Path(folder) / "ast").iterdir()}


def eat_files() -> Files:
    settings = {"size": "base", "mlp_ratio": 4, "differential": None, "stored_columns": 768}
    names = eat.Names("model.", "model.pre_norm", "model.blocks.", "model.")
    tensors = eat.to_theirs(lively("asda", settings), names)
    weights = {name: value.contiguous() for name, value in tensors.items()}
    return {
        "config.json": json.dumps({"model_type": "eat", "model_variant": "finetune"}).encode(),
        "model.safetensors": save(weights, {"format": "pt"}),
    }


def mobilenet_files(name: str) -> Files:
    state = lively("mobilenet", {"size": name})
    tensors = {efficientat.their_name(key, state): value for key, value in state.items()}
    with tempfile.TemporaryFile() as file:
        torch.save(tensors, file)
        file.seek(0)
        return {catalogue.find(name).files[-1].name: file.read()}


def passt_files() -> Files:
    settings = {"size": "base", "stride": [10, 10], "max_frames": 1005, "readout": "prefix_mean"}
    tensors = to_theirs(lively("ast", settings), passt.LAYOUT)
    positions = tensors.pop(passt.GRID)
    grid = positions[0, 2:].T.reshape(1, 768, 12, 99)
    tensors |= {passt.PREFIX: positions[:, :2].clone()}
    tensors |= {passt.ROWS: grid[..., :1].clone(), passt.COLUMNS: grid[:, :, :1].clone()}
    tensors |= {"head_dist.weight": torch.zeros(527, 768), "head_dist.bias": torch.zeros(527)}
    with tempfile.TemporaryFile() as file:
        torch.save(tensors, file)
        file.seek(0)
        return {catalogue.find("passt").files[-1].name: file.read()}


MAKERS: dict[str, Callable[[], Files]] = {
    "ast": ast_files,
    "ced-tiny": lambda: ced_files("tiny"),
    "ced-base": lambda: ced_files("base"),
    "mn04": lambda: mobilenet_files("mn04"),
    "mn40": lambda: mobilenet_files("mn40"),
    "eat-base": eat_files,
    "passt": passt_files,
}
MADE: dict[str, Files] = {}


@pytest.fixture
def publish(server, monkeypatch) -> Callable[..., Files]:
    """Puts a public model on the server, which then stands for the hub and for GitHub."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)

    def put(name: str, **changes: object) -> Files:
        files = MADE.get(name) or MAKERS[name]()
        if sum(map(len, files.values())) < 30e6:
            MADE[name] = files
        entry = catalogue.find(name)
        weights = files[entry.files[-1].name]
        digest = hashlib.sha256(weights).hexdigest()
        update = {"sha256": digest, "bytes": len(weights), **changes}
        if entry.url:
            update["url"] = f"{server.address}/{name}/{Path(entry.url).name}"
        monkeypatch.setitem(table(), name, entry.model_copy(update=update))
        for file in catalogue.find(name).files:
            path = file.url.removeprefix(f"{server.address}/")
            server.content[path] = files[file.name]
        return files

    return put
