"""AST as Hugging Face transformers stores it: config.json, weights, preprocessor_config.json.

Files of older versions (and what newer ones still write) call the blocks `encoder.layer.N`, the
current modules `layers.N`. Both are read; the older is written, because every version loads it.

Source: transformers 5.23, models/audio_spectrogram_transformer.
"""

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor

from auricle.checkpoint import Checkpoint, CheckpointConfig
from auricle.checkpoint.parts import check_size
from auricle.config import Settings, SettingsType, from_dict, to_json
from auricle.convert.assembly import (
    Activation,
    Description,
    assemble,
    fixed_padding,
    mlp_ratio,
    no_place,
    translate,
    writable_ast,
)
from auricle.convert.layout import Layout, to_theirs
from auricle.convert.source import Options, Source
from auricle.errors import CheckpointError, ConfigError
from auricle.features import FbankConfig
from auricle.models import ASTConfig

KIND = "huggingface"
LAYOUT_NAME = "the layout of Hugging Face"
MODEL_TYPE = "audio-spectrogram-transformer"
AUDIOSET_CLASSES = 527
MULTI_LABEL = "multi_label_classification"
BASE = "audio_spectrogram_transformer."
OLDER = Layout(
    prefix_tokens=(f"{BASE}embeddings.cls_token", f"{BASE}embeddings.distillation_token"),
    positions=f"{BASE}embeddings.position_embeddings",
    projection=f"{BASE}embeddings.patch_embeddings.projection",
    block=BASE + "encoder.layer.{}.",
    parts={
        "attention_norm": "layernorm_before",
        "attention.output": "attention.output.dense",
        "mlp_norm": "layernorm_after",
        "mlp.expand": "intermediate.dense",
        "mlp.contract": "output.dense",
    },
    query_key_value=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    norm=f"{BASE}layernorm",
    head={"head.norm": "classifier.layernorm", "head.linear": "classifier.dense"},
)
CURRENT = Layout(
    prefix_tokens=OLDER.prefix_tokens,
    positions=OLDER.positions,
    projection=OLDER.projection,
    block=BASE + "layers.{}.",
    parts={
        "attention_norm": "layernorm_before",
        "attention.output": "attention.o_proj",
        "mlp_norm": "layernorm_after",
        "mlp.expand": "mlp.fc1",
        "mlp.contract": "mlp.fc2",
    },
    query_key_value=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    norm=OLDER.norm,
    head=OLDER.head,
)
# The extractor has these built in.
EXTRACTOR_FIXED = {
    "name": "fbank",
    "sample_rate": 16_000,
    "window_ms": 25.0,
    "hop_ms": 10.0,
    "lowest_hz": 20.0,
    "window": "hanning",
}


class ModelConfig(Settings):
    """The keys of config.json that are read, with the defaults of transformers' ASTConfig."""

    model_config = ConfigDict(extra="ignore")

    hidden_size: int = Field(768, ge=1)
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: Literal["gelu"] = "gelu"  # our AST has no other
    hidden_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-12
    patch_size: int | tuple[int, int] = 16
    qkv_bias: Literal[True] = True
    frequency_stride: int = 10
    time_stride: int = 10
    max_length: int = 1024
    num_mel_bins: int = 128
    id2label: dict[str, str] = {"0": "LABEL_0", "1": "LABEL_1"}
    problem_type: str | None = None


class ExtractorConfig(Settings):
    """The keys of preprocessor_config.json that are read, and ASTFeatureExtractor's defaults."""

    model_config = ConfigDict(extra="ignore")

    sampling_rate: int = 16_000
    num_mel_bins: int = 128
    max_length: int = 1024
    do_normalize: bool = True
    mean: float = -4.2677393
    std: float = 4.5689974


def read(source: Source, options: Options) -> Checkpoint | None:
    """The checkpoint in a folder with an AST of transformers; None if it is none.

    Raises:
        CheckpointError: the config asks for what our AST has not, its files disagree, or tensors
            are missing, left over or mis-shaped.
    """
    if source.config is None or source.config.get("model_type") != MODEL_TYPE:
        return None
    if options != Options():
        raise CheckpointError(
            f"{source.path}: its config.json has stride and length; leave out "
            "--stride and --frames."
        )
    config = _parse(ModelConfig, source.config, source.path / "config.json")
    description = _describe(source, config)
    _check_size(source, description)
    names = CURRENT if CURRENT.depth(source.tensors) else OLDER
    state = translate(source.tensors, names, description.settings, source.path)
    return assemble(source, KIND, description, state)


def _check_size(source: Source, description: Description) -> None:
    """Refuse a config.json of a larger model than the tensors are of, before it is built."""
    config = CheckpointConfig(
        model=description.model,
        model_settings=description.settings,
        front_end=description.front_end,
        id2label={str(index): label for index, label in enumerate(description.labels)},
        activation=description.activation,
    )
    try:
        check_size(config, source.tensors)
    except ConfigError as error:
        raise CheckpointError(f"{source.path / 'config.json'}: {error}") from error


def _parse(kind: type[SettingsType], values: dict[str, Any], path: Path) -> SettingsType:
    try:
        return from_dict(kind, values, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error


def _describe(source: Source, config: ModelConfig) -> Description:
    notes = []
    extractor = ExtractorConfig(max_length=config.max_length, num_mel_bins=config.num_mel_bins)
    if source.preprocessor is None:
        notes.append("no preprocessor_config.json: the extractor's defaults (AudioSet) assumed")
    else:
        path = source.path / "preprocessor_config.json"
        extractor = _parse(ExtractorConfig, source.preprocessor, path)
    for key in ("max_length", "num_mel_bins"):
        ours, theirs = getattr(config, key), getattr(extractor, key)
        if ours != theirs:
            raise CheckpointError(
                f"{source.path}: {key} is {ours} in config.json and {theirs} in "
                "preprocessor_config.json. Correct the one that is wrong."
            )
    names = _labels(config.id2label, source.path / "config.json")
    # Without a problem type, AudioSet's 527 classes are the known case of several at once.
    problem = config.problem_type or (MULTI_LABEL if len(names) == AUDIOSET_CLASSES else "")
    activation: Activation = "sigmoid" if problem == MULTI_LABEL else "softmax"
    settings = _settings(config, len(names))
    return Description(settings, _front_end(extractor), names, activation, notes)


def _labels(id2label: dict[str, str], path: Path) -> list[str]:
    names = [id2label.get(str(index), "") for index in range(len(id2label))]
    if "" in names:
        raise CheckpointError(
            f'{path}: id2label must number its {len(names)} labels "0", "1", ... without a gap.'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CheckpointError(
            f"{path}: id2label holds the label {twice[0]!r} more than once. "
            "Rename all but one of them."
        )
    return names


def _settings(config: ModelConfig, num_classes: int) -> dict[str, Any]:
    patch = config.patch_size
    return {
        "num_classes": num_classes,
        "num_mels": config.num_mel_bins,
        "max_frames": config.max_length,
        "patch": [patch, patch] if isinstance(patch, int) else list(patch),
        "stride": [config.frequency_stride, config.time_stride],
        "width": config.hidden_size,
        "depth": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "mlp_ratio": mlp_ratio(config.hidden_size, config.intermediate_size),
        "norm_epsilon": config.layer_norm_eps,
        "head_norm_epsilon": config.layer_norm_eps,
        "dropout": config.hidden_dropout_prob,
    }


def _front_end(extractor: ExtractorConfig) -> FbankConfig:
    # (x - 0) / (2 * 0.5) is x: an extractor that does not normalise.
    mean, std = (extractor.mean, extractor.std) if extractor.do_normalize else (0.0, 0.5)
    return FbankConfig(
        sample_rate=extractor.sampling_rate,
        num_mels=extractor.num_mel_bins,
        mean=mean,
        std=std,
        padding=fixed_padding(extractor.max_length),
    )


def write(checkpoint: Checkpoint, out: Path) -> list[str]:
    """Save `checkpoint` in the folder `out`; returns what the layout cannot hold.

    Raises:
        CheckpointError: the layout cannot hold this model or front end.
    """
    model = _writable(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    tensors = to_theirs(_with_one_epsilon(checkpoint.model.state_dict(), model), OLDER)
    contents = {name: value.cpu() for name, value in tensors.items()}
    save_file(contents, out / "model.safetensors", {"format": "pt"})
    _write_json(out / "config.json", _config(checkpoint, model))
    _write_json(out / "preprocessor_config.json", _preprocessor(checkpoint))
    return _lost(checkpoint, model)


def _with_one_epsilon(state: dict[str, Tensor], model: ASTConfig) -> dict[str, Tensor]:
    """Our state for a layout whose head's norm has the epsilon of all other norms.

    With embeddings k times as large, an epsilon k * k times as large gives the same norm, so a
    factor on the final norm, which makes the embeddings, keeps the logits.
    """
    ratio = model.norm_epsilon / model.head_norm_epsilon
    if ratio == 1:
        return state
    scaled = {name: state[name] * math.sqrt(ratio) for name in ("norm.weight", "norm.bias")}
    return {**state, **scaled}


def _writable(checkpoint: Checkpoint) -> ASTConfig:
    """The settings of the model, refused where the layout cannot hold model or front end."""
    model = writable_ast(checkpoint, LAYOUT_NAME)
    if model.patch[0] != model.patch[1]:
        rows, columns = model.patch
        raise no_place(LAYOUT_NAME, f"patches of {rows} x {columns}: they must be square")
    for key, value in EXTRACTOR_FIXED.items():
        actual = getattr(checkpoint.config.front_end, key)
        if actual != value:
            what = f"{key} = {actual}: the extractor always has {value}"
            raise no_place(LAYOUT_NAME, what)
    return model


def _config(checkpoint: Checkpoint, model: ASTConfig) -> dict[str, Any]:
    id2label = checkpoint.config.id2label
    is_sigmoid = checkpoint.config.activation == "sigmoid"
    return {
        "architectures": ["ASTForAudioClassification"],
        "model_type": MODEL_TYPE,
        "hidden_size": model.width,
        "num_hidden_layers": model.depth,
        "num_attention_heads": model.num_heads,
        "intermediate_size": int(model.width * model.mlp_ratio),
        "hidden_act": "gelu",
        "hidden_dropout_prob": model.dropout,
        "layer_norm_eps": model.norm_epsilon,
        "patch_size": model.patch[0],
        "qkv_bias": True,
        "frequency_stride": model.stride[0],
        "time_stride": model.stride[1],
        "max_length": model.max_frames,
        "num_mel_bins": model.num_mels,
        "id2label": id2label,
        "label2id": {label: int(index) for index, label in id2label.items()},
        "problem_type": MULTI_LABEL if is_sigmoid else "single_label_classification",
        "dtype": "float32",
    }


def _preprocessor(checkpoint: Checkpoint) -> dict[str, Any]:
    front_end = checkpoint.config.front_end
    return {
        "feature_extractor_type": "ASTFeatureExtractor",
        "feature_size": 1,
        "sampling_rate": front_end.sample_rate,
        "num_mel_bins": front_end.num_mels,
        "max_length": checkpoint.model.config.max_frames,
        "do_normalize": True,
        "mean": front_end.mean,
        "std": front_end.std,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _lost(checkpoint: Checkpoint, model: ASTConfig) -> list[str]:
    lost = []
    if checkpoint.config.front_end.padding.mode != "fixed":
        lost.append("masks: clips shorter than max_length are padded with zeros there")
    if checkpoint.config.front_end.min_level_dbfs is not None:
        lost.append("min_level_dbfs: softer clips are not raised to that level there")
    if checkpoint.config.thresholds is not None:
        lost.append("thresholds")
    if model.head_norm_epsilon != model.norm_epsilon:
        lost.append("head_norm_epsilon: embeddings are scaled instead, logits stay the same")
    return lost


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = to_json(values, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
