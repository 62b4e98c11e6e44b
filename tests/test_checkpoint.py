"""A checkpoint describes itself, comes back exactly, and is never half written."""

import json
import math
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auricle import checkpoint, models
from auricle.errors import CheckpointError, ConfigError
from auricle.features import FbankConfig, PaddingConfig

SETTINGS = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 128}


@pytest.fixture
def saved(tmp_path):
    """A small HAM-AST in a folder."""
    torch.manual_seed(0)
    front_end = FbankConfig(mean=-5.0, std=3.0, padding=PaddingConfig(frames=16))
    settings = {**SETTINGS, "conformer": {"num_blocks": 1}}
    model = checkpoint.create("ham_ast", settings, front_end, ["cat", "dog"], "softmax")
    checkpoint.save(model, tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(folder)
    return str(error.value)


def test_what_is_saved_comes_back_with_the_same_scores(saved, tone):
    loaded = checkpoint.load(saved)
    again = saved.parent / "again"
    checkpoint.save(loaded, again)
    scores = checkpoint.load(again).score(tone[None])
    assert torch.equal(scores, loaded.score(tone[None]))
    assert scores.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert loaded.config == checkpoint.load(again).config
    assert loaded.labels == ["cat", "dog"]
    assert loaded.fbank.config.mean == -5.0
    assert not loaded.training


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_weights_can_be_stored_as_16_bit_and_are_loaded_as_32_bit(saved, tone, dtype, tolerance):
    loaded = checkpoint.load(saved)
    half = saved.parent / "half"
    checkpoint.save(loaded, half, dtype=dtype)
    size = [(folder / "model.safetensors").stat().st_size for folder in (saved, half)]
    assert size[1] < 0.6 * size[0]
    again = checkpoint.load(half)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    torch.testing.assert_close(
        again.score(tone[None]), loaded.score(tone[None]), atol=tolerance, rtol=0
    )


def test_sigmoid_scores_each_class_for_itself(tone):
    model = checkpoint.create("ast", SETTINGS, FbankConfig(), ["a", "b", "c"], "sigmoid").eval()
    logits = model.logits(tone[None])
    assert torch.equal(model.score(tone[None]), logits.sigmoid())


def test_a_short_clip_is_filled_up_to_one_patch(saved, tone):
    assert checkpoint.load(saved).score(tone[None, :800]).shape == (1, 2)


def test_a_missing_folder_is_refused(tmp_path):
    assert refusal(tmp_path / "none") == f"{tmp_path / 'none'}: no such checkpoint folder."


def test_a_folder_without_config_is_refused(saved):
    (saved / "config.json").unlink()
    assert refusal(saved) == (
        f"{saved}: holds no config.json, so it is not a checkpoint of auricle."
    )


def test_the_folder_of_a_run_leads_to_its_checkpoints(saved, tmp_path):
    run = tmp_path / "run"
    for name in ("last", "best"):
        shutil.copytree(saved, run / name)
    (run / "logs").mkdir()
    beginning = "holds no config.json, so it is not a checkpoint of auricle. Checkpoints in it: "
    assert refusal(run) == f"{run}: {beginning}{run / 'best'}, {run / 'last'}"
    shutil.copytree(run, tmp_path / "runs" / "seed-0")
    shutil.copytree(run, tmp_path / "runs" / "seed-1")
    first, second = (tmp_path / "runs" / name for name in ("seed-0", "seed-1"))
    assert refusal(tmp_path / "runs") == (
        f"{tmp_path / 'runs'}: {beginning}{first / 'best'}, {first / 'last'}, {second / 'best'}, "
        "..."
    )


def test_a_folder_with_one_foreign_file_of_weights_leads_to_convert(saved):
    (saved / "config.json").unlink()
    (saved / "model.safetensors").rename(saved / "mn04.safetensors")
    assert refusal(saved) == (
        f"{saved}: holds no config.json, so it is not a checkpoint of auricle. Its weights become "
        f"one with: auricle convert {saved / 'mn04.safetensors'} FOLDER"
    )


def test_a_folder_without_weights_is_refused(saved):
    (saved / "model.safetensors").unlink()
    assert refusal(saved) == f"{saved}: holds no model.safetensors."


def test_a_foreign_config_is_refused(saved):
    (saved / "config.json").write_text('{"model_type": "audio-spectrogram-transformer"}')
    assert refusal(saved) == (
        f"{saved}/config.json: has no 'format', so it is not a checkpoint of auricle. A checkpoint "
        "of another project becomes one with: auricle convert SOURCE FOLDER"
    )


def test_broken_json_is_refused(saved):
    (saved / "config.json").write_text('{"format": 1,')
    assert refusal(saved).startswith(f"{saved}/config.json: not readable as JSON (")


def test_a_newer_format_is_refused(saved):
    edit(saved, format=2)
    assert refusal(saved) == (
        f"{saved}/config.json: has format 2, this version of auricle reads 1."
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0": "cat"}, "id2label names 1 labels, the model has 2 outputs."),
        (
            {"0": "cat", "2": "dog"},
            'id2label must number its 2 labels "0", "1", ... without a gap.',
        ),
        (
            {"0": "cat", "one": "dog"},
            'id2label must number its 2 labels "0", "1", ... without a gap.',
        ),
        ({"0": "cat", "1": "cat"}, "id2label holds the label 'cat' more than once."),
    ],
)
def test_wrong_labels_are_refused(saved, labels, message):
    edit(saved, id2label=labels)
    assert refusal(saved) == f"{saved}/config.json: {message}"


def test_thresholds_must_fit_the_labels(saved):
    edit(saved, thresholds=[0.5])
    assert refusal(saved) == f"{saved}/config.json: thresholds holds 1 numbers for 2 labels."


def test_missing_left_over_and_misshaped_tensors_are_named(saved):
    path = saved / "model.safetensors"
    weights = load_file(path)
    del weights["norm.bias"]
    weights["surplus"] = torch.zeros(1)
    weights["head.linear.bias"] = torch.zeros(3)
    save_file(weights, path)
    assert refusal(saved) == (
        f"{path}: does not fit the model: missing norm.bias; left over surplus; "
        "head.linear.bias has shape (3,) instead of (2,)."
    )


def test_weights_without_permission_are_refused(saved, open_folder, ordinary_user):
    folder = shutil.copytree(saved, open_folder / "model")
    path = folder / "model.safetensors"
    path.chmod(0)
    with ordinary_user():
        assert refusal(folder) == (
            f"{path}: permission denied. Make it readable for the user who runs this."
        )


def test_weights_that_are_cut_short_are_refused(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(saved).startswith(f"{path}: damaged or cut short (")


@pytest.mark.parametrize("moment", ["weights", "config", "rename"])
def test_a_write_that_fails_leaves_the_previous_checkpoint(saved, monkeypatch, tone, moment):
    before = checkpoint.load(saved)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    target = {
        "weights": "auricle.checkpoint.folder.save_file",
        "config": "auricle.checkpoint.folder.to_json",
        "rename": "os.fsync",
    }[moment]
    other = checkpoint.create("ast", SETTINGS, FbankConfig(), ["x"], "sigmoid")
    with monkeypatch.context() as patch:
        patch.setattr(target, fail)
        with pytest.raises(CheckpointError) as error:
            checkpoint.save(other, saved)
    assert str(error.value) == (
        f"{saved}: the checkpoint could not be written ([Errno 28] No space left on device). "
        "What was there before is unchanged."
    )
    assert torch.equal(checkpoint.load(saved).score(tone[None]), before.score(tone[None]))
    assert os.listdir(saved.parent) == [saved.name]


def test_a_real_full_disk_leaves_the_previous_checkpoint(saved, tone):
    """`/dev/full` refuses every byte, as a full disk does."""
    before = checkpoint.load(saved).score(tone[None])
    with pytest.raises(CheckpointError, match="could not be written"):
        _save_with_weights_on_a_full_disk(saved)
    assert torch.equal(checkpoint.load(saved).score(tone[None]), before)


def _save_with_weights_on_a_full_disk(saved):
    def save_to_full_disk(weights, path, metadata):
        with open("/dev/full", "wb") as file:
            file.write(bytes(1_000_000))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auricle.checkpoint.folder.save_file", save_to_full_disk)
        checkpoint.save(checkpoint.load(saved), saved)


def test_an_interruption_leaves_the_previous_checkpoint(saved, monkeypatch, tone):
    before = checkpoint.load(saved)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("auricle.checkpoint.folder.save_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(before, saved)
    assert torch.equal(checkpoint.load(saved).score(tone[None]), before.score(tone[None]))


def test_a_process_killed_between_the_two_renames_loses_nothing(saved, tone):
    before = checkpoint.load(saved).score(tone[None])
    saved.rename(saved.parent / f".{saved.name}.previous")
    assert torch.equal(checkpoint.load(saved).score(tone[None]), before)


def test_a_folder_with_other_things_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    model = checkpoint.create("ast", SETTINGS, FbankConfig(), ["x"], "sigmoid")
    with pytest.raises(CheckpointError) as error:
        checkpoint.save(model, tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: holds other files and no checkpoint; choose an empty or new folder."
    )
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_other_files_beside_a_checkpoint_are_kept(saved):
    (saved / "thesis.txt").write_text("years of work")
    checkpoint.save(checkpoint.load(saved), saved)
    assert (saved / "thesis.txt").read_text() == "years of work"
    assert os.listdir(saved.parent) == [saved.name]


def test_a_failing_second_rename_puts_the_previous_checkpoint_back(saved, monkeypatch):
    loaded, rename = checkpoint.load(saved), Path.rename

    def fail_for_the_new(path, target):
        if target == saved and not path.name.endswith(".previous"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(CheckpointError, match="What was there before is unchanged"):
        checkpoint.save(loaded, saved)
    assert os.listdir(saved.parent) == [saved.name]


def test_a_file_in_the_place_of_the_folder_is_refused(saved, tmp_path):
    path = tmp_path / "model.bin"
    path.write_text("not a folder")
    with pytest.raises(CheckpointError) as error:
        checkpoint.save(checkpoint.load(saved), path)
    assert str(error.value) == f"{path}: is a file, not a folder; choose another place."


def test_others_may_read_what_is_saved(saved):
    assert {path.stat().st_mode & 0o444 for path in saved.iterdir()} == {0o444}


def test_the_card_tells_labels_and_scores(saved):
    loaded = checkpoint.load(saved)
    loaded.config = loaded.config.model_copy(update={"metrics": {"accuracy": 0.5}})
    checkpoint.save(loaded, saved)
    card = (saved / "README.md").read_text()
    assert "| accuracy | 0.5 |" in card
    assert "cat, dog" in card


def test_impossible_settings_are_refused_before_anything_is_built():
    with pytest.raises(ConfigError) as error:
        checkpoint.create("ast", {"width": 7, "num_heads": 2}, FbankConfig(), ["x"], "sigmoid")
    assert str(error.value) == "model: width (7) must be a multiple of num_heads (2)."


def test_a_copied_folder_is_the_same_checkpoint(saved, tmp_path, tone):
    copy = shutil.copytree(saved, tmp_path / "copy with spaces")
    expected = checkpoint.load(saved).score(tone[None])
    assert torch.equal(checkpoint.load(copy).score(tone[None]), expected)


def test_what_is_told_of_a_checkpoint_is_replaced_and_its_weights_stay(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    weights = (folder / "model.safetensors").read_bytes()
    told = {"about": {"summary": "Names four sounds."}, "metrics": {"accuracy": 0.5}}
    config = checkpoint.load(folder).config.model_copy(update=told)
    checkpoint.store_description(folder, config, "a card")
    assert checkpoint.load(folder).config == config
    assert (folder / "README.md").read_text() == "a card"
    assert (folder / "model.safetensors").read_bytes() == weights


def test_what_is_told_of_another_checkpoint_is_refused(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    other = checkpoint.load(folder).config.model_copy(update={"activation": "sigmoid"})
    with pytest.raises(CheckpointError) as caught:
        checkpoint.store_description(folder, other, "a card")
    assert str(caught.value) == (
        f"{folder / 'config.json'}: is not the checkpoint that is described; nothing was done."
    )


# Weights and settings of anybody


def spoil(folder, name, change):
    weights = load_file(folder / "model.safetensors")
    weights[name] = change(weights[name])
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.index_fill(0, torch.tensor(0), math.nan), "numbers that are NaN or infinite"),
        (lambda w: w.index_fill(0, torch.tensor(0), -math.inf), "numbers that are NaN or infinite"),
        (lambda w: w.double() + 1e300, "numbers that are NaN or infinite"),
        (lambda w: w.to(torch.int64), "int64 instead of float32"),
        (lambda w: w.to(torch.bool), "bool instead of float32"),
        (lambda w: w.to(torch.complex64), "complex64 instead of float32"),
        (lambda w: w.to(torch.float8_e4m3fn), "float8_e4m3fn instead of float32"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused(saved, change, message):
    spoil(saved, "head.linear.bias", change)
    assert refusal(saved) == (
        f"{saved / 'model.safetensors'}: does not fit the model: head.linear.bias holds {message}."
    )


def test_shapes_are_compared_and_not_sizes(saved):
    spoil(saved, "head.linear.weight", lambda weight: weight.T.contiguous())
    assert refusal(saved) == (
        f"{saved / 'model.safetensors'}: does not fit the model: "
        "head.linear.weight has shape (16, 2) instead of (2, 16)."
    )


@pytest.mark.parametrize("name", ["width", "depth", "max_frames", "conformer.kernel_size"])
def test_a_size_that_no_model_has_is_refused_at_once(saved, name):
    settings = json.loads((saved / "config.json").read_text())["model_settings"]
    *parents, last = name.split(".")
    section = settings[parents[0]] if parents else settings
    section[last] = 10**9 + 1
    edit(saved, model_settings=settings)
    message = f"model_settings.{name} is 1e+09, more than any model has."
    assert refusal(saved) == f"{saved / 'config.json'}: {message}"


@pytest.mark.parametrize(("name", "value"), [("num_mels", 10**9), ("window_ms", 5000)])
def test_a_front_end_that_no_model_has_is_refused_at_once(saved, name, value):
    front_end = json.loads((saved / "config.json").read_text())["front_end"]
    edit(saved, front_end=front_end | {name: value})
    message = f"front_end.{name} is {value:g}, more than any model has."
    assert refusal(saved) == f"{saved / 'config.json'}: {message}"


def test_a_size_within_a_list_that_no_model_has_is_refused_at_once(saved):
    settings = json.loads((saved / "config.json").read_text())["model_settings"]
    edit(saved, model_settings=settings | {"patch": [16, 10**9]})
    message = "model_settings.patch is 1e+09, more than any model has."
    assert refusal(saved) == f"{saved / 'config.json'}: {message}"


@pytest.mark.parametrize(("name", "value"), [("width", 2**18), ("depth", 2**18)])
def test_a_larger_model_than_the_weights_are_of_is_refused_before_it_is_built(
    saved, monkeypatch, name, value
):
    settings = json.loads((saved / "config.json").read_text())["model_settings"]
    edit(saved, model_settings=settings | {name: value})
    monkeypatch.setattr(checkpoint.folder, "assemble", lambda config: pytest.fail("built"))
    start = time.process_time()
    assert refusal(saved) == (
        f"{saved / 'config.json'}: the settings ask for a larger model than its weights are of; "
        "one of the two is not the model's."
    )
    assert time.process_time() - start < 20  # of the processor, however busy it is


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"format": ' + "1" * 5000 + "}", "Exceeds the limit (4300 digits) for integer"),
        ("\udc80", "'utf-8' codec can't decode byte"),
        (" " * (2**26 + 1), "more than 64 MB"),
    ],
)
def test_a_configuration_of_any_kind_is_refused_in_one_line(saved, content, message):
    (saved / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    found = refusal(saved)
    assert found.startswith(f"{saved / 'config.json'}: not readable as JSON ({message}")
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_thresholds_mean_and_deviation_are_finite(saved, number):
    edit(saved, thresholds=[0.5, number])
    message = f"thresholds.1: Input should be a finite number, got {number}."
    assert refusal(saved) == f"{saved / 'config.json'}: {message}"
    edit(saved, thresholds=None)
    front_end = json.loads((saved / "config.json").read_text())["front_end"]
    for name in ("mean", "std"):
        edit(saved, front_end=front_end | {name: number})
        assert refusal(saved) == (
            f"{saved / 'config.json'}: front_end.{name}: Input should be a finite number, "
            f"got {number}."
        )


def test_a_hundred_thousand_labels_are_looked_through_quickly(saved):
    edit(saved, id2label={str(index): f"label {index}" for index in range(100_000)})
    start = time.process_time()
    assert refusal(saved) == (
        f"{saved / 'config.json'}: id2label names 100000 labels, the model has 2 outputs."
    )
    assert time.process_time() - start < 20  # of the processor, however busy it is


def test_foreign_text_holds_nothing_that_a_terminal_obeys(saved):
    edit(saved, id2label={"0": "cat\x1b[2J", "1": "dog\u202e"}, about={"summary": ["\x9b31mred"]})
    config = checkpoint.load(saved).config
    assert config.labels == ["cat\\x1b[2J", "dog\\u202e"]
    assert config.about == {"summary": ["\\x9b31mred"]}


def test_labels_have_composed_accents(saved):
    edit(saved, id2label={"0": "cafe\u0301", "1": "dog"})
    assert checkpoint.load(saved).labels == ["caf\u00e9", "dog"]


def test_a_former_name_in_a_stored_configuration_is_read_silently(saved, recwarn):
    front_end = json.loads((saved / "config.json").read_text())["front_end"]
    assert front_end.pop("min_level_dbfs", "missing") is None
    edit(saved, front_end={**front_end, "softest_dbfs": -30.0})
    loaded = checkpoint.load(saved)
    assert loaded.config.front_end.min_level_dbfs == -30.0
    assert not recwarn.list
    checkpoint.save(loaded, saved)  # by its present name
    assert "softest_dbfs" not in (saved / "config.json").read_text()
    assert checkpoint.load(saved).config == loaded.config


def test_both_names_of_a_key_in_a_stored_configuration_are_refused(saved):
    front_end = json.loads((saved / "config.json").read_text())["front_end"]
    edit(saved, front_end={**front_end, "softest_dbfs": None})
    assert refusal(saved) == (
        f"{saved / 'config.json'}: front_end.softest_dbfs is called front_end.min_level_dbfs now, "
        "which is given too; choose one."
    )


def test_numbers_that_are_none_are_stored_as_nothing(saved):
    loaded = checkpoint.load(saved)
    loaded.config = loaded.config.model_copy(
        update={"metrics": {"a": math.nan, "b": [math.inf, 1]}}
    )
    checkpoint.save(loaded, saved)
    text = (saved / "config.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert checkpoint.load(saved).config.metrics == {"a": None, "b": [None, 1]}


@pytest.mark.parametrize("name", [*models.MODELS])
def test_a_program_in_float64_loads_the_same_model(tmp_path, name):
    sizes = {"width": 0.1} if name == "mobilenet" else {"width": 16, "num_heads": 2}
    sizes |= {} if name in ("mobilenet", "multiscale_ast") else {"depth": 1}
    front_end = FbankConfig(num_mels=64, padding=PaddingConfig(frames=64))
    made = checkpoint.create(name, {**sizes, "max_frames": 128}, front_end, ["a", "b"], "sigmoid")
    checkpoint.save(made, tmp_path / "model")
    sound = torch.randn(2, 12_000)
    expected = made.eval().score(sound)
    torch.set_default_dtype(torch.float64)
    try:
        scores = checkpoint.load(tmp_path / "model").score(sound)
    finally:
        torch.set_default_dtype(torch.float32)
    assert scores.dtype == torch.float32 and scores.equal(expected)
