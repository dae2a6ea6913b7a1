"""What it is worth to make a tile of a product block by block, and to ask cuBLAS for kernels.

    python benchmarks/gemm_blocks_gpu.py [--types float64,float32] [--repeats 4]

One output tile on one GPU, made as tasks of products make it, and kept there: its operands come from page-locked
memory while others are multiplied, and results are made in blocks of several sides, or in one piece, and where we ask
cuBLAS for a kernel and an order of memory also by what it chooses, and row by row. Contenders take turns, beginning
with another one each time; the first round does not count. Chunks repeat along K, so that few are needed. Tiles are
compared with NumPy in a corner, and as a whole with each other.

Writes ``results/gemm_blocks_gpu.json``.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matmul_matrices
import numpy as np
import record
from matmul_steps_gpu import rotated
from numpy.typing import NDArray

from overspill import memory
from overspill.memory.pinning import pin
from overspill.planning.arithmetic import arithmetic
from overspill.planning.grid import bounds, cover, even, intervals
from overspill.stream.device import TileShape
from overspill.stream.product import TileTask, multiply_tile

CHUNK = 8192
"""Rows, and columns, of chunks, and the width of panels."""

SIDES = {"in one piece": None} | {f"blocks of {side}": side for side in (16384, 8192, 6144, 4096)}
"""Rows, and columns, of the blocks that results are made in."""

LEFT_TO_CUBLAS = "kernels left to cuBLAS", "kernels left to cuBLAS, row by row, in blocks of 8192"
"""What makes results without asking for a kernel, and without their columns in one piece either."""

TILES = {
    "float64": (16384, 32768, 32768),
    "float32": (32768, 32768, 32768),
    "float16": (49152, 32768, 65536),
    "complex64": (16384, 32768, 16384),
    "complex128": (16384, 16384, 16384),
}
"""Rows, columns and K of the tile: as large as plans make them, and some tenths of a second of work."""

FIRST_PANEL = 1024
"""Width of the first panel: the rest of its chunks goes up while it is multiplied."""

CORNER = 16
"""Rows and columns that are compared with NumPy."""

COMPARED = 1024
"""Rows of two tiles that are compared at a time: the difference takes memory, too."""

Chunks = tuple[list[NDArray[Any]], list[NDArray[Any]]]
"""Those of A by row, and of B by column: the same ones all along K."""


def main() -> None:
    """Compare what the arguments ask for."""
    arguments = parser().parse_args()
    outcomes: dict[str, Any] = {}
    settled = Ways.settled()
    for dtype in arguments.types.split(","):
        chunks = operands(dtype)
        outcomes[f"host, {dtype}"] = race(dtype, chunks, contenders(dtype, settled), arguments.repeats)
    settings = {"chunk": CHUNK, "tiles": TILES, "repeats": arguments.repeats}
    figures = {"settings": settings, "outcomes": outcomes}
    print(f"written: {record.write('gemm_blocks_gpu', figures, arguments.results)}")


@dataclass(frozen=True, slots=True)
class Ways:
    """How tiles are made: `BLOCK_SIDE`, `COLUMN_MAJOR` and `KERNELS` of `kernels`."""

    sides: Mapping[str, int]
    column_major: Sequence[str]
    kernels: Mapping[str, tuple[int, int]]

    @classmethod
    def settled(cls) -> "Ways":
        """This library's."""
        from overspill.kernels import cublaslt, gemm_cuda

        return cls(gemm_cuda.BLOCK_SIDE, gemm_cuda.COLUMN_MAJOR, cublaslt.KERNELS)

    def take(self) -> None:
        """Have the next results made so."""
        from overspill.kernels import cublaslt, gemm_cuda

        gemm_cuda.BLOCK_SIDE, gemm_cuda.COLUMN_MAJOR, cublaslt.KERNELS = self.sides, self.column_major, self.kernels


def contenders(dtype: str, settled: Ways) -> dict[str, Ways]:
    """Ways that differ in how results are cut, and in who chooses the kernels if we do; ours is the settled one."""
    ways = {
        f"overspill, {name}" if side == settled.sides.get(dtype) else name: replace(
            settled, sides={} if side is None else {dtype: side}
        )
        for name, side in SIDES.items()
    }
    if dtype in settled.kernels:
        left = replace(settled, kernels={})
        by_rows = replace(left, column_major=(), sides={dtype: 8192})
        ways |= zip(LEFT_TO_CUBLAS, (left, by_rows), strict=True)
    return ways


def operands(dtype: str) -> Chunks:
    """Page-locked chunks of numbers."""
    m, n, _ = TILES[dtype]
    chunks = tuple([memory.empty((CHUNK, CHUNK), dtype) for _ in even(side, CHUNK)] for side in (m, n))
    places = (
        (chunk, name, i * CHUNK * (name == "A"), i * CHUNK * (name == "B"))
        for name, side in zip("AB", chunks, strict=True)
        for i, chunk in enumerate(side)
    )
    with ThreadPoolExecutor(matmul_matrices.THREADS) as threads:
        for filled in [threads.submit(fill, *place) for place in places]:
            filled.result()
    return chunks


def fill(chunk: NDArray[Any], name: str, row: int, column: int) -> None:
    """Write the numbers of a chunk that begins there, and lock its pages."""
    matmul_matrices.fill(chunk, name, (row, row + CHUNK), (column, column + CHUNK))
    pin(chunk)


def race(dtype: str, chunks: Chunks, ways: Mapping[str, Ways], repeats: int) -> dict[str, Any]:
    """Seconds of each, and how far results are off."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    first, errors = None, {}
    for repetition in range(repeats + 1):
        for name in rotated(list(ways), repetition):
            ways[name].take()
            start = time.perf_counter()
            tile = multiply_tile(task(dtype), *strips(dtype, chunks))
            elapsed_s = time.perf_counter() - start
            if repetition:
                seconds[name].append(elapsed_s)
                print(f"{dtype:<11}{name:<44}{elapsed_s:8.4f} s", flush=True)
                continue
            first = tile if first is None else first
            errors[name] = max(apart(first, tile), apart(corner(dtype, chunks), tile[:CORNER, :CORNER].get()))
            if not errors[name] < matmul_matrices.TOLERANCE.get(dtype, 1e-12):
                raise SystemExit(f"{name}: wrong by {errors[name]:.2g}")
            del tile
    m, n, k = TILES[dtype]
    return {"flop": arithmetic(dtype, "cuda").flop * m * n * k, "seconds": seconds, "errors": errors}


def task(dtype: str) -> TileTask:
    """The tile, alone in its product, its first chunk along K cut into a narrow panel and the rest."""
    m, n, k = TILES[dtype]
    rows, columns, along = (even(size, CHUNK) for size in (m, n, k))
    return TileTask(
        TileShape((m, n), (m, n), CHUNK),
        dtype,
        cover(bounds(rows), 0, m),
        cover(bounds(columns), 0, n),
        bounds(along),
        bounds(along),
        intervals((FIRST_PANEL, CHUNK - FIRST_PANEL, *along[1:])),
        "cupy",
        keep_on_device=True,
    )


def strips(dtype: str, chunks: Chunks) -> tuple[list[list[Any]], ...]:
    """What the tile is made of."""
    along = len(even(TILES[dtype][2], CHUNK))
    return tuple([[chunk] * along for chunk in side] for side in chunks)


def corner(dtype: str, chunks: Chunks) -> NDArray[Any]:
    """What the first rows and columns of the tile must be."""
    wide = "complex128" if np.dtype(dtype).kind == "c" else "float64"
    a, b = chunks[0][0][:CORNER], chunks[1][0][:, :CORNER]
    expected: NDArray[Any] = len(even(TILES[dtype][2], CHUNK)) * (a.astype(wide) @ b.astype(wide))
    return expected


def apart(expected: Any, found: Any) -> float:
    """The largest difference, relative to the largest element."""
    parts = [slice(start, start + COMPARED) for start in range(0, len(expected), COMPARED)]
    furthest = max(float(abs(expected[part] - found[part]).max()) for part in parts)
    return furthest / max(float(abs(expected[part]).max()) for part in parts)


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--types", default=",".join(TILES), help="element types")
    found.add_argument("--repeats", type=int, default=4)
    found.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    return found


if __name__ == "__main__":
    main()
