"""Exit statuses, and the one line that says what went wrong."""

import shlex
from typing import Final

import click

from overspill.errors import MemoryBudgetError, OverspillError, StoreExistsError, UsageError
from overspill.runs.session import Interrupted

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
WRONG: Final = 3
TOO_LARGE: Final = 4
INTERRUPTED: Final = 130


def exit_status(error: BaseException) -> int | None:
    """The status that `error` ends the command with; None for a defect of this program, whose traceback is wanted."""
    match error:
        case Interrupted() | KeyboardInterrupt():
            return INTERRUPTED
        case MemoryBudgetError():
            return TOO_LARGE
        case UsageError() | StoreExistsError() | click.UsageError():
            return USAGE
        case OverspillError():
            return FAILED
        case click.ClickException():
            return error.exit_code
        case _:
            return None


def sentence(error: BaseException) -> str:
    """`error` as one line for standard error."""
    match error:
        case Interrupted():
            return f"interrupted: {error}; continue with: overspill resume {shlex.quote(str(error.directory))}"
        case KeyboardInterrupt():
            return "interrupted: nothing was computed"
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "overspill"
            return f"error: {_one_line(error.format_message())} ({command} --help lists what there is)"
        case click.ClickException():
            return f"error: {_one_line(error.format_message())}"
        case _:
            return f"error: {_one_line(str(error))}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")
