"""A worker's death is told as soon as it begins.

A process that was killed first gives back its memory, tens of gigabytes of it page-locked perhaps, and closes its
connections after that. Until then nobody would hear that it is gone, and what it held or was about to do would be
waited for.
"""

from pathlib import Path

from distributed import Nanny
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

INTERVAL_S = 0.1
"""How often a nanny looks whether its worker still lives."""

_EXITING = 0x4  # PF_EXITING of Linux, include/linux/sched.h
_FLAGS = 6  # of the fields behind the program's name, proc_pid_stat(5)


def watch(nanny: Nanny) -> None:
    """Let `nanny`, not yet started, tell the scheduler of its worker's death before the process is gone."""
    told: int | None = None

    async def look() -> None:
        nonlocal told
        pid = nanny.pid
        if nanny.status == Status.running and pid not in (None, told) and is_ending(pid):
            told = pid
            await nanny._unregister()

    nanny.periodic_callbacks["endings"] = PeriodicCallback(look, INTERVAL_S * 1000)


def is_ending(pid: int) -> bool:
    """Whether the process `pid` will run no more code of its own; False where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # The name stands in parentheses, and may hold some.
    fields = stat.rpartition(")")[2].split()
    return bool(int(fields[_FLAGS]) & _EXITING)
