"""Every command that README.md shows runs, and its Python example names two sounds."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from auricle import catalogue

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SET_UP = ("git clone", "cd auricle", "make ", "pip install")  # run by CI itself, not by a test


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    """What stands behind `$` in a block, and in the right column of the table of commands."""
    found = re.findall(
        r"^\$ (.*?)(?:  #.*)?$|^\| .* \| `(auricle .*)` \|$", README, flags=re.MULTILINE
    )
    lines = [(typed or of_table).strip() for typed, of_table in found]
    return [line for line in lines if not line.startswith(SET_UP)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shared_data):
    """A folder with the files that the README speaks of, from real clips."""
    folder = tmp_path_factory.mktemp("readme")
    clips = sorted((shared_data / "esc10" / "audio").glob("*.flac"))
    by_class = {"dog": "-0.flac", "rain": "-10.flac"}
    for label, ending in by_class.items():
        chosen = [clip for clip in clips if clip.name.endswith(ending)][:6]
        (folder / "sounds" / label).mkdir(parents=True)
        for clip in chosen:
            samples, rate = soundfile.read(clip)
            soundfile.write(folder / "sounds" / label / f"{clip.stem}.wav", samples, rate)
        soundfile.write(folder / f"{label}.wav", samples, rate)
    (folder / "ESC-50-master").symlink_to(shared_data / "esc10")
    (folder / "recordings").mkdir()
    soundfile.write(folder / "recordings" / "rain.flac", samples, rate)
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )


def test_the_commands_are_found():
    assert any(command.startswith("auricle predict") for command in commands())
    assert any(command.startswith("auricle train") for command in commands())
    assert "auricle models" in commands()  # of the table
    assert 12 <= len(commands()) <= 30


def test_the_second_example_is_of_the_catalogue():
    second = blocks("text")[1].split()
    assert second[:-1] == ["auricle", "predict", "dog.wav", "--model"]
    assert catalogue.find(second[-1]).page.startswith("MIT/ast-finetuned-audioset")


def test_the_table_of_claims_is_short():
    table = README.partition("| claim |")[2].partition("\n\n")[0]
    assert 6 <= len(table.splitlines()) - 2 <= 9


@pytest.mark.parametrize("model", ["tagger", "tagger_tiny"])
def test_the_accuracies_of_a_built_in_model_are_those_that_it_holds(model):
    config = PROJECT / "src" / "auricle" / "builtin" / model / "config.json"
    metrics = json.loads(config.read_text(encoding="utf-8"))["metrics"]
    held = [metrics["esc10_zero_shot"], metrics["esc10_linear_probe"]]
    page = (PROJECT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if f"built-in `{model}`" in row]
    assert len(rows) == 1
    assert [f"{100 * share:.1f} %" for share in held if f"{100 * share:.1f} %" not in rows[0]] == []
    if model == "tagger":
        assert f"the right one for {100 * held[0]:.0f} % of the clips" in README


@pytest.mark.slow
def test_every_command_runs_in_the_order_of_the_page(folder):
    for command in commands():
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if "--help" not in command:
            assert shlex.split(command)[0] == "auricle"


def test_the_python_example_runs(folder):
    for code in blocks("python"):
        done = run(f"python -c {shlex.quote(code)}", folder)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"(\d+\.\d%  \w.*\n){2}", done.stdout)


def test_every_link_within_the_project_leads_somewhere():
    pages = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        links = re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == [], page
