"""EAT and ASDA: files as their authors write them, against a second, plain implementation."""

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from auricle import checkpoint, convert
from auricle.convert.assembly import empty_model
from auricle.convert.eat import find_names, to_theirs
from auricle.errors import CheckpointError

WIDTH, DEPTH, HEADS, CLASSES = 32, 3, 4, 5
HIDDEN = {"eat": 128, "asda": 112}
IMAGE = "modality_encoders.IMAGE."


def sines_and_cosines(rows: int, width: int = WIDTH) -> Tensor:
    """The position table as the text describes it, one number at a time: `(1, rows, width)`."""

    def encode(place: int) -> list[float]:
        quarter = width // 4
        angles = [place / 10000 ** (k / quarter) for k in range(quarter)]
        return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]

    return torch.tensor([encode(n % 8) + encode(n // 8) for n in range(rows)])[None]


def shapes(kind: str, width: int, depth: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Of a fine-tuned model, by the names of fairseq."""
    encoder, hidden = f"model.{IMAGE}", round(width * HIDDEN[kind] / WIDTH)
    found: dict[str, tuple[int, ...]] = {
        f"{encoder}extra_tokens": (1, 1, width),
        f"{encoder}local_encoder.proj.weight": (width, 1, 16, 16),
        f"{encoder}local_encoder.proj.bias": (width,),
        f"{encoder}fixed_positional_encoder.positions": (1, 512, width),
    }
    attention = {"eat": {"qkv": 3}, "asda": {"qk": 4, "v": 1}}[kind]
    layers = {
        **{f"attn.{name}": (size * width, width) for name, size in attention.items()},
        "attn.proj": (width, width),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }
    norms = ["norm1", "norm2", *(["attn.norm"] if kind == "asda" else [])]
    modules = {f"{encoder}context_encoder.norm": (width,), "fc_norm": (width,)}
    modules["head"] = (classes, width)
    for index in range(depth):
        block = f"model.blocks.{index}."
        modules |= {block + name: shape for name, shape in layers.items()}
        modules |= {block + name: (width,) for name in norms}
    for name, shape in modules.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def fine_tuned(kind: str, rows: int = 512, classes: int = CLASSES) -> dict[str, Tensor]:
    """Random tensors of a fine-tuned model: attention far from uniform, norms far from 1."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: 0.3 * torch.randn(shape, generator=generator)
        for name, shape in shapes(kind, WIDTH, DEPTH, classes).items()
    }
    for name in tensors:
        if "norm" in name and name.endswith("weight"):
            tensors[name] += 1
    tensors[f"model.{IMAGE}fixed_positional_encoder.positions"] = sines_and_cosines(rows)
    return tensors


def pretrained(kind: str) -> dict[str, object]:
    """The same encoder as a pretraining leaves it: with decoder and teacher, without head."""
    student = {
        name.removeprefix("model."): value
        for name, value in fine_tuned(kind).items()
        if name.startswith("model.")
    }
    decoder = {f"{IMAGE}decoder.blocks.0.0.weight": torch.zeros(WIDTH, 2, 3, 3)}
    teacher = {name: value + 1 for name, value in student.items()}
    return {**student, **decoder, "_ema": teacher}


def trainer(model: dict[str, object], **entries: object) -> dict[str, object]:
    """What fairseq saves around the weights."""
    pretraining = {"model": {"_name": "data2vec_multi", "num_heads": HEADS, "mlp_ratio": 4.0}}
    is_fine_tuned = "head.weight" in model
    settings = {"pretrained_model_args": pretraining} if is_fine_tuned else pretraining["model"]
    return {
        "args": None,
        "cfg": {"model": settings},
        "model": model,
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 3}],
        "task_state": {},
        "extra_state": {"val_loss": 0.5},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        **entries,
    }


def save(content: object, folder: Path) -> Path:
    path = folder / "checkpoint.pt"
    torch.save(content, path)
    return path


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of heads beside each other, one at a time: `(B, N, D)`."""
    size = query.shape[2] // HEADS
    heads = []
    for start in range(0, query.shape[2], size):
        q, k, v = (part[..., start : start + size] for part in (query, key, value))
        heads.append((q @ k.transpose(1, 2) / math.sqrt(size)).softmax(dim=2) @ v)
    return torch.cat(heads, dim=2)


def plain_logits(tensors: dict[str, Tensor], features: Tensor) -> Tensor:
    """Logits of a fine-tuned model from its file's tensors, step by step, without our modules."""
    get = {name: value.to(features.dtype) for name, value in tensors.items()}

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ get[f"{name}.weight"].T + get[f"{name}.bias"]

    def norm(tokens: Tensor, name: str, epsilon: float = 1e-6) -> Tensor:
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + epsilon).sqrt()
        return scaled * get[f"{name}.weight"] + get[f"{name}.bias"]

    image = f"model.{IMAGE}"
    kernel = get[f"{image}local_encoder.proj.weight"]
    patches = [
        torch.einsum("bij,dij->bd", features[:, t : t + 16, f : f + 16], kernel[:, 0])
        for t in range(0, features.shape[1] - 15, 16)
        for f in range(0, 128, 16)
    ]
    tokens = torch.stack(patches, dim=1) + get[f"{image}local_encoder.proj.bias"]
    tokens = tokens + get[f"{image}fixed_positional_encoder.positions"][:, : len(patches)]
    cls = get[f"{image}extra_tokens"].expand(len(features), -1, -1)
    tokens = norm(torch.cat([cls, tokens], dim=1), f"{image}context_encoder.norm")
    for index in range(DEPTH):
        block = f"model.blocks.{index}."
        if f"{block}attn.qkv.weight" in get:
            mixed = plain_attention(*linear(tokens, f"{block}attn.qkv").chunk(3, dim=2))
        else:
            q1, q2, k1, k2 = linear(tokens, f"{block}attn.qk").chunk(4, dim=2)
            value = linear(tokens, f"{block}attn.v")
            mixed = plain_attention(q1, k1, value) - 0.1 * plain_attention(q2, k2, value)
            mixed = 0.95 * norm(mixed, f"{block}attn.norm", 1e-5)
        tokens = norm(tokens + linear(mixed, f"{block}attn.proj"), f"{block}norm1")
        hidden = F.gelu(linear(tokens, f"{block}mlp.fc1"))
        tokens = norm(tokens + linear(hidden, f"{block}mlp.fc2"), f"{block}norm2")
    return linear(norm(tokens[:, 0], "fc_norm"), "head")


def features(frames: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, frames, 128, generator=generator, dtype=torch.float64)


def message(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path, **options)
    return str(error.value)


@pytest.mark.parametrize("kind", ["eat", "asda"])
@torch.no_grad()
def test_a_fine_tuned_file_gives_the_logits_of_a_plain_implementation(tmp_path, kind):
    tensors = fine_tuned(kind)
    read = convert.read(save(trainer(tensors), tmp_path))
    expected = plain_logits(tensors, features())
    assert expected.std() > 0.1
    found = read.model.double()(features())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["eat", "asda"])
def test_a_pretrained_file_gives_its_student_without_labels(tmp_path, kind):
    read = convert.read(save(trainer(pretrained(kind)), tmp_path))
    tuned = convert.read(save(trainer(fine_tuned(kind)), tmp_path))
    assert (read.labels, read.config.activation, read.training) == ([], "sigmoid", False)
    for name, value in read.model.state_dict().items():
        assert torch.equal(value, tuned.model.state_dict()[name]), name
    provenance = read.config.provenance
    assert (provenance["source"], provenance["layout"]) == ("checkpoint.pt", "eat")
    assert "notes" not in provenance
    assert provenance["dropped"] == [
        "args",
        "cfg",
        "criterion",
        "optimizer_history",
        "task_state",
        "extra_state",
        "last_optimizer_state",
        "_ema",
        f"{IMAGE}decoder.blocks.0.0.weight",
    ]


def test_settings_follow_from_shapes_and_the_heads_from_what_stands_beside(tmp_path):
    read = convert.read(save(trainer(fine_tuned("asda")), tmp_path))
    config = read.model.config
    assert (config.width, config.depth, config.num_heads) == (WIDTH, DEPTH, HEADS)
    assert config.mlp_ratio == 3.5  # cfg says 4
    assert (config.patch, config.norm_epsilon, config.stored_columns) == ((16, 16), 1e-6, 64)
    assert (config.readout, config.differential.lambda_value) == ("cls", 0.1)
    assert (
        convert.read(save(trainer(fine_tuned("eat")), tmp_path)).model.config.differential is None
    )


class Scores(dict):
    """An object of a package that may not be there when the file is read."""


class Payload:
    """Unpickling this would run a command that creates a file."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.parametrize(
    "entries",
    [
        {"extra_state": {"val_loss": np.float64(0.5), "best": np.float32(0.4)}},
        {"args": argparse.Namespace(num_heads=2)},
        {"cfg": {"model": {"num_heads": HEADS, "modality": Scores(a=1)}}},
        {"criterion": Scores(a=torch.zeros(2)), "task_state": {"labels": Scores()}},
    ],
    ids=["numpy scalar", "namespace", "foreign object in cfg", "foreign objects elsewhere"],
)
def test_foreign_objects_beside_the_weights_do_not_matter(tmp_path, entries):
    tensors = fine_tuned("asda")
    read = convert.read(save(trainer(tensors, **entries), tmp_path))
    assert read.model.config.num_heads == HEADS
    assert torch.equal(read.model.head.linear.weight, tensors["head.weight"])


def test_a_payload_in_the_settings_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = save(trainer(fine_tuned("eat"), extra_state=Payload(trace)), tmp_path)
    convert.read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # it does work: it is the reader that is safe
    assert trace.exists()


def test_a_foreign_object_among_the_weights_is_refused(tmp_path):
    path = save(trainer({**fine_tuned("eat"), "extra": Scores()}), tmp_path)
    assert message(path) == (
        f"{path}: expected tensors by name, 'extra' holds a Inert. Save only the model's "
        "state_dict() and convert that."
    )


def test_settings_that_are_an_object_leave_the_heads_to_the_rule(tmp_path):
    path = save(trainer(fine_tuned("eat"), cfg=Scores(model={"num_heads": HEADS})), tmp_path)
    assert message(path) == (
        f"{path}: the number of heads is unknown: the width {WIDTH} is no multiple of 64. "
        "A Hugging Face folder has it in its config.json; use that layout."
    )


def test_a_file_without_the_state_of_its_optimizer_is_read(tmp_path):
    content = trainer(fine_tuned("eat"))
    del content["last_optimizer_state"]
    read = convert.read(save(content, tmp_path))
    assert "last_optimizer_state" not in read.config.provenance["dropped"]


@torch.no_grad()
@pytest.mark.parametrize("rows", [8, 512, 6144])
def test_a_table_of_any_length_is_kept_and_continued(tmp_path, rows):
    tensors = fine_tuned("asda", rows)
    rounded = f"model.{IMAGE}fixed_positional_encoder.positions"
    tensors[rounded] = tensors[rounded].half().float()
    model = convert.read(save(trainer(tensors), tmp_path)).model
    assert model.config.stored_columns == rows // 8
    expected = tensors[rounded][0, : 8 * 12].unflatten(0, (-1, 8)).transpose(0, 1)
    table = model.positions(12)
    assert torch.equal(table[:, : expected.shape[1]], expected)
    torch.testing.assert_close(
        table.transpose(0, 1).flatten(0, 1), sines_and_cosines(96)[0], rtol=0, atol=5e-4
    )


@torch.no_grad()
def test_half_precision_tensors_become_single(tmp_path):
    tensors = {name: value.half() for name, value in fine_tuned("asda").items()}
    read = convert.read(save(trainer(tensors), tmp_path))
    assert {value.dtype for value in read.model.state_dict().values()} == {torch.float32}
    found = read.model.double()(features())
    torch.testing.assert_close(found, plain_logits(tensors, features()), rtol=0, atol=1e-10)


def test_bare_weights_are_read_with_heads_of_64(tmp_path):
    generator = torch.Generator().manual_seed(0)
    sizes = shapes("asda", 128, 1, CLASSES)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in sizes.items()}
    tensors[f"model.{IMAGE}fixed_positional_encoder.positions"] = sines_and_cosines(512, 128)
    read = convert.read(save(tensors, tmp_path))
    assert (read.model.config.num_heads, read.model.config.mlp_ratio) == (2, 3.5)
    teacher = {"_ema": {"extra": torch.zeros(2)}}
    again = convert.read(save({**tensors, **teacher}, tmp_path))
    assert again.config.provenance["dropped"] == ["_ema"]


def hub_folder(folder: Path, tensors: dict[str, Tensor], **settings: object) -> Path:
    """EAT as the hub has it."""
    names = {
        f"model.{IMAGE}context_encoder.norm": "model.pre_norm",
        f"model.{IMAGE}": "model.",
        "fc_norm": "model.fc_norm",
        "head": "model.head",
    }
    renamed = {}
    for name, value in tensors.items():
        start = next((start for start in names if name.startswith(start)), "")
        renamed[names.get(start, "") + name.removeprefix(start)] = value
    (folder / "config.json").write_text(
        json.dumps({"model_type": "eat", "num_heads": HEADS, "max_length": 768, **settings})
    )
    save_file(renamed, folder / "model.safetensors")
    return folder


@torch.no_grad()
def test_a_folder_of_hugging_face_gives_the_logits_of_a_plain_implementation(tmp_path):
    tensors = fine_tuned("eat", classes=527)
    folder = hub_folder(tmp_path, tensors, num_classes=527)
    assert convert.can_read(folder)
    read = convert.read(folder)
    assert (read.labels[0], read.model.config.num_heads) == ("Speech", HEADS)
    found = read.model.double()(features())
    torch.testing.assert_close(found, plain_logits(tensors, features()), rtol=0, atol=1e-10)


def test_a_pretrained_folder_of_hugging_face_has_no_labels(tmp_path):
    tensors = {name: value for name, value in fine_tuned("eat").items() if "model" in name}
    read = convert.read(hub_folder(tmp_path, tensors))
    assert (read.labels, read.config.provenance["layout"]) == ([], "eat")


@pytest.mark.parametrize(
    "classes, mean, std, frames, activation",
    [
        (527, -4.268, 4.569, 1024, "sigmoid"),
        (50, -6.627, 5.359, 512, "softmax"),
        (35, -6.846, 5.565, 128, "sigmoid"),
        (5, -4.268, 4.569, 1024, "sigmoid"),
    ],
)
def test_front_end_and_activation_follow_the_number_of_classes(
    tmp_path, classes, mean, std, frames, activation
):
    path = save(trainer(fine_tuned("eat", classes=classes)), tmp_path)
    config = convert.read(path).config
    front_end = config.front_end
    assert (front_end.mean, front_end.std) == (mean, std)
    assert (front_end.padding.mode, front_end.padding.frames) == ("fixed", frames)
    assert (config.model_settings["max_frames"], config.activation) == (frames, activation)
    longer = convert.read(path, frames=2048).config
    assert longer.front_end.padding.frames == longer.model_settings["max_frames"] == 2048


def test_the_length_that_the_settings_name_is_taken(tmp_path):
    cfg = {"model": {"target_length": 256, "num_heads": HEADS}}
    tuned = convert.read(save(trainer(fine_tuned("eat", classes=50), cfg=cfg), tmp_path))
    assert tuned.config.front_end.padding.frames == 256
    cfg = {"model": {"modalities": {"image": {"target_length": 512}}, "num_heads": HEADS}}
    start = convert.read(save(trainer(pretrained("eat"), cfg=cfg), tmp_path))
    assert start.config.front_end.padding.frames == 512


def test_labels_are_audiosets_or_those_of_the_task_or_numbers(tmp_path):
    audioset = convert.read(save(trainer(fine_tuned("eat", classes=527)), tmp_path))
    assert (audioset.labels[0], audioset.labels[-1]) == ("Speech", "Field recording")
    assert "notes" not in audioset.config.provenance
    numbers = {"/m/09x0r": "1", "/m/05zppz": "0", "own": "2", "b": "4", "c": "3"}
    content = trainer(fine_tuned("eat"), task_state={"labels": numbers})
    named = convert.read(save(content, tmp_path))
    assert named.labels == ["Male speech, man speaking", "Speech", "own", "c", "b"]
    assert named.config.provenance["notes"] == [
        "unknown data set: statistics of AudioSet and sigmoid assumed"
    ]
    content = trainer(fine_tuned("eat", classes=35), task_state={"labels": numbers})
    numbered = convert.read(save(content, tmp_path))
    assert numbered.labels[:2] == ["class 0", "class 1"]
    assert numbered.config.provenance["notes"] == [
        "the file does not name its classes: numbered labels"
    ]


@pytest.mark.parametrize(
    "mode, readout",
    [
        ("CLS_TOKEN", "cls"),
        ("PredictionMode.CLS_TOKEN", "cls"),
        ("PredictionMode.MEAN_POOLING", "patch_mean"),
    ],
)
def test_the_readout_is_the_prediction_mode(tmp_path, mode, readout):
    cfg = {"model": {"prediction_mode": mode, "num_heads": HEADS}}
    read = convert.read(save(trainer(fine_tuned("eat"), cfg=cfg), tmp_path))
    assert read.model.config.readout == readout


def test_missing_left_over_and_mis_shaped_tensors_are_named(tmp_path):
    tensors = fine_tuned("asda")
    del tensors["model.blocks.1.attn.norm.bias"]
    tensors["model.blocks.1.attn.lambda"] = torch.zeros(2)
    tensors["head.bias"] = torch.zeros(3)
    path = save(trainer(tensors), tmp_path)
    assert message(path) == (
        f"{path}: the tensors are not those of this model. Missing: "
        "model.blocks.1.attn.norm.bias. Left over: model.blocks.1.attn.lambda. "
        "Mis-shaped: head.bias is (3,) and should be (5,)."
    )


def test_a_mix_of_both_models_is_refused(tmp_path):
    tensors = fine_tuned("asda")
    tensors["model.blocks.1.attn.qkv.weight"] = torch.zeros(3 * WIDTH, WIDTH)
    path = save(trainer(tensors), tmp_path)
    assert message(path) == (
        f"{path}: holds model.blocks.1.attn.qkv.weight as EAT does and "
        "model.blocks.2.attn.qk.weight as ASDA does. Convert a file of one of the two."
    )


def test_other_positions_are_refused(tmp_path):
    tensors = fine_tuned("eat")
    name = f"model.{IMAGE}fixed_positional_encoder.positions"
    tensors[name] = tensors[name].roll(WIDTH // 2, dims=2)  # time before frequency
    path = save(trainer(tensors), tmp_path)
    assert message(path) == (
        f"{path}: its position table differs by up to 2 from the sines and cosines of EAT and "
        "ASDA. A model with other positions cannot be converted."
    )
    tensors[name] = tensors[name][:, :500]
    path = save(trainer(tensors), tmp_path)
    assert message(path) == (
        f"{path}: {name} has 500 rows, expected a multiple of 8: one for each patch of 16 of 128 "
        "mel bins."
    )


@pytest.mark.parametrize(
    "settings, what",
    [
        (
            {"prediction_mode": "PredictionMode.LIN_SOFTMAX"},
            "its prediction_mode is LIN_SOFTMAX; known are CLS_TOKEN and MEAN_POOLING.",
        ),
        (
            {"layer_norm_first": True},
            "its settings say layer_norm_first, which no released EAT or ASDA has.",
        ),
        ({"num_heads": 5}, "model: width (32) must be a multiple of num_heads (5)."),
    ],
)
def test_settings_that_our_model_has_not_are_refused(tmp_path, settings, what):
    path = save(trainer(fine_tuned("eat"), cfg={"model": settings}), tmp_path)
    assert message(path) == f"{path}: {what}"


def test_a_stride_has_no_place(tmp_path):
    path = save(trainer(fine_tuned("eat")), tmp_path)
    assert message(path, stride=10) == (
        f"{path}: the patches of EAT and ASDA do not overlap; leave out --stride."
    )


@pytest.mark.parametrize("kind", ["eat", "asda"])
def test_a_converted_model_is_saved_and_loaded(tmp_path, kind):
    read = convert.read(save(trainer(fine_tuned(kind)), tmp_path))
    checkpoint.save(read, tmp_path / "ours")
    loaded = checkpoint.load(tmp_path / "ours")
    assert loaded.config == read.config
    waveforms = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.score(waveforms), read.score(waveforms))


def test_the_released_shapes_of_asda_base_are_the_expected_ones(tmp_path):
    names = find_names(dict.fromkeys([f"model.{IMAGE}extra_tokens", "head.weight"]))
    ours = {"width": 768, "depth": 12, "num_heads": 12, "stored_columns": 64}
    theirs = to_theirs(empty_model(ours, tmp_path, "asda"), names)
    expected = shapes("asda", 768, 12, 527)
    assert {name: tuple(value.shape) for name, value in theirs.items()} == expected
    assert len(expected) == 202
    assert sum(value.numel() for value in theirs.values()) == 92_771_087 + 512 * 768


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "width", "depth", "parameters"),
    [("asda", 768, 12, 92_771_087), ("eat", 768, 12, 85_660_943), ("eat", 1024, 24, 303_117_839)],
)
def test_files_of_the_released_shapes_load_whole(tmp_path, kind, width, depth, parameters):
    tensors = {name: torch.zeros(shape) for name, shape in shapes(kind, width, depth, 527).items()}
    table = f"model.{IMAGE}fixed_positional_encoder.positions"
    tensors[table] = sines_and_cosines(512, width)
    pretraining = {"model": {"_name": "data2vec_multi", "num_heads": width // 64}}
    settings = {"model": {"pretrained_model_args": pretraining}}
    read = convert.read(save(trainer(tensors, cfg=settings), tmp_path))
    assert sum(parameter.numel() for parameter in read.model.parameters()) == parameters
    assert len(read.labels) == 527
    assert read.config.model_settings["num_heads"] == width // 64
