"""How tiles travel under Dask distributed: as handles between processes of one host, else as their bytes.

A handle is only good while its sender keeps the tile. Workers and clients answer each other's requests for data and
keep it until the receiver, having unpacked it, says so; a scheduler that forwards data for a client does not.
Schedulers are told by the pickle protocol they agree on with their peers, 4 instead of 5.
"""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed.comm.addressing import get_address_host
from distributed.protocol.serialize import dask_deserialize, dask_serialize
from numpy.typing import NDArray

from overspill.memory import tile

_FORWARDING_PROTOCOL = 4

SCOPE = "overspill-scope"
"""What each end says of itself in the handshake where a network's addresses do not tell hosts apart, and means that
tiles can be opened if both say the same."""

HANDLE_NBYTES = 512
"""What a tile reports as its size: the cost of moving it. Its full size would draw every task to where the data is."""


def register() -> None:
    """Teach this process's Dask to send tiles as handles and to unpack them."""
    # Looking the stock functions up first also runs Dask's own lazy registration, which would otherwise undo this one.
    serialize_array = dask_serialize.dispatch(np.ndarray)
    deserialize_array = dask_deserialize.dispatch(np.ndarray)
    sizeof_array = sizeof.dispatch(np.ndarray)

    def serialize_tile(x: NDArray[Any], context: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[Any]]:
        if _stays_on_host(context) and (handle := tile.to_handle(x)):
            return {"overspill-tile": pickle.dumps(handle)}, []
        header, frames = serialize_array(x, context=context)
        return header, frames

    def deserialize_tile(header: dict[str, Any], frames: list[Any]) -> NDArray[Any]:
        if "overspill-tile" in header:
            return tile.from_handle(pickle.loads(header["overspill-tile"]))
        array: NDArray[Any] = deserialize_array(header, frames)
        return array

    def sizeof_tile(x: NDArray[Any]) -> int:
        return HANDLE_NBYTES if tile.is_tile(x) else int(sizeof_array(x))

    dask_serialize.register(np.ndarray)(serialize_tile)
    dask_deserialize.register(np.ndarray)(deserialize_tile)
    sizeof.register(np.ndarray)(sizeof_tile)


def _stays_on_host(context: Mapping[str, Any] | None) -> bool:
    if not context or context.get("pickle-protocol", 0) <= _FORWARDING_PROTOCOL:
        return False
    scopes = [context[end].get(SCOPE) for end in ("sender", "recipient")]
    if scopes != [None, None]:
        return bool(scopes[0]) and scopes[0] == scopes[1]
    sender, recipient = context["sender"].get("address"), context["recipient"].get("address")
    return bool(sender and recipient) and get_address_host(sender) == get_address_host(recipient)
