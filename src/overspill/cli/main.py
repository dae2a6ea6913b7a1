"""The command line, as ``overspill`` and as ``dask overspill``: commands, and exceptions as exit statuses."""

from typing import Any

import click

from overspill.cli.run import resume, run
from overspill.cli.status import exit_status, sentence


class Commands(click.Group):
    """Commands that end with a status and one line on standard error, whoever calls them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes an exit status."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            status = exit_status(error)
            if status is None:
                raise
            click.echo(sentence(error), err=True)
            ctx.exit(status)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="overspill", prog_name="overspill")
def cli() -> None:
    """NumPy-style computation on arrays larger than a GPU, on Dask.

    Exit status: 0 done, 1 failed, 2 usage, 3 a result failed its check, 4 would not fit, 130 interrupted and resumable.
    """


cli.add_command(run)
cli.add_command(resume)


def main() -> None:
    """Entry point of the ``overspill`` script."""
    cli(prog_name="overspill")
