"""What control groups allow this process: memory and processor time, of both versions of Linux's control groups."""

from collections.abc import Callable, Iterator
from pathlib import Path

from overspill.machine import CGROUPS

UNLIMITED_NBYTES = 2**60
"""Version 1 writes a number past this where there is no limit."""

Read = Callable[[Path], str]


def memory_limit_nbytes(memberships: str, read: Read = Path.read_text) -> int | None:
    """The smallest memory limit of the groups that a process is in, in bytes; None where there is none.

    Parameters
    ----------
    memberships
        Content of ``/proc/PID/cgroup``.
    read
        Reads a file; raises OSError where there is none.
    """
    limits = []
    for group in _groups(memberships, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int(read(group / name)))
            except (OSError, ValueError):  # no such file; "max"
                continue
    return min((limit for limit in limits if limit < UNLIMITED_NBYTES), default=None)


def cores_worth(memberships: str, read: Read = Path.read_text) -> float | None:
    """As many cores' time as the groups let a process have; None where there is no limit."""
    quotas = []
    for group in _groups(memberships, "cpu"):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            try:
                quota, period = (int(word) for name in names for word in read(group / name).split())
            except (OSError, ValueError):
                continue
            if quota > 0 and period > 0:
                quotas.append(quota / period)
    return min(quotas, default=None)


def _groups(memberships: str, controller: str) -> Iterator[Path]:
    """Directories of the groups that have a say on `controller`, each process's own and all above it."""
    for line in memberships.splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            top = CGROUPS
        elif controller in controllers.split(","):
            top = CGROUPS / controller
        else:
            continue
        own = top / name.lstrip("/")
        # In a container the name may be one that only the host sees; the top is then the container's own group.
        yield from (group for group in (own, *own.parents) if group.is_relative_to(top))
