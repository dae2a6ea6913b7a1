"""Two CPU workers of one thread: a program that prints their scheduler's address and ends when its input does."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import LocalCluster, Worker

from cases import environment
from overspill.cluster import Cluster, cluster, local

END_S = 60


class Program:
    """The program, running in a process of its own, and in a session of its own, so that it hears no Ctrl-C."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        program = [sys.executable, str(Path(__file__))]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._running = subprocess.Popen(program, text=True, env=environment(), start_new_session=True, **streams)
        assert self._running.stdout
        self.address = self._running.stdout.readline().strip()
        assert self.address, f"{program[-1]} ended before its workers had started"

    def start_anew(self) -> None:
        """Kill it, with its workers, and start another one."""
        os.killpg(self._running.pid, signal.SIGKILL)
        self._running.communicate()
        self._start()

    def end(self) -> None:
        """End it, and see to it that it ends."""
        try:
            self._running.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            raise


def main() -> None:
    asked = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with local.running(LocalCluster, local.with_defaults("LocalCluster", asked)) as started:
        print(started.scheduler_address, flush=True)
        sys.stdin.read()


@contextmanager
def attached(program: Program) -> Iterator[Cluster]:
    """The workers, for the length of the block; new ones if tasks that nobody waits for any more hold their threads."""
    with cluster(program.address, memory="256MiB") as found:
        at_work = found.client.run(tasks_at_work).values()
        usable = len(at_work) == 2 and not any(at_work)
        if usable:
            yield found
    if not usable:
        program.start_anew()
        with cluster(program.address, memory="256MiB") as found:
            yield found


def tasks_at_work(dask_worker: Worker) -> int:
    """How many tasks hold a thread of the worker, wanted still or not."""
    return len(dask_worker.state.executing) + len(dask_worker.state.long_running)


if __name__ == "__main__":
    main()
