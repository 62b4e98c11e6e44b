"""`auricle evaluate`, from files to files, with a tiny model that was never trained."""

import csv
import json

import pytest
import soundfile
import torch
from typer.testing import CliRunner

from auricle import checkpoint, data
from auricle.cli.main import app
from auricle.evaluation import classification_metrics
from auricle.features import FbankConfig
from auricle.inference import Classifier

LABELS = ["bark", "meow", "silence"]
TINY = {"max_frames": 64, "width": 16, "depth": 1, "num_heads": 2, "patch": [16, 16]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a checkpoint that hears up to 0.65 s in one piece."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny = checkpoint.create("ast", TINY, FbankConfig(num_mels=32), LABELS, "softmax")
    for parameter in tiny.model.parameters():  # so that clips differ in what is heard
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint.save(tiny, folder)
    return folder


@pytest.fixture
def manifest(tmp_path):
    """Eight clips of noise, 0.3 to 1 s, in two splits and two folds."""
    generator = torch.Generator().manual_seed(0)
    lines = ["path,labels,split,fold"]
    for index in range(8):
        noise = torch.rand(4800 + 1600 * index, generator=generator) - 0.5
        soundfile.write(tmp_path / f"{index}.wav", noise.cumsum(0).numpy() / 100, 16_000)
        split = "train" if index < 3 else "test"
        lines.append(f"{index}.wav,{LABELS[index % 3]},{split},{index % 2}")
    path = tmp_path / "clips.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def run(model, manifest, tmp_path):
    """Run the command on the manifest with further words; what it says and what it wrote."""

    def call(*words):
        out = tmp_path / "out"
        arguments = ["evaluate", str(model), "--data", str(manifest), "--out", str(out), *words]
        result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
        if not (out / "metrics.json").exists():
            return result, None, None
        with (out / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return result, json.loads((out / "metrics.json").read_text()), rows

    return call


def test_a_model_is_judged_on_a_manifest(run, model, manifest, tmp_path):
    result, metrics, rows = run()
    assert result.exit_code == 0, result.output
    assert [row["file"] for row in rows] == [f"{index}.wav" for index in range(8)]
    assert metrics["model"] == str(model)
    assert metrics["data"] == str(manifest)
    assert metrics["num_clips"] == 8
    assert metrics["failed"] == metrics["without"] == []
    assert result.stderr == ""
    assert result.stdout.startswith("clips       8\naccuracy    ")
    assert result.stdout.endswith(
        f"{tmp_path / 'out'}: report.html, metrics.json, predictions.csv and scores.safetensors\n"
    )
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["metrics.json", "predictions.csv", "report.html", "scores.safetensors"]


def test_the_scores_are_those_of_the_classifier(run, model, manifest):
    """Files of one window in a batch, and files of several, as `predict` scores them alone."""
    _, _, rows = run("--batch-size", "3")
    classifier = Classifier.load(model, device="cpu")
    assert classifier.window_seconds < 0.7
    for clip, row in zip(data.read(manifest).clips, rows, strict=True):
        found = torch.tensor([float(row[f"score:{label}"]) for label in LABELS])
        torch.testing.assert_close(found, classifier.score_file(clip.path), atol=2e-6, rtol=0)


def test_the_metrics_follow_from_the_predictions(run):
    _, metrics, rows = run()
    scores = torch.tensor([[float(row[f"score:{label}"]) for label in LABELS] for row in rows])
    targets = torch.tensor([[int(row["labels"] == label) for label in LABELS] for row in rows])
    expected = classification_metrics(scores.clamp(max=1), targets, LABELS)
    classes = zip(metrics.pop("classes"), expected.pop("classes"), strict=True)
    assert {key: metrics[key] for key in expected} == expected
    for found, wanted in classes:
        assert {key: found[key] for key in wanted} == wanted
    assert metrics["accuracy"] == sum(row["correct"] == "1" for row in rows) / 8


def test_a_split_and_a_fold_are_chosen(run):
    result, metrics, rows = run("--split", "test", "--fold", "1")
    assert result.exit_code == 0, result.output
    assert [row["file"] for row in rows] == ["3.wav", "5.wav", "7.wav"]
    assert (metrics["split"], metrics["fold"], metrics["num_clips"]) == ("test", 1, 3)


def test_a_label_is_left_out(run):
    result, metrics, rows = run("--without", "silence", "--without", "meow")
    assert result.exit_code == 0, result.output
    assert {row["labels"] for row in rows} == {"bark"}
    assert metrics["without"] == ["silence", "meow"]
    assert metrics["classes_without_positives"] == ["meow", "silence"]
    assert result.stdout.startswith("without the clips labelled silence, meow\nclips       3\n")


def test_a_label_that_the_model_does_not_know_can_be_left_out(run, manifest):
    manifest.write_text(manifest.read_text().replace("silence", "howl"))
    result, metrics, _ = run("--without", "howl")
    assert result.exit_code == 0, result.output
    assert metrics["num_clips"] == 6


def test_a_bad_clip_is_reported_and_the_others_go_on(run, manifest):
    bad = manifest.parent / "2.wav"
    bad.write_text("this is not a sound")
    result, metrics, rows = run()
    assert result.exit_code == 1
    assert len(rows) == metrics["num_clips"] == 7
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(bad) in line
    assert [failed["file"] for failed in metrics["failed"]] == ["2.wav"]


def test_a_folder_per_class_is_data(run, model, tmp_path):
    for label in LABELS:
        (tmp_path / "sounds" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "sounds" / label / "a.wav", torch.rand(8000).numpy(), 16_000)
    result, metrics, rows = run("--data", str(tmp_path / "sounds"))
    assert result.exit_code == 0, result.output
    assert [row["file"] for row in rows] == ["bark/a.wav", "meow/a.wav", "silence/a.wav"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--split", "tset"], "no clip has split 'tset'. Splits: test, train. Folds: 0, 1."),
        (["--fold", "7"], "no clip has fold 7. Splits: test, train. Folds: 0, 1."),
        (
            ["--without", "silense"],
            "unknown label 'silense'. Did you mean 'silence'? Known: bark, meow, silence.",
        ),
    ],
)
def test_a_choice_without_clips_is_refused(run, manifest, words, message):
    result, metrics, _ = run(*words)
    assert result.exit_code == 2
    assert result.stderr == f"error: {manifest}: {message}\n"
    assert metrics is None


def test_an_unknown_label_is_refused(run, manifest):
    manifest.write_text(manifest.read_text().replace("meow", "moew"))
    result, metrics, _ = run()
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {manifest}, line 3: the model does not know 1 of the 3 labels: 'moew' "
        "(nearest: 'meow'). Correct them, leave their clips out with --without, or say with "
        "`auricle evaluate --classes` which of the model's labels they are.\n"
    )
    assert metrics is None


def test_classes_are_put_together_of_the_models_labels(run, manifest, tmp_path):
    (tmp_path / "map.yaml").write_text("pet: [Bark, MEOW]\nquiet: silence\n")
    text = manifest.read_text().replace(",bark,", ",pet,").replace(",meow,", ",pet,")
    manifest.write_text(text.replace(",silence,", ",quiet,"))
    result, metrics, rows = run("--classes", str(tmp_path / "map.yaml"))
    assert result.exit_code == 0, result.output
    assert [row["label"] for row in metrics["classes"]] == ["pet", "quiet"]
    assert metrics["label_map"] == {
        "name": str(tmp_path / "map.yaml"),
        "labels": {"pet": ["bark", "meow"], "quiet": ["silence"]},
    }
    assert set(rows[0]) >= {"score:pet", "score:quiet"}
    assert set(metrics["all_labels"]) == {"first", "among_five"}  # the model has no thresholds
    assert metrics["all_labels"]["among_five"] == 1  # of three labels
    first = metrics["all_labels"]["first"]
    line = f"all labels  a right one first {first:.1%}, among five 100.0%\n"
    assert line in result.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<td>the best-scored of all the model&#x27;s labels is one of the clip&#x27;s" in page


def test_classes_may_be_the_labels_of_their_names(run, manifest):
    manifest.write_text(manifest.read_text().replace("silence", "SILENCE"))
    _, metrics, _ = run("--classes", "names", "--without", "meow")
    assert [row["label"] for row in metrics["classes"]] == ["SILENCE", "bark"]


def test_thresholds_are_not_stored_for_classes_of_labels(run):
    result, _, _ = run("--classes", "names", "--split", "test", "--calibrate")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: --calibrate stores a threshold for each label of the model; with --classes the "
        "labels are put together. Use one of the two.\n"
    )


def test_thresholds_are_stored_where_it_is_asked_for(run, model):
    before = (model / "model.safetensors").read_bytes(), (model / "config.json").read_text()
    result, metrics, _ = run("--split", "test", "--fold", "1")
    assert (model / "config.json").read_text() == before[1]
    try:
        result, metrics, _ = run("--split", "test", "--calibrate")
        assert result.exit_code == 0, result.output
        shared = metrics["classes"][0]["threshold"]
        assert result.stdout.endswith(
            f"{model}: thresholds of 3 classes stored; 3 of fewer than 5 clips, or of all, share "
            f"one ({shared:.3f}): bark, meow, silence\n"
        )
        stored = checkpoint.load(model).config
        assert list(stored.thresholds) == [row["calibrated"] for row in metrics["classes"]]
        assert stored.provenance["thresholds"] == {
            "data": metrics["data"],
            "split": "test",
            "fold": None,
            "without": [],
            "clips": 5,
        }
        assert (model / "model.safetensors").read_bytes() == before[0]
    finally:
        (model / "config.json").write_text(before[1])


def test_stored_thresholds_decide_multi_label_clips(run, model, manifest):
    before = (model / "config.json").read_text()
    manifest.write_text(manifest.read_text().replace("0.wav,bark", "0.wav,bark;meow"))
    try:
        checkpoint.store_thresholds(model, [0.0, 0.0, 1.0], {})
        _, metrics, _ = run()
    finally:
        (model / "config.json").write_text(before)
    assert [row["recall"] for row in metrics["classes"]] == [1.0, 1.0, 0.0]


def test_thresholds_of_unsaid_clips_are_refused(run):
    result, metrics, _ = run("--calibrate")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: --calibrate chooses thresholds on the clips that are scored. Say which with "
        "--split or --fold, and keep the test clips out of it.\n"
    )
    assert metrics is None


def test_an_evaluation_that_comes_to_nothing_leaves_no_folder(run, manifest, model, tmp_path):
    deep = tmp_path / "new" / "report"
    words = ["evaluate", str(model), "--data", str(manifest)]
    for wrong in (["--fold", "7"], ["--data", "nowhere.csv"], ["--device", "abacus"]):
        result = CliRunner().invoke(app, [*words, "--out", str(deep), *wrong])
        assert result.exit_code == 2
    manifest.write_text(manifest.read_text().replace("silence", "howl"))
    assert CliRunner().invoke(app, [*words, "--out", str(deep)]).exit_code == 2
    assert not deep.parent.exists()


def test_clips_that_the_model_was_trained_on_are_warned_of(model, manifest, run, tmp_path):
    result, metrics, _ = run("--split", "test")
    assert (metrics["trained_on"], result.stderr) == (None, "")  # its provenance does not say
    trained = checkpoint.load(model)
    train = data.read(manifest).select("train")
    trained.config.provenance[data.TRAINED_ON] = data.fingerprints(train)
    checkpoint.save(trained, tmp_path / "trained")
    words = ["evaluate", str(tmp_path / "trained"), "--data", str(manifest), "--device", "cpu"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "all")])
    assert result.stderr == (
        f"warning: {tmp_path / 'trained'}: trained on 3 of these 8 clips, by their names. The "
        "numbers do not say how well it does on other sound: choose clips that it was not trained "
        "on (--split, --fold).\n"
    )
    assert json.loads((tmp_path / "all" / "metrics.json").read_text())["trained_on"] == 3
    result = CliRunner().invoke(app, [*words, "--split", "test", "--out", str(tmp_path / "test")])
    assert result.stderr == ""
    assert json.loads((tmp_path / "test" / "metrics.json").read_text())["trained_on"] == 0
