"""Our AST as a folder that Hugging Face transformers loads.

The older of its two key layouts is written: every version of transformers reads it, and the newer
ones write it themselves.

Source: transformers 5.23, models/audio_spectrogram_transformer.
"""

import json
import math
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.convert.assembly import ast_settings
from auricle.convert.huggingface import MODEL_TYPE, MULTI_LABEL, OLDER
from auricle.convert.layout import to_theirs
from auricle.errors import CheckpointError

# The extractor has these built in.
EXTRACTOR_FIXED = {"sample_rate": 16_000, "window_ms": 25.0, "hop_ms": 10.0, "lowest_hz": 20.0}


def write(checkpoint: Checkpoint, out: Path) -> list[str]:
    """Save `checkpoint` in the folder `out`; returns what the layout has no place for.

    Raises:
        CheckpointError: the layout has no place for this model or front end.
    """
    _refuse(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    tensors = to_theirs(_with_one_epsilon(checkpoint), OLDER)
    contents = {name: value.cpu() for name, value in tensors.items()}
    save_file(contents, out / "model.safetensors", {"format": "pt"})
    _write_json(out / "config.json", _config(checkpoint))
    _write_json(out / "preprocessor_config.json", _preprocessor(checkpoint))
    return _lost(checkpoint)


def _with_one_epsilon(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Our state for a layout whose head's norm has the epsilon of all other norms.

    With embeddings k times as large, an epsilon k * k times as large gives the same norm, so a
    factor on the final norm, which makes the embeddings, keeps the logits.
    """
    state, config = checkpoint.model.state_dict(), ast_settings(checkpoint)
    ratio = config.norm_epsilon / config.head_norm_epsilon
    if ratio == 1:
        return state
    scaled = {name: state[name] * math.sqrt(ratio) for name in ("norm.weight", "norm.bias")}
    return {**state, **scaled}


def _refuse(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    if config.model != "ast":
        raise _no_place(f"the model {config.model!r}; only 'ast' can be written")
    if not config.id2label:
        raise _no_place("a model without labels: train it first")
    model = ast_settings(checkpoint)
    if model.patch[0] != model.patch[1]:
        rows, columns = model.patch
        raise _no_place(f"patches of {rows} x {columns}: they must be square")
    if model.num_prefix_tokens != 2 or model.readout != "prefix_mean":
        raise _no_place("this readout: it is always the mean of two prefix tokens")
    for key, value in EXTRACTOR_FIXED.items():
        if getattr(config.front_end, key) != value:
            found = getattr(config.front_end, key)
            raise _no_place(f"{key} = {found:g}: the extractor always has {value:g}")


def _no_place(what: str) -> CheckpointError:
    return CheckpointError(
        f"the layout of Hugging Face has no place for {what}. Use --to auricle instead."
    )


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    model, id2label = ast_settings(checkpoint), checkpoint.config.id2label
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


def _lost(checkpoint: Checkpoint) -> list[str]:
    lost = []
    if checkpoint.config.front_end.padding.mode == "mask":
        lost.append("masks: clips shorter than max_length are padded with zeros there")
    if checkpoint.config.front_end.softest_dbfs is not None:
        lost.append("softest_dbfs: softer clips are not raised to that level there")
    if checkpoint.config.thresholds is not None:
        lost.append("thresholds")
    model = ast_settings(checkpoint)
    if model.head_norm_epsilon != model.norm_epsilon:
        lost.append("head_norm_epsilon: embeddings are scaled instead, logits stay the same")
    return lost


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
