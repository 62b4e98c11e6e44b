"""The AST authors' files: sizes from shapes, front end from classes, strict about every tensor."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from auricle import checkpoint, convert
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.features import FbankConfig

WIDTH, DEPTH = 64, 2


def authors_tensors(num_patches: int = 64, num_classes: int = 3) -> dict[str, Tensor]:
    """What a file of the authors holds, written out from their code, with random values."""
    shapes = {
        "v.cls_token": (1, 1, WIDTH),
        "v.dist_token": (1, 1, WIDTH),
        "v.pos_embed": (1, num_patches + 2, WIDTH),
        "v.patch_embed.proj": (WIDTH, 1, 16, 16),
        "v.norm": (WIDTH,),
        "v.head": (1000, WIDTH),
        "v.head_dist": (1000, WIDTH),
        "mlp_head.0": (WIDTH,),
        "mlp_head.1": (num_classes, WIDTH),
    }
    for index in range(DEPTH):
        block = f"v.blocks.{index}."
        shapes |= {block + name: (WIDTH,) for name in ("norm1", "norm2")}
        shapes |= {block + "attn.qkv": (3 * WIDTH, WIDTH), block + "attn.proj": (WIDTH, WIDTH)}
        shapes |= {block + "mlp.fc1": (4 * WIDTH, WIDTH), block + "mlp.fc2": (WIDTH, 4 * WIDTH)}
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith(("token", "pos_embed")):
            tensors[name] = torch.randn(shape, generator=generator)
        else:
            tensors[f"{name}.weight"] = torch.randn(shape, generator=generator)
            tensors[f"{name}.bias"] = torch.randn(shape[:1], generator=generator)
    return tensors


@pytest.fixture
def save(tmp_path) -> Callable[[dict[str, Tensor]], Path]:
    def write(tensors: dict[str, Tensor]) -> Path:
        torch.save(tensors, tmp_path / "ast.pth")
        return tmp_path / "ast.pth"

    return write


def message(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path, **options)
    return str(error.value)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_the_same_model_is_read_with_and_without_what_training_puts_around(save, prefix, wrapper):
    tensors = authors_tensors()
    named = {prefix + name: value for name, value in tensors.items()}
    read = convert.read(save({wrapper: named, "epoch": 3} if wrapper else named))
    state = read.model.state_dict()
    assert torch.equal(state["positions.grid"].flatten(0, 1), tensors["v.pos_embed"][0, 2:])
    assert torch.equal(state["prefix_tokens"][1], tensors["v.dist_token"][0, 0])
    qkv = state["encoder.blocks.1.attention.query_key_value.weight"]
    assert torch.equal(qkv, tensors["v.blocks.1.attn.qkv.weight"])
    unused = ["v.head.weight", "v.head.bias", "v.head_dist.weight", "v.head_dist.bias"]
    assert read.config.provenance["dropped"] == (["epoch"] if wrapper else []) + unused


@pytest.mark.parametrize(
    "num_patches, stride, frames, grid",
    [
        (1212, 10, 1024, (12, 101)), (600, 10, 512, (12, 50)), (144, 10, 128, (12, 12)),
        (850, 12, 1024, (10, 85)), (420, 12, 512, (10, 42)), (100, 12, 128, (10, 10)),
        (657, 14, 1024, (9, 73)), (324, 14, 512, (9, 36)), (81, 14, 128, (9, 9)),
        (512, 16, 1024, (8, 64)), (256, 16, 512, (8, 32)), (64, 16, 128, (8, 8)),
    ],
)  # fmt: skip
def test_stride_and_length_follow_from_the_published_numbers_of_patches(
    save, num_patches, stride, frames, grid
):
    read = convert.read(save(authors_tensors(num_patches)))
    config = read.model.config
    assert (config.stride, config.max_frames) == ((stride, stride), frames)
    assert read.model.positions.grid.shape[:2] == grid
    assert (config.num_heads, config.depth, config.width, config.mlp_ratio) == (1, DEPTH, WIDTH, 4)
    assert (config.norm_epsilon, config.head_norm_epsilon) == (1e-6, 1e-5)
    padding = read.config.front_end.padding
    assert (padding.mode, padding.frames) == ("fixed", frames)


@pytest.mark.parametrize(
    "num_classes, num_patches, mean, std, first, last, activation",
    [
        (527, 1212, -4.2677393, 4.5689974, "Speech", "Field recording", "sigmoid"),
        (527, 144, -4.2677393, 4.5689974, "Speech", "Field recording", "sigmoid"),
        (50, 600, -6.6268077, 5.358466, "dog", "hand_saw", "softmax"),
        (35, 144, -6.845978, 5.5654526, "backward", "one", "sigmoid"),
        (35, 1212, -4.2677393, 4.5689974, "class 0", "class 34", "sigmoid"),
    ],
)
def test_front_end_and_labels_follow_from_classes_and_length(
    save, num_classes, num_patches, mean, std, first, last, activation
):
    read = convert.read(save(authors_tensors(num_patches, num_classes)))
    assert (read.config.front_end.mean, read.config.front_end.std) == (mean, std)
    assert (len(read.labels), read.labels[0], read.labels[-1]) == (num_classes, first, last)
    assert read.config.activation == activation
    note = "unknown data set: statistics of AudioSet, sigmoid and numbered labels assumed"
    assert read.config.provenance.get("notes", []) == ([note] if first == "class 0" else [])


def test_an_unpublished_number_of_patches_asks_for_the_options(save):
    path = save(authors_tensors(num_patches=12 * 30))
    unknown = (
        f"{path}: 360 patches of 16 x 16: stride and length cannot be told from this number "
        "alone. Give "
    )
    assert message(path) == unknown + "--stride and --frames."
    assert message(path, stride=10) == unknown + "--frames."
    assert convert.read(path, stride=10, frames=310).model.positions.grid.shape[:2] == (12, 30)


def test_options_that_contradict_the_positions_are_refused(save):
    path = save(authors_tensors(num_patches=64))
    assert message(path, stride=10, frames=128) == (
        f"{path}: the tensors are not those of this model. "
        "Mis-shaped: v.pos_embed is (1, 66, 64) and should be (1, 146, 64)."
    )


def test_missing_left_over_and_mis_shaped_tensors_are_named(save):
    tensors = authors_tensors()
    del tensors["v.blocks.1.norm2.bias"]
    tensors["v.extra"] = torch.zeros(2)
    tensors["v.blocks.0.attn.proj.weight"] = torch.zeros(WIDTH, WIDTH + 1)
    path = save(tensors)
    assert message(path) == (
        f"{path}: the tensors are not those of this model. Missing: v.blocks.1.norm2.bias. "
        "Left over: v.extra. "
        "Mis-shaped: v.blocks.0.attn.proj.weight is (64, 65) and should be (64, 64)."
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda value: value.fill_(torch.nan), "numbers that are NaN or infinite"),
        (lambda value: value.long(), "int64 instead of float32"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused(save, change, fault):
    tensors = authors_tensors()
    tensors["v.norm.bias"] = change(tensors["v.norm.bias"])
    path = save(tensors)
    assert message(path) == f"{path}: does not fit the model: norm.bias holds {fault}."


def test_a_missing_block_in_the_middle_is_named_and_long_lists_are_cut(save):
    tensors = authors_tensors()
    path = save({name: value for name, value in tensors.items() if ".blocks.1." not in name})
    assert convert.read(path).model.config.depth == 1
    moved = {name.replace(".blocks.1.", ".blocks.2."): value for name, value in tensors.items()}
    path = save(moved)
    assert message(path) == (
        f"{path}: the tensors are not those of this model. Missing: v.blocks.1.norm1.weight, "
        "v.blocks.1.norm1.bias, v.blocks.1.attn.proj.weight, v.blocks.1.attn.proj.bias, "
        "v.blocks.1.norm2.weight, v.blocks.1.norm2.bias and 6 more."
    )


@pytest.mark.parametrize("name", ["v.pos_embed", "mlp_head.1.weight", "v.blocks.0.mlp.fc1.weight"])
def test_a_tensor_that_gives_the_sizes_must_be_there_and_have_its_axes(save, name):
    tensors = authors_tensors()
    axes = tensors[name].ndim
    tensors[name] = torch.zeros(5)
    path = save(tensors)
    assert message(path) == f"{path}: the tensor {name!r} has the shape (5,), expected {axes} axes."
    del tensors[name]
    path = save(tensors)
    assert message(path) == f"{path}: the tensor {name!r} is missing, which gives the sizes."


def test_a_width_without_whole_heads_is_refused(save):
    path = save({"v.patch_embed.proj.weight": torch.zeros(40, 1, 16, 16), **{
        "v.blocks.0.mlp.fc1.weight": torch.zeros(160, 40),
        "v.pos_embed": torch.zeros(1, 66, 40),
        "mlp_head.1.weight": torch.zeros(3, 40),
    }})  # fmt: skip
    assert message(path) == (
        f"{path}: the number of heads is unknown: the width 40 is no multiple of 64. "
        "A Hugging Face folder has it in its config.json; use that layout."
    )


@pytest.fixture
def trained() -> Checkpoint:
    settings = {
        "width": WIDTH,
        "depth": DEPTH,
        "num_heads": 1,
        "max_frames": 128,
        "stride": [16, 16],
    }
    front_end = FbankConfig(padding={"mode": "fixed", "frames": 128})
    result = checkpoint.create("ast", settings, front_end, ["a", "b"], "softmax")
    for parameter in result.model.parameters():
        torch.nn.init.normal_(parameter)
    return result.eval()


def test_what_is_written_reads_back_bit_for_bit(trained, tmp_path):
    lost = convert.write(trained, tmp_path / "out.pth", "ast")
    assert lost == ["labels", "front end", "activation"]
    read = convert.read(tmp_path / "out.pth")
    expected = trained.model.state_dict()
    assert read.model.state_dict().keys() == expected.keys()
    assert all(
        torch.equal(value, expected[name]) for name, value in read.model.state_dict().items()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.pth"]


def test_other_epsilons_are_said_to_be_lost(trained, tmp_path):
    settings = {**trained.config.model_settings, "norm_epsilon": 1e-12}
    other = checkpoint.create("ast", settings, trained.config.front_end, ["a"], "softmax")
    lost = convert.write(other, tmp_path / "out.pth", "ast")
    assert lost[-1] == "norm_epsilon: the authors' code has 1e-06, and 1e-05 in the head"


def test_a_written_file_holds_exactly_what_a_released_one_holds(trained, tmp_path):
    convert.write(trained, tmp_path / "out.pth", "ast")
    written = torch.load(tmp_path / "out.pth", weights_only=True)
    released = {f"module.{name}": value for name, value in authors_tensors(num_classes=2).items()}
    assert {name: value.shape for name, value in written.items()} == {
        name: value.shape for name, value in released.items()
    }


def test_reading_a_file_and_writing_it_keeps_every_used_tensor(save, tmp_path):
    tensors = authors_tensors()
    convert.write(convert.read(save(tensors)), tmp_path / "again.pth", "ast")
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    used = [name for name in tensors if not name.startswith("v.head")]
    assert all(torch.equal(again[f"module.{name}"], tensors[name]) for name in used)


@pytest.mark.parametrize(
    "change, what",
    [
        ({"num_heads": 2}, "heads that are not 64 wide: the file does not say their number"),
        ({"num_prefix_tokens": 1}, "this readout: it is always the mean of two prefix tokens"),
        ({"readout": "cls"}, "this readout: it is always the mean of two prefix tokens"),
    ],
)
def test_a_model_the_layout_has_no_place_for_is_refused(trained, tmp_path, change, what):
    settings = {**trained.config.model_settings, **change}
    other = checkpoint.create("ast", settings, trained.config.front_end, ["a"], "softmax")
    with pytest.raises(CheckpointError) as error:
        convert.write(other, tmp_path / "out.pth", "ast")
    assert str(error.value) == f"the authors' layout has no place for {what}. Use --to auricle."


def test_a_model_without_labels_and_a_ham_ast_are_refused(trained, tmp_path):
    settings, front_end = trained.config.model_settings, trained.config.front_end
    start = checkpoint.create("ast", settings, front_end, [], "softmax")
    ham = checkpoint.create("ham_ast", settings, front_end, ["a"], "softmax")
    for model, what in (
        (start, "a model without labels: train it first"),
        (ham, "the model 'ham_ast'; only 'ast' can be written"),
    ):
        with pytest.raises(CheckpointError) as error:
            convert.write(model, tmp_path / "out.pth", "ast")
        assert str(error.value) == f"the authors' layout has no place for {what}. Use --to auricle."


def test_a_folder_in_the_place_of_the_file_is_refused(trained, tmp_path):
    with pytest.raises(CheckpointError) as error:
        convert.write(trained, tmp_path, "ast")
    assert str(error.value) == (
        f"{tmp_path}: a folder. The layout 'ast' is one file: give {tmp_path / 'ast.pth'}."
    )
