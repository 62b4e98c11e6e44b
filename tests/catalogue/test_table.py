"""The table: official addresses, known terms, names that nothing else has."""

import re
from pathlib import Path

import pytest
import torch

from auricle import catalogue, convert, models
from auricle.catalogue.table import MADE_FREE, PublicModel, table
from auricle.config import from_dict
from auricle.errors import CheckpointError, ConfigError
from auricle.evaluation.zero_shot import BUILTIN as LABEL_MAPS
from auricle.experiment import recipe_names
from auricle.inference import builtin_names, names

ENTRY = {
    "summary": "One.",
    "reader": "ced",
    "page": "owner/name",
    "weights": "model.safetensors",
    "parameters": 5.5,
    "license": "MIT",
    "score": 48.1,
}


def test_the_names_of_the_issue_are_there():
    wanted = "ast ced-tiny ced-mini ced-small ced-base mn04 mn10 mn40 eat-base eat-large sslam asda"
    assert set(wanted.split()) <= set(catalogue.names())


def test_no_name_means_something_else():
    others = {*builtin_names(), *recipe_names(), *(path.stem for path in LABEL_MAPS.iterdir())}
    assert not others & set(catalogue.names())
    assert not any(names.is_size(name) or names.is_hub_id(name) for name in catalogue.names())
    assert names.is_size("ast-base")


@pytest.mark.parametrize("name", catalogue.names())
def test_every_address_is_its_authors_and_every_digest_a_digest(name):
    model = catalogue.find(name)
    assert model.address.startswith(("https://huggingface.co/", "https://github.com/"))
    assert model.files or name == "asda"
    for file in model.files:
        assert file.url.startswith(model.address)
        if "huggingface" in file.url:
            revision = file.url.split("/")[6]
            assert re.fullmatch(r"[0-9a-f]{40}|main", revision)
            assert file.name.endswith((".json", ".safetensors"))  # nothing that could be run
    if model.sha256:
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert (model.forbids is None) == (model.license in MADE_FREE)
    readers = {reader.KIND for reader in convert.READERS}
    assert model.reader in readers


def test_what_no_document_gave_is_left_out_and_not_invented():
    unknown = [name for name, model in table().items() if model.sha256 is None]
    assert " ".join(unknown) == "ast-16x16 mn05 mn20 mn30 mn40 eat-base eat-large sslam asda"
    assert [name for name, model in table().items() if model.revision is None] == [
        "ast-16x16",
        "sslam",
        "asda",
    ]


@pytest.mark.parametrize("size", models.MODELS["ced"].sizes)
def test_ceds_have_as_many_parameters_as_published(size):
    with torch.device("meta"):
        built = models.build("ced", {"size": size, "num_classes": 527})
    millions = sum(parameter.numel() for parameter in built.parameters()) / 1e6
    assert round(millions, 1) == pytest.approx(catalogue.find(f"ced-{size}").parameters, abs=0.5)


def test_a_licence_that_forbids_says_what():
    with pytest.raises(ConfigError) as caught:
        from_dict(PublicModel, ENTRY | {"license": "CC-BY-NC-4.0"}, "toy")
    assert str(caught.value) == (
        "toy: forbids must say what the licence CC-BY-NC-4.0 does not permit."
    )


def test_the_page_has_every_name_and_its_score():
    page = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    for name, model in table().items():
        (row,) = (row for row in rows if f"`{name}`" in row.split("|")[1])
        assert f"{model.score:.1f}" in row.split("|")[4]
        assert (model.license or "not stated") in row.split("|")[5]


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(CheckpointError, match=r"^unknown public model 'ced-tny'\. Did you mean 'c"):
        catalogue.fetch("ced-tny")
