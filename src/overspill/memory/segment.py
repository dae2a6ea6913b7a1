"""One block of shared memory: an anonymous file, mapped here, that other processes of the user can map by its handle.

A segment is a memfd, so it needs no room in ``/dev/shm``, has no name to leak, and is gone when the last process that
maps it is. When its pool is full it is an unlinked file on disk instead, with the same life. Another process opens it
through ``/proc/PID/fd/N``.

Whoever uses the bytes holds a *lease*: a shared ``flock`` on an open file description of its own. The kernel drops the
lock when the process dies, however it dies, so the owner finds out whether a block is free by asking for the exclusive
lock. A page behind the data holds the block's generation, which changes at each use, so that a handle that arrives too
late is told from one that is in time.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from overspill.errors import StaleTileError

PAGE = mmap.PAGESIZE

POPULATING_THREADS = 4
"""More are no faster: one H200 server made 3.2 GB of pages a second with 1 thread, 6.0 with 4, 5.5 with 8, another one
8.9, 23 and 15 (runs without a file)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

HUGE_PAGE = 2**21

_HUGE_PAGES = 14  # MADV_HUGEPAGE
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14
_MAP_FAILED = ctypes.c_void_p(-1).value
_GENERATION = struct.Struct("<Q")


def supported() -> bool:
    """Whether this system can share memory this way (Linux can); elsewhere tiles are ordinary arrays."""
    return hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Handle:
    """What another process of this host needs to map a segment.

    Attributes
    ----------
    pid, fd
        The process to open it from and the file descriptor there.
    owner
        Process whose pool the segment belongs to; not `pid` when a borrower passes it on.
    file
        Identity of the anonymous file on this host: its file system and its number there.
    nbytes
        Size of the data in bytes, a multiple of the page size.
    on_disk
        Whether the file is one on a disk.
    generation
        Which use of the block is meant.
    """

    pid: int
    fd: int
    owner: int
    file: tuple[int, int]
    nbytes: int
    on_disk: bool
    generation: int


class Lease:
    """A hold on a segment's bytes; arrays over the segment keep it alive as their base.

    Numpy reads ``__array_interface__`` and keeps the object that offered it, which is how every view, slice and reshape
    of a tile holds the lease without a subclass of ndarray.
    """

    __slots__ = ("__array_interface__", "__weakref__", "segment")

    def __init__(self, segment: "Segment", *, readonly: bool, release: Callable[..., object], argument: object) -> None:
        self.segment = segment
        self.__array_interface__ = {
            "shape": (segment.nbytes,),
            "typestr": "|u1",
            "data": (segment.address, readonly),
            "version": 3,
        }
        segment.leases.add(self)
        finalizer = weakref.finalize(self, release, argument)
        finalizer.atexit = False


class Segment:
    """An anonymous file mapped into this process."""

    def __init__(self, fd: int, nbytes: int, owner: int, *, on_disk: bool = False) -> None:
        self.fd = fd
        self.nbytes = nbytes
        self.owner = owner
        self.on_disk = on_disk
        self.file = _file(fd)
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self.pinned: bool | None = None
        """Whether the pages are locked for a GPU; None until someone tried."""
        self.pinning = threading.Lock()
        """Held while somebody locks the pages, which may take seconds."""
        self.before_unmap: list[Callable[[], object]] = []
        address = _libc.mmap(None, nbytes + PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        if address == _MAP_FAILED:
            error = ctypes.get_errno()
            os.close(fd)
            raise OSError(error, f"cannot map {nbytes} bytes of shared memory: {os.strerror(error)}")
        self.address: int = address
        if whole := nbytes // HUGE_PAGE * HUGE_PAGE:
            # Where the kernel gives them (shmem_enabled=advise) tiles are made 2.8 times as fast, in a run without a
            # file. Whole ones only: the last would take memory that nobody has asked for, nor counts.
            _libc.madvise(address, whole, _HUGE_PAGES)

    @classmethod
    def create(cls, nbytes: int, directory: str | None = None) -> "Segment":
        """A new segment of `nbytes` (a multiple of the page size), in memory, or unlinked on disk in `directory`."""
        fd = os.memfd_create("overspill-tile", os.MFD_CLOEXEC) if directory is None else _unlinked_file(directory)
        try:
            os.ftruncate(fd, nbytes + PAGE)
            if directory is not None:
                # A hole would turn a full disk into SIGBUS at the first touch; this makes it an error here.
                os.posix_fallocate(fd, 0, nbytes + PAGE)
        except OSError:
            os.close(fd)
            raise
        return cls(fd, nbytes, os.getpid(), on_disk=directory is not None)

    @property
    def generation(self) -> int:
        """Which use of the block this is."""
        return int(_GENERATION.unpack(ctypes.string_at(self.address + self.nbytes, _GENERATION.size))[0])

    @generation.setter
    def generation(self, value: int) -> None:
        ctypes.memmove(self.address + self.nbytes, _GENERATION.pack(value), _GENERATION.size)

    @property
    def handle(self) -> Handle:
        """The handle by which another process opens this segment; valid while a lease is held here."""
        return Handle(os.getpid(), self.fd, self.owner, self.file, self.nbytes, self.on_disk, self.generation)

    def populate(self) -> None:
        """Let the system make all pages now, by several threads, rather than one at each page's first touch."""
        part = max(PAGE, self.nbytes // POPULATING_THREADS // PAGE * PAGE)
        with ThreadPoolExecutor(POPULATING_THREADS) as threads:
            for start in range(0, self.nbytes, part):
                # A kernel that does not know the advice leaves the pages to their first touch.
                threads.submit(_libc.madvise, self.address + start, min(part, self.nbytes - start), _POPULATE_WRITE)

    @property
    def lease(self) -> Lease | None:
        """One of those that are held in this process."""
        while True:
            try:
                return next(iter(self.leases), None)
            except RuntimeError:  # another one was added meanwhile
                continue

    @property
    def truncated(self) -> bool:
        """Whether the owner has given the memory back."""
        return os.fstat(self.fd).st_size == 0

    def free_elsewhere(self) -> bool:
        """Take the block for the owner alone; False while another process holds a lease on it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def begin_use(self) -> None:
        """Open the block to leases of other processes, as a new generation."""
        self.generation += 1
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    def close(self, *, truncate: bool = False) -> None:
        """Unmap; with `truncate`, give the memory back even where others keep an idle mapping of it."""
        for undo in self.before_unmap:
            undo()
        _libc.munmap(self.address, self.nbytes + PAGE)
        if truncate:
            os.ftruncate(self.fd, 0)
        os.close(self.fd)


def _unlinked_file(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    # Network file systems have no files without a name.
    fd, path = tempfile.mkstemp(dir=directory)
    os.unlink(path)
    return fd


def open_leased(handle: Handle) -> int:
    """A file descriptor on the segment of `handle` that holds a shared lease until it is closed.

    Raises
    ------
    StaleTileError
        If the segment is gone or its owner has taken it back.
    """
    try:
        fd = os.open(f"/proc/{handle.pid}/fd/{handle.fd}", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StaleTileError(
            f"tile of process {handle.pid} cannot be opened ({error.strerror}): the process is gone, or it runs in "
            f"another container; start workers that share a host in one process namespace"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        generation = _GENERATION.unpack(os.pread(fd, _GENERATION.size, handle.nbytes))[0]
        current = _file(fd) == handle.file and generation == handle.generation
    except (OSError, struct.error):
        current = False
    if not current:
        os.close(fd)
        raise StaleTileError(f"tile of process {handle.pid} was recycled before its handle arrived: run the task again")
    return fd


def _file(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
