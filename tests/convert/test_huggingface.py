"""Folders of transformers: both key layouts in, one out that transformers loads again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auricle import checkpoint, convert
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.features import EfficientATConfig, FbankConfig
from auricle.inference import Classifier

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")  # transformers' own

CURRENT_NAMES = {  # the older layout's, as transformers writes it: the current modules'
    "encoder.layer.": "layers.",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


@pytest.fixture
def theirs():
    config = transformers.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=100,
        max_length=128,
        frequency_stride=16,
        time_stride=10,
        id2label={0: "dog", 1: "cat", 2: "owl"},
    )
    model = transformers.ASTForAudioClassification(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def folder(theirs, tmp_path) -> Path:
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder)
    extractor = transformers.ASTFeatureExtractor(max_length=128, mean=-5.0, std=4.0)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(1))


def edit(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def message(path: Path, **options: int) -> str:
    with pytest.raises(CheckpointError) as error:
        convert.read(path, **options)
    return str(error.value)


def current_layout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in tensors.items():
        for older, current in CURRENT_NAMES.items():
            name = name.replace(older, current)
        renamed[name] = value
    return renamed


@torch.no_grad()
@pytest.mark.parametrize("layout", ["older", "current"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_both_layouts_and_both_files_give_the_logits_of_transformers(
    theirs, folder, features, layout, file
):
    tensors = load_file(folder / "model.safetensors")
    if layout == "current":
        tensors = current_layout(tensors)
        assert tensors.keys() == theirs.state_dict().keys()
    (folder / "model.safetensors").unlink()
    save = save_file if file == "model.safetensors" else torch.save
    save(tensors, folder / file)
    ours = convert.read(folder)
    assert (ours.model(features) - theirs(features).logits).abs().max() < 1e-5


def test_the_configuration_is_theirs(folder):
    read = convert.read(folder)
    model, front_end = read.model.config, read.config.front_end
    assert (model.stride, model.patch, model.max_frames) == ((16, 10), (16, 16), 128)
    assert (model.norm_epsilon, model.head_norm_epsilon) == (1e-12, 1e-12)
    assert (front_end.mean, front_end.std) == (-5.0, 4.0)
    assert (front_end.padding.mode, front_end.padding.frames) == ("fixed", 128)
    assert read.labels == ["dog", "cat", "owl"]
    assert read.config.provenance == {"source": "theirs", "layout": "huggingface"}


@pytest.mark.parametrize(
    "problem_type, num_classes, activation",
    [
        ("multi_label_classification", 3, "sigmoid"),
        ("single_label_classification", 527, "softmax"),
        (None, 3, "softmax"),
        (None, 527, "sigmoid"),
    ],
)
def test_the_activation_follows_from_problem_type_and_labels(
    tmp_path, problem_type, num_classes, activation
):
    config = transformers.ASTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_length=32,
        num_labels=num_classes,
        problem_type=problem_type,
    )
    transformers.ASTForAudioClassification(config).save_pretrained(tmp_path)
    assert convert.read(tmp_path).config.activation == activation


def test_without_a_preprocessor_the_defaults_are_assumed_and_noted(folder):
    (folder / "preprocessor_config.json").unlink()
    read = convert.read(folder)
    front_end = read.config.front_end
    assert (front_end.mean, front_end.std) == (-4.2677393, 4.5689974)
    assert front_end.padding.frames == 128
    assert read.config.provenance["notes"] == [
        "no preprocessor_config.json: the extractor's defaults (AudioSet) assumed"
    ]


def test_an_extractor_that_does_not_normalise_gives_log_mels_as_they_are(folder, tone):
    edit(folder / "preprocessor_config.json", do_normalize=False)
    fbank = convert.read(folder).fbank
    log_mel, _ = fbank.log_mel(tone[None])
    torch.testing.assert_close(fbank(tone[None])[0][:, :98], log_mel)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"hidden_act": "relu"}, "hidden_act: Input should be 'gelu', got 'relu'."),
        ({"qkv_bias": False}, "qkv_bias: Input should be True, got False."),
        ({"hidden_size": "32"}, "hidden_size: Input should be a valid integer, got '32'."),
        (
            {"id2label": {"0": "a", "2": "b"}},
            'id2label must number its 2 labels "0", "1", ... without a gap.',
        ),
        (
            {"id2label": {"0": "a", "1": "b", "2": "a"}},
            "id2label holds the label 'a' more than once. Rename all but one of them.",
        ),
    ],
)
def test_a_configuration_that_cannot_be_converted_is_refused(folder, change, expected):
    edit(folder / "config.json", **change)
    assert message(folder) == f"{folder / 'config.json'}: {expected}"


def test_a_model_the_settings_make_impossible_is_refused(folder):
    edit(folder / "config.json", num_attention_heads=5)
    assert message(folder) == (
        f"{folder / 'config.json'}: model: width (32) must be a multiple of num_heads (5)."
    )


def test_files_that_disagree_are_refused(folder):
    edit(folder / "preprocessor_config.json", max_length=1024)
    assert message(folder) == (
        f"{folder}: max_length is 128 in config.json and 1024 in preprocessor_config.json. "
        "Correct the one that is wrong."
    )


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "intermediate_size"])
def test_a_configuration_of_a_far_larger_model_is_refused_before_it_is_built(folder, key):
    edit(folder / "config.json", **{key: 16 * 10**4})
    assert message(folder) == (
        f"{folder / 'config.json'}: the settings ask for a larger model than its weights are of; "
        "one of the two is not the model's."
    )


def test_tensors_are_checked_under_their_names(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.dense.bias"]
    key = "audio_spectrogram_transformer.encoder.layer.1.attention.attention.key.weight"
    tensors |= {key: torch.zeros(3, 32), "classifier.extra": torch.zeros(1)}
    save_file(tensors, folder / "model.safetensors")
    assert message(folder) == (
        f"{folder}: the tensors are not those of this model. Missing: classifier.dense.bias. "
        f"Left over: classifier.extra. Mis-shaped: {key} is (3, 32) and should be (32, 32)."
    )


def test_options_are_refused_where_the_configuration_says_them(folder):
    assert message(folder, stride=10) == (
        f"{folder}: its config.json has stride and length; leave out --stride and --frames."
    )


def test_another_model_and_an_incomplete_folder_are_refused(folder):
    edit(folder / "config.json", model_type="wav2vec2")
    assert message(folder) == (
        f"{folder}: holds a model of type 'wav2vec2'; convert reads an AST of its authors or of "
        "Hugging Face, EfficientAT, EAT, ASDA, CED, PaSST, DeiT, ViT or DINOv2."
    )
    (folder / "model.safetensors").unlink()
    assert message(folder) == (
        f"{folder}: holds no model.safetensors or pytorch_model.bin, so it is no folder of "
        "Hugging Face."
    )
    (folder / "config.json").write_text("[]")
    assert message(folder) == f"{folder / 'config.json'}: expected a JSON object, got list."


def small(**changes: object) -> Checkpoint:
    settings = {"width": 32, "depth": 2, "num_heads": 4, "max_frames": 128, "stride": [16, 10]}
    front_end = FbankConfig(mean=-5.0, std=4.0, padding={"mode": "fixed", "frames": 128})
    torch.manual_seed(0)
    result = checkpoint.create("ast", {**settings, **changes}, front_end, ["dog", "cat"], "sigmoid")
    for parameter in result.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return result.eval()


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{}, {"patch": [8, 8], "mlp_ratio": 3.5}, {"norm_epsilon": 1e-5}, {"head_norm_epsilon": 0.1}],
)
def test_what_is_written_loads_in_transformers_and_gives_the_same_logits(
    tmp_path, features, changes
):
    ours = small(**changes)
    convert.write(ours, tmp_path / "out", "huggingface")
    theirs, report = transformers.ASTForAudioClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report.values()), report
    assert (theirs.eval()(features).logits - ours.model(features)).abs().max() < 1e-5
    assert theirs.config.id2label == {0: "dog", 1: "cat"}
    assert theirs.config.label2id == {"dog": 0, "cat": 1}
    assert theirs.config.problem_type == "multi_label_classification"


@torch.no_grad()
def test_a_waveform_scores_the_same_through_their_extractor_and_model(tmp_path, tone):
    ours = small()
    convert.write(ours, tmp_path / "out", "huggingface")
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tmp_path / "out")
    theirs = transformers.ASTForAudioClassification.from_pretrained(tmp_path / "out").eval()
    inputs = extractor(tone.numpy(), sampling_rate=16_000, return_tensors="pt")
    assert (extractor.mean, extractor.std, extractor.max_length) == (-5.0, 4.0, 128)
    expected = theirs(**inputs).logits
    torch.testing.assert_close(ours.logits(tone[None]), expected, atol=1e-3, rtol=0)


def test_there_and_back_every_tensor_is_bit_for_bit_the_same(folder, tmp_path):
    convert.write(convert.read(folder), tmp_path / "again", "huggingface")
    original = load_file(folder / "model.safetensors")
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert again.keys() == original.keys()
    assert all(torch.equal(again[name], original[name]) for name in original)
    ours, back = convert.read(folder), convert.read(tmp_path / "again")
    assert back.config.model_settings == ours.config.model_settings
    assert back.config.front_end == ours.config.front_end


def test_what_the_layout_has_no_place_for_is_returned(tmp_path):
    ours = small(norm_epsilon=1e-5)
    assert convert.write(ours, tmp_path / "all", "huggingface") == []
    update = {"padding": FbankConfig().padding, "min_level_dbfs": -30.0}
    masked = ours.config.front_end.model_copy(update=update)
    ours.config = ours.config.model_copy(update={"front_end": masked, "thresholds": (0.1, 0.2)})
    assert convert.write(ours, tmp_path / "masks", "huggingface") == [
        "masks: clips shorter than max_length are padded with zeros there",
        "min_level_dbfs: softer clips are not raised to that level there",
        "thresholds",
    ]
    assert convert.write(small(), tmp_path / "norm", "huggingface") == [
        "head_norm_epsilon: embeddings are scaled instead, logits stay the same"
    ]


@pytest.mark.parametrize(
    "change, what",
    [
        ({"patch": [16, 8]}, "patches of 16 x 8: they must be square"),
        ({"num_prefix_tokens": 1}, "this readout: it is always the mean of two prefix tokens"),
        ({"readout": "patch_mean"}, "this readout: it is always the mean of two prefix tokens"),
    ],
)
def test_a_model_the_layout_has_no_place_for_is_refused(tmp_path, change, what):
    assert refusal(small(**change), tmp_path) == what


def test_labels_ham_ast_and_other_front_ends_have_no_place_either(tmp_path):
    ours = small()
    settings, front_end = ours.config.model_settings, ours.config.front_end
    start = checkpoint.create("ast", settings, front_end, [], "sigmoid")
    assert refusal(start, tmp_path) == "a model without labels: train it first"
    ham = checkpoint.create("ham_ast", settings, front_end, ["a"], "sigmoid")
    assert refusal(ham, tmp_path) == "the model 'ham_ast'; only 'ast' can be written"
    for key, value, always in (("hop_ms", 5.0, "10.0"), ("window", "hamming", "hanning")):
        other = front_end.model_copy(update={key: value})
        ours = checkpoint.create("ast", settings, other, ["a"], "sigmoid")
        assert refusal(ours, tmp_path) == f"{key} = {value}: the extractor always has {always}"
    other = EfficientATConfig(sample_rate=16_000, lowest_hz=20.0)
    ours = checkpoint.create("ast", settings, other, ["a"], "sigmoid")
    assert refusal(ours, tmp_path) == "name = efficientat: the extractor always has fbank"


def refusal(ours: Checkpoint, folder: Path) -> str:
    """What the layout is said to have no place for."""
    with pytest.raises(CheckpointError) as error:
        convert.write(ours, folder / "out", "huggingface")
    before, after = "the layout of Hugging Face has no place for ", ". Use --to auricle."
    assert str(error.value).startswith(before) and str(error.value).endswith(after)
    assert not (folder / "out").exists()
    return str(error.value).removeprefix(before).removesuffix(after)


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(CheckpointError) as error:
        convert.write(small(), tmp_path, "huggingface")
    assert str(error.value) == f"{tmp_path}: already there. Give a new or empty folder."
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_clip_with_pauses_has_the_scores_of_transformers_pipeline(theirs, folder):
    """Such a model was trained on clips padded to one length, so silence in them stays."""
    generator = torch.Generator().manual_seed(2)
    clip = torch.zeros(20_000)
    clip[13_000:15_000] = 0.1 * torch.randn(2000, generator=generator)
    extractor = transformers.ASTFeatureExtractor.from_pretrained(folder)
    pipeline = transformers.AudioClassificationPipeline(
        model=theirs, feature_extractor=extractor, device="cpu"
    )
    found = pipeline({"raw": clip.numpy(), "sampling_rate": 16_000}, top_k=3)
    expected = [(answer["label"], pytest.approx(answer["score"], abs=1e-4)) for answer in found]
    answers = Classifier(convert.read(folder), "cpu").classify(clip, 16_000)
    assert [(answer.label, answer.score) for answer in answers] == expected
    assert 0.02 < answers[1].score < answers[0].score < 0.98  # or all would agree
