"""`auricle ensemble`: judge several models as one."""

from typing import Annotated

import typer

from auricle.cli import judging


def ensemble(  # noqa: PLR0913 - one parameter for each option
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: built-in names, checkpoint folders or files, or hub ids.",
            metavar="MODELS...",
            show_default=False,
        ),
    ],
    data: judging.DataOption,
    out: judging.OutOption,
    split: judging.SplitOption = None,
    fold: judging.FoldOption = None,
    without: judging.WithoutOption = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="How much a model counts; once for each, in their order."),
    ] = None,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Score labelled clips with several models, whose answer is the mean of their scores.

    The models may differ in everything but their labels: in strides, front ends, sample rates and
    window lengths. All score the same clips in one pass. The report is that of `auricle evaluate`,
    with each member's metrics besides.

    Examples:

      auricle ensemble runs/seed0/best runs/seed1/best --data words.csv --split test --out report

      auricle ensemble strides10 strides16 --weight 2 --weight 1 --data words.csv --out report
    """
    from rich.console import Console

    from auricle.evaluation import report
    from auricle.evaluation.evaluate import evaluate_ensemble, warn_of_trained_clips
    from auricle.inference import Ensemble  # here, so that --help does not wait for torch
    from auricle.inference.engine import TorchEngine

    with report.prepared(out):
        manifest = judging.clips_asked_for(data, split, fold, without)
        loaded = Ensemble.load(models, device, weight)
        for name, member in zip(loaded.names, loaded.members, strict=True):
            if isinstance(member.engine, TorchEngine):
                warn_of_trained_clips(name, member.engine.checkpoint.config.provenance, manifest)
        with judging.counting(len(manifest.clips)) as progress:
            evaluation, members = evaluate_ensemble(loaded, manifest, batch_size, progress)
        asked = {"model": f"ensemble of {', '.join(models)}", "data": str(data), "split": split}
        judging.finish(
            evaluation, out, asked | {"fold": fold, "without": without or [], "members": members}
        )
    Console().print(report.members_table(members))
    if evaluation.failures:
        raise typer.Exit(1)
