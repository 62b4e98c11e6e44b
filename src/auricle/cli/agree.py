"""`auricle agree`: does a student hear what its teacher hears?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli import judging, thresholds
from auricle.errors import CheckpointError


def agree(  # noqa: PLR0913 - one parameter for each option
    student: judging.ModelArgument,
    teacher: judging.TeacherArgument,
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
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Store the thresholds at which the student's labels are most like the teacher's "
            "(F1) into the student's checkpoint.",
        ),
    ] = False,
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

      auricle agree runs/mine/last teacher --data a.csv --split validation --calibrate --out report
    """
    if calibrate:
        _check_can_store(student, split, fold)
    from rich.console import Console

    from auricle import checkpoint
    from auricle.data import read
    from auricle.evaluation import agree as compare_models
    from auricle.evaluation import agreement_report, report
    from auricle.evaluation.agreement import check_all_known
    from auricle.inference import (
        Classifier,
        check_distinct,
        resolve,
    )  # here, so that --help is quick

    check_distinct([student, teacher])
    with report.writable(out):
        manifest = read(data, labelled=False).select(split, fold)
        own = checkpoint.load(Path(student)) if calibrate else resolve(student)
        pupil, master = Classifier(own, device), Classifier.load(teacher, device)
        if calibrate:
            check_all_known(pupil.labels, master.labels)
        with judging.counting(2 * len(manifest.clips)) as progress:
            found = compare_models(pupil, master, manifest, threshold, batch_size, progress)
        judging.report_failures(found.failures)
        asked: dict[str, Any] = {
            "student": student,
            "teacher": teacher,
            "data": str(data),
            "split": split,
            "fold": fold,
        }
        agreement_report.write(found, out, asked)
        agreement_report.print_tables(found, Console())
    typer.echo(f"{out}: agreement.json and agreement.csv")
    if calibrate:
        del asked["student"]
        chosen_on = asked | {"threshold": threshold, "clips": len(found.clips)}
        thresholds.store(student, found.numbers["classes"], chosen_on)
    if found.failures:
        raise typer.Exit(1)


def _check_can_store(student: str, split: str | None, fold: int | None) -> None:
    thresholds.check_clips_are_named(split, fold)
    if not Path(student).is_dir():
        raise CheckpointError(
            f"{student}: no folder. --calibrate stores thresholds in the student's own checkpoint: "
            "name its folder."
        )
