"""`auricle predict`: its three outputs, what fails beside what works, and its exit codes."""

import csv
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from auricle.cli import output
from auricle.cli.main import app
from auricle.inference import Classifier, Prediction, Recognition, names, records

RATE = 16_000


@pytest.fixture
def predict(tiny_model):
    """Run `auricle predict WORDS` with the tiny model."""

    def run(*words: object):
        return CliRunner().invoke(
            app, ["predict", *map(str, words), "--model", str(tiny_model), "--device", "cpu"]
        )

    return run


@pytest.fixture
def sound(tmp_path):
    """Write a sound called so, as long as this, into the test's folder."""

    def write(name: str, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(len(name))
        shape = (round(seconds * rate), channels)
        kind = None if path.suffix else "WAV"
        soundfile.write(path, generator.normal(size=shape, scale=0.1), rate, format=kind)
        return path

    return write


def test_the_table_is_the_classifiers_answer(predict, sound, tiny_model):
    path = sound("dog.wav")
    expected = Classifier.load(tiny_model, device="cpu").classify_file(path, top=2)
    result = predict(path, "--top", 2)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        str(path),
        *(f"  {prediction.score:6.1%}  {prediction.label}" for prediction in expected),
    ]


def test_a_terminal_gets_bars_and_names_are_not_markup(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    predictions = [Prediction("[bold]rain", 1.0), Prediction("dog", 0.25)]
    whole = records.Part(Recognition(0.0, 5.0, predictions, None, silence=False))
    output.show_bars(records.Answer(Path("[red].wav"), "tiny", whole, [whole]))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "[red].wav 5.0 s"
    assert lines[1] == f"  100.0%  {'█' * 24}  [bold]rain"
    assert lines[2] == f"   25.0%  {'█' * 6}{' ' * 18}  dog"


def test_json_is_one_object_a_line_with_names_as_they_are(predict, sound, tiny_model):
    long, short = sound("müde 鳥 [x].flac", 5.0), sound("b.ogg", 0.05, 44_100, channels=2)
    result = predict(long, short, "--json", "--top", 99)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "müde 鳥 [x].flac" in result.stdout
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["file"] for record in records] == [str(long), str(short)]
    assert [record["duration"] for record in records] == [5.0, 0.05]
    for record in records:
        assert list(record) == ["file", "duration", "model", "labels", "recognised", "silence"]
        assert (record["recognised"], record["silence"]) == (None, False)
        assert record["model"] == str(tiny_model)
        scores = [entry["score"] for entry in record["labels"]]
        assert {entry["label"] for entry in record["labels"]} == {"dog", "cat", "rain", "sea"}
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_csv_has_lines_for_every_window(predict, sound):
    path = sound("one, two.wav", 5.0)
    result = predict(path, "--csv", "--top", 2)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "file,start,end,label,score,recognised,silence"
    assert all(line.endswith(",,0") for line in lines[1:])  # no thresholds, and no silence
    rows = list(csv.DictReader(lines))
    assert {row["file"] for row in rows} == {str(path)}
    spans = [(float(row["start"]), float(row["end"])) for row in rows]
    assert spans[::2] == spans[1::2]  # two labels each
    # 2.025 s at once: 200 frames, and what is left before another
    assert spans[::2] == [(0.0, 2.025), (1.012, 3.037), (2.025, 4.05), (2.975, 5.0)]


def test_csv_of_a_short_recording_is_the_json_of_it(predict, sound):
    path = sound("dog.wav")
    rows = list(csv.DictReader(predict(path, "--csv").stdout.splitlines()))
    record = json.loads(predict(path, "--json").stdout)
    assert [(row["label"], float(row["score"])) for row in rows] == [
        (entry["label"], entry["score"]) for entry in record["labels"]
    ]
    assert [(row["start"], row["end"]) for row in rows] == [("0.0", "1.0")] * 4


def test_short_forms_are_formats(predict, sound):
    path = sound("dog.wav")
    for name in ("json", "csv"):
        assert predict(path, "--format", name).stdout == predict(path, f"--{name}").stdout
    assert predict(path, "--format", "table").stdout == predict(path).stdout


def test_files_scored_together_are_answered_in_order_as_each_alone(predict, sound, tmp_path):
    (tmp_path / "bad.wav").write_text("not a sound")
    lengths = (1.0, 5.0, 0.05, 1.1, 3.0, 1.0)
    paths = [sound(f"{number}.wav", length) for number, length in enumerate(lengths)]
    paths.insert(2, tmp_path / "bad.wav")
    result = predict(*paths, "--json", "--top", 4)
    assert result.exit_code == 1
    records = [json.loads(line) for line in result.stdout.splitlines()]
    paths.remove(tmp_path / "bad.wav")
    assert [record["file"] for record in records] == list(map(str, paths))
    for path, record in zip(paths, records, strict=True):
        alone = json.loads(predict(path, "--json", "--top", 4).stdout)
        scores = {entry["label"]: entry["score"] for entry in alone["labels"]}
        for entry in record["labels"]:
            assert entry["score"] == pytest.approx(scores[entry["label"]], abs=5e-5)


def test_windows_are_joined_as_asked(predict, sound, tiny_model):
    path = sound("dog.wav", 5.0)
    for aggregation in ("mean", "max"):
        best = Classifier.load(tiny_model, "cpu", aggregation).classify_file(path, top=1)[0]
        answer = json.loads(predict(path, "--json", "--aggregate", aggregation).stdout)
        assert answer["labels"][0] == {"label": best.label, "score": round(best.score, 6)}


def test_a_directory_is_walked_and_its_bad_files_are_reported(predict, sound, tmp_path):
    good = [sound("set/a.wav"), sound("set/deep/b.flac"), sound("set/d.WAV")]
    (tmp_path / "set" / "c.wav").write_text("not a sound")
    (tmp_path / "set" / "notes.txt").write_text("left alone")
    result = predict(tmp_path / "set", "--json")
    assert result.exit_code == 1
    answered = {json.loads(line)["file"] for line in result.stdout.splitlines()}
    assert answered == set(map(str, good))
    skipped, failed = result.stderr.splitlines()
    assert skipped == (
        f"warning: {tmp_path / 'set'}: 1 file was skipped: 1 without the suffix of a sound (.txt)."
    )
    assert failed.startswith(f"error: {tmp_path / 'set' / 'c.wav'}: ")


def test_what_is_missing_or_too_short_does_not_stop_the_others(predict, sound, tmp_path):
    good, short = sound("good.wav"), sound("sound", 0.01)
    (tmp_path / "empty").mkdir()
    result = predict(tmp_path / "absent.wav", short, tmp_path / "empty", good)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == str(good)
    missing, empty, too_short = result.stderr.splitlines()
    assert missing.startswith(f"error: {tmp_path / 'absent.wav'}: does not exist. ")
    assert empty.startswith(f"error: {tmp_path / 'empty'}: no sound file in this directory ")
    assert too_short == (f"error: {short}: the sound lasts 10 ms; this model needs at least 25 ms.")


def test_the_only_file_failing_is_exit_code_1(predict, tmp_path):
    result = predict(tmp_path / "absent.wav")
    assert (result.exit_code, result.stdout) == (1, "")


def test_what_may_not_be_read_does_not_stop_the_others(
    sound, tiny_model, open_folder, ordinary_user, monkeypatch
):
    real = os.access  # asks for the user who started the process, unless told otherwise
    monkeypatch.setattr(os, "access", lambda path, mode: real(path, mode, effective_ids=True))
    closed, fine = open_folder / "closed.wav", open_folder / "fine.wav"
    for path in (closed, fine):
        shutil.copy(sound("a.wav"), path)
        path.chmod(0o644)
    closed.chmod(0)
    shutil.copytree(tiny_model, open_folder / "model")
    (open_folder / "model").chmod(0o755)
    words = ["predict", str(closed), str(fine), "--model", str(open_folder / "model"), "--json"]
    with ordinary_user():
        result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert [json.loads(line)["file"] for line in result.stdout.splitlines()] == [str(fine)]
    assert result.stderr == (
        f"error: {closed}: permission denied. Make it readable for the user who runs this.\n"
    )


def test_a_recording_cut_short_is_answered_with_a_warning(predict, sound):
    path = sound("cut.wav", 2.0)
    path.write_bytes(path.read_bytes()[: RATE * 2])
    result = predict(path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["duration"] == pytest.approx(1.0, abs=0.01)
    [line] = result.stderr.splitlines()
    assert line.startswith(f"warning: {path}: ")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--json", "--csv"], "--json and --csv cannot be given together. Choose one."),
        (
            ["--format", "csv", "--json"],
            "--json and --format cannot be given together. Choose one.",
        ),
        (
            ["--format", "xml"],
            "unknown format 'xml'. Known: csv, json, table.",
        ),
        (
            ["--csv", "--aggregate", "max"],
            "--aggregate has no meaning with --csv, which gives every window lines of its own. "
            "Leave one of them out.",
        ),
        (
            ["--aggregate", "median"],
            "unknown aggregation 'median'. Did you mean 'mean'? Known: max, mean.",
        ),
    ],
)
def test_words_that_do_not_go_together_are_exit_code_2(predict, sound, words, message):
    result = predict(sound("dog.wav"), *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {message}\n"


@pytest.mark.parametrize("words", [["--top", "0"], ["--top", "many"], ["--wrong"]])
def test_wrong_usage_is_exit_code_2(predict, sound, words):
    assert predict(sound("dog.wav"), *words).exit_code == 2


def test_an_unknown_model_is_exit_code_2_with_the_nearest(sound, tiny_model, monkeypatch):
    monkeypatch.setattr(names, "BUILTIN", tiny_model.parent)
    result = CliRunner().invoke(app, ["predict", str(sound("dog.wav")), "--model", "tinny"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: unknown model 'tinny'. Did you mean 'tiny'? Known: tiny. More, with a network: "
        "auricle models --all\n"
    )


def test_an_unknown_device_is_exit_code_2(sound, tiny_model):
    words = ["predict", str(sound("dog.wav")), "--model", str(tiny_model), "--device", "gpu"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr == (
        "error: unknown device 'gpu'. Did you mean 'cpu'? Known: auto, cpu, cuda, mps.\n"
    )


def test_one_recording_is_drawn_where_asked(predict, sound, tmp_path):
    out = tmp_path / "out.png"
    assert predict(sound("dog.wav"), "--plot", out).exit_code == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_several_recordings_are_drawn_into_a_folder(predict, sound, tmp_path):
    sounds = [sound("a/dog.wav"), sound("b/dog.wav"), sound("b/dog.flac")]
    assert predict(*sounds, "--plot", tmp_path / "plots").exit_code == 0
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["dog.flac.png", "dog.wav-2.png", "dog.wav.png"]


def test_several_recordings_do_not_go_into_one_picture(predict, sound, tmp_path):
    out = tmp_path / "out.png"
    result = predict(sound("a.wav"), sound("b.wav"), "--plot", out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: --plot {out}: one picture cannot hold 2 recordings. Name a folder (without a "
        "suffix), and each gets a picture in it.\n"
    )


@pytest.mark.parametrize("name", ["a.wav/out.png", "a.wav/plots"])
def test_an_impossible_place_for_pictures_is_refused_first(predict, sound, tmp_path, name):
    path = sound("a.wav")
    result = predict(path, "--plot", tmp_path / name)
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: --plot {tmp_path / name}")
    assert line.endswith("). Name another place.")


def start(*words: object, **options: object) -> subprocess.Popen:
    program = "from auricle.cli.main import main; main()"
    command = [sys.executable, "-c", program, "predict", *map(str, words)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
        **options,
    )


def heed_interrupts() -> None:
    """Undo what a shell does to its background jobs, which the tests may be: ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_process_answers_a_name_that_is_no_text(sound, tiny_model, tmp_path):
    path = os.fsdecode(bytes(tmp_path) + b"/\xff.wav")
    os.rename(sound("a.wav"), path)
    process = start(tmp_path, "--model", tiny_model, "--json")
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["file"] == path


def test_imports_are_no_garbage(predict, sound):
    gc.unfreeze()
    assert predict(sound("a.wav")).exit_code == 0
    assert gc.isenabled() and gc.get_freeze_count() > 1000
    gc.unfreeze()


def test_ctrl_c_is_exit_code_130_without_a_traceback(sound, tiny_model):
    process = start(*[sound("a.wav", 5.0)] * 2000, "--model", tiny_model, "--json")
    process.stdout.readline()  # the first answer: it is at work
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert (process.returncode, err) == (130, "")


def test_answers_come_while_others_are_worked_on_and_a_reader_may_leave(sound, tiny_model):
    process = start(*[sound("a.wav", 5.0)] * 2000, "--model", tiny_model, "--json")
    assert json.loads(process.stdout.readline())["duration"] == 5.0
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(), err) == (1, "")


def test_a_channel_can_be_chosen(predict, sound, tmp_path):
    stereo = sound("stereo.wav", channels=2)
    samples, _ = soundfile.read(stereo, dtype="int16")
    answers = {}
    for name, channel in (("1", samples[:, 0]), ("2", samples[:, 1])):
        soundfile.write(tmp_path / "one.wav", channel, RATE)
        expected = json.loads(predict(tmp_path / "one.wav", "--json").stdout)
        answer = json.loads(predict(stereo, "--json", "--channel", name).stdout)
        assert answer["labels"] == expected["labels"]
        answers[name] = answer["labels"]
    mixed = json.loads(predict(stereo, "--json", "--channel", "mix").stdout)["labels"]
    assert mixed == json.loads(predict(stereo, "--json").stdout)["labels"]
    assert len({json.dumps(each) for each in (*answers.values(), mixed)}) == 3


def test_a_channel_that_is_not_there_fails_for_its_file_alone(predict, sound):
    mono, stereo = sound("mono.wav"), sound("stereo.wav", channels=2)
    result = predict(mono, stereo, "--channel", 2)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: {mono}: has 1 channel, no channel 2. Give a number from 1 to 1, or mix.\n"
    )
    assert result.stdout.startswith(str(stereo))


@pytest.mark.parametrize("word", ["0", "-1", "left", "1.5", "9" * 30, "9" * 5000])
def test_what_is_no_channel_is_refused(predict, sound, word):
    result = predict(sound("a.wav"), f"--channel={word}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: --channel {word}: give the number of a channel, counted from 1, or mix.\n"
    )


def test_sounds_without_a_header_are_read_with_raw(predict, sound, tiny_model, tmp_path):
    pytest.importorskip("matplotlib")
    samples, rate = soundfile.read(sound("a.wav"))
    path = tmp_path / "b.raw"
    soundfile.write(path, samples, rate, format="RAW", subtype="PCM_16", endian="LITTLE")
    expected = json.loads(predict(tmp_path / "a.wav", "--json").stdout)
    words = ("--json", "--raw", f"{rate},s16le")
    result = predict(path, *words, "--plot", tmp_path / "b.png")
    answer = json.loads(result.stdout)
    assert answer["labels"] == expected["labels"]
    assert (tmp_path / "b.png").stat().st_size > 1000
    lines = predict(tmp_path, *words).stdout.splitlines()
    assert [json.loads(line)["file"] for line in lines] == [str(tmp_path / "a.wav"), str(path)]
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "predict"]
    command += ["-", *words, "--model", str(tiny_model), "--device", "cpu"]
    piped = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=True)
    assert json.loads(piped.stdout)["labels"] == expected["labels"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8000", "give RATE,ENCODING or RATE,ENCODING,CHANNELS, such as 8000,s16le."),
        ("fast,s16le", "give RATE,ENCODING or RATE,ENCODING,CHANNELS, such as 8000,s16le."),
        (
            "9" * 5000 + ",s16le",
            "give RATE,ENCODING or RATE,ENCODING,CHANNELS, such as 8000,s16le.",
        ),
        ("8000,s16le,2,2", "give RATE,ENCODING or RATE,ENCODING,CHANNELS, such as 8000,s16le."),
        ("5,s16le", "a sample rate of 5 Hz is outside the range of 1000 to 1000000 Hz."),
        ("8000,vox,2", "2 channels of vox cannot be read. Give a number from 1 to 1."),
    ],
)
def test_what_raw_cannot_mean_is_refused(predict, sound, text, reason):
    result = predict(sound("a.wav"), "--raw", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: --raw {text}: {reason}\n"


def test_channels_that_cancel_are_no_silence(predict, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([noise, -noise], 1), RATE)
    result = predict(tmp_path / "a.wav", "--json")
    assert json.loads(result.stdout)["silence"] is False
    assert result.stderr == (
        f"warning: {tmp_path / 'a.wav'}: has channels that cancel in their mean. Where they do, "
        "channel 1 is used alone. Choose one, or the mean, with --channel (in Python: "
        "auricle.audio.Selected(file, channel)).\n"
    )
    mixed = predict(tmp_path / "a.wav", "--json", "--channel", "mix")
    assert json.loads(mixed.stdout)["silence"] is True


def test_a_dash_is_standard_input(sound, tiny_model, tmp_path):
    pytest.importorskip("matplotlib")
    path = sound("a.wav")
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "predict"]
    command += ["-", "--json", "--model", str(tiny_model), "--device", "cpu"]
    command += ["--plot", str(tmp_path / "a.png")]
    with path.open("rb") as file:
        run = subprocess.run(command, stdin=file, capture_output=True, check=True)
    with path.open("rb") as file:
        piped = subprocess.run(command, input=file.read(), capture_output=True, check=True)
    assert run.stdout == piped.stdout
    answer = json.loads(run.stdout)
    assert (answer["file"], answer["duration"]) == ("-", 1.0)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_an_empty_standard_input_is_one_line(tiny_model):
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "predict"]
    command += ["-", "--model", str(tiny_model), "--device", "cpu"]
    run = subprocess.run(command, input=b"", capture_output=True)
    assert run.stderr.decode() == (
        "error: standard input: is empty (0 bytes). Copy or record it again.\n"
    )
