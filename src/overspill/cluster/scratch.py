"""The directory that a cluster works in: gone with the cluster or, if its process was killed, once the next one starts.

Its owner holds a lock on a file in it, which the kernel drops however the owner dies. The file is named after the
running system, since a file system that several hosts share may not tell one host of another's locks.
"""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "overspill-"


@contextmanager
def scratch(parent: str | os.PathLike[str] | None) -> Iterator[str]:
    """A new directory in `parent` (None: the system's own place) for the length of the block.

    Raises
    ------
    OSError
        If it cannot be made there.
    """
    directory = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    try:
        lock = os.open(os.path.join(directory, "unlocked"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            with suppress(OSError):  # a file system without locks: nobody may remove what is left there
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rename(os.path.join(directory, "unlocked"), os.path.join(directory, _owner()))
            _remove_abandoned(os.path.dirname(directory))
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _remove_abandoned(parent: str) -> None:
    """Remove the user's own directories in `parent` whose owners are dead."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                        _remove_if_abandoned(entry.path)


def _remove_if_abandoned(directory: str) -> None:
    lock = os.open(os.path.join(directory, _owner()), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)


def _owner() -> str:
    """The name of a lock that is held on this system, as it runs now."""
    try:
        system = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        system = socket.gethostname()
    return f"owner-{system}.lock"
