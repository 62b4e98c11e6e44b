"""`auricle probe`: what frozen embeddings know of the classes of some data."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli import judging
from auricle.errors import ConfigError


def probe(  # noqa: PLR0913 - one parameter for each option
    model: Annotated[
        str,
        typer.Argument(
            help="Built-in or public name, checkpoint folder or file, or hub id, with or without "
            "labels; a size such as ham_ast-tiny, never trained; a recipe file or the name of a "
            "built-in recipe, for its model before training; or log-mel, for plain statistics.",
            show_default=False,
        ),
    ],
    data: judging.DataOption,
    out: Annotated[Path | None, typer.Option(help="Folder for probe.json.")] = None,
    train_split: Annotated[
        str | None, typer.Option(help="Learn from this split.", show_default="each fold's others")
    ] = None,
    test_split: Annotated[
        str | None, typer.Option(help="Judge on this split.", show_default="each fold in turn")
    ] = None,
    without: judging.WithoutOption = None,
    deviation: Annotated[
        bool,
        typer.Option(
            "--deviation",
            help="Read the deviation over the model's patches, too, as log-mel has that over time.",
        ),
    ] = False,
    neighbours: Annotated[int, typer.Option(min=1, help="Nearest clips that vote.")] = 10,
    seed: Annotated[
        int, typer.Option(help="Of an untrained model's weights and of the inner parts.")
    ] = 0,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Train a linear classifier on a model's embeddings, and ask their nearest neighbours.

    The model itself stays as it is, and needs no labels. Data with folds is judged fold by fold,
    each time learning from the others; other data by its splits train and test; a folder that has
    neither by five folds that are drawn from it. Prints the accuracy
    (of clips with several labels, the mAP) with its 95 % interval. A clip that cannot be used is
    reported on stderr, and the exit code is then 1.

    Examples:

      auricle probe runs/pretrained/last --data esc10.csv

      auricle probe runs/pretrained/recipe.yaml --data esc10.csv

      auricle probe log-mel --data esc10.csv --out probes/log-mel

      auricle probe runs/pretrained/last --deviation --data esc10.csv

      auricle probe ham_ast-tiny --data words.csv --train-split train --test-split validation
    """
    if (train_split is None) != (test_split is None):
        raise ConfigError("--train-split and --test-split go together: name both, or neither.")
    from auricle.data import read
    from auricle.evaluation import ProbeConfig, leave_out, report
    from auricle.evaluation import probe as probe_model
    from auricle.evaluation.probe import probe_lines, write_probe
    from auricle.inference import (
        Engine,
        TorchEngine,
        load_embedder,
    )  # here, so that --help does not wait for torch

    with report.writable(out) if out else contextlib.nullcontext():
        splits = (train_split, test_split) if train_split and test_split else None
        manifest = leave_out(read(data), without or [])
        engine: Engine
        if _is_recipe(model):
            from auricle import experiment

            begun = experiment.before_training(experiment.read_recipe(model), seed)
            engine = TorchEngine(begun, device, deviation)
        else:
            engine = load_embedder(model, device, seed, deviation)
        config = ProbeConfig(neighbours=neighbours, seed=seed)
        with judging.counting(len(manifest.clips)) as progress:
            found = probe_model(engine, manifest, splits, config, batch_size, progress)
        judging.report_failures(found.linear.failures)
        typer.echo("\n".join(probe_lines(found)))
        if out:
            asked: dict[str, Any] = {"model": model, "deviation": deviation, "data": str(data)}
            asked |= {"splits": splits, "without": without or []}
            write_probe(found, out, asked | config.to_dict())
            typer.echo(f"{out}: probe.json, predictions.csv and scores.safetensors")
    if found.linear.failures:
        raise typer.Exit(1)


def _is_recipe(name: str) -> bool:
    """Whether `name` is a recipe, and no model."""
    from auricle import catalogue
    from auricle.inference import builtin_names

    if Path(name).suffix == ".yaml":
        return True
    if Path(name).exists() or name in (*builtin_names(), *catalogue.names()):
        return False
    from auricle.experiment import recipe_names

    return name in recipe_names()
