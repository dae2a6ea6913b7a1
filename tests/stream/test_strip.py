from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cases import cuts, matrix
from overspill.errors import ArrayError
from overspill.memory import ledger
from overspill.planning.grid import bounds, cover, even, intervals
from overspill.stream.strip import Reread, Strip


def chunks_of(x: NDArray[Any], rows: tuple[int, ...], columns: tuple[int, ...]) -> list[list[NDArray[Any]]]:
    return [[x[r0:r1, c0:c1] for c0, c1 in intervals(columns)] for r0, r1 in intervals(rows)]


def assemble(strip: Strip, start: int, stop: int, side: int) -> NDArray[Any]:
    panel, written = np.full((side, stop - start), np.nan), 0
    for part in strip.panel(start, stop):
        rows, columns = part.array.shape
        panel[part.side : part.side + rows, part.width : part.width + columns] = part.array
        written += part.array.size
    assert written == panel.size, "each element comes once"
    return panel


@settings(deadline=None)
@given(cuts(20), cuts(20), st.integers(1, 50), st.booleans(), st.data())
def test_panels_are_the_strip_in_pieces(
    side_cuts: tuple[int, ...], k_cuts: tuple[int, ...], width: int, transposed: bool, data: st.DataObject
) -> None:
    x = matrix((sum(side_cuts), sum(k_cuts)), "float64")
    start = data.draw(st.integers(0, x.shape[0] - 1))
    stop = data.draw(st.integers(start + 1, x.shape[0]))
    pieces = cover(bounds(side_cuts), start, stop)
    chunks = [chunks_of(x, side_cuts, k_cuts)[piece.chunk] for piece in pieces]
    if transposed:
        chunks = [[chunk.T for chunk in row] for row in chunks]
    strip = Strip(chunks, pieces, bounds(k_cuts), transposed=transposed)
    for k_start, k_stop in intervals(even(x.shape[1], width)):
        np.testing.assert_array_equal(assemble(strip, k_start, k_stop, stop - start), x[start:stop, k_start:k_stop])


@pytest.mark.parametrize(("kind", "counter"), [("disk", "read_nbytes"), ("recompute", "recomputed_nbytes")])
@pytest.mark.parametrize("width", [3, 4, 5, 100])
def test_what_a_task_makes_itself_is_made_once_and_counted(kind: Any, counter: str, width: int) -> None:
    x, rows, columns = matrix((6, 20), "float64"), (4, 2), (7, 6, 7)
    made: list[tuple[int, int]] = []

    def make(i: int, k: int) -> NDArray[Any]:
        made.append((i, k))
        return chunks_of(x, rows, columns)[i][k]

    chunks = [[Reread(("x", i, k), {("x", i, k): (make, i, k)}, kind) for k in range(3)] for i in range(2)]
    strip = Strip(chunks, cover(bounds(rows), 0, 6), bounds(columns), transposed=False)
    ledger.reset()
    for start, stop in intervals(even(20, width)):
        np.testing.assert_array_equal(assemble(strip, start, stop, 6), x[:, start:stop])
    assert sorted(made) == [(i, k) for i in range(2) for k in range(3)]
    counted = ledger.snapshot()
    assert counted[counter] == x.nbytes
    assert counted["read_nbytes"] + counted["recomputed_nbytes"] == x.nbytes
    assert not strip._kept, "nothing outlives the last panel that needs it"


@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (4, 6)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_chunk_that_is_not_as_declared_is_an_error(shape: tuple[int, int], transposed: bool) -> None:
    chunk = np.ones(shape).T if transposed else np.ones(shape)
    strip = Strip([[chunk]], cover((0, 4), 0, 4), (0, 5), transposed=transposed)
    with pytest.raises(ArrayError, match="a chunk has shape .* correct the chunks"):
        list(strip.panel(0, 5))
