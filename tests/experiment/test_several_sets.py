"""Pretraining on several sets of sounds, each with its share, and on long recordings."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from auricle import checkpoint, experiment
from auricle.data import ClipDataset, collate
from auricle.errors import ConfigError, DataError
from auricle.experiment import loaders, prepare, read_recipe, recipe_from


def run(recipe, out, **options):
    return experiment.run(prepare(recipe), out, **options)


MODEL = {"name": "asda", "max_frames": 64, "patch": [8, 8], "width": 16, "depth": 1, "num_heads": 2}
OBJECTIVE = {"clones": 2, "block": 2, "mask_ratio": 0.5, "decoder": {"depth": 1, "groups": 4}}


@pytest.fixture
def folders(tmp_path):
    """Two folders of twelve and of three short sounds, and one with a recording of 65 s."""
    random = np.random.default_rng(0)
    for name, count, seconds in (("many", 12, 0.4), ("few", 3, 0.4), ("long", 1, 65)):
        (tmp_path / name).mkdir()
        for number in range(count):
            noise = random.normal(0, 0.1, round(16_000 * seconds))
            soundfile.write(tmp_path / name / f"{number}.wav", noise, 16_000)
    return tmp_path


def values(folders, more, training=None, **data):
    return {
        "data": {"source": str(folders / "many"), "more": more, "workers": 0, **data},
        "front_end": {"num_mels": 16, "mean": -5.0, "std": 4.0, "padding": {"frames": 16}},
        "model": MODEL,
        "pretraining": {"objective": OBJECTIVE},
        "training": {
            "epochs": 1,
            "batch_size": 5,
            "optimizer": {"learning_rate": 1e-3},
            **(training or {}),
        },
    }


@pytest.fixture
def heard(monkeypatch):
    """How often a clip of each folder was heard."""
    counts = Counter()
    whole = ClipDataset.__getitem__

    def counted(self, index):
        counts[self.clips[index % len(self)].path.parent.name] += 1
        return whole(self, index)

    monkeypatch.setattr(ClipDataset, "__getitem__", counted)
    return counts


def pretrain(recipe_values, out):
    return run(recipe_from(recipe_values, "test"), out)


def test_each_set_gets_its_share_of_an_epoch(folders, tmp_path, heard):
    more = [{"source": str(folders / "few"), "share": 0.5}]
    pretrain(values(folders, more, {"epochs": 8}), tmp_path / "run")
    assert sum(heard.values()) == 8 * 15
    assert heard["few"] == pytest.approx(60, abs=15)


def test_a_long_recording_counts_as_many_clips(folders, tmp_path, heard):
    more = [{"source": str(folders / "long"), "share": 0.5}]
    settings = {"sampling": "length"}
    pretrain(values(folders, more, settings, crop_seconds=0.5), tmp_path / "run")
    assert sum(heard.values()) == 12 + 130
    assert heard["long"] == pytest.approx(71, abs=18)
    heard.clear()
    alone = values(folders, [], settings, crop_seconds=0.5, source=str(folders / "long"))
    pretrain(alone, tmp_path / "alone")
    assert heard == {"long": 130}


def test_validation_clips_are_those_of_the_first_set(folders, tmp_path):
    more = [{"source": str(folders / "few"), "share": 0.2}]
    report = pretrain(values(folders, more, validation_share=0.25), tmp_path / "run")
    assert (report.num_train, report.num_validation) == (9 + 3, 3)


@pytest.mark.parametrize("sampling", ["shuffle", "length"])
def test_a_run_whose_sets_moved_goes_on_to_the_same_bits(
    folders, tmp_path, interrupted_in_epoch, sampling
):
    training = {"epochs": 2, "sampling": sampling}
    more = [{"source": str(folders / "few"), "share": 0.2}]
    whole = values(folders, more, training, crop_seconds=0.2)
    pretrain(whole, tmp_path / "whole")
    with interrupted_in_epoch(2):
        pretrain(whole, folders / "run")
    (tmp_path / "copy").mkdir()
    for name in ("few", "run"):
        (folders / name).rename(tmp_path / "copy" / name)
    with pytest.raises(ConfigError, match=r"data\.more\[0\]\.source is"):
        elsewhere = values(folders, [{"source": str(folders / "long"), "share": 0.2}], training)
        run(recipe_from(elsewhere, "test"), tmp_path / "copy" / "run", resume=True)
    whole["data"]["more"] = [{"source": str(tmp_path / "copy" / "few"), "share": 0.2}]
    run(recipe_from(whole, "test"), tmp_path / "copy" / "run", resume=True)
    first, second = (
        checkpoint.load(folder / "last").state_dict()
        for folder in (tmp_path / "whole", tmp_path / "copy" / "run")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_clips_that_validate_are_not_learnt_from_by_way_of_another_set(folders):
    more = [{"source": str(folders / "many"), "share": 0.5}]
    whole = recipe_from(values(folders, more, validation_share=0.25), "test")
    with pytest.raises(DataError) as caught:
        prepare(whole)
    first = prepare(recipe_from(values(folders, [], validation_share=0.25), "test"))
    assert str(caught.value) == (
        f"{folders / 'many'}: 3 of its clips validate, too; the first is "
        f"{first.validation.clips[0].path}. Name a split of it (data.more[0].train_split), or "
        "leave these clips out."
    )


def test_the_checkpoint_names_every_set(folders, tmp_path):
    pretrain(values(folders, [{"source": str(folders / "few"), "share": 0.2}]), tmp_path / "run")
    provenance = checkpoint.load(tmp_path / "run" / "last").config.provenance
    assert provenance["data"] == "many, few (share 0.2)"


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {
                "more": [
                    {"source": name, "share": share}
                    for name, share in zip("abc", (0.7, 0.2, 0.1), strict=True)
                ]
            },
            "the shares of more add up to 1; they must leave source some",
        ),
        (
            {"training": {"sampling": "balanced"}},
            "data.more and training.sampling 'balanced' cannot be given together; use shuffle or "
            "length",
        ),
    ],
)
def test_what_makes_no_sense_with_several_sets_is_refused(folders, changes, message):
    more = changes.pop("more", [{"source": "a", "share": 0.5}])
    with pytest.raises(ConfigError) as caught:
        recipe_from(values(folders, more, **changes), "test")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "more, training, message",
    [
        (
            [{"source": "a", "share": 0.5}],
            {},
            "test: data.more is a setting of recipes for auricle distill and pretrain; this one is "
            "for auricle train. Leave it out.",
        ),
        (
            [],
            {"sampling": "length"},
            "test: training.sampling: Input should be 'shuffle', 'balanced' or 'square_root', got "
            "'length'.",
        ),
    ],
)
def test_what_makes_no_sense_with_labels_is_refused(folders, more, training, message):
    whole = values(folders, more, training)
    del whole["pretraining"]
    with pytest.raises(ConfigError) as caught:
        recipe_from(whole, "test")
    assert message in str(caught.value)


def test_a_missing_set_is_named_before_anything_is_read(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDS", str(tmp_path / "birds"))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f'data: {{source: {folders / "many"}, more: [{{source: "${{BIRDS}}", share: 0.5}}]}}\n'
        "model: {name: asda, max_frames: 64}\npretraining: {}\n"
        "training: {epochs: 1, batch_size: 2, optimizer: {learning_rate: 0.001}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_recipe(path)
    assert str(caught.value) == (
        f"{path}: data.more[0].source: no such file or folder: {Path(tmp_path / 'birds')}."
    )


def test_batches_of_similar_lengths_are_what_is_trained_on(tmp_path, monkeypatch):
    (tmp_path / "sounds").mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        noise = random.normal(0, 0.1, 4000 + 4000 * (number % 2))
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", noise, 16_000)
    lengths = []

    def noted(items):
        batch = collate(items)
        lengths.append(set(batch.lengths.tolist()))
        return batch

    monkeypatch.setattr(loaders.data, "collate", noted)
    settings = {"similar_lengths": True, "epochs": 2}
    whole = values(tmp_path, [], settings, source=str(tmp_path / "sounds"))
    pretrain(whole, tmp_path / "run")
    assert len(lengths) == 16
    assert sum(len(each) == 1 for each in lengths) == 16
    assert {max(each) for each in lengths} == {4000, 8000}
