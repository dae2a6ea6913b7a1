"""A rank: the one long task that a worker does in a round, from the meeting of all to its rows of the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from distributed import get_worker, secede

from overspill import backend, memory
from overspill.errors import ClusterError, MemoryBudgetError, StaleTileError
from overspill.linalg.operators import identity
from overspill.linalg.resident.communicator import Communicator
from overspill.linalg.resident.meeting import Meeting, StrangerError, join, taken
from overspill.linalg.resident.mesh import EndedError, Mesh
from overspill.linalg.resident.product import Product
from overspill.linalg.resident.reporting import Reporter
from overspill.linalg.resident.shared import Shared
from overspill.linalg.resident.sockets import Sockets
from overspill.linalg.resident.vectors import Distributed
from overspill.linalg.space import Core
from overspill.memory import link
from overspill.memory.segment import supported

LIVING = ("executing", "long-running")
"""States of a task, on its worker, the result of which somebody waits for."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is asked to do.

    Attributes
    ----------
    meeting, rank
        With whom, and which of them it is.
    cuts
        The rows of the matrix where ranks begin, and their number at the end.
    firsts
        The columns that those of the rank's blocks count from.
    mode
        Which product of the matrix is the operator: "matrix", "transposed" or "adjoint".
    one_host
        Whether all ranks can map each other's memory.
    core, options
        What to do; see `overspill.linalg.space.Core`.
    rule
        Of the preconditioner for this rank's blocks, or None; see `overspill.linalg.preconditioner`.
    """

    meeting: Meeting
    rank: int
    cuts: tuple[int, ...]
    firsts: tuple[int, ...]
    mode: str
    one_host: bool
    core: Core
    options: Mapping[str, Any]
    rule: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """What a rank has found.

    Attributes
    ----------
    vectors
        Of each of the core's vectors the chunks of this rank, cut as its blocks are.
    rest
        What the core returns beside vectors.
    """

    vectors: tuple[tuple[Any, ...], ...]
    rest: Any


@dataclass(frozen=True, slots=True)
class Ended:
    """That a rank has found nothing, through no fault of its own.

    Attributes
    ----------
    reason
        Why.
    stranger
        Whether this is another process than the one that was asked to take part.
    """

    reason: str
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What all ranks have found, but for the elements.

    Attributes
    ----------
    kinds
        Element type and shape of a row of each vector.
    rest
        What the core returns beside vectors.
    """

    kinds: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]
    rest: Any


def take_part(
    order: Order, blocks: Sequence[Any], vectors: Mapping[str, Sequence[Any]], weights: Sequence[Sequence[Any]]
) -> Finished | Ended:
    """Do what `order` says with the rank's blocks and chunks, as a task of a Dask worker.

    Raises
    ------
    MemoryBudgetError
        If the vectors do not fit beside the matrix.
    """
    worker = get_worker()
    key = worker.get_current_task()
    # While ranks wait for each other nothing else may wait for them, and other tasks' turn comes as it did before.
    secede()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in LIVING

    try:
        mesh = join(order.meeting, order.rank, taken(order.meeting.name, worker.address), wanted)
    except EndedError as error:
        return Ended(str(error), stranger=isinstance(error, StrangerError))
    communicator: Communicator | None = None
    try:
        communicator = _communicator(mesh, order, backend.is_device_array(blocks[0].data))
        reporter = Reporter(worker, order.meeting.name, order.rank, wanted)
        finished = _solve(order, communicator, reporter, blocks, vectors, weights)
        communicator.close()
    except BaseException as error:
        # Whatever it is, the others must not wait for this rank.
        (mesh.close if communicator is None else communicator.abort)()
        if isinstance(error, EndedError | StaleTileError):
            return Ended(str(error))
        if isinstance(error, MemoryError) and not isinstance(error, MemoryBudgetError):
            raise MemoryBudgetError(
                f"the solver's vectors do not fit beside {order.cuts[order.rank + 1] - order.cuts[order.rank]} rows of "
                f"the matrix ({error}): use more workers, or let go of other results"
            ) from None
        raise
    return finished


def _communicator(mesh: Mesh, order: Order, on_device: bool) -> Communicator:
    if on_device:
        from overspill.linalg.resident.nccl import NCCL

        return NCCL(mesh)
    return Shared(mesh) if order.one_host and supported() else Sockets(mesh)


def _solve(
    order: Order,
    communicator: Communicator,
    reporter: Reporter,
    blocks: Sequence[Any],
    vectors: Mapping[str, Sequence[Any]],
    weights: Sequence[Sequence[Any]],
) -> Finished:
    xp: Any = backend.array_namespace(blocks[0].data)
    product = Product(communicator, blocks, order.firsts, order.cuts)
    operators: dict[str, Callable[[Any], Any]]
    operators = {"matrix": product, "transposed": product.transposed, "adjoint": product.adjoint}
    operator = operators[order.mode]
    own = {name: _joined(chunks, xp) for name, chunks in vectors.items()}
    parts = tuple(_joined(chunks, xp) for chunks in weights)
    reporter.space = space = Distributed(communicator, reporter.word)
    found, rest = order.core(
        space, operator, _preconditioner(order.rule, operator, parts), progress=reporter, **own, **order.options
    )
    heights = [block.shape[0] for block in blocks]
    return Finished(tuple(_chunks(x, heights) for x in found), rest)


def _preconditioner(rule: Any, operator: Callable[[Any], Any], parts: tuple[Any, ...]) -> Callable[[Any], Any]:
    return identity if rule is None else lambda r: rule(operator, parts, r)


def _joined(chunks: Sequence[Any], xp: Any) -> Any:
    """The chunks one after the other, as a new array where the blocks lie: the core may write over it."""
    on_device = xp is not None and xp.__name__ == "cupy"
    places = [link.to_device(chunk) if on_device else backend.to_numpy(chunk) for chunk in chunks]
    return xp.concatenate(places)


def _chunks(x: Any, heights: Sequence[int]) -> tuple[Any, ...]:
    """The rows of `x` cut as the blocks are, each a tile or an array of its own, so that none holds the others."""
    ends = (0, *accumulate(heights))
    parts = [x[start:stop] for start, stop in pairwise(ends)]
    return tuple(part.copy() if backend.is_device_array(part) else memory.as_tile(part) for part in parts)


def finding(finished: Finished | Ended) -> Finding | Ended:
    """What a rank has found, but for the elements."""
    if isinstance(finished, Ended):
        return finished
    kinds = tuple((chunks[0].dtype, chunks[0].shape[1:]) for chunks in finished.vectors)
    return Finding(kinds, finished.rest)


def chunk_of(finished: Finished | Ended, vector: int, block: int) -> Any:
    """One chunk of one of the vectors found.

    Raises
    ------
    ClusterError
        If it is gone.
    """
    if isinstance(finished, Ended):
        raise ClusterError("a solver's result was lost with the worker that held a part of it: solve again")
    return finished.vectors[vector][block]
