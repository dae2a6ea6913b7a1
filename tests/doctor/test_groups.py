"""Limits of control groups, read from texts as systems have them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from overspill.doctor.groups import cores_worth, memory_limit_nbytes

GIB = 2**30

V2 = "0::/user.slice/job\n"

V1 = "9:name=systemd:/\n4:memory:/docker/abc\n3:cpuset:/\n1:cpu,cpuacct:/docker/abc\n0::/\n"


def files(**texts: str) -> Callable[[Path], str]:
    """Reads what stands under /sys/fs/cgroup, ``__`` for a slash and ``_d_`` for a dot."""
    contents = {
        "/sys/fs/cgroup/" + name.replace("__", "/").replace("_d_", "."): text + "\n" for name, text in texts.items()
    }

    def read(path: Path) -> str:
        if str(path) not in contents:
            raise FileNotFoundError(path)
        return contents[str(path)]

    return read


@pytest.mark.parametrize(
    ("memberships", "read", "limit"),
    [
        ("", files(), None),
        (V2, files(), None),
        (V2, files(user_d_slice__job__memory_d_max="max"), None),
        (V2, files(user_d_slice__job__memory_d_max=str(8 * GIB)), 8 * GIB),
        (V2, files(user_d_slice__job__memory_d_max="max", user_d_slice__memory_d_max=str(4 * GIB)), 4 * GIB),
        ("0::/\n", files(memory_d_max=str(2 * GIB)), 2 * GIB),
        ("0::/../../outside\n", files(memory_d_max=str(2 * GIB)), 2 * GIB),
        (V1, files(memory__docker__abc__memory_d_limit_in_bytes="9223372036854771712"), None),
        (V1, files(memory__docker__abc__memory_d_limit_in_bytes=str(3 * GIB)), 3 * GIB),
        # In a container the group's own name is one that only the host sees.
        (V1, files(memory__memory_d_limit_in_bytes=str(3 * GIB)), 3 * GIB),
    ],
)
def test_memory(memberships: str, read: Callable[[Path], str], limit: int | None) -> None:
    assert memory_limit_nbytes(memberships, read) == limit


@pytest.mark.parametrize(
    ("memberships", "read", "cores"),
    [
        ("", files(), None),
        (V2, files(user_d_slice__job__cpu_d_max="max 100000"), None),
        (V2, files(user_d_slice__job__cpu_d_max="250000 100000"), 2.5),
        (V2, files(user_d_slice__job__cpu_d_max="250000 100000", user_d_slice__cpu_d_max="100000 100000"), 1.0),
        (V1, files(cpu__docker__abc__cpu_d_cfs_quota_us="-1", cpu__docker__abc__cpu_d_cfs_period_us="100000"), None),
        (V1, files(cpu__cpu_d_cfs_quota_us="150000", cpu__cpu_d_cfs_period_us="100000"), 1.5),
        (V1, files(cpu__cpu_d_cfs_quota_us="150000"), None),
    ],
)
def test_processor_time(memberships: str, read: Callable[[Path], str], cores: float | None) -> None:
    assert cores_worth(memberships, read) == cores
