"""Processes with a GPU each: NCCL moves vectors between the GPUs, on a stream of its own beside the products."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import cupy
import numpy as np
from cupy.cuda import nccl

from overspill.linalg.resident.communicator import Gathered
from overspill.linalg.resident.mesh import EndedError, Mesh

ABORT_AFTER_S = 2.0
"""What the thread that works may take to leave a call of NCCL before that is aborted under it."""

WORD_NBYTES = 8
"""Of a message, behind its elements; whole elements of 8 bytes."""


def usable() -> bool:
    """Whether the library is installed where CuPy finds it."""
    return bool(nccl.available)


class NCCL:
    """The communicator of processes with a GPU each; see `communicator.Communicator`.

    A kernel of NCCL waits for its peers for ever, whether they live or not, and keeps the GPU. Therefore a thread
    watches the sockets: where one closes before its owner has said good-bye, it aborts what NCCL does.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.rank, self.size = mesh.rank, mesh.size
        # All must be there: NCCL's own start waits for ever too.
        identifier = nccl.get_unique_id() if self.rank == 0 else b""
        self._nccl = nccl.NcclCommunicator(self.size, mesh.allgather(identifier)[0], self.rank)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._ready = cupy.cuda.Event(disable_timing=True)
        self._done = cupy.cuda.Event(disable_timing=True)
        self._messages: dict[int, _Message] = {}
        self._calling = threading.Lock()
        self._gone: int | None = None
        self._watcher = threading.Thread(target=self._watch, name="overspill-nccl-watcher", daemon=True)
        self._watcher.start()

    def allgather(self, part: Any, word: int) -> Gathered:
        """See `communicator.Communicator`."""
        message = self._messages.get(part.nbytes)
        if message is None:
            message = self._messages[part.nbytes] = _Message(part.nbytes, self.size)
        message.put(part, word)
        with self._calls():
            self._nccl.allGather(
                message.own.data.ptr, message.all.data.ptr, message.own.size, nccl.NCCL_UINT8, self._stream.ptr
            )
        message.all.get(self._stream, out=message.landed, blocking=False)
        self._stream.synchronize()
        self._check()
        parts = message.landed[:, : part.nbytes].copy().view(part.dtype).reshape(self.size, *part.shape)
        return Gathered(parts, message.landed[:, -WORD_NBYTES].copy())

    def exchange(self, sends: Sequence[Any], receives: Sequence[Any]) -> Callable[[], None]:
        """See `communicator.Communicator`."""
        if all(x is None for x in (*sends, *receives)):
            return _nothing
        with self._calls():
            nccl.groupStart()
            try:
                for peer in range(self.size):
                    if (x := sends[peer]) is not None:
                        self._nccl.send(x.data.ptr, x.nbytes, nccl.NCCL_UINT8, peer, self._stream.ptr)
                    if (x := receives[peer]) is not None:
                        self._nccl.recv(x.data.ptr, x.nbytes, nccl.NCCL_UINT8, peer, self._stream.ptr)
            finally:
                nccl.groupEnd()
            self._done.record(self._stream)

        def finish() -> None:
            cupy.cuda.get_current_stream().wait_event(self._done)

        return finish

    def close(self) -> None:
        """See `communicator.Communicator`."""
        self._stream.synchronize()
        self._check()
        for peer in range(self.size):
            if peer != self.rank:
                self.mesh.send(peer, b"good-bye")
        self._watcher.join()  # which ends when all have said good-bye, or one has gone
        self._check()
        self._nccl.destroy()
        self.mesh.close()

    def abort(self) -> None:
        """See `communicator.Communicator`."""
        self.mesh.abort()
        self._watcher.join()
        self._nccl.abort()
        self.mesh.close()

    @contextmanager
    def _calls(self) -> Iterator[None]:
        """Calls of NCCL, whose kernels wait for what is queued for their operands."""
        with self._calling:
            self._check()
            self._ready.record(cupy.cuda.get_current_stream())
            self._stream.wait_event(self._ready)
            try:
                yield
            except Exception as error:  # it may learn before the watcher that a peer has gone
                raise EndedError(f"NCCL failed ({error!r})") from error

    def _check(self) -> None:
        if self._gone is not None:
            raise EndedError(f"rank {self._gone} has gone")

    def _watch(self) -> None:
        talking: dict[Any, int] = {found: peer for peer, found in enumerate(self.mesh.peers) if found is not None}
        while talking:
            for found in wait(list(talking)):
                peer = talking.pop(found)
                try:
                    self.mesh.receive(peer)
                except EndedError:
                    self._abort(peer)
                    return

    def _abort(self, peer: int) -> None:
        self._gone = peer
        # A call that NCCL itself does not come back from must not keep it from being aborted.
        alone = self._calling.acquire(timeout=ABORT_AFTER_S)
        try:
            self._nccl.abort()
        finally:
            if alone:
                self._calling.release()


def _nothing() -> None:
    """What is to be waited for where nothing moves."""


class _Message:
    """Room for messages of one size: this rank's and everybody's, on the device, and where these land on the host."""

    def __init__(self, nbytes: int, size: int) -> None:
        self.nbytes = nbytes
        padded = -(-nbytes // WORD_NBYTES) * WORD_NBYTES + WORD_NBYTES
        self.own = cupy.zeros(padded, cupy.uint8)
        self.all = cupy.empty((size, padded), cupy.uint8)
        self.landed = _pinned((size, padded))
        self._word = 0

    def put(self, part: Any, word: int) -> None:
        """Queue the copy of `part`, and of `word` if it is not the one before."""
        self.own[: self.nbytes].view(part.dtype).reshape(part.shape)[...] = part
        if word != self._word:
            self.own[-WORD_NBYTES] = word
            self._word = word


def _pinned(shape: tuple[int, ...]) -> Any:
    """Page-locked memory, into which the GPU copies without waiting for the system."""
    nbytes = int(np.prod(shape))
    return np.frombuffer(cupy.cuda.alloc_pinned_memory(nbytes), np.uint8, nbytes).reshape(shape)
