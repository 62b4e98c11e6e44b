"""A recipe without labels or teacher: from sounds to a start for training, and what is refused."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
import yaml
from typer.testing import CliRunner

from auricle import checkpoint, experiment
from auricle.cli.main import app
from auricle.config import from_dict
from auricle.errors import ConfigError, DataWarning, TrainingWarning, UserError
from auricle.experiment import Sources, prepare, recipe_from
from auricle.experiment.steps import _Probe
from auricle.inference import Classifier
from auricle.training import ProbeDataConfig, pretraining
from auricle.training.history import History
from auricle.training.objectives import SelfDistillation


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


MODEL = {"name": "asda", "max_frames": 64, "patch": [8, 8], "width": 16, "depth": 1, "num_heads": 2}
SELF_DISTILLATION = {
    "clones": 2,
    "block": 2,
    "mask_ratio": 0.5,
    "first_decay": 0.9,
    "decoder": {"depth": 1, "groups": 4},
}
RECONSTRUCTION = {
    "name": "masked_reconstruction",
    "mask_ratio": 0.5,
    "decoder": {"depth": 1, "num_heads": 2},
}


@pytest.fixture
def sounds(tmp_path):
    """A folder of eight unlabelled sounds, two levels deep, at several rates and lengths."""
    random = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / "sounds" / f"place {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        rate = (16_000, 32_000, 44_100)[number % 3]
        clip = random.normal(0, 0.1, rate // (2 + number % 3))
        soundfile.write(folder / f"{number}.wav", clip, rate)
    return tmp_path / "sounds"


def values(sounds, **sections):
    return {
        "name": "small",
        "data": {"source": str(sounds), "validation_share": 0.25, "workers": 0},
        "front_end": {"num_mels": 16, "mean": -5.0, "std": 4.0, "padding": {"frames": 16}},
        "model": MODEL,
        "augmentation": {"gain_db": 3.0},
        "pretraining": {"objective": SELF_DISTILLATION},
        "training": {"epochs": 2, "batch_size": 3, "optimizer": {"learning_rate": 1e-3}},
        **sections,
    }


def recipe(sounds, **sections):
    return recipe_from(values(sounds, **sections), "test")


@pytest.mark.parametrize("objective", [SELF_DISTILLATION, RECONSTRUCTION], ids=["eat", "mae_ast"])
@pytest.mark.parametrize("name", ["asda", "ast", "ham_ast"])
def test_any_model_of_patches_is_pretrained_by_any_objective(sounds, tmp_path, name, objective):
    model = {**MODEL, "name": name}
    if name != "asda":
        model["stride"] = [8, 8]
    if name == "ham_ast":
        model["conformer"] = {"num_blocks": 1, "kernel_size": 3}
    whole = recipe(sounds, model=model, pretraining={"objective": objective})
    report = run(whole, tmp_path / "run")
    assert report.num_train + report.num_validation == 8
    start = checkpoint.load(tmp_path / "run" / "last")
    assert start.labels == []
    fresh = checkpoint.create(
        name, start.config.model_settings, start.config.front_end, [], "sigmoid"
    )
    assert fresh.state_dict().keys() == start.state_dict().keys()  # no decoder, no teacher
    watched = {"target_deviation", "prediction_deviation", "embedding_deviation"}
    parts = {"frame_loss", "utterance_loss"}
    if objective is RECONSTRUCTION:
        parts = {"reconstruction_loss", "discrimination_loss"}
    trained = {f"train_{name}" for name in parts | watched}
    assert {"validation_loss"} | watched | parts | trained <= set(report.best)


def test_the_parts_of_training_and_validation_are_curves_of_their_own(sounds, tmp_path):
    training = {"epochs": 2, "batch_size": 1, "optimizer": {"learning_rate": 1e-3}}
    run(recipe(sounds, training=training), tmp_path / "run")
    with (tmp_path / "run" / "logs" / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("frame_loss", "utterance_loss", "target_deviation", "embedding_deviation"):
        trained = [row for row in rows if row[f"train_{name}_step"]]
        validated = [row for row in rows if row[name]]
        assert [row["step"] for row in trained] == ["9"], name  # every tenth of the twelve
        assert [row["epoch"] for row in validated] == ["0", "1"], name
        assert all(row["validation_loss"] for row in validated), name


def test_a_sound_of_less_than_one_patch_is_skipped_and_named(sounds, tmp_path):
    short = sounds / "short.wav"
    soundfile.write(short, np.full(1000, 0.1), 16_000)
    front_end = {"num_mels": 16, "mean": -5.0, "std": 4.0, "padding": {"frames": 0}}
    data = {"source": str(sounds), "workers": 0, "max_faulty_share": 0.2}
    with pytest.warns(DataWarning, match="62.5 ms of sound"):
        run(recipe(sounds, front_end=front_end, data=data), tmp_path / "run")
    assert (tmp_path / "run" / "faults.csv").read_text().splitlines()[1:] == [
        f'{short},"{short}: 62.5 ms of sound, but at least 95.0 ms are needed. Leave it out, or '
        'give a longer one."'
    ]


@pytest.mark.parametrize("objective", [SELF_DISTILLATION, RECONSTRUCTION], ids=["eat", "mae_ast"])
def test_a_resumed_pretraining_gives_the_same_bits(
    sounds, tmp_path, interrupted_in_epoch, objective
):
    whole = recipe(sounds, pretraining={"objective": objective})
    run(whole, tmp_path / "whole")
    with interrupted_in_epoch(2):
        run(whole, tmp_path / "parts")
    if objective is SELF_DISTILLATION:
        state = torch.load(tmp_path / "parts" / "state.ckpt", weights_only=True)["state_dict"]
        [name] = [name for name in state if ".teacher." in name and "prefix_tokens" in name]
        assert not torch.equal(state[name], state[name.replace("teacher", "student")])
    run(whole, tmp_path / "parts", resume=True)
    first, second = (
        checkpoint.load(tmp_path / folder / "last").state_dict() for folder in ("whole", "parts")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    losses = [[json.loads(line)["validation_loss"] for line in text.splitlines()] for text in lines]
    assert losses[0] == losses[1]


def test_the_teacher_is_told_every_step_of_the_optimizer(sounds, tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(SelfDistillation, "updated", lambda self, count: counts.append(count))
    training = {
        "epochs": 2,
        "batch_size": 2,
        "accumulate": 2,
        "optimizer": {"learning_rate": 1e-3},
    }
    run(recipe(sounds, training=training), tmp_path / "run")
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) == 2 * 3  # six clips, three steps an epoch


def test_a_resume_with_another_objective_is_refused(sounds, tmp_path, monkeypatch):
    run(recipe(sounds), tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        run(
            recipe(sounds, pretraining={"objective": RECONSTRUCTION}), tmp_path / "run", resume=True
        )
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: holds a run of another recipe: pretraining.objective.name is "
        "self_distillation there and masked_reconstruction here; pretraining.objective.block is 2 "
        "there and None here; pretraining.objective.clones is 2 there and None here; and 10 more. "
        f"Go on with that run's own recipe (auricle pretrain --resume {tmp_path / 'run'}), or "
        "choose another --out."
    )


def labelled_tones(folder):
    """A manifest of twelve clips of two heights, in three folds."""
    folder.mkdir()
    random = np.random.default_rng(1)
    rows = ["path,labels,fold"]
    for number in range(12):
        tone = np.sin(2 * np.pi * (300, 2500)[number % 2] * np.arange(8000) / 16_000)
        soundfile.write(folder / f"{number}.wav", tone + random.normal(0, 0.1, 8000), 16_000)
        rows.append(f"{number}.wav,{'ab'[number % 2]},{number % 3}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder / "clips.csv"


def test_probes_follow_pretraining(sounds, tmp_path):
    probed = {
        "objective": SELF_DISTILLATION,
        "probe": {"source": str(labelled_tones(tmp_path / "tones"))},
    }
    report = run(recipe(sounds, pretraining=probed), tmp_path / "run")
    assert report.best["linear"] > 0.9
    assert report.best["nearest"] > 0.9


def test_clips_that_a_probe_cannot_hear_are_named_once(sounds, tmp_path):
    clips = labelled_tones(tmp_path / "tones")
    bad = clips.parent / "3.wav"
    bad.write_bytes(b"no sound")
    probed = {"objective": SELF_DISTILLATION, "probe": {"source": str(clips)}}
    with pytest.warns(DataWarning) as warned:
        report = run(recipe(sounds, pretraining=probed), tmp_path / "run")
    assert report.best["epoch"] + report.last["epoch"] > 2  # two validations
    [text] = [str(one.message) for one in warned if "probe" in str(one.message)]
    assert text.startswith(
        f"pretraining.probe: 1 of 12 clips cannot be embedded and are left out. The first: {bad}: "
    )


@pytest.mark.parametrize("mean_of", ["given", "dataset"])
def test_a_sound_that_cannot_be_read_is_skipped_wherever_the_mean_is_from(
    sounds, tmp_path, mean_of
):
    bad = sounds / "bad.wav"
    bad.write_bytes(b"no sound")
    front_end = {"num_mels": 16, "padding": {"frames": 16}, "statistics": mean_of}
    data = {"source": str(sounds), "workers": 0, "max_faulty_share": 0.2}
    with pytest.warns(DataWarning, match="skipped: "):
        run(recipe(sounds, front_end=front_end, data=data), tmp_path / "run")
    faults = (tmp_path / "run" / "faults.csv").read_text().splitlines()
    assert len(faults) == 2
    assert faults[1].startswith(f"{bad},")


def test_a_model_with_labels_is_a_start_without_a_word_on_its_head(sounds, tmp_path, capsys):
    front_end = recipe(sounds).front_end.fbank()
    settings = {name: value for name, value in MODEL.items() if name != "name"}
    labelled = checkpoint.create("asda", settings, front_end, ["a", "b"], "sigmoid")
    checkpoint.save(labelled, tmp_path / "labelled")
    run(recipe(sounds, initial_weights=str(tmp_path / "labelled")), tmp_path / "run")
    assert "labels" not in capsys.readouterr().err


def test_a_run_that_moves_with_the_clips_of_its_probe_goes_on(sounds, tmp_path, monkeypatch):
    def probed(name):
        source = {"source": str(tmp_path / name / "tones" / "clips.csv")}
        return recipe(sounds, pretraining={"objective": SELF_DISTILLATION, "probe": source})

    (tmp_path / "there").mkdir()
    labelled_tones(tmp_path / "there" / "tones")
    add = History.add

    def interrupt(self, record, weights):
        add(self, record, weights)
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "add", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(probed("there"), tmp_path / "there" / "run")
    monkeypatch.setattr(History, "add", add)
    (tmp_path / "there").rename(tmp_path / "here")
    report = run(probed("here"), tmp_path / "here" / "run", resume=True)
    assert report.best["nearest"] > 0.9


def test_a_collapse_is_reported_once_or_ends_the_run(sounds, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "WATCH_EVERY", 1)
    monkeypatch.setitem(pretraining.LEAST, "targets", 1e6)
    with pytest.warns(TrainingWarning) as warned:
        run(recipe(sounds), tmp_path / "goes_on")
    texts = [str(warning.message) for warning in warned if warning.category is TrainingWarning]
    assert len(texts) == 1
    stops = {"objective": SELF_DISTILLATION, "stop_at_collapse": True}
    with pytest.raises(ConfigError) as caught:
        run(recipe(sounds, pretraining=stops), tmp_path / "ends")
    start, end = str(caught.value).split("(deviation ")
    assert start == "step 1: the targets are nearly the same for all patches "
    assert end.partition(",")[2] == (
        " at least 1e+06 is healthy): pretraining has collapsed. Lower "
        "training.optimizer.learning_rate, or raise pretraining.objective.first_decay, in a new "
        "run."
    )


def test_what_says_the_sound_itself_cannot_collapse(sounds, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "WATCH_EVERY", 1)
    monkeypatch.setitem(pretraining.LEAST, "targets", 1e6)
    stops = {"objective": RECONSTRUCTION, "stop_at_collapse": True}
    run(recipe(sounds, pretraining=stops), tmp_path / "run")


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            ["train", "tset"],
            "{0}: no clip has the split 'tset'. Splits: test, train. Folds: none. A probe takes "
            "each fold in turn, or learns from one split and is judged on another: "
            "pretraining.probe.splits.",
        ),
        (
            ["train", "train"],
            "pretraining.probe.splits: both are 'train', so the probe would be judged on the clips "
            "that it learned from. Name two splits.",
        ),
        (
            None,
            "{0}: no clip has the split 'validation', and there are no folds, so nothing says "
            "which clips the probe is judged on. Splits: test, train. Folds: none. Name two splits "
            "in pretraining.probe.splits: to learn from, and to judge on. The second chooses the "
            "best epoch, so test clips are not for it.",
        ),
    ],
)
def test_splits_that_a_probe_cannot_use_are_named_before_training(
    sounds, tmp_path, splits, message
):
    clips = tmp_path / "labelled.csv"
    first, second, third, *_ = sorted(sounds.rglob("*.wav"))
    clips.write_text(f"path,labels,split\n{first},a,train\n{second},b,train\n{third},b,test\n")
    settings = {
        "objective": SELF_DISTILLATION,
        "probe": {"source": str(clips), "splits": splits},
    }
    with pytest.raises(UserError) as caught:
        run(recipe(sounds, pretraining=settings), tmp_path / "run")
    assert str(caught.value) == message.format(clips)
    assert not (tmp_path / "run").exists()


def test_clips_that_validate_choose_the_epoch_where_no_splits_are_named(sounds, tmp_path):
    clips = tmp_path / "labelled.csv"
    names = ("train", "train", "validation", "test")
    rows = [
        f"{path},{'ab'[number % 2]},{names[number % 4]}"
        for number, path in enumerate(sorted(sounds.rglob("*.wav")))
    ]
    clips.write_text("\n".join(["path,labels,split", *rows]) + "\n")
    settings = from_dict(ProbeDataConfig, {"source": str(clips)}, "test")
    begun = experiment.before_training(prepare(recipe(sounds)), 0)
    assert _Probe(settings, begun, Sources()).splits == ("train", "validation")


def test_a_recipe_before_training_can_be_probed(sounds, tmp_path):
    manifest = tmp_path / "labelled.csv"
    paths = sorted(sounds.rglob("*.wav"))
    rows = [f"{path},{'ab'[number % 2]},{number % 4 // 2}" for number, path in enumerate(paths)]
    manifest.write_text("\n".join(["path,labels,fold", *rows]) + "\n")
    run(recipe(sounds), tmp_path / "run")
    begun = experiment.before_training(experiment.read_recipe(tmp_path / "run" / "recipe.yaml"), 0)
    trained = checkpoint.load(tmp_path / "run" / "last")
    assert begun.config.front_end == trained.config.front_end
    assert begun.state_dict().keys() == trained.state_dict().keys()
    words = ["probe", str(tmp_path / "run" / "recipe.yaml"), "--data", str(manifest)]
    said = [CliRunner().invoke(app, [*words, "--seed", seed]) for seed in ("0", "0", "1")]
    assert [each.exit_code for each in said] == [0, 0, 0], said[0].output
    assert said[0].stdout.startswith("embedding   16 numbers; 8 clips")
    assert said[0].stdout == said[1].stdout


def test_a_recipe_of_the_package_is_probed_by_its_name(sounds, tmp_path, monkeypatch):
    manifest = tmp_path / "labelled.csv"
    paths = sorted(sounds.rglob("*.wav"))
    splits = ("train", "validation")
    rows = [f"{path},{'ab'[n % 2]},{splits[n % 4 // 2]}" for n, path in enumerate(paths)]
    manifest.write_text("\n".join(["path,labels,split", *rows]) + "\n")
    monkeypatch.setenv("SC12", str(manifest))
    words = ["--data", str(manifest), "--train-split", "train", "--test-split", "validation"]
    said = CliRunner().invoke(app, ["probe", "pretrain_words_small", *words])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("embedding   128 numbers; 4 clips judged\n")


def test_what_comes_out_has_no_labels_and_predict_says_so(sounds, tmp_path):
    run(recipe(sounds), tmp_path / "run")
    start = tmp_path / "run" / "last"
    with pytest.raises(UserError) as caught:
        Classifier.load(start)
    assert str(caught.value) == (
        f"{start}: has no labels: it is a start for training, not a classifier. Train it (auricle "
        f"train --data SOUNDS --from {start}), or choose another model."
    )
    card = (start / "README.md").read_text()
    assert "pipeline_tag: feature-extraction\n" in card
    assert "\n# asda, a start for training\n" in card


def test_what_comes_out_is_a_start_for_training(sounds, tmp_path):
    run(recipe(sounds), tmp_path / "run")
    start = tmp_path / "run" / "last"
    manifest = tmp_path / "labelled.csv"
    paths = sorted(sounds.rglob("*.wav"))
    rows = [f"{path},{'ab'[number % 2]}" for number, path in enumerate(paths)]
    manifest.write_text("\n".join(["path,labels", *rows]) + "\n")
    tuned = values(sounds, initial_weights=str(start))
    del tuned["pretraining"]
    tuned["data"]["source"] = str(manifest)
    tuned["training"] |= {"loss": "ce", "epochs": 1}
    tuned["training"]["optimizer"] = {"learning_rate": 1e-9}
    run(recipe_from(tuned, "test"), tmp_path / "tuned")
    before, after = (
        checkpoint.load(folder).state_dict() for folder in (start, tmp_path / "tuned" / "last")
    )
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"model": {"name": "mobilenet", "width": 0.1}},
            "model: mobilenet cannot be pretrained: it has no patches that could be hidden from "
            "it, or no prefix token. Use asda, ast or ham_ast.",
        ),
        (
            {"pretraining": {"objective": {**SELF_DISTILLATION, "mask_ratio": 0.9}}},
            "front_end.padding.frames: the shortest clip would have 16 frames. mask_ratio 0.9 of "
            "a clip of 4 patches leaves 0 to see: a student must see one at least, and one must be "
            "hidden. Use longer clips, or another share.",
        ),
        (
            {"pretraining": {"objective": {**SELF_DISTILLATION, "decoder": {"groups": 3}}}},
            "pretraining.objective.decoder.groups: 3 does not divide the model's width (16). Use a "
            "number that does, such as 2.",
        ),
        (
            {
                "model": {**MODEL, "name": "ast", "width": 18, "stride": [8, 8]},
                "pretraining": {"objective": RECONSTRUCTION},
            },
            "pretraining.objective.decoder: its positions need a model.width that 4 divides, not "
            "18.",
        ),
        (
            {"model": {**MODEL, "name": "ast", "stride": [8, 8], "patchout": 0.5}},
            "model.patchout and pretraining cannot be given together: the objective hides patches. "
            "Use model.patchout=0.",
        ),
        (
            {"model": {**MODEL, "name": "ast", "stride": [8, 8], "stem": [4, 4]}},
            "model.stem: its convolutions reach over the edges of the patches, so that what is "
            "hidden would be seen in its neighbours. Pretrain without a stem: model.stem=[].",
        ),
        (
            {"model": {**MODEL, "name": "ast", "stride": [8, 6]}},
            "model.stride: patches of [8, 8] overlap at a stride of [8, 6], so that what is hidden "
            "would be seen in its neighbours. Pretrain with model.stride=[8, 8]; training may go "
            "back to [8, 6].",
        ),
    ],
)
def test_what_cannot_be_pretrained_is_refused_before_a_sound_is_read(
    sounds, tmp_path, sections, message
):
    with pytest.raises(ConfigError) as caught:
        run(recipe(sounds, **sections), tmp_path / "run")
    assert str(caught.value) == message


def other(setting, owners, own):
    """The message for a setting of another kind of recipe."""
    return (
        f"test: {setting} is a setting of recipes for auricle {owners}; this one is for auricle "
        f"{own}. Leave it out."
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"mixup": {"rate": 0.5}},
            other("mixup", "train and distill", "pretrain"),
        ),
        (
            {"distillation": {"teacher": "esc10"}},
            "test: distillation and pretraining cannot be given together; choose one.",
        ),
        (
            {"overlap": {"rate": 0.5}},
            other("overlap", "distill", "pretrain"),
        ),
        ({"seeds": 3}, other("seeds", "train", "pretrain")),
        (
            {"data": {"source": "x"}, "pretraining": {"probe": {"source": "y"}}},
            "test: pretraining.probe needs clips that validate: data.fold, data.validation_split "
            "or data.validation_share.",
        ),
        (
            {"pretraining": {"objective": {**RECONSTRUCTION, "mask_ratio": 1.0}}},
            "test: pretraining.objective.mask_ratio: Input should be less than 1, got 1.0.",
        ),
        (
            {"pretraining": {"objective": {"name": "masked_reconstruction", "mask_rato": 0.5}}},
            "test: pretraining.objective: unknown key 'mask_rato'. Did you mean 'mask_ratio'? "
            "Known: block, chunk, decoder, discrimination, mask_ratio, name, reconstruction.",
        ),
        (
            {"pretraining": {"objective": {"decoder": {"kernel": 4}}}},
            "test: pretraining.objective.decoder.kernel: kernel (4) must be odd.",
        ),
    ],
)
def test_what_makes_no_sense_without_labels_is_refused(sounds, sections, message):
    with pytest.raises(UserError) as caught:
        recipe(sounds, **sections)
    assert str(caught.value) == message


def test_the_command_says_what_to_do_next_and_refuses_other_recipes(sounds, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values(sounds)))
    out = tmp_path / "run"
    done = CliRunner().invoke(app, ["pretrain", str(path), "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert f"next         auricle train RECIPE initial_weights={out / 'last'}" in done.output
    assert f"model        {out / 'last'}" in done.output
    assert "best" not in done.output  # nothing scores the epochs
    refused = CliRunner().invoke(app, ["pretrain", "esc10_ast_small", "--data", str(sounds)])
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: esc10_ast_small: is a recipe for auricle train, not for auricle pretrain. Use: "
        "auricle train esc10_ast_small\n",
    )
