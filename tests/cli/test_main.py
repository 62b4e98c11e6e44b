"""`auricle` itself: its table of commands, and how errors and warnings are shown."""

import itertools
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import auricle
from auricle.cli import main
from auricle.errors import AudioWarning, ConfigError


@pytest.fixture
def failing(monkeypatch):
    """An `auricle` with one more command, `fail`, which does what the test says."""

    def with_command(action) -> typer.Typer:
        app = typer.Typer(cls=main.ReportingGroup)
        app.callback()(lambda: None)
        app.command("fail")(lambda: action())
        return app

    return with_command


def test_help_lists_every_command_with_its_summary():
    result = CliRunner().invoke(main.app, ["--help"])
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for command in itertools.chain(*main.PANELS.values()):
        first_words = " ".join(command.__doc__.split()[:5])
        assert f"{command.__name__} {first_words}" in text
    assert [[command.__name__ for command in commands] for commands in main.PANELS.values()] == [
        ["predict", "timeline", "embed"],
        ["train", "evaluate", "distill", "pretrain"],
        ["prepare", "soundscapes", "statistics"],
        ["models", "describe", "convert", "average"],
        ["compare", "probe", "agree", "match", "ensemble", "ablate", "tune"],
    ]
    places = [result.stdout.index(f"─ {panel} ─") for panel in main.PANELS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "command", list(itertools.chain(*main.PANELS.values())), ids=lambda command: command.__name__
)
def test_the_help_of_every_command_shows_examples_that_are_valid(command):
    shown = CliRunner().invoke(main.app, [command.__name__, "--help"], env={"COLUMNS": "100"})
    lines = [line.strip() for line in shown.stdout.splitlines()]
    examples = [line for line in lines if line.startswith("auricle ")]
    assert examples
    for example in examples:
        _, name, *words = shlex.split(example.split(" > ")[0])
        typer.main.get_command(main.app).commands[name].make_context(name, words)


@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["--version"], ["predict"]])
def test_what_needs_no_model_does_not_wait_for_torch(words):
    program = (
        "import atexit, sys\n"
        "heavy = {'torch', 'matplotlib', 'lightning', 'huggingface_hub', 'transformers'}\n"
        "atexit.register(lambda: print('HEAVY', sorted(heavy & set(sys.modules))))\n"
        "from auricle.cli.main import main\n"
        f"sys.argv = ['auricle', *{words!r}]\n"
        "main()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr


def test_importing_auricle_does_not_import_torch():
    program = "import auricle, sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == "False\n"


def test_the_version_is_the_packages():
    result = CliRunner().invoke(main.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"auricle {auricle.__version__}\n")


def test_no_command_shows_the_help_and_an_unknown_one_the_nearest():
    assert "Usage: auricle" in CliRunner().invoke(main.app, [], prog_name="auricle").output
    result = CliRunner().invoke(main.app, ["predicct"])
    assert result.exit_code == 2
    assert "Did you mean 'predict'?" in result.stderr


COMMANDS = [command.__name__ for command in itertools.chain(*main.PANELS.values())]


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)])
def test_an_unknown_option_is_one_line(words):
    result = CliRunner().invoke(main.app, [*words, "--hlep", "x"], prog_name="auricle")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no such option: --hlep")
    assert result.stderr.endswith(f" See {' '.join(['auricle', *words])} --help.\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [[name] for name in COMMANDS if name != "models"]
    + [["predict", "a.wav", "--min-score", "2"], ["predict", "a.wav", "--top", "many"]]
    + [["predict", "--top"], ["models", "one", "two"], ["embed", "a.wav"]],
)
def test_wrong_words_are_one_line(words):
    result = CliRunner().invoke(main.app, words, prog_name="auricle")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert result.stderr.endswith(" --help.\n")


def test_what_is_missing_is_named():
    result = CliRunner().invoke(main.app, ["embed", "a.wav"], prog_name="auricle")
    assert result.stderr == "error: missing option '--out'. See auricle embed --help.\n"


def test_a_users_error_is_one_line_and_exit_code_2(failing):
    def action() -> None:
        raise ConfigError("x.yaml: this key is required.")

    result = CliRunner().invoke(failing(action), ["fail"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: x.yaml: this key is required.\n"


def test_an_error_of_ours_keeps_its_traceback(failing):
    def action() -> None:
        raise KeyError("ours")

    assert isinstance(CliRunner().invoke(failing(action), ["fail"]).exception, KeyError)


def test_warnings_about_sounds_are_one_line_each_time(failing):
    def action() -> None:
        for _ in range(2):
            warnings.warn("a.wav: is cut short.", AudioWarning, stacklevel=1)

    result = CliRunner().invoke(failing(action), ["fail"])
    assert (result.exit_code, result.stderr) == (0, "warning: a.wav: is cut short.\n" * 2)


def test_errors_and_warnings_hold_nothing_that_a_terminal_obeys(failing):
    def warn_and_fail():
        warnings.warn("\x1b[2Ja.wav: short", AudioWarning, stacklevel=1)
        raise ConfigError("\x1b[2Ja.yaml: wrong")

    result = CliRunner().invoke(failing(warn_and_fail), ["fail"])
    assert result.stderr == "warning: \\x1b[2Ja.wav: short\nerror: \\x1b[2Ja.yaml: wrong\n"


def test_other_warnings_look_as_ever(failing):
    def action() -> None:
        warnings.simplefilter("always")
        warnings.warn("old", FutureWarning, stacklevel=1)

    assert "FutureWarning: old" in CliRunner().invoke(failing(action), ["fail"]).stderr


@pytest.mark.parametrize("words", [["models"], ["--help"], ["--version"]])
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize(
    "redirection, reason",
    [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_takes_nothing_is_one_line(words, buffered, redirection, reason):
    program = f"import sys; sys.argv[1:] = {words!r}; from auricle.cli.main import main; main()"
    flag = "" if buffered else "-u"
    command = f"{shlex.quote(sys.executable)} {flag} -c {shlex.quote(program)} {redirection}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, f"error: standard output: {reason}.\n")


def test_what_the_system_refuses_is_one_line(failing, tmp_path):
    def write():
        (tmp_path / "file").write_text("")
        (tmp_path / "file" / "in it").write_text("")

    result = CliRunner().invoke(failing(write), ["fail"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path / 'file' / 'in it'}: Not a directory.\n"


def test_a_file_of_ours_that_is_not_there_keeps_its_traceback(failing):
    def fail():
        raise FileNotFoundError(2, "No such file or directory", "ours")

    result = CliRunner().invoke(failing(fail), ["fail"])
    assert isinstance(result.exception, FileNotFoundError)


def test_ctrl_c_while_the_program_is_loaded_is_quiet():
    program = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from auricle.cli import run\n"
        "run()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, "")
