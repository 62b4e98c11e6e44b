"""Public models from a server that breaks off, damages, moves, stalls and is away.

The files have the names, layouts and shapes of the authors', and random weights.
"""

import os
import threading
from pathlib import Path

import huggingface_hub
import pytest
import torch

from auricle import catalogue
from auricle.catalogue.table import table
from auricle.errors import CheckpointError
from auricle.inference import Classifier, resolve

LARGE = ("ast", "ced-base", "mn40", "eat-base", "passt")  # one of each kind
BUILT_IN = "Built in, without a network: esc10, keywords, tagger, tagger_tiny."


def refusal(name: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        resolve(name)
    return str(caught.value)


def folder_of(name: str, cache: Path) -> Path:
    return cache / name / catalogue.find(name).version


# What goes well


@pytest.mark.parametrize(
    "name",
    [
        "ced-tiny",
        "mn04",
        *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE),
    ],
)
def test_a_model_of_the_real_shapes_is_fetched_once_and_scores(
    name, publish, server, cache, capsys
):
    publish(name)
    assert not catalogue.is_cached(name)
    waveform = torch.randn(32_000)
    scores = [
        p.score for p in Classifier.load(name, device="cpu").classify(waveform, 16_000, top=5)
    ]
    model = catalogue.find(name)
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{name}: fetching from {model.address} ({model.size}; licence of the weights: "
        f"{model.license}) into {folder_of(name, cache)}"
    )
    assert catalogue.is_cached(name)
    server.content.clear()
    server.asked.clear()
    again = Classifier.load(name, device="cpu").classify(waveform, 16_000, top=5)
    assert [prediction.score for prediction in again] == scores
    assert (server.asked, capsys.readouterr().err) == ([], "")


def test_source_revision_and_licence_stand_in_the_provenance(publish):
    publish("ced-tiny")
    provenance = resolve("ced-tiny").config.provenance
    assert provenance == {
        "source": catalogue.find("ced-tiny").address,
        "layout": "ced",
        "name": "ced-tiny",
        "revision": "ace276d29dd0bb3f3517b0fa8cf300738c409019",
        "license": "Apache-2.0",
    }


def test_a_file_that_moved_is_followed(publish, server):
    """As GitHub's release addresses, which lead to another host."""
    publish("mn04")
    path = "mn04/mn04_as_mAP_432.pt"
    server.content["elsewhere/asset"] = server.content.pop(path)
    server.moved[path] = "elsewhere/asset"
    assert len(resolve("mn04").labels) == 527


def test_what_breaks_off_is_continued_at_once(publish, server):
    files = publish("mn04")
    server.cuts = [1_000_000, 500_000]
    resolve("mn04")
    assert server.asked == ["all", "bytes=1000000-", "bytes=1500000-"]
    assert catalogue.fetch("mn04").read_bytes() == files["mn04_as_mAP_432.pt"]


def test_what_broke_off_for_good_is_continued_by_the_next_call(publish, server, cache):
    publish("ced-tiny")
    server.cuts = [10**9, 10**9, 3_000_000, *[0] * 20]
    folder = folder_of("ced-tiny", cache)
    url = catalogue.find("ced-tiny").files[-1].url
    assert refusal("ced-tiny") == (
        f"ced-tiny: {url}: cannot be fetched (Server disconnected without sending a response). "
        f"3000000 bytes are kept in {folder / 'model.safetensors.part'}: run the same again to go "
        f"on from there. {BUILT_IN}"
    )
    assert not catalogue.is_cached("ced-tiny")
    server.cuts, server.asked = [], []
    resolve("ced-tiny")
    assert server.asked == ["bytes=3000000-"]


def test_a_part_longer_than_the_file_is_fetched_anew(publish, server, cache):
    publish("mn04")
    folder = folder_of("mn04", cache)
    folder.mkdir(parents=True)
    (folder / "mn04_as_mAP_432.pt.part").write_bytes(bytes(6_000_000))
    resolve("mn04")
    assert server.asked == ["bytes=6000000-", "all"]


def test_a_slow_server_that_stalls_is_asked_to_go_on(publish, server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    files = publish("mn04")
    server.pauses = [0.3, 0.3]  # after the first quarter of an answer
    assert catalogue.fetch("mn04").read_bytes() == files["mn04_as_mAP_432.pt"]
    assert len(server.asked) == 3


def test_a_cache_that_may_only_be_read_serves(publish, monkeypatch):
    publish("ced-tiny")
    path = catalogue.fetch("ced-tiny")
    monkeypatch.setattr("filelock.FileLock", lambda path: pytest.fail(f"{path}"))
    assert catalogue.fetch("ced-tiny") == path


def test_two_at_once_fetch_once(publish, server):
    publish("ced-tiny")
    server.pauses = [0.05] * 3
    threads = [threading.Thread(target=catalogue.fetch, args=("ced-tiny",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["all"] * 3  # two small files and the weights
    assert catalogue.is_cached("ced-tiny")


def test_the_cache_is_where_the_variable_says_or_the_platform(monkeypatch, tmp_path):
    assert catalogue.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("AURICLE_CACHE", "~/models")
    assert catalogue.cache_folder() == Path.home() / "models"
    monkeypatch.delenv("AURICLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "platform"))
    monkeypatch.setattr("sys.platform", "linux")
    assert catalogue.cache_folder() == tmp_path / "platform" / "auricle"


def test_a_file_put_into_the_cache_by_hand_is_taken_if_it_is_the_right_one(publish, server, cache):
    files = publish("mn04")
    server.content.clear()
    folder = folder_of("mn04", cache)
    folder.mkdir(parents=True)
    path = folder / "mn04_as_mAP_432.pt"
    path.write_bytes(files[path.name][:-1] + b"?")
    assert refusal("mn04").startswith(f"{path}: is not the file that was published: sha256:")
    path.write_bytes(files[path.name])
    assert len(resolve("mn04").labels) == 527
    assert server.asked == []


# What is refused


def test_a_file_that_changed_at_its_source_is_refused_and_not_kept(publish, server, cache):
    publish("mn04")
    path = "mn04/mn04_as_mAP_432.pt"
    changed = bytearray(server.content[path])
    changed[-1000] ^= 1
    server.content[path] = bytes(changed)
    message = refusal("mn04")
    folder, model = folder_of("mn04", cache), catalogue.find("mn04")
    assert message.startswith(
        f"mn04: {folder / 'mn04_as_mAP_432.pt'}: is not the file that was published: sha256:"
    )
    assert message.endswith(
        f", not sha256:{model.sha256}. It was deleted; run the same again, or download {model.url} "
        f"by hand and put it into {folder}. {BUILT_IN}"
    )
    assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("status", "code", "answer"),
    [
        (404, "RevisionNotFound", "404 (no such revision)"),
        (404, "EntryNotFound", "404 (no such file)"),
        (401, "RepoNotFound", "401 (no such public model)"),
        (403, "GatedRepo", "403 (its owner has to let you in)"),
        (500, "", "500"),
    ],
)
def test_what_the_hub_answers_is_named(publish, server, cache, status, code, answer):
    publish("ced-tiny")
    url = catalogue.find("ced-tiny").files[0].url
    server.errors[url.removeprefix(f"{server.address}/")] = (status, code)
    assert refusal("ced-tiny") == (
        f"ced-tiny: {url}: the server answers {answer}. Try again later; if the file has moved, "
        f"download it by hand and put it into {folder_of('ced-tiny', cache)}. {BUILT_IN}"
    )


def test_without_a_network_the_built_in_models_are_named(publish, server, caplog):
    publish("ced-tiny")
    server.shutdown()
    server.server_close()
    url = catalogue.find("ced-tiny").files[0].url
    assert refusal("ced-tiny") == (
        f"ced-tiny: {url}: cannot be fetched ([Errno 111] Connection refused). Connect, and run "
        f"the same again. {BUILT_IN}"
    )
    assert not caplog.messages  # of each try


def test_offline_by_choice_nothing_is_asked(publish, server, monkeypatch):
    publish("ced-tiny")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refusal("ced-tiny")
    assert "offline mode is enabled" in message
    assert message.endswith(BUILT_IN)
    assert server.asked == []


def test_a_licence_that_forbids_is_shown_before_anything_is_fetched(publish, server, monkeypatch):
    publish("mn04", license="CC-BY-NC-4.0", forbids="commercial use")
    address = catalogue.find("mn04").address
    assert refusal("mn04") == (
        f"mn04: the licence of its weights (CC-BY-NC-4.0) forbids: commercial use; see {address}. "
        "Nothing was fetched. If your use is permitted, set AURICLE_ACCEPT_LICENSE=mn04 and run "
        "the same again."
    )
    assert server.asked == []
    monkeypatch.setenv("AURICLE_ACCEPT_LICENSE", "ced-tiny")
    refusal("mn04")
    monkeypatch.setenv("AURICLE_ACCEPT_LICENSE", "ced-tiny,mn04")
    assert len(resolve("mn04").labels) == 527


def test_a_model_without_a_public_address_says_where_to_ask():
    assert refusal("asda") == (
        "asda: no public address of its weights is known. Ask for them at "
        "https://github.com/MyParadise21/ASDA, and give the path of the file instead of the name."
    )


def test_a_file_that_changed_in_the_cache_is_refused(publish, cache):
    publish("ced-tiny", sha256=None, bytes=None)  # kept to what was fetched first
    path = catalogue.fetch("ced-tiny") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    folder = folder_of("ced-tiny", cache)
    message = refusal("ced-tiny")
    assert message.startswith(f"{path}: was changed after it was fetched: sha256:")
    assert message.endswith(f". Delete {folder} to fetch ced-tiny again.")


def test_a_file_that_was_only_touched_or_lost_is_used_or_fetched_again(publish, server):
    publish("ced-tiny")
    folder = catalogue.fetch("ced-tiny")
    os.utime(folder / "model.safetensors", ns=(0, 0))
    server.asked.clear()
    catalogue.fetch("ced-tiny")
    assert server.asked == []
    (folder / "config.json").unlink()
    assert not catalogue.is_cached("ced-tiny")
    catalogue.fetch("ced-tiny")
    assert server.asked == ["all"]


def test_a_web_page_in_the_place_of_the_weights_is_refused(publish, server, cache):
    """As a hotel's network answers; where no checksum is known only the reader finds out."""
    publish("ced-tiny", sha256=None, bytes=None)
    for path in server.content:
        if path.endswith("model.safetensors"):
            server.content[path] = b"<html>Please log in.</html>"
    message = refusal("ced-tiny")
    folder = folder_of("ced-tiny", cache)
    assert message.startswith(f"{folder / 'model.safetensors'}: not a whole .safetensors file (")
    assert message.endswith(f" Delete {folder} to fetch ced-tiny again.")


def test_a_model_of_another_kind_is_refused(publish, server, cache, monkeypatch):
    publish("ced-tiny")
    changed = catalogue.find("ced-tiny").model_copy(update={"reader": "eat"})
    monkeypatch.setitem(table(), "ced-tiny", changed)
    assert refusal("ced-tiny") == (
        f"{folder_of('ced-tiny', cache)}: holds a model of the kind 'ced', but ced-tiny is of the "
        f"kind 'eat'. What is at {server.address}/mispeech/ced-tiny has changed; update auricle."
    )


def test_a_cache_that_cannot_be_written_to_is_named(publish, monkeypatch, tmp_path):
    publish("ced-tiny")
    (tmp_path / "file").touch()
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path / "file"))
    folder = tmp_path / "file" / "ced-tiny" / catalogue.find("ced-tiny").version
    assert refusal("ced-tiny") == (
        f"{folder}: cannot be written to (Not a directory). Choose another folder with the "
        "environment variable AURICLE_CACHE."
    )
