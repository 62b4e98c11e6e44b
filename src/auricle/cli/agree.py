"""`auricle agree` and `auricle match`: does a student answer as its teacher, and make it do so."""

from pathlib import Path
from typing import Annotated, Any

import typer

from auricle.cli import judging
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
    """Compare the outputs of two models for the same clips, which need no labels.

    Each model scores the files at its own sample rate. Prints how often the student's best label is
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
    from auricle.inference import Classifier, check_distinct, resolve  # here, for a quick --help

    check_distinct([student, teacher])
    with report.writable(out):
        manifest = read(data, labelled=False).select(split, fold)
        own = checkpoint.load(Path(student)) if calibrate else resolve(student)
        sides = Classifier(own, device), Classifier.load(teacher, device)
        if calibrate:
            check_all_known(*(side.labels for side in sides))
        with judging.counting(2 * len(manifest.clips)) as progress:
            found = compare_models(*sides, manifest, threshold, batch_size, progress)
        judging.report_failures(found.failures)
        asked: dict[str, Any] = {
            "teacher": teacher,
            "data": str(data),
            "split": split,
            "fold": fold,
        }
        agreement_report.write(found, out, {"student": student} | asked)
        agreement_report.print_tables(found, Console())
    typer.echo(f"{out}: agreement.json and agreement.csv")
    if calibrate:
        chosen_on = asked | {"threshold": threshold, "clips": len(found.clips)}
        judging.store_thresholds(student, found.numbers["classes"], chosen_on)
    if found.failures:
        raise typer.Exit(1)


def match(  # noqa: PLR0913 - one parameter for each option
    student: judging.ModelArgument,
    teacher: judging.TeacherArgument,
    data: judging.UnlabelledDataOption,
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint.", show_default=False)],
    split: judging.SplitOption = None,
    fold: judging.FoldOption = None,
    device: judging.DeviceOption = "auto",
    batch_size: judging.BatchOption = 32,
) -> None:
    """Scale a distilled model's last layer so that each label varies as it does for the teacher.

    A student answers more cautiously than its teacher, most of all about rare labels, which then
    stand behind frequent ones. In the copy that is written the log-odds of each label have the
    teacher's mean and deviation over these clips, which need no labels and may be those it learnt
    from. A clip that one of them cannot use is reported on stderr and left out, and the exit code
    is then 1.

    Examples:

      auricle match runs/student/last teacher --data sounds.csv --split train --out runs/matched
    """
    from auricle import checkpoint
    from auricle.data import read
    from auricle.evaluation import report
    from auricle.evaluation.agreement import check_can_match, matched, score_both
    from auricle.inference import Classifier, check_distinct, resolve  # here, for a quick --help

    check_distinct([student, teacher])
    checkpoint.check_new(out)
    own, other = resolve(student), resolve(teacher)
    check_can_match(own, other)
    with report.writable(out):
        manifest = read(data, labelled=False).select(split, fold)
        with judging.counting(2 * len(manifest.clips)) as progress:
            sides = (Classifier(own, device), Classifier(other, device))
            both = score_both(*sides, manifest, batch_size, progress)
        judging.report_failures(both.failures)
        origin = {"teacher": teacher, "data": str(data), "split": split, "fold": fold}
        checkpoint.save(matched(own, both, origin), out)
    typer.echo(
        f"{out}: {student} with the mean and deviation that {teacher} gives each of "
        f"{len(both.labels)} labels in {len(both.clips)} clips"
    )
    if both.failures:
        raise typer.Exit(1)


def _check_can_store(student: str, split: str | None, fold: int | None) -> None:
    judging.check_clips_are_named(split, fold)
    if not Path(student).is_dir():
        raise CheckpointError(
            f"{student}: no folder. --calibrate stores thresholds in the student's own checkpoint: "
            "name its folder."
        )
