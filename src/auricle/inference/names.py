"""From what a user calls a model to the model: path, built-in or public name, or hub id."""

import re
import tempfile
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from auricle import checkpoint, convert, features, models
from auricle.errors import CheckpointError, DownloadError, unknown_name

BUILTIN = Path(str(resources.files("auricle"))) / "builtin"  # one checkpoint folder each
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# Security: weights as safetensors only; nothing that could hold a pickle is fetched.
FETCHED = ["*.json", "*.safetensors", "README.md"]


def builtin_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(config.parent.name for config in BUILTIN.glob("*/config.json"))


def load_model(name_or_path: str | Path) -> nn.Module:
    """The bare model, features `(B, T, M)` to logits `(B, C)`; names are those of `resolve`."""
    return resolve(name_or_path).model


def resolve(name_or_path: str | Path) -> checkpoint.Checkpoint:
    """The checkpoint called `name_or_path`: what is at that path, else a built-in or public model.

    A public model is one of the catalogue, else one of the hub. A folder that merely has the name
    of a built-in model or of one of the catalogue, without being a checkpoint, does not hide it.

    Raises:
        CheckpointError: nothing is called so, what is there is not a checkpoint or may not be
            read, or a public model cannot be fetched.
    """
    try:
        return _find(name_or_path)
    except PermissionError as error:
        raise CheckpointError(
            f"{error.filename}: permission denied. Make it readable for the user who runs this."
        ) from error


def is_size(name: str) -> bool:
    """Whether `name` is a model and a published size, such as "ast-base", and nothing more.

    A path, or a public model such as "ced-tiny", has weights.
    """
    model, _, size = name.partition("-")
    if model not in models.MODELS or not size:
        return False
    return not Path(name).exists() and name not in _public_names(name)


def untrained(name: str, labels: list[str]) -> checkpoint.Checkpoint:
    """A model of a published size, such as "ham_ast-tiny", with fresh weights.

    Args:
        labels: of its classes; without any it has no head.

    Raises:
        ConfigError: there is no such size.
    """
    model, _, size = name.partition("-")
    kind = features.FILTERBANKS[models.MODELS[model].front_end]
    front_end: Any = kind.config.model_validate({})
    return checkpoint.create(model, {"size": size}, front_end, labels, "sigmoid")


def check_distinct(names_or_paths: Sequence[str | Path]) -> None:
    """Refuse a model that is named twice, also by another path (CheckpointError)."""
    seen: set[Path] = set()
    for name in names_or_paths:
        place = Path(name).expanduser().resolve()
        if place in seen:
            raise CheckpointError(f"{name}: named twice. Name each checkpoint once.")
        seen.add(place)


def check_labels(found: checkpoint.Checkpoint, name: str | Path) -> None:
    """Refuse a checkpoint that cannot name anything.

    Args:
        name: what the user called it.

    Raises:
        CheckpointError: it has no labels.
    """
    if not found.labels:
        raise CheckpointError(
            f"{name}: has no labels: it is a start for training, not a classifier. Train it "
            f"(auricle train --data SOUNDS --from {name}), or choose another model."
        )


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form "owner/name"."""
    return HUB_ID.fullmatch(name) is not None


def download(repo_id: str) -> Path:
    """Folder with the files of a model of the hub; fetched once, then taken from the cache.

    Raises:
        CheckpointError: there is no such model, it is not open to everyone, or the hub cannot be
            reached.
    """
    import huggingface_hub  # Speed: 0.2 s that a local checkpoint need not wait for
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(repo_id, allow_patterns=FETCHED))
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise CheckpointError(
            f"{repo_id!r} is neither a folder here nor a public model on the Hugging Face hub. "
            "Check the name; for a private model log in first with: hf auth login"
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise CheckpointError(
            f"{repo_id!r} is not a folder here, and the Hugging Face hub cannot be reached "
            f"({_first_line(error)}). Connect, or give the path of a checkpoint folder."
        ) from error


def upload(save: Callable[[Path], None], repo_id: str, private: bool) -> str:
    """Publish what `save` writes into a folder as the model `repo_id`; returns its address.

    Raises:
        CheckpointError: the hub does not take it.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "checkpoint"
        save(folder)
        try:
            address = api.create_repo(repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder)
        except Exception as error:  # the errors of its HTTP client differ from version to version
            raise CheckpointError(
                f"{repo_id!r} could not be published on the Hugging Face hub "
                f"({_first_line(error)}). Check the name, and log in with: hf auth login"
            ) from error
    return str(address)


def _find(name_or_path: str | Path) -> checkpoint.Checkpoint:
    name = str(name_or_path)
    path = Path(name_or_path).expanduser()
    is_folder = name == path.name and (path / "config.json").is_file()
    if not is_folder and name in builtin_names():
        return checkpoint.load(BUILTIN / name)
    if not is_folder and name in _public_names(name):
        return _public(name)
    if path.exists():
        return _read(path)
    if path.suffix.lower() in convert.TENSOR_FILES:
        return convert.read(path)  # says that it is missing
    if is_hub_id(name) and not path.parent.is_dir():
        return _read(download(name))
    if name != path.name:
        return checkpoint.load(path)  # says that it is missing, unless its last save was cut off
    message = unknown_name("model", name, builtin_names(), _public_names(name))
    raise CheckpointError(f"{message} More, with a network: auricle models --all")


def _read(path: Path) -> checkpoint.Checkpoint:
    if path.is_file() or convert.can_read(path):
        return convert.read(path)
    return checkpoint.load(path)


def _public_names(name: str) -> list[str]:
    """Names of the catalogue that `name` may be one of."""
    if name != Path(name).name:
        return []
    from auricle import catalogue  # Speed: what has a path or is built in need not wait for it

    return catalogue.names()


def _public(name: str) -> checkpoint.Checkpoint:
    """The model of the catalogue, with its source and licence in its provenance."""
    from auricle import catalogue

    try:
        path = catalogue.fetch(name)
    except DownloadError as error:
        built_in = ", ".join(builtin_names())
        raise CheckpointError(
            f"{name}: {error} Built in, without a network: {built_in}."
        ) from error
    model = catalogue.find(name)
    folder = path if path.is_dir() else path.parent
    try:
        found = convert.read(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error} Delete {folder} to fetch {name} again.") from error
    layout = found.config.provenance["layout"]
    if layout != model.reader:
        raise CheckpointError(
            f"{path}: holds a model of the kind {layout!r}, but {name} is of the kind "
            f"{model.reader!r}. What is at {model.address} has changed; update auricle."
        )
    source = {"name": name, "source": model.address, "revision": model.revision}
    found.config.provenance.update(source, license=model.license)
    return found


def _first_line(error: Exception) -> str:
    """The first line of an error's text without its full stop, to stand in a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
