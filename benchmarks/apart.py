"""Programs run one after another, each with the machine to itself, whatever becomes of them."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import psutil

LARGEST_MESSAGE = 400

TEARDOWN_S = 60.0


def run(
    arguments: argparse.Namespace,
    compete: Callable[[argparse.Namespace], None],
    compare: Callable[[argparse.Namespace], None],
) -> None:
    """Be the one contender that ``--contender`` names, or compare all of them."""
    if arguments.contender:
        compete(arguments)
    else:
        # Contenders run in sessions of their own, which must end with this one.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        compare(arguments)


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as it is recorded."""
    return {key: value for key, value in vars(arguments).items() if key not in ("contender", "results", "only")}


def printed_by(arguments: list[str], timeout_s: float) -> dict[str, Any]:
    """What a Python program prints as its last line of JSON; why it did not, as ``"failed"``, however it ended.

    One that has printed it but does not end in time says so as ``"unended"``.
    """
    if timeout_s <= 0:
        return {"failed": "not begun: the time for the whole run was up"}
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaints:
        try:
            with _session([sys.executable, *arguments], output, complaints) as process:
                ending = f"ended with status {process.wait(timeout_s)}"
        except subprocess.TimeoutExpired:
            ending = f"took longer than {timeout_s:.0f} s"
        if lines := [line for line in _read(output).splitlines() if line.startswith("{")]:
            found = json.loads(lines[-1])
            if process.returncode:
                found["unended"] = ending
        else:
            found = {"failed": ending}
        if process.returncode or "failed" in found:
            found["last_words"] = _read(complaints)[-LARGEST_MESSAGE:]
    return found | {"elapsed_s": time.perf_counter() - begin}


def tell(measure: Callable[[contextlib.ExitStack, dict[str, Any]], None]) -> None:
    """Print, for `printed_by`, what `measure` finds, before anything that it has put on the stack is taken down."""
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        try:
            measure(stack, found)
        except Exception as error:
            found["failed"] = f"{type(error).__name__}: {str(error)[:LARGEST_MESSAGE]}"
        print(json.dumps(found), flush=True)


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@contextlib.contextmanager
def _session(program: list[str], output: IO[str], complaints: IO[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with all that it has started."""
    with subprocess.Popen(program, stdout=output, stderr=complaints, start_new_session=True) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            # The system takes its time to take back page-locked memory, which the next one needs.
            end = time.perf_counter() + TEARDOWN_S
            while _running(process.pid) and time.perf_counter() < end:
                time.sleep(0.1)


def _running(group: int) -> bool:
    """Whether a process of this group has not ended yet."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False
