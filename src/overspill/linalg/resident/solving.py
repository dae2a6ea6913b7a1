"""Solvers on a cluster's workers: what goes where, rounds until one is not cut short, and their result."""

import dataclasses
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
from dask.core import flatten
from distributed import Client, Future, Lock, futures_of, get_worker, wait
from distributed.client import FuturesCancelledError

from overspill import backend
from overspill.errors import ClusterError
from overspill.linalg.outcome import Outcome
from overspill.linalg.resident import placement
from overspill.linalg.resident.rank import Finding, chunk_of
from overspill.linalg.resident.reporting import CHECKPOINT_S
from overspill.linalg.resident.round import Share, Work, WorkerLostError, await_all, play
from overspill.linalg.space import Core, Progress
from overspill.linalg.spreading import client as active_client
from overspill.linalg.spreading import spread
from overspill.planning.resources import active
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.transposed import Transposed

LOCK = "overspill-resident"
"""One round at a time on a cluster: NCCL's kernels of two would wait for each other for ever."""

FIT = 0.6
"""Share of the workers' memory that the matrix may take: its halves that are copied, and vectors, need the rest."""

FUTILE = 3
"""Rounds in a row that may be lost without a checkpoint: more are no accident."""

NO_WORKERS_S = 60.0
"""How long to wait for a worker when all have gone."""

logger = logging.getLogger("overspill.linalg")


def available(A: Any) -> bool:
    """Whether a solver with `A` can run resident on the workers of the cluster that Dask's computations go to.

    Parameters
    ----------
    A
        A `CSRMatrix` or the transpose of one: square, no block without rows, and small enough for the workers' memory.
        Where it lies on GPUs, NCCL must be there.

    Examples
    --------
    >>> import scipy.sparse
    >>> from overspill.sparse import CSRMatrix
    >>> available(CSRMatrix.from_scipy(scipy.sparse.eye_array(3)))  # without a cluster
    False
    """
    matrix = A.matrix if isinstance(A, Transposed) else A
    if not isinstance(matrix, CSRMatrix) or matrix.shape[0] != matrix.shape[1] or 0 in matrix.row_chunks:
        return False
    client = active_client()
    if client is None or client.asynchronous or _within_task() or not client.nthreads():
        return False
    resources, nbytes = active(), matrix.nbytes
    if resources is not None and nbytes is not None:
        on_device = matrix.residence == "device"
        limit = resources.device_nbytes * resources.workers if on_device else resources.pool_nbytes
        if nbytes > FIT * limit:
            return False
    if matrix.residence == "device":
        from overspill.linalg.resident import nccl

        return nccl.usable()
    return True


def solve(
    core: Core, A: Any, vectors: Mapping[str, Any], M: Any, options: Mapping[str, Any], *, progress: Progress
) -> tuple[tuple[da.Array, ...], Any]:
    """What ``core(space, A, M, progress=..., **vectors, **options)`` returns, run on the workers of the active cluster.

    Each worker gets row blocks that follow each other, evenly by stored entries, and the same rows of vectors, and runs
    the core on them from beginning to end. If a worker dies, the core is called again, on those that are left, with
    what its `progress` was last told to restart from; ``options["maxiter"]`` is then lowered by the iterations done.

    Parameters
    ----------
    core
        See `overspill.linalg.space.Core`.
    A
        For which `available` holds.
    vectors
        Dask arrays of shape (n,) or (n, k), cut along rows as `A` is; read only.
    M
        None, or a preconditioner as `overspill.linalg.preconditioner` has them.
    options
        Numbers and other small things.
    progress
        Told, a few times a second at most, of an iteration and its residual.

    Returns
    -------
    vectors
        Persisted Dask arrays, cut as `A` is and where `A` lies.
    rest
        What the core returns beside.

    Raises
    ------
    ClusterError
        If all workers have gone and no other one comes, or blocks of the matrix that cannot be made again were lost.
    MemoryBudgetError
        If the vectors do not fit beside the matrix.
    """
    client = active_client()
    assert client is not None, "solve() is for where available() holds"
    matrix, mode = (
        (A.matrix, "adjoint" if A.conjugated else "transposed") if isinstance(A, Transposed) else (A, "matrix")
    )
    vectors, options = dict(vectors), dict(options)
    done, futile = 0, 0
    with Lock(LOCK, scheduler_rpc=client.scheduler, loop=client.loop):
        while True:
            try:
                found, rest = _round(client, matrix, vectors, M, Work(mode, core, options), progress)
                break
            except WorkerLostError as lost:
                if lost.checkpoint is None and (futile := futile + 1) > FUTILE:
                    raise ClusterError(
                        f"workers have died {futile} times before the first checkpoint, which is due after "
                        f"{CHECKPOINT_S:.0f} s: look at the workers' logs"
                    ) from None
                if lost.checkpoint is not None:
                    futile = 0
                    iterations, restart = lost.checkpoint
                    done += iterations
                    vectors |= {name: spread(x, matrix.row_chunks) for name, x in restart.items()}
                    if "maxiter" in options:
                        options["maxiter"] = max(options["maxiter"] - iterations, 1)
                logger.warning("a worker has gone: the solver goes on from iteration %d on those that are left", done)
                _await_workers(client)
    if done and isinstance(rest, Outcome):
        rest = dataclasses.replace(rest, iterations=rest.iterations + done)
    return found, rest


def _within_task() -> bool:
    try:
        get_worker()
    except ValueError:
        return False
    return True


def _round(
    client: Client, A: CSRMatrix, vectors: Mapping[str, Any], M: Any, work: Work, progress: Progress
) -> tuple[tuple[da.Array, ...], Any]:
    workers = sorted(client.nthreads())
    blocks = A.persist()
    try:
        wait(blocks)
    except FuturesCancelledError:
        raise ClusterError(
            "blocks of the matrix were lost with the worker that held them, and nothing tells how to make them again: "
            "make the matrix anew, or take it from a file or a generator"
        ) from None
    if blocks.nnz is None:
        blocks = blocks.compute_nnz()
    costs = [(block.nnz or 0) + block.rows for block in blocks.blocks]
    parts = placement.runs(costs, len(workers))
    futures = _by_key(blocks)
    lies_on = client.who_has(futures)
    chosen = placement.assigned(parts, costs, {i: lies_on.get(f.key, ()) for i, f in enumerate(futures)}, workers)
    chunks = {name: _by_key(_cut(x, A).persist()) for name, x in vectors.items()}
    weights = [] if M is None else [_by_key(_cut(x, A).persist()) for x in M.vectors]
    try:
        wait([future for each in (*chunks.values(), *weights) for future in each])
    except FuturesCancelledError:
        raise ClusterError(
            "parts of a vector of this process were lost with the worker that held them: solve again, or pass b and x0 "
            "as Dask arrays of which a graph tells how to make them again"
        ) from None
    shares = [
        Share(
            worker=worker,
            blocks=[futures[i] for i in run],
            firsts=tuple(A.blocks[i].columns[0] for i in run),
            rows=sum(A.row_chunks[i] for i in run),
            vectors={name: [each[i] for i in run] for name, each in chunks.items()},
            weights=[[each[i] for i in run] for each in weights],
            rule=None if M is None else M.part(run),
        )
        for worker, run in zip(chosen, parts, strict=True)
    ]
    found, what = play(client, shares, work, progress)
    return _results(client, found, what, A, list(zip(chosen, parts, strict=True))), what.rest


def _cut(x: Any, A: CSRMatrix) -> da.Array:
    """A vector or a block of vectors as a Dask array of chunks with the rows of the matrix's blocks."""
    whole = dict.fromkeys(range(1, x.ndim), -1)
    cut: da.Array = da.asarray(x, chunks=-1).rechunk({0: A.row_chunks, **whole})
    return cut


def _by_key(x: Any) -> list[Future[Any]]:
    """The futures of a persisted collection, in the order of its keys."""
    futures = {future.key: future for future in futures_of(x)}
    return [futures[key] for key in flatten(x.__dask_keys__())]


def _results(
    client: Client, found: Sequence[Future[Any]], what: Finding, A: CSRMatrix, placed: Sequence[tuple[str, range]]
) -> tuple[da.Array, ...]:
    """The vectors that ranks have found as Dask arrays, their chunks on the workers that found them."""
    arrays: list[da.Array] = []
    taken: list[Future[Any]] = []
    there: list[str] = []
    for number, (dtype, tail) in enumerate(what.kinds):
        name = f"solution-{uuid.uuid4().hex}"
        chunks = {}
        for future, (worker, run) in zip(found, placed, strict=True):
            for place, block in enumerate(run):
                key = (name, block, *(0 for _ in tail))
                chunks[key] = client.submit(chunk_of, future, number, place, key=key, workers=[worker])
                there.append(worker)
        taken += chunks.values()
        sizes = (A.row_chunks, *((extent,) for extent in tail))
        arrays.append(da.Array(chunks, name, sizes, meta=backend.meta(A.residence, dtype, 1 + len(tail))))
    await_all(client, taken, there)
    # Should a worker die later, what it held is to be missed at once, not waited for until that worker comes back.
    scheduler: Any = client.scheduler
    client.sync(scheduler.set_restrictions, worker={future.key: None for future in (*found, *taken)})
    return tuple(arrays)


def _await_workers(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=NO_WORKERS_S)
    except TimeoutError:
        raise ClusterError(
            f"all workers have gone, and none has come for {NO_WORKERS_S:.0f} s: start a cluster and solve again"
        ) from None
