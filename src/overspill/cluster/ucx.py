"""UCXX as Dask's network, with tiles sent as handles, and GPU memory that is CuPy's own on both ends.

What goes over the wire is what distributed-ucxx 0.52 sends, so that either can talk to the other. But connections of
that package tell serializers nothing of the two ends, so that tiles would go as their bytes; they receive into memory
of RMM's, which no budget counts; and before each message with GPU memory they wait, on the event loop, for everything
that is queued on the GPU.
"""

import asyncio
import struct
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dask
from distributed.comm.core import CommClosedError
from distributed.comm.registry import backends
from distributed.comm.utils import from_frames, to_frames
from distributed.protocol.utils import host_array
from distributed.utils import nbytes
from distributed_ucxx import ucxx as stock

from overspill.cluster.attached import tile_scope
from overspill.memory.transfer import SCOPE

FAMILIES = ("cuda", "dask", "pickle", "error")
"""Serializers, the first that can: GPU memory as it lies."""

_PRELUDE = struct.Struct("?Q")
"""Whether the peer closes the connection, and the number of frames that follow."""


def register() -> None:
    """Have this process's connections of scheme ``ucx`` made here."""
    # Its other format, in which the receiver cannot choose where frames go.
    dask.config.set({"distributed-ucxx.multi-buffer": False})
    if not isinstance(backends.get("ucx"), _TileBackend):
        backends["ucx"] = _TileBackend()


def carries_device_memory() -> bool:
    """Whether UCX, as it was set up in this process, can send what lies on a GPU."""
    return bool(stock.ucxx.core._get_ctx().context.cuda_support)


@cache
def scope() -> str:
    """What processes have in common that can open each other's tiles; empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    here = tile_scope()
    return f"{boot} {here.namespace} {here.uid}" if here.namespace else ""


class TileUCXX(stock.UCXX):
    """A connection over UCXX between two processes."""

    def handshake_info(self) -> dict[str, Any]:
        """What Dask tells the other end, and this end's scope: of two addresses here one is unknown or wrong."""
        return {**super().handshake_info(), SCOPE: scope()}

    async def write(self, msg: Any, serializers: Collection[str] | None = None, on_error: str = "message") -> int:
        """Send a message; its size in bytes.

        Raises
        ------
        CommClosedError
            If the connection is closed, or breaks.
        """
        if self.closed():
            raise CommClosedError(f"the connection to {self.peer_address} is closed: nothing can be sent")
        frames = await to_frames(
            msg,
            allow_offload=self.allow_offload,
            serializers=FAMILIES if serializers is None else serializers,
            on_error=on_error,
            context={"sender": self.local_info, "recipient": self.remote_info, **self.handshake_options},
        )
        on_device = [hasattr(frame, "__cuda_array_interface__") for frame in frames]
        sizes = [nbytes(frame) for frame in frames]
        try:
            if any(on_device):
                await asyncio.to_thread(_settle)
            await self.ep.send(_PRELUDE.pack(False, len(frames)))
            await self.ep.send(_layout(len(frames)).pack(*on_device, *sizes))
            for frame, size in zip(frames, sizes, strict=True):
                if size:
                    await self.ep.send(frame)
        except BaseException as error:
            # Nobody knows how much has gone.
            self.abort()
            if isinstance(error, CommClosedError) or not isinstance(error, Exception):
                raise
            raise CommClosedError(f"sending to {self.peer_address} failed: {error or type(error).__name__}") from error
        return sum(sizes)

    async def read(self, deserializers: Collection[str] | None = None) -> Any:
        """The next message.

        Raises
        ------
        CommClosedError
            If the other end closes the connection, it breaks, or there is no memory for the message.
        """
        try:
            closing, count = _PRELUDE.unpack(await self._receive(_PRELUDE.size))
            if closing:
                raise CommClosedError(f"{self.peer_address} has closed the connection")
            layout = _layout(count)
            described = layout.unpack(await self._receive(layout.size))
            frames = await _room(described[:count], described[count:])
            for frame, size in zip(frames, described[count:], strict=True):
                if size:
                    await self.ep.recv(frame)
        except BaseException as error:
            self.abort()
            if isinstance(error, CommClosedError) or not isinstance(error, Exception):
                raise
            raise CommClosedError(
                f"receiving from {self.peer_address} failed: {error or type(error).__name__}"
            ) from error
        try:
            return await from_frames(
                frames,
                deserialize=self.deserialize,
                deserializers=FAMILIES if deserializers is None else deserializers,
                allow_offload=self.allow_offload,
            )
        except EOFError as error:
            self.abort()
            raise CommClosedError(f"a message from {self.peer_address} is cut short") from error

    async def _receive(self, size: int) -> Any:
        buffer = host_array(size)
        await self.ep.recv(buffer)
        return buffer


class _TileConnector(stock.UCXXConnector):
    comm_class = TileUCXX


class _TileListener(stock.UCXXListener):
    comm_class = TileUCXX


class _TileBackend(stock.UCXXBackend):
    def get_connector(self) -> _TileConnector:
        return _TileConnector()

    def get_listener(self, loc: str, handle_comm: Any, deserialize: bool, **connection_args: Any) -> _TileListener:
        return _TileListener(loc, handle_comm, deserialize, **connection_args)


def _layout(count: int) -> struct.Struct:
    """Of `count` frames, which of them lie on a GPU, and their sizes."""
    return struct.Struct(count * "?" + count * "Q")


async def _room(on_device: Sequence[bool], sizes: Sequence[int]) -> list[Any]:
    """Memory for frames: on the GPU within its budget, and made off the event loop, since values may have to leave."""
    frames = [None if there else host_array(size) for there, size in zip(on_device, sizes, strict=True)]
    if any(on_device):
        needed = [size for there, size in zip(on_device, sizes, strict=True) if there]
        made = iter(await asyncio.to_thread(_device_frames, needed))
        frames = [next(made) if frame is None else frame for frame in frames]
    return frames


def _device_frames(sizes: Sequence[int]) -> list[Any]:
    from overspill.memory import frames_cuda

    return frames_cuda.empty(sizes)


def _settle() -> None:
    from overspill.memory import frames_cuda

    frames_cuda.settle()
