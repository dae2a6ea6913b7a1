"""What the plan of a matrix product says."""

from dataclasses import dataclass
from typing import Literal

from overspill.planning.operands import Chunks


@dataclass(frozen=True, slots=True)
class MatmulPlan:
    """One planned product of an (m, k) by a (k, n) matrix.

    Attributes
    ----------
    dtype
        Element type of operands and result.
    side
        ``"numpy"`` or ``"cupy"``: what multiplies.
    reason
        Why that side.
    rows, columns, panels
        Sizes of the output tiles along each axis, and of the K panels.
    first_panels
        The K panels of a tile that finds nothing else being multiplied: narrow ones first. If each does, `panels` too.
    hold_a, hold_b
        Whether the operand's chunks are kept as tiles.
    hold_result
        Whether the whole result fits beside them; otherwise its tiles must be used up as they come.
    order
        In which order the tiles are made, as far as Dask is free to follow it.
    tasks
        Number of output tiles.
    flop
        Operations.
    read_nbytes, recomputed_nbytes
        Bytes that tasks read from disk or recompute for streamed operands.
    uploaded_nbytes, downloaded_nbytes
        Bytes of panels given to the devices, and of results taken back.
    peak_device_nbytes
        Most bytes of buffers on one GPU at a time; 0 on CPUs.
    driver_nbytes
        What cuBLAS and the driver take on one GPU besides, its context apart: workspaces, and tables of locked pages.
    fetched_nbytes
        Copies on one GPU of chunks that lie on others; 0 where the operands are in host memory.
    peak_tiles_nbytes
        Most bytes of tiles, in all pools together.
    peak_host_nbytes
        Most host memory: tiles, what tasks need besides, and the processes themselves.
    prepare_s
        Seconds to make the held operands, as far as they are not made already.
    predicted_s
        Seconds in all.
    bound
        What takes the time: ``"compute"``, ``"link"``, ``"disk"`` or ``"recompute"``.
    figures
        Where the rates come from.
    """

    dtype: str
    side: Literal["numpy", "cupy"]
    reason: str
    rows: Chunks
    columns: Chunks
    panels: Chunks
    first_panels: Chunks
    hold_a: bool
    hold_b: bool
    hold_result: bool
    order: Literal["row-major"]
    tasks: int
    flop: int
    read_nbytes: int
    recomputed_nbytes: int
    uploaded_nbytes: int
    downloaded_nbytes: int
    peak_device_nbytes: int
    driver_nbytes: int
    fetched_nbytes: int
    peak_tiles_nbytes: int
    peak_host_nbytes: int
    prepare_s: float
    predicted_s: float
    bound: str
    figures: str
