"""``overspill run`` and ``overspill resume``."""

from pathlib import Path

import click

from overspill.cli.display import Display
from overspill.cli.status import DONE, WRONG
from overspill.runs import params, session, workflow
from overspill.runs.report import Report


@click.command()
@click.argument("workflow_path", metavar="WORKFLOW", type=click.Path(path_type=Path))
@click.option("--set", "assignments", metavar="NAME=VALUE", multiple=True, help="A parameter; give it once for each.")
@click.option("--cluster", metavar="FILE", help="A cluster's YAML file, or the address of a scheduler.")
@click.option("--dry-run", is_flag=True, help="Print the plan only; start nothing, write nothing.")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="A new directory [runs/WORKFLOW-TIME].")
@click.pass_context
def run(
    ctx: click.Context,
    workflow_path: Path,
    assignments: tuple[str, ...],
    cluster: str | None,
    dry_run: bool,
    out: Path | None,
) -> None:
    """Run the Python file WORKFLOW: plan it, compute it, store the results, check them.

    docs/workflows.md says what such a file contains.
    """
    loaded = workflow.load(workflow_path)
    job = session.Job(loaded, params.parse(loaded.Params, params.split(assignments)), cluster)
    with Display() as display:
        if dry_run:
            display.began(job)
            display.preview(session.foresee(job, out))
            display.note("a dry run: nothing was computed and nothing written")
            return
        report = session.start(job, out, display)
        display.report(report)
    ctx.exit(_status(report))


@click.command()
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@click.pass_context
def resume(ctx: click.Context, path: Path) -> None:
    """Continue the interrupted run in the directory RUN, with its parameters; blocks that are stored are kept."""
    with Display() as display:
        report = session.resume(path, display)
        display.report(report)
    ctx.exit(_status(report))


def _status(report: Report) -> int:
    return DONE if report.passed else WRONG
