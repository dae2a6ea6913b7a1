"""A run's directory: what is in it, and that only one process at a time works on it."""

import fcntl
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overspill.errors import StorageError, UsageError

LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of a run.

    Attributes
    ----------
    path
        The directory. In it are ``params.json``, ``manifest.json``, ``plan.json``, ``ledger.json``, ``report.json``,
        a ``NAME.zarr`` for each result, what the workflow presents, and ``error.txt`` after an unexpected exception.
    """

    path: Path

    def array(self, name: str) -> Path:
        """Where the array `name` is stored; ``DATASET/VARIABLE`` in the group of its dataset."""
        result, _, variable = name.partition("/")
        return self.path / f"{result}.zarr" / variable

    def write(self, name: str, content: Any) -> None:
        """Write `content` as ``NAME.json``, whole or not at all."""
        self.write_text(f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, file_name: str, text: str) -> None:
        """Write `text`, whole or not at all."""
        target = self.path / file_name
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, target)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(f"{target} cannot be written: {error.strerror}") from None

    def read(self, name: str) -> Any:
        """The content of ``NAME.json``.

        Raises
        ------
        UsageError
            If it is missing: the directory is no run's.
        StorageError
            If it is not JSON.
        """
        source = self.path / f"{name}.json"
        try:
            return json.loads(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{self.path} is no run: {source.name} cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise StorageError(f"{source} is damaged: {error}") from None


def create_default(workflow_name: str, now: datetime) -> RunDirectory:
    """Make ``runs/WORKFLOW-TIME``, a number added where that exists.

    Raises
    ------
    UsageError
        If it cannot be made.
    """
    base = Path("runs") / f"{workflow_name}-{now:%Y%m%d-%H%M%S}"
    for count in itertools.count(1):
        path = base if count == 1 else base.with_name(f"{base.name}-{count}")
        try:
            # Made, not looked for: another run may begin in the same second.
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be made ({error.strerror}): name a new directory with --out") from None
    return RunDirectory(path)


def check_unused(path: Path) -> None:
    """Refuse a directory that holds something; nothing is touched.

    Raises
    ------
    UsageError
        If `path` is a file, or a directory that is not empty or cannot be read.
    """
    try:
        entries = next(path.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"--out {path} cannot be used ({error.strerror}): name a new directory") from None
    if entries is not None:
        raise UsageError(f"--out {path} is not empty: name a new directory, or remove it first")


def create(path: Path) -> RunDirectory:
    """Make the directory of a new run.

    Raises
    ------
    UsageError
        If it holds something, or cannot be made.
    """
    check_unused(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {path} cannot be made ({error.strerror}): name a new directory") from None
    return RunDirectory(path)


@contextmanager
def locked(directory: RunDirectory) -> Iterator[None]:
    """Keep other processes from working on the same run; the lock ends with the process.

    Raises
    ------
    UsageError
        If another process holds it.
    """
    try:
        descriptor = os.open(directory.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"{directory.path} cannot be written ({error.strerror})") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{directory.path} is being worked on by another process: wait for it to end") from None
        yield
    finally:
        os.close(descriptor)
