"""`auricle agree`: does a student hear what its teacher hears?"""

from typing import Annotated, Any

import typer

from auricle.cli import judging


def agree(  # noqa: PLR0913 - one parameter for each option
    student: Annotated[
        str,
        typer.Argument(
            help="Built-in name, checkpoint folder or file, or hub id.", show_default=False
        ),
    ],
    teacher: Annotated[str, typer.Argument(help="Another model.", show_default=False)],
    data: judging.UnlabelledDataOption,
    out: judging.OutOption,
    split: judging.SplitOption = None,
    fold: judging.FoldOption = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="From which score of the teacher on a clip has a label."
        ),
    ] = 0.5,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Compare what two models hear in the same clips, which need no labels.

    Each model hears the files at its own sample rate. Prints how often the student's best label is
    among the teacher's three best, the student's mAP against the teacher's labels, and how far
    their logits lie apart, and writes agreement.json and agreement.csv. A clip that one of them
    cannot use is reported on stderr and left out for both, and the exit code is then 1.

    Examples:

      auricle agree runs/student/best teacher --data sounds.csv --split test --out agreement

      auricle agree tagger teacher --data recordings/ --out agreement
    """
    from rich.console import Console

    from auricle.data import read
    from auricle.evaluation import agree as compare_models
    from auricle.evaluation import agreement_report, report
    from auricle.inference import Classifier, check_distinct  # here, so that --help is quick

    check_distinct([student, teacher])
    with report.writable(out):
        manifest = read(data, labelled=False).select(split, fold)
        pupil, master = (Classifier.load(name, device) for name in (student, teacher))
        with judging.counting(2 * len(manifest.clips)) as progress:
            found = compare_models(pupil, master, manifest, threshold, batch_size, progress)
        judging.report_failures(found.failures)
        asked: dict[str, Any] = {"student": student, "teacher": teacher, "data": str(data)}
        agreement_report.write(found, out, asked | {"split": split, "fold": fold})
        agreement_report.print_tables(found, Console())
    typer.echo(f"{out}: agreement.json and agreement.csv")
    if found.failures:
        raise typer.Exit(1)
