"""The pipeline: one output tile of a product, its panels uploaded while the ones before them are multiplied."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from typing import Literal

from overspill.memory import ledger
from overspill.planning.arithmetic import arithmetic
from overspill.planning.grid import Piece
from overspill.stream.device import Panel, TileShape, device
from overspill.stream.strip import Chunk, Reread, Strip


@dataclass(frozen=True, slots=True)
class TileTask:
    """One output tile of a product.

    Attributes
    ----------
    shape
        The tile's shape, and what its buffers must hold.
    dtype
        Element type of operands and result.
    rows, columns
        The chunks of A, and of B, that cover the tile, and which part of each.
    a_bounds, b_bounds
        Chunk boundaries of A and of B along K.
    panels
        Boundaries of the panels along K.
    side
        What multiplies.
    keep_on_device
        Whether the result stays on the GPU.
    first
        Row and column, in the grid, of the tile with narrower panels that is to begin before this one on its GPU; None
        where this one need not wait.
    """

    shape: TileShape
    dtype: str
    rows: tuple[Piece, ...]
    columns: tuple[Piece, ...]
    a_bounds: tuple[int, ...]
    b_bounds: tuple[int, ...]
    panels: tuple[tuple[int, int], ...]
    side: Literal["numpy", "cupy"]
    keep_on_device: bool
    first: tuple[int, int] | None = None


def multiply_tile(
    task: TileTask, a: Sequence[Sequence[Chunk | Reread]], b: Sequence[Sequence[Chunk | Reread]]
) -> Chunk:
    """The output tile of `task`.

    Parameters
    ----------
    task
        What to make.
    a
        Chunks of A, ``a[i][k]`` for the i-th of ``task.rows`` and the k-th chunk along K.
    b
        Chunks of B, ``b[j][k]`` for the j-th of ``task.columns`` and the k-th chunk along K.
    """
    strips = (
        Strip(a, task.rows, task.a_bounds, transposed=False),
        Strip(b, task.columns, task.b_bounds, transposed=True),
    )
    per_element = arithmetic(task.dtype, "cuda" if task.side == "cupy" else "cpu")
    where = device(task.side)
    # Who has its panels made as it goes lets others upload and multiply meanwhile.
    in_turn = all(strip.in_memory for strip in strips)
    stream = where.open(task.shape, task.dtype, per_element, keep_on_device=task.keep_on_device, in_turn=in_turn)
    m, n = task.shape.actual

    def load(index: int) -> tuple[int, Panel, Panel]:
        start, stop = task.panels[index]
        slot, width = stream.next_slot(), stop - start
        a_panel = stream.upload(0, slot, strips[0].panel(start, stop), (m, width))
        b_panel = stream.upload(1, slot, strips[1].panel(start, stop), (n, width))
        ledger.record(uploaded_nbytes=(m + n) * width * per_element.itemsize)
        return slot, a_panel, b_panel

    # The context has Dask's worker and NumPy's error handling, for the recipes that run in the loader.
    context, last = copy_context(), len(task.panels) - 1
    loader, helper = (ThreadPoolExecutor(1, thread_name_prefix=f"overspill-{name}") for name in ("upload", "room"))
    room: Future[None] | None = None
    coming: Future[tuple[int, Panel, Panel]] | None
    try:
        with ExitStack() as turn, ExitStack() as link:
            if in_turn:
                if task.first is not None:
                    where.give_way((m + n) * task.panels[0][1] * per_element.itemsize)
                link.enter_context(where.link)
            link.callback(loader.shutdown, cancel_futures=True)  # before others fill the same slots
            coming = loader.submit(context.run, load, 0)
            for index in range(last + 1):
                if in_turn and index == 0:
                    # If it fails, too: who fills the next slot must find what was in it multiplied, or queued to be.
                    wait([coming])
                    turn.enter_context(where.turn)
                slot, *panels = coming.result()
                if index == last:
                    link.close()
                else:
                    # Its slot was last multiplied in the round before, which is queued or done: the upload may begin.
                    coming = loader.submit(context.run, load, index + 1)
                stream.multiply(slot, *panels, last=index == last)
                if index == 0:  # no sooner, or a GPU's first kernels would wait for memory to be made
                    room = helper.submit(stream.make_room)
            del coming, panels  # whose buffers are others' by now
        assert room, "there is no panel"
        room.result()
        tile = stream.download()
    finally:
        helper.shutdown(cancel_futures=True)
        stream.close()
        # An error in them refers to this call, whose memory would stay until Python looks for circles.
        coming = room = None  # noqa: F841
    k = task.panels[-1][1]
    ledger.record(tasks=1, flop=per_element.flop * m * n * k, downloaded_nbytes=m * n * per_element.itemsize)
    return tile
