"""A round: one task on each worker, started together, watched, and ended together, whatever happens to any of them."""

import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from distributed import Client, Future, Worker, wait
from distributed.client import FuturesCancelledError
from distributed.comm.addressing import get_address_host

from overspill.errors import ClusterError
from overspill.linalg.resident.hearing import hearing
from overspill.linalg.resident.meeting import Address, Meeting, forget, listen
from overspill.linalg.resident.rank import Ended, Finding, Order, finding, take_part
from overspill.linalg.space import Core, Progress

LOOK_S = 0.25
"""How often the client looks for news, and whether all workers are there."""

PRIORITY = 2**20
"""Ranks come before other tasks that wait, for once started they wait for each other."""


@dataclass(frozen=True, slots=True)
class Work:
    """What all ranks of a round do.

    Attributes
    ----------
    mode
        Which product of the matrix is the operator: "matrix", "transposed" or "adjoint".
    core, options
        See `overspill.linalg.space.Core`.
    """

    mode: str
    core: Core
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker of a round has.

    Attributes
    ----------
    worker
        Its address.
    blocks, firsts
        Its row blocks of the matrix, as futures, and the columns that theirs count from.
    rows
        How many rows these are.
    vectors, weights
        The chunks of each vector, and of each of the preconditioner's, as futures.
    rule
        Of the preconditioner, or None.
    """

    worker: str
    blocks: Sequence[Future[Any]]
    firsts: tuple[int, ...]
    rows: int
    vectors: Mapping[str, Sequence[Future[Any]]]
    weights: Sequence[Sequence[Future[Any]]]
    rule: Any


class WorkerLostError(Exception):
    """A worker has gone, and the round with it.

    Attributes
    ----------
    checkpoint
        The iteration after which all handed over their vectors, and these; None if they have not yet.
    """

    def __init__(self, checkpoint: tuple[int, dict[str, Any]] | None = None) -> None:
        super().__init__("a worker has gone")
        self.checkpoint = checkpoint


def play(client: Client, shares: Sequence[Share], work: Work, progress: Progress) -> tuple[list[Future[Any]], Finding]:
    """One round: what each rank has found, as a future on its worker, and what that is.

    Raises
    ------
    WorkerLostError
        If a worker has gone.
    ClusterError
        If the round has ended otherwise, and nobody says why.
    """
    workers = [share.worker for share in shares]
    with _meeting(client, workers) as meeting, hearing(client, meeting.name, len(shares)) as heard:

        def tell() -> None:
            if (news := heard.news()) is not None:
                progress(*news)

        futures = [
            client.submit(
                take_part,
                order,
                list(share.blocks),
                {name: list(chunks) for name, chunks in share.vectors.items()},
                [list(chunks) for chunks in share.weights],
                key=f"overspill-round-{meeting.name}-{order.rank}",
                workers=[share.worker],
                priority=PRIORITY,
            )
            for order, share in zip(_orders(shares, meeting, work), shares, strict=True)
        ]
        try:
            await_all(client, futures, workers, tell)
            found = [client.submit(finding, x, workers=[w]) for x, w in zip(futures, workers, strict=True)]
            await_all(client, found, workers)
            findings: list[Finding | Ended] = client.gather(found)
        except BaseException as error:
            # Ranks look whether somebody waits for them; those of a round that has ended have ended by themselves.
            client.cancel(futures)
            if isinstance(error, WorkerLostError):
                raise WorkerLostError(heard.checkpoint()) from None
            raise
        for each in findings:
            if isinstance(each, Ended):
                if any(isinstance(other, Ended) and other.stranger for other in findings):
                    raise WorkerLostError(heard.checkpoint())
                raise ClusterError(f"the solver on the workers ended early ({each.reason}): solve again")
        assert isinstance(findings[0], Finding)
        return futures, findings[0]


def await_all(
    client: Client, futures: Sequence[Future[Any]], workers: Sequence[str], tell: Callable[[], None] = lambda: None
) -> None:
    """Wait for `futures`, each on the worker beside it, and `tell` every now and then; the first error is raised.

    Raises
    ------
    WorkerLostError
        If a worker has gone whose future is not there yet: pinned to it, that would never come.
    """
    pending = dict(zip(futures, workers, strict=True))
    while pending:
        try:
            wait(list(pending), timeout=LOOK_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            pass
        except FuturesCancelledError:  # by the scheduler: what they need has died, and nothing tells how to make it
            raise WorkerLostError() from None
        tell()
        for future in [future for future in pending if future.done()]:
            del pending[future]
            if future.status == "cancelled":  # likewise, but found out later
                raise WorkerLostError()
            if future.status != "finished":
                future.result()
        if pending and not set(pending.values()) <= set(client.nthreads()):
            raise WorkerLostError()


@contextmanager
def _meeting(client: Client, workers: Sequence[str]) -> Iterator[Meeting]:
    """All workers listen for each other, for the length of the block."""
    name, key = uuid.uuid4().hex, secrets.token_bytes(32)
    within = len({get_address_host(worker) for worker in workers}) == 1
    try:
        found = client.run(_listen, name, within, len(workers), workers=list(workers), on_error="return")
        if missing := [worker for worker in workers if not isinstance(found.get(worker), str | tuple)]:
            if set(missing) <= set(client.nthreads()):
                raise found[missing[0]]
            raise WorkerLostError()
        yield Meeting(name, key, tuple(found[worker] for worker in workers))
    finally:
        # One that took part listens no more; others that are still there may wait for ever.
        there = sorted(set(workers) & set(client.nthreads()))
        client.run(_forget, name, workers=there, on_error="ignore")


def _listen(name: str, within: bool, backlog: int, dask_worker: Worker) -> Address:
    host = None if within else get_address_host(dask_worker.address)
    return listen(name, dask_worker.address, host, backlog)


def _forget(name: str, dask_worker: Worker) -> None:
    forget(name, dask_worker.address)


def _orders(shares: Sequence[Share], meeting: Meeting, work: Work) -> list[Order]:
    cuts = (0, *accumulate(share.rows for share in shares))
    one_host = isinstance(meeting.addresses[0], str)
    return [
        Order(
            meeting=meeting,
            rank=rank,
            cuts=cuts,
            firsts=share.firsts,
            mode=work.mode,
            one_host=one_host,
            core=work.core,
            options=work.options,
            rule=share.rule,
        )
        for rank, share in enumerate(shares)
    ]
