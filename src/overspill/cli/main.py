"""The command line, as ``overspill`` and as ``dask overspill``: commands, and exceptions as exit statuses."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click

from overspill.cli.bench import bench
from overspill.cli.doctor import doctor
from overspill.cli.run import resume, run
from overspill.cli.status import exit_status, sentence
from overspill.runs.session import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal, a batch system and a lost connection end a program with."""


class Commands(click.Group):
    """Commands that end with a status and one line on standard error, whoever calls them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes an exit status."""
        try:
            with _interruptible_once():
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            status = exit_status(error)
            if status is None:
                raise
            if not isinstance(error, Interrupted):  # that was told at once
                click.echo(sentence(error), err=True)
            ctx.exit(status)


@contextmanager
def _interruptible_once() -> Iterator[None]:
    """Turn the first of the ending signals into KeyboardInterrupt; those after it leave the clean-up undisturbed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if interrupted:
            return
        interrupted = True
        # What an event loop says of the tasks that are given up now.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        raise KeyboardInterrupt

    level = logging.getLogger("asyncio").level
    # What is ignored from the start, as `nohup` has it, stays so.
    before = {one: handler for one in _ENDING if (handler := signal.getsignal(one)) is not signal.SIG_IGN}
    for one in before:
        signal.signal(one, interrupt)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        logging.getLogger("asyncio").setLevel(level)


# Dask registers the group under its own name.
@click.group("overspill", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="overspill", prog_name="overspill")
def cli() -> None:
    """NumPy-style computation on arrays larger than a GPU, on Dask.

    Exit status: 0 done, 1 failed, 2 usage, 3 a result failed its check, 4 would not fit, 130 interrupted and resumable.
    """


cli.add_command(run)
cli.add_command(resume)
cli.add_command(doctor)
cli.add_command(bench)


def main() -> None:
    """Entry point of the ``overspill`` script."""
    cli(prog_name="overspill")
