"""A death is seen while the process is still there, and told once."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from distributed.core import Status

from overspill.cluster.endings import is_ending, watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a name that is hard to read, and nobody who waits for its end."""
    program = "open('/proc/self/comm', 'w').write('a) Z 1 (b'); print(flush=True); input()"
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **streams) as process:
        assert process.stdout and process.stdout.readline()
        yield process
        process.kill()


def test_who_is_ending(child: subprocess.Popen[bytes]) -> None:
    assert not is_ending(os.getpid()) and not is_ending(child.pid)
    child.kill()
    until(lambda: is_ending(child.pid))
    child.wait()
    assert not is_ending(child.pid)


def test_a_death_is_told_once(child: subprocess.Popen[bytes]) -> None:
    told: list[int] = []

    async def unregister() -> None:
        told.append(child.pid)

    nanny = SimpleNamespace(pid=child.pid, status=Status.running, periodic_callbacks={}, _unregister=unregister)

    def look() -> list[int]:
        asyncio.run(nanny.periodic_callbacks["endings"].callback())
        return told

    watch(nanny)
    assert look() == []
    child.kill()
    until(lambda: is_ending(child.pid))
    nanny.status = Status.closing  # whoever closes the nanny ends the worker, and tells so itself
    assert look() == []
    nanny.status = Status.running
    assert look() == look() == [child.pid]
    nanny.pid = None  # between two workers
    assert look() == [child.pid]
