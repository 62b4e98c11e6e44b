"""`auricle match`: bring a student's answers to the spread of its teacher's."""

from pathlib import Path
from typing import Annotated

import typer

from auricle.cli import judging


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
    from auricle.evaluation.agreement import score_both
    from auricle.evaluation.matching import check_can_match, matched
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
