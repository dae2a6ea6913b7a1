"""The cluster that Dask's computations go to now, and vectors of this process put on it."""

import uuid
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import dask.array as da
from dask.base import get_scheduler
from distributed import Client

from overspill import backend, memory


def client() -> Client | None:
    """The client that Dask's computations go to now, if they go to a cluster."""
    owner = getattr(get_scheduler(), "__self__", None)
    return owner if isinstance(owner, Client) else None


def spread(x: Any, rows: Sequence[int]) -> da.Array:
    """An array of this process as a Dask array in chunks of so many rows, on the cluster's workers if there is one.

    They lie in host memory: in tiles where they go to workers, so that graphs do not carry them.
    """
    x = backend.to_numpy(x)
    cluster = client()
    sizes = (tuple(rows), *((extent,) for extent in x.shape[1:]))
    if cluster is None or cluster.asynchronous or not cluster.nthreads():
        whole: da.Array = da.from_array(x, chunks=sizes)
        return whole
    parts = [memory.as_tile(x[start:stop].copy()) for start, stop in pairwise((0, *accumulate(rows)))]
    name = f"vector-{uuid.uuid4().hex}"
    futures = cluster.scatter(parts, hash=False)
    chunks = {(name, i, *(0 for _ in x.shape[1:])): future for i, future in enumerate(futures)}
    vector: da.Array = da.Array(chunks, name, sizes, meta=backend.meta("host", x.dtype, x.ndim))
    return vector
