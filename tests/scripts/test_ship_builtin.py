"""What is told of the built-in models: their configuration and card follow from the logs."""

import importlib
import json
import shutil
from pathlib import Path

import pytest

from auricle import checkpoint
from auricle.checkpoint import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE

SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = ("esc10", "keywords", "tagger", "tagger_tiny")
SPEED = {"sound_seconds": 10, "milliseconds": 12.34, "hardware": "an abacus"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("ship_builtin")


@pytest.fixture
def cards(monkeypatch, script):
    return importlib.import_module("model_card")


@pytest.fixture
def builtin(script, monkeypatch, tmp_path):
    """A copy of the built-in models, in whose place the script writes."""
    folder = tmp_path / "builtin"
    shutil.copytree(script.BUILTIN, folder)
    monkeypatch.setattr(script, "BUILTIN", folder)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_card_and_configuration_are_those_of_the_logs(script, builtin, name):
    before = {path.name: path.read_bytes() for path in (builtin / name).iterdir()}
    script.describe(name, script.MODELS[name].facts())
    assert {path.name: path.read_bytes() for path in (builtin / name).iterdir()} == before


def test_weights_are_never_touched_and_the_speed_is_measured_once(script, builtin, monkeypatch):
    folder = builtin / "esc10"
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["about"]
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    weights = (folder / WEIGHTS_FILE).read_bytes()
    monkeypatch.setattr(script, "measure_speed", lambda model: SPEED)
    script.describe("esc10", script.esc10())
    assert checkpoint.load(folder).config.about["speed"] == SPEED
    assert "10 s of sound take 12 ms of the processor (an abacus)" in (
        (folder / CARD_FILE).read_text()
    )
    assert (folder / WEIGHTS_FILE).read_bytes() == weights
    monkeypatch.setattr(script, "measure_speed", lambda model: SPEED | {"milliseconds": 7.0})
    script.describe("esc10", script.esc10())
    assert checkpoint.load(folder).config.about["speed"] == SPEED
    script.describe("esc10", script.esc10(), measure=True)
    assert checkpoint.load(folder).config.about["speed"]["milliseconds"] == 7.0


def test_a_trained_model_is_shipped_in_16_bits_with_its_card(
    script, builtin, monkeypatch, tmp_path
):
    trained = checkpoint.load(builtin / "esc10")
    trained.config = trained.config.model_copy(update={"about": {}, "metrics": {"loss": 1.0}})
    checkpoint.save(trained, tmp_path / "run" / "last")
    monkeypatch.setattr(script, "measure_speed", lambda model: SPEED)
    script.ship(tmp_path / "run" / "last", "esc10", script.esc10())
    size = (builtin / "esc10" / WEIGHTS_FILE).stat().st_size
    assert size < 0.51 * (tmp_path / "run" / "last" / WEIGHTS_FILE).stat().st_size
    config = checkpoint.load(builtin / "esc10").config
    assert config.metrics == script.esc10().metrics
    assert (builtin / "esc10" / CARD_FILE).read_text().startswith("---\nlibrary_name: auricle\n")


def test_every_card_says_what_it_is_not_good_for_and_whose_data_it_is(script):
    for name in script.MODELS:
        text = (script.CARDS / f"{name}.md").read_text()
        for head in ("## Scores", "## Not good for", "## How it was made", "## Data"):
            assert f"\n{head}\n" in text
        assert "| data | how much | licence |" in text


def test_a_field_that_nothing_fills_is_named(cards, script):
    model = checkpoint.load(script.BUILTIN / "esc10")
    with pytest.raises(SystemExit) as refusal:
        cards.fill("{summary} {weight}", model, script.BUILTIN / "esc10")
    assert str(refusal.value) == "esc10: nothing fills the field 'weight' of its card."


def test_the_speed_is_that_of_ten_seconds(cards, tiny_model):
    speed = cards.measure_speed(checkpoint.load(tiny_model))
    assert speed["sound_seconds"] == 10
    assert 0 < speed["milliseconds"] < 10_000
    assert speed["hardware"].startswith("one thread, ")


@pytest.mark.parametrize(
    "text, kept",
    [
        ('"/root/runs/tagger/sounds/heard.csv"', '"sounds/heard.csv"'),
        ("source: ../../runs/sounds/heard.csv,", "source: sounds/heard.csv,"),
        ("runs/tagger/run_long/last 1", "run_long/last 1"),
        ("scripts/train_tagger.sh", "scripts/train_tagger.sh"),
        ("https://github.com/a/b", "https://github.com/a/b"),
        ("a/b.wav,dog", "a/b.wav,dog"),
        ("source: '/root/a/b/c.csv'", "source: 'b/c.csv'"),
        ("[/root/a/b.csv, x]", "[a/b.csv, x]"),
        ("see (https://github.com/a/b/c)", "see (https://github.com/a/b/c)"),
    ],
)
def test_of_paths_the_last_two_parts_are_kept(script, text, kept):
    assert script.without_places(text) == kept


def test_an_unknown_model_is_named(script, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ship_builtin.py", "esc1O"])
    with pytest.raises(SystemExit):
        script.main()
    refusal = "unknown model 'esc1O'. Known: esc10, keywords, tagger, tagger_tiny."
    assert refusal in capsys.readouterr().err


def test_the_clips_that_a_model_was_trained_on_are_no_path_to_be_cut(script, tiny_model):
    """The hashes of their names hold slashes."""
    model = checkpoint.load(tiny_model)
    names = [{"clips": 9, "names": 9, "smallest": "AbC/def/ghi/JKL+"}]
    model.config.provenance["trained_on"] = names
    script.update_config(model, script.esc10(), SPEED)
    assert model.config.provenance["trained_on"] == names
