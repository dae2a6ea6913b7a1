"""A spilled value on its way to another process: its frames travel as tiles do, within a host as handles."""

import pickle
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from dask.sizeof import sizeof
from distributed.protocol.serialize import dask_deserialize, dask_serialize, deserialize, serialize

from overspill.memory.store import process
from overspill.memory.store.packing import Packed, unpack

Recipient = Literal["worker", "client"]

outgoing: ContextVar[Mapping[Any, Any] | None] = ContextVar("outgoing", default=None)
"""What a coroutine that answers another process gets from the store under its keys; None for a task here."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A packed value: a worker's store keeps it as it is, everybody else gets the value in it."""

    packed: Packed
    recipient: Recipient


def _serialize(x: Parcel, context: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[Any]]:
    headers, frames = [], []
    for frame in x.packed.frames:
        header, parts = serialize(frame, serializers=("dask",), on_error="raise", context=context)
        headers.append((header, len(parts)))
        frames.extend(parts)
    return {"overspill-parcel": pickle.dumps((x.recipient, x.packed.skeleton, x.packed.layouts, headers))}, frames


def _deserialize(header: dict[str, Any], frames: list[Any]) -> Any:
    recipient, skeleton, layouts, headers = pickle.loads(header["overspill-parcel"])
    arrived = []
    for frame_header, count in headers:
        arrived.append(deserialize(frame_header, frames[:count]))
        frames = frames[count:]
    packed = Packed(skeleton, layouts, tuple(arrived))
    if recipient == "worker" and process.has_store():
        return Parcel(packed, recipient)
    return unpack(packed, process.device())


def _sizeof(x: Parcel) -> int:
    return x.packed.nbytes


dask_serialize.register(Parcel)(_serialize)
dask_deserialize.register(Parcel)(_deserialize)
sizeof.register(Parcel)(_sizeof)
